"""The prober against servers of every kind: honest ones of three libraries, and hostile ones."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from tests.fakes.pki import CA, Issued

from everyhop.core.hop import Address
from everyhop.drivers.probes.tls import LIMIT, WireProber
from everyhop.errors import EveryhopError
from everyhop.ports import ClientCredential, Handshake

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LONG = 30.0
"""Seconds for what answers by itself: never waited for."""
SHORT = 0.3
"""Seconds for what never answers."""

ROOT = CA()
ISSUER = CA("test intermediate", parent=ROOT)
SERVER = ISSUER.issue("db.test", uri="spiffe://acme.test/prod/db")
CLIENT = ISSUER.issue(uri="spiffe://acme.test/prod/web")
STRANGER = CA("another root").issue(uri="spiffe://acme.test/prod/web")

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FixedClock:
    def now(self) -> datetime:
        return NOW


PROBER = WireProber(FixedClock())


@asynccontextmanager
async def serving(talk: Talk, *, tls: ssl.SSLContext | None = None, path: str = "") -> AsyncGenerator[Address]:
    """A server on a free loopback port or a Unix socket; its conversations end with it."""
    talks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            with suppress(OSError, ssl.SSLError):
                await talk(reader, writer)
        except asyncio.CancelledError:
            pass  # the server ends: asyncio would report a cancelled conversation as a fault
        finally:
            writer.transport.abort()
            talks.discard(task)

    if path:
        server = await asyncio.start_unix_server(one, path, ssl=tls)
        address = Address(path=path)
    else:
        server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield address
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@asynccontextmanager
async def threads_serving(serve: Callable[[socket.socket], None]) -> AsyncGenerator[Address]:
    """A blocking server: each connection in a thread of its own, closed when ``serve`` is done with it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        def one(connection: socket.socket) -> None:
            connection.setblocking(True)
            with connection, suppress(OSError, SSL.Error):
                serve(connection)

        async def accept() -> None:
            async with asyncio.TaskGroup() as group:
                while True:
                    connection, _ = await asyncio.get_running_loop().sock_accept(listening)
                    group.create_task(asyncio.to_thread(one, connection))

        accepting = asyncio.create_task(accept())
        try:
            yield Address("127.0.0.1", listening.getsockname()[1])
        finally:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)


def pyopenssl_server(context: SSL.Context) -> Callable[[socket.socket], None]:
    """Shakes hands, answers ``close_notify`` with ``close_notify``, and closes."""

    def serve(connection: socket.socket) -> None:
        tls = SSL.Connection(context, connection)
        tls.set_accept_state()
        tls.do_handshake()
        with suppress(SSL.ZeroReturnError):
            tls.recv(1)
        tls.shutdown()

    return serve


