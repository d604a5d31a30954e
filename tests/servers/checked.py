"""Endpoints of every kind that everyhop meets, each with what is true of it: nothing here is measured.

Rules: an endpoint is one entry in :data:`ENDPOINTS`: the server, what it is held to, and the whole answer that is
right. A failure is *wrong* if somebody must act, else *advice*; what could not be told is named where it might be
wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.servers.bench import (
    Start,
    a_caddy,
    a_haproxy,
    a_mariadb,
    a_mosquitto,
    a_postgresql,
    a_redis,
    an_envoy,
    an_nginx,
    an_openssl,
    an_smtp,
)
from tests.servers.certificates import NAME
from tests.servers.nginx import BOTH, EC, RSA

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.tls.versions import TLS12, TLS13
from everyhop.core.verdict import Verdict

HTTP, SERVICES, MODERN = "mozilla-intermediate@6.0", "everyhop@2026-11", "mozilla-modern@6.0"

_HSTS = "add_header Strict-Transport-Security max-age=63072000 always;"
_AEAD = "ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20; ssl_prefer_server_ciphers off;" + _HSTS
_OLD = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:P-256:P-384:P-521:X448;"
_CLIENTS = "ssl_protocols TLSv1.3; ssl_client_certificate {home}/ca.pem; ssl_verify_client "

_EVERYBODY, _TLS_ONLY = ["host all all all scram-sha-256"], ["hostssl all all all scram-sha-256"]


@dataclass(frozen=True)
class Blind:
    """sslscan cannot see it: why, and what the server was told to accept."""

    why: str
    told: Mapping[int, set[int]]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One endpoint, and what is true of it."""

    name: str
    about: str
    start: Start
    wire: Wire
    tls_first: bool = True
    guideline: str = HTTP
    encryption: Encryption = Encryption.TLS
    verdict: Verdict = Verdict.FAIL
    wrong: tuple[str, ...] = ()
    """Codes of the rules that fail, so that somebody must act."""
    advice: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Everything that it takes for key exchange, in any version."""
    mutual: bool = False
    """Clients without a certificate, and with that of a foreign authority, try to get in, too."""
    starttls: str = ""
    """sslscan's own word for what is said before TLS."""
    blind: Blind | None = None

    def target(self, port: int) -> Target:
        """How it is asked for."""
        return Target("127.0.0.1", port, server_name=NAME, wire=self.wire, tls_first=self.tls_first)


# --- the endpoints ------------------------------------------------------------------------------------------------

_TLS13 = {TLS13: {0x1301, 0x1302, 0x1303}}
_SIGPIPE = "it dies of SIGPIPE where Envoy asks for a certificate"

