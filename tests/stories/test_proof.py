"""Proof from outside: what really goes over the wires, and who is turned away at which door, and why."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from cryptography import x509
from tests.fakes.pki import CA
from tests.stories.client import handshake, plaintext, request
from tests.stories.harness import until
from tests.stories.minting import mint
from tests.stories.shop import Shop

from everyhop import app
from everyhop.core.hop import Address
from everyhop.drivers.probes.capture import Capture
from everyhop.errors import EveryhopError
from everyhop.ports import ClientCredential
from everyhop.services.explain import Explanation, explain

pytestmark = pytest.mark.story

API = "spiffe://shop.internal/demo/api"


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with Shop() as running:
        running.up().ready(seconds=90)
        yield running


# --- what goes over the wires -----------------------------------------------------------------------------------


def marked_requests(shop: Shop, marker: str) -> None:
    """A marker in the path, in a header, in a body, and in a row of the database."""
    page = request(
        shop.https, "shop.localhost", f"/?seen={marker}", roots=shop.roots, headers={"x-marker": marker}
    ).body.decode()
    found = re.search(r'name="key" value="([0-9a-f-]{36})"', page)
    assert found
    form = urlencode({"key": found[1], "product": "padlock", "quantity": 1, "name": marker})
    answer = request(
        shop.https,
        "shop.localhost",
        "/orders",
        roots=shop.roots,
        method="POST",
        body=form,
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status == 303
    assert marker in request(shop.https, "orders.localhost", roots=shop.roots).body.decode()


def test_a_capture_sees_tls_records_and_nothing_else(shop: Shop) -> None:
    """Requests with a marker in path, header, body and SQL cross all hops, while the wires are recorded.

    On every port between services there are TLS records and nothing else, and the marker is nowhere. That the
    recording can see it at all is shown on the one plaintext port there is: between web's proxy and web itself.
    """
    marker = f"marker{uuid4().hex}"
    ports = [shop.https, *(shop.mesh_address(name).port for name in ("web", "api", "db"))]
    own = next(one.address.port for one in shop.plan().node("web").upstreams if one.name == "app")

    async def record() -> tuple[Capture, Capture]:
        async with Capture(ports=ports) as wires, Capture(ports=[own]) as inside:
            await asyncio.to_thread(marked_requests, shop, marker)
        return wires, inside

    try:
        wires, inside = asyncio.run(record())
    except EveryhopError as error:
        if error.code.name != "probe-failed":
            raise
        pytest.skip(f"{error.message}; the refusals below need no such right")
    assert wires.complete
    assert not wires.contains(marker.encode())
    for port in ports:
        seen = wires.port(port)
        assert seen.is_tls, seen
        assert seen.bytes_seen > 1000
    assert inside.complete
    assert inside.contains(marker.encode())


def test_plain_words_get_no_answer_on_any_port_between_services(shop: Shop) -> None:
    """HTTP and PostgreSQL in the clear, sent to every mTLS port: an alert at most, and the end of the connection."""
    startup = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # PostgreSQL's SSLRequest
    for name in ("web", "api", "db"):
        for words in (b"GET / HTTP/1.1\r\nHost: web\r\n\r\n", startup, b"hello\n"):
            answer = plaintext(shop.mesh_address(name), words)
            assert answer.connected
            assert answer.closed, (name, words)
            assert answer.answer == b"" or answer.answer.startswith(b"\x15\x03"), (name, answer.answer)
    # Read them before the next story counts.
    until(
        lambda: sum(one.count for one in explained(shop).refused if one.code == "plaintext") == 3, "all to be counted"
    )


# --- who is turned away, and why ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stranger:
    """Somebody who is turned away at the database's door, and what `everyhop explain` should say."""

    code: str
    who: str
    """A part of how they are called."""
    knock: Callable[[Shop, Address], None]


def refused(address: Address, credential: ClientCredential | None) -> None:
    answer = handshake(address, credential=credential)
    assert answer.version == "TLSv1.3"
    assert not answer.usable, "the connection was accepted"


def expired(shop: Shop) -> ClientCredential:
    credential = mint(shop, "api", life=timedelta(seconds=1))
    # The last second of its life still counts (RFC 5280, 4.1.2.5).
    end = x509.load_pem_x509_certificate(credential.chain).not_valid_after_utc + timedelta(seconds=1)
    until(lambda: app.now() > end, "the certificate to expire")
    return credential


def old_protocol(address: Address) -> None:
    context = ssl._create_unverified_context()  # pyright: ignore[reportPrivateUsage]  # any server will do
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((address.host, address.port), 10) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)