async def read_to_end(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """What an application does with a connection on which nothing is asked."""
    while await reader.read(1000):
        pass


async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def probe(talk: Talk, *, tls: ssl.SSLContext | None = None, timeout: float = LONG) -> Handshake:
    async def story() -> Handshake:
        async with serving(talk, tls=tls) as address:
            return await PROBER.handshake(address, timeout=timeout)

    return asyncio.run(story())


def probe_threads(serve: Callable[[socket.socket], None], credential: Issued | None = None) -> Handshake:
    async def story() -> Handshake:
        async with threads_serving(serve) as address:
            shown = credential.credential if credential else None
            return await PROBER.handshake(address, credential=shown, timeout=LONG)

    return asyncio.run(story())


# --- honest servers -------------------------------------------------------------------------------------------


def test_all_facts_of_a_tls13_server_are_reported() -> None:
    context = SERVER.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    async def story() -> Handshake:
        async with serving(read_to_end, tls=context) as address:
            return await PROBER.handshake(address, server_name="db.test", alpn=("http/1.1", "h2"), timeout=LONG)

    seen = asyncio.run(story())
    assert (seen.usable, seen.refused, seen.version, seen.resumed, seen.at) == (True, "", "TLSv1.3", False, NOW)
    assert seen.cipher in {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"}
    assert seen.alpn == "h2"
    assert names == ["db.test"]
    assert seen.group in {"X25519", "X25519MLKEM768"}, "by the age of the Python interpreter's OpenSSL"
    assert seen.chain == (SERVER.der, ISSUER.certificate.public_bytes(Encoding.DER))
    assert seen.serial == SERVER.certificate.serial_number
    assert 0 < seen.handshake_seconds < LONG


def test_a_post_quantum_group_is_named() -> None:
    seen = probe_threads(pyopenssl_server(SERVER.pyopenssl_context()))
    assert (seen.usable, seen.group) == (True, "X25519MLKEM768")


@pytest.mark.parametrize("curve", ["P-256", "P-384", "X25519"])
def test_groups_have_the_names_that_envoy_uses(curve: str) -> None:
    context = SERVER.server_context()
    context.set_ecdh_curve({"P-256": "prime256v1", "P-384": "secp384r1"}.get(curve, curve))
    assert probe(read_to_end, tls=context).group == curve


def test_tls12_is_reported_as_such() -> None:
    context = SERVER.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    seen = probe(silent, tls=context)
    assert (seen.usable, seen.version, seen.cipher) == (True, "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
    assert seen.group == "X25519"


def test_an_older_server_is_refused_with_its_own_alert() -> None:
    context = SERVER.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    def serve(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True).close()

    seen = probe_threads(serve)
    assert (seen.usable, seen.refused, seen.chain) == (False, "alert protocol version", ())


def test_a_unix_socket_is_probed_alike(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(read_to_end, tls=SERVER.server_context(), path=str(tmp_path / "s")) as address:
            seen = await PROBER.handshake(address, timeout=LONG)
            assert (seen.usable, seen.serial) == (True, SERVER.certificate.serial_number)

    asyncio.run(story())


def test_a_name_is_resolved_and_an_ip_address_is_not_sent_as_a_name() -> None:
    names: list[str | None] = []
    context = SERVER.server_context()
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    async def story() -> None:
        async with serving(read_to_end, tls=context) as address:
            named = Address("localhost", address.port)
            assert (await PROBER.handshake(named, server_name="127.0.0.1", timeout=LONG)).usable

    asyncio.run(story())
    assert names == [None]


# --- client certificates: usable needs proof ------------------------------------------------------------------


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
@pytest.mark.parametrize(
    ("shown", "refused"),
    [
        (CLIENT, ""),
        (None, "alert certificate required"),
        (STRANGER, "alert unknown ca"),
        (ISSUER.issue(not_after=datetime(2021, 1, 1, tzinfo=UTC)), "alert certificate expired"),
    ],
)
def test_a_server_that_requires_a_certificate(version: int, shown: Issued | None, refused: str) -> None:
    context = SERVER.pyopenssl_context(clients=ROOT)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    seen = probe_threads(pyopenssl_server(context), shown)
    if version == SSL.TLS1_2_VERSION and shown is None:
        refused = "alert handshake failure"  # TLS 1.2 has no alert of its own for this (RFC 5246, 7.4.6)
    assert (seen.usable, seen.refused) == (not refused, refused)
    assert seen.serial == SERVER.certificate.serial_number, "what was seen before the refusal is kept"
    assert seen.version == {SSL.TLS1_2_VERSION: "TLSv1.2", SSL.TLS1_3_VERSION: "TLSv1.3"}[version]


@pytest.mark.parametrize("shown", [CLIENT, None, STRANGER])
def test_pythons_asyncio_server_refuses_by_hanging_up(shown: Issued | None) -> None:
    async def story() -> Handshake:
        # asyncio drops the connection before its alert is out: an end without a word must not pass for consent.
        async with serving(read_to_end, tls=SERVER.server_context(clients=ROOT)) as address:
            return await PROBER.handshake(address, credential=shown.credential if shown else None, timeout=LONG)

    seen = asyncio.run(story())
    assert seen.usable == (shown is CLIENT)
    assert seen.refused in ({""} if shown is CLIENT else {"closed", "reset"})


def test_an_rsa_credential_is_shown_as_well() -> None:
    client = ISSUER.issue(key=rsa.generate_private_key(65537, 2048))
    assert probe_threads(pyopenssl_server(SERVER.pyopenssl_context(clients=ROOT)), client).usable


def test_silence_after_the_handshake_is_no_consent() -> None:
    context = SERVER.server_context(clients=ROOT)

    async def story() -> Handshake:
        async with threads_serving(keep_silent) as address:
            return await PROBER.handshake(address, credential=CLIENT.credential, timeout=1.0)

    def keep_silent(connection: socket.socket) -> None:
        tls = context.wrap_socket(connection.dup(), server_side=True)  # no tickets, no answer to close_notify
        tls.detach()
        while connection.recv(1000):
            pass

    seen = asyncio.run(story())
    assert (seen.usable, seen.refused) == (False, "timeout")
    assert seen.serial == SERVER.certificate.serial_number


@pytest.mark.parametrize("tickets", [0, 1, 2])
def test_a_ticket_proves_what_a_bare_end_does_not(tickets: int) -> None:
    context = SERVER.server_context()
    context.num_tickets = tickets

    def hang_up_without_close_notify(connection: socket.socket) -> None:
        tls = context.wrap_socket(connection, server_side=True)
        assert tls.recv(1) == b""
        tls.close()

    seen = probe_threads(hang_up_without_close_notify)
    assert (seen.usable, seen.refused) == ((True, "") if tickets else (False, "closed"))


def test_a_server_that_speaks_first_has_accepted() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 welcome\r\n")
        await asyncio.Event().wait()

    context = SERVER.server_context()
    context.num_tickets = 0
    seen = probe(greet, tls=context)
    assert seen.usable


# --- hostile servers ------------------------------------------------------------------------------------------

ALERT = b"\x15\x03\x03\x00\x02\x02"


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not tls"),
        (b"\x16\x03\x03\xff\xff" + b"x" * 1000, "not tls"),
        (ALERT + bytes([40]), "alert handshake failure"),
        (ALERT + bytes([112]), "alert unrecognized name"),
        (ALERT + bytes([250]), "alert 250"),
        (b"\x15\x03\x03\x00\x02\x01\x00", "alert close notify"),
        (b"", "closed"),
    ],
)
def test_an_answer_that_is_no_handshake(answer: bytes, refused: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.write(answer)
        writer.write_eof()
        await reader.read()

    seen = probe(talk)
    assert not seen.usable
    assert seen.refused.startswith(refused)
    assert (seen.version, seen.cipher, seen.group, seen.chain, seen.serial) == ("", "", "", (), None)


def test_a_silent_server_runs_into_the_time_limit() -> None:
    seen = probe(silent, timeout=SHORT)
    assert (seen.usable, seen.refused) == (False, "timeout")


def test_a_slow_server_runs_into_the_time_limit() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"\x16\x03\x03\x40\x00" + bytes(16384):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)

    assert probe(drip, timeout=SHORT).refused == "timeout"


def test_a_resetting_server_is_named_so() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    assert probe(reset).refused == "reset"


def test_an_alert_is_read_although_a_reset_follows_it() -> None:
    async def alert_and_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # the rest stays unread: closing then sends a reset
        writer.write(ALERT + bytes([48]))
        await writer.drain()

    assert probe(alert_and_reset).refused == "alert unknown ca"


@pytest.mark.parametrize(
    "endless",
    [
        b"\x16\x03\x03\x40\x00" + b"\x0b\xff\xff\xff" + bytes(16380),  # a certificate message of 16 MiB
        b"\x14\x03\x03\x00\x01\x01",  # ChangeCipherSpec for ever
        b"\x16\x03\x03\x00\x00",  # empty records for ever
        b"\x15\x03\x03\x00\x02\x01\x5a",  # warnings for ever
        b"garbage ",
    ],
)
def test_endless_data_ends_early(endless: bytes) -> None:
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(endless * 20)
            await writer.drain()
            sent += len(endless) * 20

    seen = probe(flood)
    assert not seen.usable
    assert seen.refused.startswith(("not tls", "too much data"))
    assert sent < 64 << 20


def test_a_handshake_larger_than_the_limit_is_cut_off() -> None:
    stuffing = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), os.urandom(90_000))
    server = CA().issue("huge.test", extra=stuffing)
    seen = probe(read_to_end, tls=server.server_context())
    assert seen.usable
    assert sum(map(len, seen.chain)) < LIMIT
    issuer = CA()
    huge = Issued(server.certificate, server.key, (issuer.issue(extra=stuffing).certificate,) * 3)
    seen = probe_threads(pyopenssl_server(huge.pyopenssl_context()))
    assert not seen.usable
    assert seen.refused.startswith(("not tls: excessive message size", "too much data"))


