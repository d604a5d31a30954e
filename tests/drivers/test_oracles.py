"""Our prober against Debian's sslscan, on real servers: every suite of every version, and the verdicts that follow.

Rules: sslscan is the oracle for suites; it is asked the same of the same server, in the same minute. It offers what its
own OpenSSL knows; what everyhop finds beyond that must be none. Groups are checked against what the server was told to
accept, because sslscan 2.0.7 does not know the post-quantum ones.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Generator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.servers import need
from tests.servers.caddy import caddy
from tests.servers.certificates import NAME
from tests.servers.envoy import envoy
from tests.servers.haproxy import haproxy
from tests.servers.nginx import BOTH, EC, RSA, WIDE_OPEN, nginx
from tests.servers.openssl import s_server
from tests.servers.sslscan import by_sslscan

from everyhop.core.endpoint.facts import Answer, Reply, TlsFacts
from everyhop.core.endpoint.target import Target
from everyhop.core.guidelines.registry import find
from everyhop.core.tls.groups import group_name
from everyhop.core.tls.versions import TLS12, TLS13
from everyhop.drivers.probes.enumerate import enumerate_tls
from everyhop.drivers.probes.hello.ask import Interview
from everyhop.drivers.probes.manners import Limits, Manners
from everyhop.drivers.probes.verify import MOST_HELLOS, verify_tls

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HURRIED = Limits(per_second=None)

INTERMEDIATE = (
    "ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20; ssl_ecdh_curve X25519:P-256:P-384;"
)
NGINX = {
    "wide-open": WIDE_OPEN,
    "intermediate-rsa": RSA + INTERMEDIATE,
    "intermediate-ec": EC + INTERMEDIATE,
    "intermediate-both": BOTH + INTERMEDIATE,
    "server-order": BOTH + INTERMEDIATE + "ssl_prefer_server_ciphers on;",
    "tls13-only": EC + "ssl_protocols TLSv1.3;",
    "tls12-all": RSA + "ssl_protocols TLSv1.2; ssl_ciphers ALL@SECLEVEL=0;",
    "tls10-only": RSA + "ssl_protocols TLSv1; ssl_ciphers ALL@SECLEVEL=0;",
    "with-a-hole": RSA + "ssl_protocols TLSv1 TLSv1.2; ssl_ciphers ALL@SECLEVEL=0;",
    "null-only": RSA + "ssl_protocols TLSv1.2; ssl_ciphers eNULL@SECLEVEL=0;",
    "dhe-only": RSA + "ssl_protocols TLSv1.2; ssl_ciphers kDHE; ssl_dhparam {home}/dh2048.pem;",
    "asks-clients": RSA + INTERMEDIATE + "ssl_verify_client on; ssl_client_certificate {home}/ca.pem;",
    "p384-only": EC + "ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve P-384:P-256;",
    "plain": "",
}
HAPROXY = {
    "haproxy": "",
    "haproxy-old": "ssl-min-ver TLSv1.0 ciphers ALL@SECLEVEL=0",
    "haproxy-alpn": "alpn h2,http/1.1 ssl-min-ver TLSv1.3",
}
ENVOY = {
    "envoy": {},
    "envoy-rsa": {"certificate": "rsa"},
    "envoy-classic": {"ecdh_curves": ["X25519", "P-256"], "tls_maximum_protocol_version": "TLSv1_3"},
    "envoy-pq": {"ecdh_curves": ["X25519MLKEM768", "X25519", "P-256"], "tls_maximum_protocol_version": "TLSv1_3"},
    "envoy-pq-only": {"ecdh_curves": ["X25519MLKEM768"], "tls_minimum_protocol_version": "TLSv1_3"},
    "envoy-old": {
        "certificate": "rsa",
        "tls_minimum_protocol_version": "TLSv1_0",
        "cipher_suites": ["ECDHE-RSA-AES128-SHA", "AES128-SHA", "AES256-SHA", "ECDHE-RSA-AES128-GCM-SHA256"],
    },
    "envoy-mtls": {"require_client_certificate": True},
}
OPENSSL = {
    "openssl": (),
    "openssl-all": ("-cipher", "ALL:@SECLEVEL=0"),
    "openssl-anon": ("-cipher", "aNULL:eNULL:@SECLEVEL=0", "-tls1_2"),
    "openssl-x448": ("-groups", "X448:P-521", "-tls1_3"),
    "openssl-ffdhe": ("-groups", "ffdhe2048:ffdhe3072", "-tls1_3"),
    "openssl-server-order": ("-cipher", "AES256-SHA:AES128-SHA:ECDHE-RSA-AES128-SHA", "-serverpref", "-tls1_2"),
    "openssl-ccm": ("-ciphersuites", "TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256:TLS_AES_256_GCM_SHA384"),
    "openssl-psk": ("-cipher", "PSK:@SECLEVEL=0", "-psk", "0123456789abcdef", "-nocert", "-tls1_2"),
}
CADDY = {
    "caddy": "",
    "caddy-narrow": "protocols tls1.2 tls1.2\n curves x25519\n ciphers TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
}
AEAD_OF_ENVOY = {0xC02B, 0xC02C, 0xCCA9}
TLS13_SUITES = {0x1301, 0x1302, 0x1303}
BLIND: dict[str, dict[int, set[int]]] = {
    "caddy-narrow": {TLS12: {0xC02B}},  # it offers no x25519 beside a P-256 certificate
    "envoy-pq-only": {TLS13: TLS13_SUITES},  # it knows no post-quantum group
    "envoy-mtls": {TLS12: AEAD_OF_ENVOY, TLS13: TLS13_SUITES},  # it dies of SIGPIPE
    "openssl-psk": {},  # it offers no PSK: the server's own list is taken
}
"""Servers that sslscan 2.0.7 cannot judge, and what they were told to accept."""
SERVERS = (*NGINX, *HAPROXY, *ENVOY, *OPENSSL, *CADDY)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, int]]:
    """All of them; each port by its name."""
    need("sslscan")
    with ExitStack() as stack:
        home = tmp_path_factory.mktemp

        def start_openssl(name: str) -> int:
            return stack.enter_context(s_server(home(name), *OPENSSL[name]))

        def start_caddy(name: str) -> int:
            return stack.enter_context(caddy(home(name), CADDY[name]))

        yield {
            **stack.enter_context(nginx(home("nginx"), NGINX)),
            **stack.enter_context(haproxy(home("haproxy"), HAPROXY)),
            **stack.enter_context(envoy(home("envoy"), ENVOY)),
            **{name: start_openssl(name) for name in OPENSSL},
            **{name: start_caddy(name) for name in CADDY},
        }


def target(port: int) -> Target:
    return Target("127.0.0.1", port, server_name=NAME)


def enumerated(port: int) -> TlsFacts:
    return asyncio.run(enumerate_tls(Interview(target(port), Manners(HURRIED)), NOW))


def verified(port: int, guideline: str) -> dict[str, Answer]:
    facts = asyncio.run(verify_tls(Interview(target(port), Manners(HURRIED)), find(guideline), NOW))
    assert facts.hellos <= MOST_HELLOS
    assert not facts.fault
    return {one.question: one.answer for one in facts.asked}


def told(ciphers: str, *more: str) -> set[int]:
    """What ``openssl s_server`` without a certificate takes a cipher list for."""
    command = [need("openssl"), "ciphers", "-V", "-s", "-tls1_2", *more, ciphers]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line for line in listed.splitlines() if "Au=RSA" not in line]
    return {int(line.split()[0].replace("0x", "").replace(",", ""), 16) for line in lines}


@pytest.mark.parametrize("name", SERVERS)
def test_every_suite_of_every_version_is_what_sslscan_finds(name: str, servers: dict[str, int], tmp_path: Path) -> None:
    facts = enumerated(servers[name])
    ours = {one.version: set(one.suites) for one in facts.versions}
    if name == "openssl-psk":
        assert ours == {TLS12: told("PSK:@SECLEVEL=0", "-psk")}
    elif name in BLIND:
        assert ours == BLIND[name]
    else:
        assert ours == by_sslscan(servers[name], tmp_path / "sslscan.xml")
    if name == "plain":
        assert "HTTP/1.1 400" in facts.fault
        return
    assert not facts.fault
    assert {*ours, *(version for version, _ in facts.refused_versions)} == {0x0300, 0x0301, 0x0302, TLS12, TLS13}
    assert all(one.refusal and one.refusal.reply is Reply.REFUSED for one in facts.versions)


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "plain"])
def test_enumerating_takes_n_plus_2_hellos_a_version(name: str, servers: dict[str, int]) -> None:
    """Every accepted thing (suite, group, scheme, protocol) takes one; every list one or two more."""
    facts = enumerated(servers[name])
    lists = sum(len(one.suites) + len(one.groups) + 2 for one in facts.versions)
    signatures_and_protocols = len(facts.signatures) + 1 + len(facts.alpn) + 1
    names_and_field = 2 + len(facts.asked)
    refused = 4 * len(facts.refused_versions) + 2
    assert facts.hellos <= lists + signatures_and_protocols + names_and_field + refused


def groups(facts: TlsFacts, version: int) -> list[str]:
    return next([group_name(code) for code in one.groups] for one in facts.versions if one.version == version)


@pytest.mark.parametrize(
    ("name", "tls13", "tls12"),
    [
        ("envoy", {"X25519MLKEM768", "x25519", "secp256r1"}, {"x25519", "secp256r1"}),
        ("envoy-rsa", {"X25519MLKEM768", "x25519", "secp256r1"}, {"x25519", "secp256r1"}),
        ("envoy-classic", {"x25519", "secp256r1"}, {"x25519", "secp256r1"}),
        ("envoy-pq", {"X25519MLKEM768", "x25519", "secp256r1"}, {"x25519", "secp256r1"}),
        ("envoy-pq-only", {"X25519MLKEM768"}, None),
        ("intermediate-rsa", {"x25519", "secp256r1", "secp384r1"}, {"x25519", "secp256r1", "secp384r1"}),
        ("intermediate-ec", {"x25519", "secp256r1", "secp384r1"}, {"x25519", "secp256r1", "secp384r1"}),
        ("intermediate-both", {"x25519", "secp256r1", "secp384r1"}, {"x25519", "secp256r1", "secp384r1"}),
        ("p384-only", {"secp256r1", "secp384r1"}, {"secp256r1", "secp384r1"}),
        ("openssl-x448", {"x448", "secp521r1"}, None),
        ("openssl-ffdhe", {"ffdhe2048", "ffdhe3072"}, None),
    ],
)
def test_groups_are_those_that_the_server_was_told(
    name: str, tls13: set[str], tls12: set[str] | None, servers: dict[str, int]
) -> None:
    facts = enumerated(servers[name])
    assert set(groups(facts, TLS13)) == tls13
    if tls12 is not None:
        assert set(groups(facts, TLS12)) == tls12


def test_whose_order_decides(servers: dict[str, int]) -> None:
    def order(name: str) -> bool | None:
        return next(one.server_order for one in enumerated(servers[name]).versions if one.version == TLS12)

    assert order("intermediate-rsa") is False
    assert order("server-order") is True
    assert order("openssl-server-order") is True


def test_what_is_seen_besides(servers: dict[str, int]) -> None:
    assert enumerated(servers["asks-clients"]).certificate_requested is True
    assert enumerated(servers["envoy-mtls"]).certificate_requested is True
    assert enumerated(servers["intermediate-rsa"]).certificate_requested is False
    assert enumerated(servers["tls13-only"]).certificate_requested is None
    assert enumerated(servers["envoy"]).alpn == ("h2", "http/1.1")
    dhe = enumerated(servers["dhe-only"])
    assert [(one.question, one.answer.key_bits) for one in dhe.asked] == [("dh-size", 2048)]
    strict = enumerated(servers["caddy"])
    assert strict.unknown_name is not None
    assert (strict.unknown_name.reply, strict.unknown_name.alert) == (Reply.REFUSED, 80)


@pytest.mark.parametrize(
    ("name", "guideline", "accepted"),
    [
        ("envoy", "mozilla-intermediate@6.0", set[str]()),
        ("envoy-pq", "mozilla-intermediate@6.0", set[str]()),
        ("envoy-pq-only", "mozilla-intermediate@6.0", set[str]()),
        ("intermediate-rsa", "mozilla-intermediate@6.0", set[str]()),
        ("intermediate-ec", "mozilla-intermediate@6.0", set[str]()),
        ("tls13-only", "mozilla-intermediate@6.0", {"forbidden-groups-tls13"}),
        (
            "wide-open",
            "mozilla-intermediate@6.0",
            {"forbidden-groups-tls13", "forbidden-suites-tls12", "forbidden-groups-tls12", "forbidden-versions"},
        ),
        ("tls10-only", "mozilla-intermediate@6.0", {"forbidden-versions", "forbidden-suites-tls12"}),
        ("null-only", "mozilla-intermediate@6.0", {"forbidden-suites-tls12"}),
        ("intermediate-rsa", "mozilla-modern@6.0", {"forbidden-versions"}),
        ("envoy-pq-only", "everyhop", set[str]()),
        (
            "openssl-ccm",
            "mozilla-modern@6.0",
            {"forbidden-suites-tls13", "forbidden-groups-tls13", "forbidden-versions"},
        ),
    ],
)
def test_what_is_forbidden_is_shown_to_be_refused(
    name: str, guideline: str, accepted: set[str], servers: dict[str, int]
) -> None:
    answers = verified(servers[name], guideline)
    forbidden = {question: answer for question, answer in answers.items() if question.startswith("forbidden-")}
    assert {question for question, answer in forbidden.items() if answer.reply is Reply.ACCEPTED} == accepted
    assert all(answer.reply in (Reply.ACCEPTED, Reply.REFUSED) for answer in forbidden.values())
    assert all(answer.alert is not None for answer in forbidden.values() if answer.reply is Reply.REFUSED)


def test_post_quantum_groups_are_asked_for(servers: dict[str, int]) -> None:
    assert group_name(verified(servers["envoy"], "everyhop")["permitted-tls13"].group or 0) == "X25519MLKEM768"
    assert verified(servers["envoy-classic"], "everyhop")["preferred-groups"].reply is Reply.REFUSED
