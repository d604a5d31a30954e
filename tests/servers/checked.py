"""Endpoints of every kind that everyhop meets, each with what is true of it: nothing here is measured.

Rules: an endpoint is one entry in :data:`ENDPOINTS`: the server, what it is held to, and the whole answer that is
right. A failure is *wrong* if somebody must act, else *advice*; what could not be told is named where it might be
wrong. What OpenSSL would choose by itself is fixed for every server by :data:`OPENSSL_CONF`, so that the answers are
the same on every machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from tests.servers.caddy import caddy
from tests.servers.certificates import NAME
from tests.servers.envoy import envoy
from tests.servers.haproxy import haproxy
from tests.servers.mariadb import MariaDb
from tests.servers.mosquitto import mosquitto
from tests.servers.nginx import BOTH, EC, RSA, nginx
from tests.servers.openssl import s_server
from tests.servers.postgresql import Postgresql, postgresql
from tests.servers.redis import redis
from tests.servers.smtp import smtp

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.tls.versions import TLS12, TLS13
from everyhop.core.verdict import Verdict

SOURCE = "127.0.0.9"
"""Where the probes come from."""

OPENSSL_CONF = """openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = defaults
[defaults]
MinProtocol = TLSv1.2
CipherString = DEFAULT@SECLEVEL=2
Groups = X25519:P-256:P-384
"""

HTTP, SERVICES, MODERN = "mozilla-intermediate@6.0", "everyhop@2026-11", "mozilla-modern@6.0"

_HSTS = "add_header Strict-Transport-Security max-age=63072000 always;"
_AEAD = "ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20; ssl_prefer_server_ciphers off;" + _HSTS
_OLD = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:P-256:P-384:P-521:X448;"
_CLIENTS = "ssl_protocols TLSv1.3; ssl_client_certificate {home}/ca.pem; ssl_verify_client "

_EVERYBODY, _TLS_ONLY = ["host all all all scram-sha-256"], ["hostssl all all all scram-sha-256"]
_PROBE_ACCOUNT = f"create or replace user everyhop@{SOURCE} identified by '';\n"


class Bench:
    """Where servers are started. What takes long to make is made once, when it is first needed."""

    def __init__(self, stack: ExitStack, home: Callable[[str], Path]) -> None:
        """``home`` makes a new directory; ``stack`` ends what was made."""
        self._stack = stack
        self.home = home

    @contextmanager
    def serving(self, endpoint: Endpoint) -> Generator[int]:
        """The endpoint's server; its port."""
        with ExitStack() as stack:
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("OPENSSL_CONF", str(self._openssl_conf))
                port = stack.enter_context(endpoint.start(self))
            yield port

    @cached_property
    def postgresql(self) -> Postgresql:
        return self._stack.enter_context(postgresql())

    @cached_property
    def mariadb(self) -> MariaDb:
        return MariaDb(self._short())

    @cached_property
    def _openssl_conf(self) -> Path:
        """Servers that do not run as we do read it, too."""
        home = self._short()
        home.chmod(0o755)
        file = home / "openssl.cnf"
        file.write_text(OPENSSL_CONF)
        return file

    def _short(self) -> Path:
        """A directory whose path leaves room for a socket's name."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="eh-")))


Start = Callable[[Bench], AbstractContextManager[int]]


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


# --- how each kind is started -------------------------------------------------------------------------------------


def _nginx(directives: str) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        name = "tls" if "ssl_certificate" in directives else "plain"
        with nginx(bench.home("nginx"), {name: directives}) as ports:
            yield ports[name]

    return start


def _envoy(parameters: Mapping[str, Any]) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        with envoy(bench.home("envoy"), {"one": parameters}) as ports:
            yield ports["one"]

    return start


def _haproxy(bind: str) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        with haproxy(bench.home("haproxy"), {"one": bind}) as ports:
            yield ports["one"]

    return start


def _caddy(tls: str) -> Start:
    return lambda bench: caddy(bench.home("caddy"), tls)


def _openssl(*arguments: str) -> Start:
    return lambda bench: s_server(bench.home("openssl"), *arguments)


def _postgresql(rules: list[str], *, tls: bool = True, more: Mapping[str, str] | None = None) -> Start:
    return lambda bench: bench.postgresql.serving(rules, tls=tls, more=more)


def _mariadb(*options: str, tls: bool = True) -> Start:
    """Abandoned handshakes count as errors of the client's host there: here they may."""

    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        script = bench.home("accounts") / "init.sql"
        script.write_text(_PROBE_ACCOUNT)
        fixed = (f"--init-file={script}", "--max-connect-errors=1000000")
        with bench.mariadb.serving(*fixed, *options, tls=tls) as port:
            yield port

    return start


def _redis(*, tls: bool) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        with redis(bench.home("redis"), more={"tls-protocols": "TLSv1.3"}) as server:
            yield server.tls if tls else server.plain

    return start


def _mosquitto(*, tls: bool) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        with mosquitto(bench.home("mosquitto"), "tls_version tlsv1.3") as server:
            yield server.tls if tls else server.plain

    return start