def test_what_cannot_be_reached_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address, reason in (
        (Address("127.0.0.1", port), "unreachable: connection refused"),
        (Address(path="/no/such/socket"), "unreachable: no such file or directory"),
        (Address("no such host", port), "unreachable: "),
    ):
        seen = asyncio.run(PROBER.handshake(address, timeout=LONG))
        assert (seen.usable, seen.refused.startswith(reason)) == (False, True), seen.refused
        assert not asyncio.run(PROBER.plaintext(address, b"x", timeout=LONG)).connected


def test_fifty_probes_at_once() -> None:
    async def story() -> list[Handshake]:
        context = SERVER.server_context()
        async with serving(read_to_end, tls=context) as good, serving(silent) as bad:
            async with asyncio.TaskGroup() as group:
                probes = [
                    group.create_task(PROBER.handshake(good if number % 2 else bad, timeout=LONG if number % 2 else 1))
                    for number in range(50)
                ]
            return [probe.result() for probe in probes]

    found = asyncio.run(story())
    assert [seen.usable for seen in found] == [False, True] * 25


@settings(max_examples=60, deadline=None, database=None)
@given(pieces=st.lists(st.binary(max_size=400), max_size=5), tls_like=st.booleans(), close=st.booleans())
def test_no_bytes_make_it_raise_or_hang(pieces: list[bytes], tls_like: bool, close: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        for piece in pieces:
            writer.write((b"\x16\x03\x03" + len(piece).to_bytes(2, "big") if tls_like else b"") + piece)
            await writer.drain()
        if not close:
            await asyncio.Event().wait()

    async def story() -> Handshake:
        async with asyncio.timeout(LONG), serving(talk) as address:
            return await PROBER.handshake(address, timeout=0.1)

    seen = asyncio.run(story())
    assert not seen.usable
    assert seen.refused


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
@settings(max_examples=40, deadline=None, database=None)
@given(place=st.integers(0, 1500), flips=st.binary(min_size=1, max_size=8))
def test_a_damaged_handshake_neither_raises_nor_hangs(place: int, flips: bytes) -> None:
    """A real server behind a wire that changes some of its bytes: deep into the handshake, where parsing is."""

    async def story() -> Handshake:
        async with serving(read_to_end, tls=PLAIN_TLS12) as real:

            async def damage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                back, forth = await asyncio.open_connection(real.host, real.port)
                try:
                    forth.write(await reader.read(10_000))
                    answer = bytearray(await back.read(10_000))
                    for offset, flip in enumerate(flips, place):
                        if offset < len(answer):
                            answer[offset] ^= flip
                    writer.write(answer)
                    forth.write(await reader.read(10_000))
                    writer.write(await back.read(10_000))
                    await writer.drain()
                finally:
                    forth.transport.abort()

            async with asyncio.timeout(LONG), serving(damage) as address:
                return await PROBER.handshake(address, timeout=0.5)

    seen = asyncio.run(story())
    assert seen.usable != bool(seen.refused)
    assert seen.serial is None or seen.serial


PLAIN_TLS12 = SERVER.server_context()
PLAIN_TLS12.maximum_version = ssl.TLSVersion.TLSv1_2  # its certificate goes in the clear and can be damaged


# --- what the caller got wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "credential",
    [
        ClientCredential(b"no pem", b"s3cret"),
        ClientCredential(CLIENT.chain_pem, b"s3cret"),
        ClientCredential(CLIENT.chain_pem, STRANGER.key_pem),
        ClientCredential(
            CLIENT.chain_pem,
            ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        ),
    ],
)
def test_a_credential_that_cannot_be_used_is_refused_without_its_key(credential: ClientCredential) -> None:
    with pytest.raises(EveryhopError) as caught:
        asyncio.run(PROBER.handshake(Address("127.0.0.1", 1), credential=credential))
    assert caught.value.code.name == "probe-failed"
    assert "s3cret" not in str(caught.value)
    assert "PRIVATE" not in repr(credential)