def odd_group(address: Address) -> None:
    context = ssl._create_unverified_context()  # pyright: ignore[reportPrivateUsage]
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_ecdh_curve("secp521r1")
    with socket.create_connection((address.host, address.port), 10) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)


STRANGERS = {
    "plain HTTP": Stranger("plaintext", "somebody at 127.0.0.1", lambda _, at: _say(at, b"GET / HTTP/1.1\r\n\r\n")),
    "plain words": Stranger("plaintext", "somebody at 127.0.0.1", lambda _, at: _say(at, b"hello, database\n")),
    "no certificate": Stranger("no-certificate", "somebody at 127.0.0.1", lambda _, at: refused(at, None)),
    "a service that may not call": Stranger(
        "wrong-identity", "spiffe://shop.internal/demo/web", lambda shop, at: refused(at, mint(shop, "web"))
    ),
    "an expired certificate": Stranger("expired", API, lambda shop, at: refused(at, expired(shop))),
    "another authority, another name": Stranger(
        "foreign-authority",
        "spiffe://elsewhere.example/prod/api",
        lambda _, at: refused(at, CA().issue(uri="spiffe://elsewhere.example/prod/api").credential),
    ),
    "another authority, the right name": Stranger(
        "foreign-authority", API, lambda _, at: refused(at, CA().issue(uri=API).credential)
    ),
    "an intermediate that nobody knows": Stranger(
        "foreign-authority", API, lambda _, at: refused(at, CA("sub", parent=CA()).issue(uri=API).credential)
    ),
    "TLS 1.2": Stranger("old-protocol", "somebody at 127.0.0.1", lambda _, at: old_protocol(at)),
    "an odd key exchange": Stranger("no-common-group", "somebody at 127.0.0.1", lambda _, at: odd_group(at)),
}


def _say(address: Address, words: bytes) -> None:
    assert plaintext(address, words).closed


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_turned_away_and_everyhop_explains_why(shop: Shop, name: str) -> None:
    """The database takes api and nobody else. Each stranger is refused, and the reason is one a person can act on."""
    stranger, door = STRANGERS[name], shop.mesh_address("db")

    def counted() -> int:
        found = explained(shop)
        return sum(one.count for one in found.refused if one.code == stranger.code and stranger.who in one.who)

    before = counted()
    stranger.knock(shop, door)
    until(lambda: counted() == before + 1, f"{name} to be explained as {stranger.code}: {explained(shop).refused}")


def test_a_stranger_never_reaches_the_app(shop: Shop) -> None:
    """Forty strangers knock at the database's door. Not one makes so much as a connection to PostgreSQL itself."""

    def connections() -> int:
        (found,) = shop.admin("db", "/stats?filter=cluster.app.upstream_cx_total&format=json")["stats"]
        return int(found["value"])

    before = connections()
    for _ in range(40):
        refused(shop.mesh_address("db"), None)
    assert connections() - before < 20  # heartbeats of the api, and its own


def explained(shop: Shop) -> Explanation:
    return shop.ask(lambda store: explain(store, str(shop.data), caller="", callee="db"))


def test_the_command_line_explains_a_refused_caller(shop: Shop) -> None:
    """`everyhop explain web db`: the topology does not allow it, it was tried, and what to do about it."""
    refused(shop.mesh_address("db"), mint(shop, "web"))
    until(lambda: "spiffe://shop.internal/demo/web" in str(explained(shop).refused), "the refusal to be seen")
    found = shop.json("explain", "web", "db")
    assert not found["allowed"]
    assert "db is not under the `calls:` of web" in found["verdict"]
    assert [one["code"] for one in found["refused"] if one["who"].endswith("/web")] == ["wrong-identity"]
    assert "add it under the caller's `calls:`" in shop.run("explain", "web", "db").stdout
    assert shop.json("explain", "api", "db")["allowed"]


def test_a_right_identity_is_let_in(shop: Shop) -> None:
    """The counter-proof: with api's own identity the very same handshake is accepted, over the hybrid group."""
    answer = handshake(shop.mesh_address("db"), credential=mint(shop, "api"))
    assert (answer.usable, answer.version, answer.group) == (True, "TLSv1.3", "X25519MLKEM768")


def test_everyhops_own_probes_are_not_counted_as_refusals(shop: Shop) -> None:
    """`everyhop check` tries every door as a stranger, and passes; the list of refusals stays what it was."""
    before = sum(one.count for one in explained(shop).refused)
    shop.run("check")
    shop.run("explain", "db")
    # A later stranger is in the log behind the probes: once it was counted, they were read.
    refused(shop.mesh_address("db"), None)
    until(lambda: sum(one.count for one in explained(shop).refused) > before, "the later stranger")
    assert sum(one.count for one in explained(shop).refused) == before + 1