def _smtp(*, tls: bool, required: bool = False) -> Start:
    """sslscan reads an answer once: it has to come in one piece."""
    return lambda _: smtp(tls=tls, required=required, whole=True)


# --- the endpoints ------------------------------------------------------------------------------------------------

_TLS13 = {TLS13: {0x1301, 0x1302, 0x1303}}
_SIGPIPE = "it dies of SIGPIPE where Envoy asks for a certificate"

ENDPOINTS = (
    Endpoint(
        name="nginx-wide-open",
        about="nginx, TLS 1.0 to 1.3, every suite",
        start=_nginx(BOTH + _OLD + "ssl_ciphers ALL:eNULL@SECLEVEL=0; ssl_dhparam {home}/dh2048.pem;"),
        wire=Wire.HTTP,
        wrong=("tls-version-old", "tls-suite-forbidden", "tls-group-forbidden", "hsts-missing"),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1", "secp521r1", "x448"),
    ),
    Endpoint(
        name="nginx-old",
        about="nginx, TLS 1.0 to 1.3, OpenSSL's default suites",
        start=_nginx(RSA + _OLD + "ssl_ciphers DEFAULT@SECLEVEL=0;"),
        wire=Wire.HTTP,
        wrong=("tls-version-old", "tls-suite-forbidden", "tls-group-forbidden", "hsts-missing"),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1", "secp521r1", "x448"),
    ),
    Endpoint(
        name="nginx-tls10",
        about="nginx, TLS 1.0 only",
        start=_nginx(RSA + "ssl_protocols TLSv1; ssl_ciphers DEFAULT@SECLEVEL=0;"),
        wire=Wire.HTTP,
        wrong=("tls-version-old", "tls-version-missing", "hsts-missing"),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-null",
        about="nginx, suites without encryption only",
        start=_nginx(RSA + "ssl_protocols TLSv1.2; ssl_ciphers eNULL@SECLEVEL=0;"),
        wire=Wire.HTTP,
        wrong=("tls-version-missing", "tls-suite-forbidden"),
        advice=("tls-group-post-quantum",),
        untold=("hsts-missing", "hsts-short", "hsts-preload", "cookie-not-secure", "mixed-content"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-intermediate",
        about="nginx as Mozilla's intermediate wants it, RSA and ECDSA",
        start=_nginx(BOTH + "ssl_protocols TLSv1.2 TLSv1.3;" + _AEAD),
        wire=Wire.HTTP,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-modern",
        about="nginx as Mozilla's modern wants it",
        start=_nginx(EC + "ssl_protocols TLSv1.3;" + _HSTS),
        wire=Wire.HTTP,
        guideline=MODERN,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-no-hsts",
        about="nginx as modern wants it, but for HSTS",
        start=_nginx(EC + "ssl_protocols TLSv1.3;"),
        wire=Wire.HTTP,
        guideline=MODERN,
        wrong=("hsts-missing",),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="nginx-mutual",
        about="nginx, client certificates required",
        start=_nginx(EC + _CLIENTS + "on;"),
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
        start=_nginx(EC + _CLIENTS + "optional;"),
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
        start=_nginx(""),
        wire=Wire.HTTP,
        tls_first=False,
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="nginx-redirect",
        about="nginx without TLS, sends everybody to https",
        start=_nginx("return 301 https://$host$request_uri;"),
        wire=Wire.HTTP,
        tls_first=False,
        encryption=Encryption.PLAINTEXT,
        verdict=Verdict.PASS,
    ),
    Endpoint(
        name="envoy",
        about="Envoy with its defaults",
        start=_envoy({}),
        wire=Wire.HTTP,
        guideline=SERVICES,
        wrong=("tls-version-old",),
        groups=("X25519MLKEM768", "x25519", "secp256r1"),
    ),
    Endpoint(
        name="envoy-post-quantum",
        about="Envoy as everyhop configures it: TLS 1.3, a hybrid first",
        start=_envoy({"ecdh_curves": ["X25519MLKEM768", "X25519", "P-256"], "tls_minimum_protocol_version": "TLSv1_3"}),
        wire=Wire.HTTP,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        groups=("X25519MLKEM768", "x25519", "secp256r1"),
    ),
    Endpoint(
        name="envoy-post-quantum-only",
        about="Envoy, TLS 1.3 with the hybrid only",
        start=_envoy({"ecdh_curves": ["X25519MLKEM768"], "tls_minimum_protocol_version": "TLSv1_3"}),
        wire=Wire.HTTP,
        guideline=SERVICES,
        blind=Blind("sslscan 2.0.7 knows no post-quantum group", _TLS13),
        verdict=Verdict.PASS,
        groups=("X25519MLKEM768",),
    ),
    Endpoint(
        name="envoy-classic",
        about="Envoy, TLS 1.3 with curves only",
        start=_envoy({"ecdh_curves": ["X25519", "P-256"], "tls_minimum_protocol_version": "TLSv1_3"}),
        wire=Wire.HTTP,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1"),
    ),
    Endpoint(
        name="envoy-mutual",
        about="Envoy, client certificates required",
        start=_envoy({"require_client_certificate": True, "tls_minimum_protocol_version": "TLSv1_3"}),
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
        start=_envoy({"require_client_certificate": True, "tls_maximum_protocol_version": "TLSv1_2"}),
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
        start=_caddy(""),
        wire=Wire.HTTP,
        wrong=("hsts-missing",),
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("x25519", "secp256r1"),
    ),
    Endpoint(
        name="caddy-tls13",
        about="Caddy, TLS 1.3 with two curves",
        start=_caddy("protocols tls1.3 tls1.3\n curves x25519 secp256r1"),
        wire=Wire.HTTP,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1"),
    ),
    Endpoint(
        name="caddy-narrow",
        about="Caddy, TLS 1.2, one suite, one curve that is not the certificate's",
        start=_caddy("protocols tls1.2 tls1.2\n curves x25519\n ciphers TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        wire=Wire.HTTP,
        blind=Blind("sslscan offers no x25519 beside a P-256 certificate", {TLS12: {0xC02B}}),
        wrong=("tls-version-missing", "hsts-missing"),
        advice=("tls-group-post-quantum",),
        groups=("x25519",),
    ),
    Endpoint(
        name="haproxy",
        about="HAProxy with its defaults",
        start=_haproxy(""),
        wire=Wire.HTTP,
        wrong=("tls-suite-forbidden", "hsts-missing"),
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="haproxy-old",
        about="HAProxy, TLS 1.0 to 1.3, every suite",
        start=_haproxy("ssl-min-ver TLSv1.0 ciphers ALL@SECLEVEL=0"),
        wire=Wire.HTTP,
        wrong=("tls-version-old", "tls-suite-forbidden", "hsts-missing"),
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="haproxy-tls13",
        about="HAProxy, TLS 1.3",
        start=_haproxy("alpn h2,http/1.1 ssl-min-ver TLSv1.3"),
        wire=Wire.HTTP,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="openssl",
        about="openssl s_server with its defaults",
        start=_openssl(),
        wire=Wire.TLS,
        wrong=("tls-suite-forbidden",),
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="openssl-anonymous",
        about="openssl s_server, suites without a certificate",
        start=_openssl("-cipher", "aNULL:@SECLEVEL=0", "-tls1_2"),
        wire=Wire.TLS,
        wrong=("tls-version-missing", "tls-suite-forbidden", "tls-dh-small"),
        advice=("tls-group-post-quantum",),
        untold=("certificate-unreadable", "session-renegotiation-by-client"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="openssl-fields",
        about="openssl s_server, TLS 1.3 with finite fields",
        start=_openssl("-groups", "ffdhe2048:ffdhe3072", "-tls1_3"),
        wire=Wire.TLS,
        wrong=("tls-group-forbidden",),
        advice=("tls-group-post-quantum",),
        groups=("ffdhe2048", "ffdhe3072"),
    ),
    Endpoint(
        name="postgresql-off",
        about="PostgreSQL, `ssl = off`",
        start=_postgresql(_EVERYBODY, tls=False),
        wire=Wire.POSTGRESQL,
        tls_first=False,
        starttls="psql",
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="postgresql-offered",
        about="PostgreSQL, `ssl = on`, `host` lines",
        start=_postgresql(_EVERYBODY),
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
        start=_postgresql(_TLS_ONLY, more={"ssl_min_protocol_version": "TLSv1.3"}),
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
        start=_mariadb(tls=False),
        wire=Wire.MYSQL,
        tls_first=False,
        starttls="mysql",
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="mariadb-offered",
        about="MariaDB with a certificate",
        start=_mariadb(),
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
        start=_mariadb("--require-secure-transport=ON", "--tls-version=TLSv1.3"),
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
        start=_redis(tls=False),
        wire=Wire.REDIS,
        tls_first=False,
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="redis",
        about="Redis, TLS 1.3",
        start=_redis(tls=True),
        wire=Wire.REDIS,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum", "chain-root-sent"),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="mosquitto-plaintext",
        about="Mosquitto without TLS",
        start=_mosquitto(tls=False),
        wire=Wire.MQTT,
        tls_first=False,
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="mosquitto",
        about="Mosquitto, TLS 1.3",
        start=_mosquitto(tls=True),
        wire=Wire.MQTT,
        guideline=SERVICES,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum",),
        groups=("x25519", "secp256r1", "secp384r1"),
    ),
    Endpoint(
        name="smtp-plaintext",
        about="SMTP without STARTTLS",
        start=_smtp(tls=False),
        wire=Wire.SMTP,
        tls_first=False,
        starttls="smtp",
        encryption=Encryption.PLAINTEXT,
        wrong=("plaintext-served",),
    ),
    Endpoint(
        name="smtp-offered",
        about="SMTP, STARTTLS offered",
        start=_smtp(tls=True),
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
        start=_smtp(tls=True, required=True),
        wire=Wire.SMTP,
        tls_first=False,
        starttls="smtp",
        encryption=Encryption.UPGRADE_REQUIRED,
        verdict=Verdict.PASS,
        advice=("tls-group-post-quantum", "tls-server-order"),
        groups=("secp256r1",),
    ),
)