@pytest.mark.parametrize(("name", "alpn"), [("ünicode.test", ()), ("ok.test", ("",)), ("ok.test", ("x" * 256,))])
def test_names_that_cannot_be_sent_are_refused(name: str, alpn: tuple[str, ...]) -> None:
    with pytest.raises(EveryhopError, match="expected ASCII names"):
        asyncio.run(PROBER.handshake(Address("127.0.0.1", 1), server_name=name, alpn=alpn))


# --- plaintext ------------------------------------------------------------------------------------------------


def test_a_plaintext_answer_is_brought_back() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"you said " + await reader.readuntil(b"\n"))
        await writer.drain()

    async def story() -> None:
        async with serving(talk) as address:
            seen = await PROBER.plaintext(address, b"hello\n", timeout=LONG)
            assert (seen.connected, seen.answer, seen.closed, seen.at) == (True, b"you said hello\n", True, NOW)

    asyncio.run(story())


def test_a_tls_port_refuses_plaintext() -> None:
    async def story() -> None:
        async with serving(read_to_end, tls=SERVER.server_context()) as address:
            seen = await PROBER.plaintext(address, b"GET / HTTP/1.1\r\n\r\n", timeout=LONG)
            assert (seen.connected, seen.closed) == (True, True)
            assert b"HTTP" not in seen.answer

    asyncio.run(story())


def test_plaintext_is_bounded_in_time_and_memory() -> None:
    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async def story() -> None:
        async with serving(flood) as endless, serving(silent) as mute:
            assert len((await PROBER.plaintext(endless, b"", timeout=LONG)).answer) == 512
            seen = await PROBER.plaintext(mute, b"hello", timeout=SHORT)
            assert (seen.connected, seen.answer, seen.closed) == (True, b"", False)

    asyncio.run(story())