ENDPOINTS = (
    Endpoint(
        name="nginx-wide-open",
        about="nginx, TLS 1.0 to 1.3, every suite",
        start=an_nginx(BOTH + _OLD + "ssl_ciphers ALL:eNULL@SECLEVEL=0; ssl_dhparam {home}/dh2048.pem;"),
        wire=Wire.HTTP,
        wrong=("tls-version-old", "tls-suite-forbidden", "tls-group-forbidden", "hsts-missing"),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1", "secp521r1", "x448"),
    ),
    Endpoint(
        name="nginx-old",
        about="nginx, TLS 1.0 to 1.3, OpenSSL's default suites",
        start=an_nginx(RSA + _OLD + "ssl_ciphers DEFAULT@SECLEVEL=0;"),
        wire=Wire.HTTP,
        wrong=("tls-version-old", "tls-suite-forbidden", "tls-group-forbidden", "hsts-missing"),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1", "secp521r1", "x448"),
    ),
    Endpoint(
        name="nginx-tls10",
        about="nginx, TLS 1.0 only",
        start=an_nginx(RSA + "ssl_protocols TLSv1; ssl_ciphers DEFAULT@SECLEVEL=0;"),
        wire=Wire.HTTP,
        wrong=("tls-version-old", "tls-version-missing", "hsts-missing"),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-null",
        about="nginx, suites without encryption only",
        start=an_nginx(RSA + "ssl_protocols TLSv1.2; ssl_ciphers eNULL@SECLEVEL=0;"),
        wire=Wire.HTTP,
        wrong=("tls-version-missing", "tls-suite-forbidden"),
        advice=("tls-group-post-quantum",),
        untold=("hsts-missing", "hsts-short", "hsts-preload", "cookie-not-secure", "mixed-content"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-intermediate",
        about="nginx as Mozilla's intermediate wants it, RSA and ECDSA",
        start=an_nginx(BOTH + "ssl_protocols TLSv1.2 TLSv1.3;" + _AEAD),
        wire=Wire.HTTP,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-modern",
        about="nginx as Mozilla's modern wants it",
        start=an_nginx(EC + "ssl_protocols TLSv1.3;" + _HSTS),
        wire=Wire.HTTP,
        guideline=MODERN,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-no-hsts",
        about="nginx as modern wants it, but for HSTS",
        start=an_nginx(EC + "ssl_protocols TLSv1.3;"),
        wire=Wire.HTTP,
        guideline=MODERN,
        wrong=("hsts-missing",),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-mutual",
        about="nginx, client certificates required",
        start=an_nginx(EC + _CLIENTS + "on;"),
        wire=Wire.HTTP,
        guideline=SERVICES,
        mutual=True,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-mutual-optional",
        about="nginx, client certificates asked for",
        start=an_nginx(EC + _CLIENTS + "optional;"),
        wire=Wire.HTTP,
        guideline=SERVICES,
        mutual=True,
        wrong=("client-certificate-optional",),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-plaintext",
        about="nginx without TLS",
        start=an_nginx(""),
        wire=Wire.HTTP,
        tls_first=False,
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="nginx-redirect",
        about="nginx without TLS, sends everybody to https",
        start=an_nginx("return 301 https://$host$request_uri;"),
        wire=Wire.HTTP,
        tls_first=False,
        encryption=Encryption.PLAINTEXT,
        verdict=Verdict.PASS,
    ),
    Endpoint(
        name="envoy",
        about="Envoy with its defaults",
        start=an_envoy({}),
        wire=Wire.HTTP,
        guideline=SERVICES,
        wrong=("tls-version-old",),
        groups=("X25519MLKEM768", "x25519", "secp256r1"),
    ),
    Endpoint(
        name="envoy-post-quantum",
        about="Envoy as everyhop configures it: TLS 1.3, a hybrid first",
        start=an_envoy(
            {"ecdh_curves": ["X25519MLKEM768", "X25519", "P-256"], "tls_minimum_protocol_version": "TLSv1_3"}
        ),
        wire=Wire.HTTP,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        groups=("X25519MLKEM768", "x25519", "secp256r1"),
    ),
    Endpoint(
        name="envoy-post-quantum-only",
        about="Envoy, TLS 1.3 with the hybrid only",
        start=an_envoy({"ecdh_curves": ["X25519MLKEM768"], "tls_minimum_protocol_version": "TLSv1_3"}),
        wire=Wire.HTTP,
        guideline=SERVICES,
        blind=Blind("sslscan 2.0.7 knows no post-quantum group", _TLS13),
        verdict=Verdict.PASS,
        groups=("X25519MLKEM768",),
    ),
    Endpoint(
        name="envoy-classic",
        about="Envoy, TLS 1.3 with curves only",
        start=an_envoy({"ecdh_curves": ["X25519", "P-256"], "tls_minimum_protocol_version": "TLSv1_3"}),
        wire=Wire.HTTP,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1"),
    ),
    Endpoint(
        name="envoy-mutual",
        about="Envoy, client certificates required",
        start=an_envoy({"require_client_certificate": True, "tls_minimum_protocol_version": "TLSv1_3"}),
        wire=Wire.HTTP,
        guideline=SERVICES,
        mutual=True,
        blind=Blind(_SIGPIPE, _TLS13),
        verdict=Verdict.PASS,
        groups=("X25519MLKEM768", "x25519", "secp256r1"),
    ),
    Endpoint(
        name="envoy-mutual-tls12",
        about="Envoy, client certificates required, TLS 1.2",
        start=an_envoy({"require_client_certificate": True, "tls_maximum_protocol_version": "TLSv1_2"}),
        wire=Wire.HTTP,
        mutual=True,
        blind=Blind(_SIGPIPE, {TLS12: {0xC02B, 0xC02C, 0xCCA9}}),
        wrong=("tls-version-missing",),
        advice=("tls-group-post-quantum",),
        untold=("session-renegotiation-by-client",),
        groups=("x25519", "secp256r1"),
    ),
    Endpoint(
        name="caddy",
        about="Caddy with its defaults",
        start=a_caddy(""),
        wire=Wire.HTTP,
        wrong=("hsts-missing",),
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("x25519", "secp256r1"),
    ),
    Endpoint(
        name="caddy-tls13",
        about="Caddy, TLS 1.3 with two curves",
        start=a_caddy("protocols tls1.3 tls1.3\n curves x25519 secp256r1"),
        wire=Wire.HTTP,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1"),
    ),
    Endpoint(
        name="caddy-narrow",
        about="Caddy, TLS 1.2, one suite, one curve that is not the certificate's",
        start=a_caddy("protocols tls1.2 tls1.2\n curves x25519\n ciphers TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        wire=Wire.HTTP,
        blind=Blind("sslscan offers no x25519 beside a P-256 certificate", {TLS12: {0xC02B}}),
        wrong=("tls-version-missing", "hsts-missing"),
        advice=("tls-group-post-quantum",),
        groups=("x25519",),
    ),
    Endpoint(
        name="haproxy",
        about="HAProxy with its defaults",
        start=a_haproxy(""),
        wire=Wire.HTTP,
        wrong=("tls-suite-forbidden", "hsts-missing"),
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="haproxy-old",
        about="HAProxy, TLS 1.0 to 1.3, every suite",
        start=a_haproxy("ssl-min-ver TLSv1.0 ciphers ALL@SECLEVEL=0"),
        wire=Wire.HTTP,
        wrong=("tls-version-old", "tls-suite-forbidden", "hsts-missing"),
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="haproxy-tls13",
        about="HAProxy, TLS 1.3",
        start=a_haproxy("alpn h2,http/1.1 ssl-min-ver TLSv1.3"),
        wire=Wire.HTTP,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="openssl",
        about="openssl s_server with its defaults",
        start=an_openssl(),
        wire=Wire.TLS,
        wrong=("tls-suite-forbidden",),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="openssl-anonymous",
        about="openssl s_server, suites without a certificate",
        start=an_openssl("-cipher", "aNULL:@SECLEVEL=0", "-tls1_2"),
        wire=Wire.TLS,
        wrong=("tls-version-missing", "tls-suite-forbidden", "tls-dh-small"),
        advice=("tls-group-post-quantum",),
        untold=("certificate-unreadable", "session-renegotiation-by-client"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="openssl-fields",
        about="openssl s_server, TLS 1.3 with finite fields",
        start=an_openssl("-groups", "ffdhe2048:ffdhe3072", "-tls1_3"),
        wire=Wire.TLS,
        wrong=("tls-group-forbidden",),
        advice=("tls-group-post-quantum",),
        groups=("ffdhe2048", "ffdhe3072"),
    ),
    Endpoint(
        name="postgresql-off",
        about="PostgreSQL, `ssl = off`",
        start=a_postgresql(_EVERYBODY, tls=False),
        wire=Wire.POSTGRESQL,
        tls_first=False,
        starttls="psql",
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="postgresql-offered",
        about="PostgreSQL, `ssl = on`, `host` lines",
        start=a_postgresql(_EVERYBODY),
        wire=Wire.POSTGRESQL,
        tls_first=False,
        starttls="psql",
        encryption=Encryption.UPGRADE_OFFERED,
        wrong=("tls-optional", "tls-suite-forbidden"),
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("secp256r1",),
    ),
    Endpoint(
        name="postgresql-required",
        about="PostgreSQL, TLS 1.3, `hostssl` lines only",
        start=a_postgresql(_TLS_ONLY, more={"ssl_min_protocol_version": "TLSv1.3"}),
        wire=Wire.POSTGRESQL,
        tls_first=False,
        guideline=SERVICES,
        starttls="psql",
        encryption=Encryption.UPGRADE_REQUIRED,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("secp256r1",),
    ),
    Endpoint(
        name="mariadb-off",
        about="MariaDB, `skip-ssl`",
        start=a_mariadb(tls=False),
        wire=Wire.MYSQL,
        tls_first=False,
        starttls="mysql",
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="mariadb-offered",
        about="MariaDB with a certificate",
        start=a_mariadb(),
        wire=Wire.MYSQL,
        tls_first=False,
        starttls="mysql",
        encryption=Encryption.UPGRADE_OFFERED,
        wrong=("tls-optional", "tls-suite-forbidden"),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="mariadb-required",
        about="MariaDB, TLS 1.3, `require_secure_transport`",
        start=a_mariadb("--require-secure-transport=ON", "--tls-version=TLSv1.3"),
        wire=Wire.MYSQL,
        tls_first=False,
        guideline=SERVICES,
        starttls="mysql",
        encryption=Encryption.UPGRADE_REQUIRED,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="redis-plaintext",
        about="Redis without TLS",
        start=a_redis(tls=False),
        wire=Wire.REDIS,
        tls_first=False,
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="redis",
        about="Redis, TLS 1.3",
        start=a_redis(tls=True),
        wire=Wire.REDIS,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum", "chain-root-sent"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="mosquitto-plaintext",
        about="Mosquitto without TLS",
        start=a_mosquitto(tls=False),
        wire=Wire.MQTT,
        tls_first=False,
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="mosquitto",
        about="Mosquitto, TLS 1.3",
        start=a_mosquitto(tls=True),
        wire=Wire.MQTT,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="smtp-plaintext",
        about="SMTP without STARTTLS",
        start=an_smtp(tls=False),
        wire=Wire.SMTP,
        tls_first=False,
        starttls="smtp",
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="smtp-offered",
        about="SMTP, STARTTLS offered",
        start=an_smtp(tls=True),
        wire=Wire.SMTP,
        tls_first=False,
        starttls="smtp",
        encryption=Encryption.UPGRADE_OFFERED,
        wrong=("tls-optional",),
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("secp256r1",),
    ),
    Endpoint(
        name="smtp-required",
        about="SMTP, STARTTLS required",
        start=an_smtp(tls=True, required=True),
        wire=Wire.SMTP,
        tls_first=False,
        starttls="smtp",
        encryption=Encryption.UPGRADE_REQUIRED,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("secp256r1",),
    ),
)
