"""The classifier against fakes of what Debian has not, and against hostile servers: bounded, and never an exception."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.servers.amqp import amqp
from tests.servers.cassandra import cassandra
from tests.servers.certificates import certificates
from tests.servers.conversation import Reader, Served, Talk, Writer, closed_port, either, serving, until_end
from tests.servers.kafka import kafka
from tests.servers.mongodb import mongodb
from tests.servers.nats import nats
from tests.servers.xmpp import xmpp

from everyhop.core.endpoint.facts import Encryption, PlainFacts
from everyhop.core.endpoint.target import Target, Wire
from everyhop.drivers.probes.manners import Limits, Manners
from everyhop.drivers.probes.plain import PlainProbe
from everyhop.drivers.probes.upgrade import UPGRADES
from everyhop.drivers.probes.wires import ALL, UNKNOWN, WIRES

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TLS = certificates().rsa.server_context()


class FixedClock:
    def now(self) -> datetime:
        return NOW


def probe() -> PlainProbe:
    """A fresh one for each look: what one server did is not held against another on the same port."""
    return PlainProbe(FixedClock(), manners=Manners(Limits(pause_first_seconds=0.01, pause_max_seconds=0.01)))


def look(
    talk: Talk, wire: Wire | None = None, *, tls_first: bool | None = None, secured: bool = False, timeout: float = 4.0
) -> tuple[PlainFacts, Served]:
    async def story() -> tuple[PlainFacts, Served]:
        async with serving(talk, tls=TLS if secured else None) as served:
            target = Target("127.0.0.1", served.port, server_name="probe.test", wire=wire, tls_first=tls_first)
            return await probe().look(target, timeout=timeout), served

    return asyncio.run(story())


def test_every_wire_has_words() -> None:
    assert {words.wire for words in ALL} == set(Wire) - {Wire.TLS}
    assert all(words in ALL for words in UNKNOWN)
    assert all(WIRES[wire] for wire in Wire if wire is not Wire.TLS)
    assert set(UPGRADES) <= set(WIRES)


# --- fakes ------------------------------------------------------------------------------------------------------


async def ssh(reader: Reader, writer: Writer) -> None:
    writer.write(b"please be kind\r\nSSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    await reader.read()


async def http2(reader: Reader, writer: Writer) -> None:
    """An HTTP/2 server that knows no HTTP/1, as gRPC's are."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    writer.write(bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]))
    if (await reader.readexactly(len(preface))) == preface:
        await reader.read()


async def picky(reader: Reader, writer: Writer) -> None:
    """HTTP/1.1 that wants a Host, as the standard does."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = b"200 OK" if b"\r\nhost:" in head.lower() else b"400 Bad Request"
    writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno")
    await reader.read()


CLEAR: list[tuple[Talk, Wire, str]] = [
    (kafka, Wire.KAFKA, "ApiVersions response of 28 bytes"),
    (mongodb, Wire.MONGODB, "reply to hello of 58 bytes"),
    (cassandra, Wire.CASSANDRA, "SUPPORTED in protocol v4"),
    (amqp, Wire.AMQP, "connection.start"),
    (nats(tls=TLS), Wire.NATS, "INFO without tls_required or tls_available"),
    (xmpp(offered=False, tls=TLS), Wire.XMPP, "features without starttls"),
    (picky, Wire.HTTP, "HTTP/1.1 200 OK"),
    (http2, Wire.HTTP, "HTTP/2 SETTINGS in the clear (h2c)"),
]


@pytest.mark.parametrize(
    ("talk", "wire", "evidence"), CLEAR, ids=[f"{wire}-{n}" for n, (_, wire, _) in enumerate(CLEAR)]
)
@pytest.mark.parametrize("known", [True, False])
def test_in_the_clear(talk: Talk, wire: Wire, evidence: str, known: bool) -> None:
    seen, _ = look(talk, wire if known else None)
    assert (seen.encryption, seen.wire) == (Encryption.PLAINTEXT, wire), seen.evidence
    assert seen.evidence.startswith(evidence)


@pytest.mark.parametrize(
    ("talk", "wire"), [(kafka, Wire.KAFKA), (mongodb, Wire.MONGODB), (amqp, Wire.AMQP), (picky, Wire.HTTP)]
)
@pytest.mark.parametrize("tls_first", [True, False, None])
def test_the_same_behind_tls(talk: Talk, wire: Wire, tls_first: bool | None) -> None:
    seen, _ = look(talk, wire, tls_first=tls_first, secured=True)
    assert (seen.encryption, seen.wire) == (Encryption.TLS, wire), seen.evidence
    assert seen.evidence.startswith("ServerHello; in the clear: ")


@pytest.mark.parametrize(("talk", "wire"), [(mongodb, Wire.MONGODB), (cassandra, Wire.CASSANDRA), (picky, Wire.HTTP)])
@pytest.mark.parametrize("known", [True, False])
def test_tls_and_plaintext_on_one_port_count_as_plaintext(talk: Talk, wire: Wire, known: bool) -> None:
    async def story() -> PlainFacts:
        async with serving(talk) as plain, serving(talk, tls=TLS) as tls, either(plain.port, tls.port) as port:
            return await probe().look(Target("127.0.0.1", port, wire=wire if known else None), timeout=4)

    seen = asyncio.run(story())
    assert (seen.encryption, seen.wire) == (Encryption.UPGRADE_OFFERED, wire), seen.evidence
    assert seen.evidence.startswith("ServerHello; in the clear: ")


@pytest.mark.parametrize("wire", [Wire.SSH, None])
def test_ssh_has_its_own_encryption_and_hears_our_name(wire: Wire | None) -> None:
    async def story() -> PlainFacts:
        async with serving(ssh) as served, asyncio.timeout(20):
            seen = await probe().look(Target("127.0.0.1", served.port, wire=wire))
            while served.received[-1] != b"SSH-2.0-everyhop\r\n":
                await asyncio.sleep(0.01)
            return seen

    seen = asyncio.run(story())
    assert (seen.encryption, seen.wire) == (Encryption.OWN, Wire.SSH)
    assert seen.evidence == "SSH-2.0-OpenSSH_9.2p1 Debian-2"


@pytest.mark.parametrize("wire", [Wire.NATS, None])
@pytest.mark.parametrize(
    ("talk", "encryption", "evidence"),
    [
        (nats(available=True, tls=TLS), Encryption.UPGRADE_OFFERED, "PING in the clear: PONG"),
        (nats(required=True, tls=TLS), Encryption.UPGRADE_REQUIRED, "PING in the clear: -ERR 'Secure Connection"),
        (nats(required=True, says_why=False, tls=TLS), Encryption.UPGRADE_REQUIRED, "tls_required; PING in the clear"),
    ],
)
def test_nats(talk: Talk, wire: Wire | None, encryption: Encryption, evidence: str) -> None:
    seen, _ = look(talk, wire)
    assert (seen.encryption, seen.wire) == (encryption, Wire.NATS), seen.evidence
    assert seen.evidence.startswith(evidence)


@pytest.mark.parametrize("wire", [Wire.XMPP, None])
@pytest.mark.parametrize(
    ("talk", "encryption", "evidence"),
    [
        (xmpp(tls=TLS), Encryption.UPGRADE_OFFERED, "auth before starttls: <challenge"),
        (xmpp(required=True, tls=TLS), Encryption.UPGRADE_REQUIRED, "auth before starttls: "),
        (xmpp(required=True, silent=True, tls=TLS), Encryption.UPGRADE_REQUIRED, "auth before starttls: closed"),
    ],
)
def test_xmpp(talk: Talk, wire: Wire | None, encryption: Encryption, evidence: str) -> None:
    seen, _ = look(talk, wire)
    assert (seen.encryption, seen.wire) == (encryption, Wire.XMPP), seen.evidence
    assert seen.evidence.startswith(evidence)


def test_a_submission_server_behind_another_name_for_refusal() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        writer.write(b"220-first line\r\n220 second\r\n")
        while line := await reader.readline():
            answer = {b"EHLO": b"250-mail\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n", b"MAIL": b"451 later\r\n"}
            writer.write(answer.get(line[:4], b"221 bye\r\n"))

    seen, _ = look(talk, Wire.SMTP)
    assert (seen.encryption, seen.evidence) == (Encryption.UNKNOWN, "MAIL before STARTTLS: 451 later"), "not a refusal"


def error(state: bytes, line: bytes) -> bytes:
    fields = b"SFATAL\0C" + state + b"\0Mno\0L" + line + b"\0\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


@pytest.mark.parametrize(
    ("with_tls", "without", "encryption"),
    [
        (b"R\x00\x00\x00\x08\x00\x00\x00\x0a", error(b"28000", b"544"), Encryption.UPGRADE_REQUIRED),
        (error(b"28000", b"600"), error(b"28000", b"544"), Encryption.UPGRADE_REQUIRED),
        (error(b"28000", b"544"), error(b"28000", b"544"), Encryption.UNKNOWN),
        # It has just started up in between, or was full: that says nothing about TLS.
        (error(b"57P03", b"2300"), error(b"28000", b"544"), Encryption.UNKNOWN),
        (b"R\x00\x00\x00\x08\x00\x00\x00\x0a", error(b"53300", b"300"), Encryption.UNKNOWN),
        (error(b"57P03", b"2300"), b"R\x00\x00\x00\x08\x00\x00\x00\x0a", Encryption.UPGRADE_OFFERED),
        (b"", error(b"28000", b"544"), Encryption.UNKNOWN),
    ],
)
def test_what_two_answers_of_postgresql_prove(with_tls: bytes, without: bytes, encryption: Encryption) -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big")
        if size == 8:
            await reader.readexactly(4)
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(TLS)
            await reader.readexactly(4)
            writer.write(with_tls)
        else:
            writer.write(without)

    seen, _ = look(talk, Wire.POSTGRESQL)
    assert (seen.encryption, seen.wire) == (encryption, Wire.POSTGRESQL), seen.evidence


# --- HTTP that says one thing and serves another ------------------------------------------------------------------


def site(front: bytes, otherwise: bytes) -> Talk:
    """The same answer to ``/`` whoever asks, and another to every other path."""

    async def talk(reader: Reader, writer: Writer) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        writer.write(front if path == b"/" else otherwise)

    return talk


PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npayroll"
ON = b"HTTP/1.1 301 Moved\r\nLocation: https://probe.test/\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("front", "otherwise", "encryption"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\nforbidden; docs at https://docs.test/", PAGE, Encryption.UPGRADE_OFFERED),
        (b"HTTP/1.1 400 Bad Request\r\n\r\nno TLS, no SSL, no https", PAGE, Encryption.UPGRADE_OFFERED),
        (b"HTTP/1.1 302 Found\r\nLocation: https://login.test/sso\r\n\r\n", PAGE, Encryption.UPGRADE_OFFERED),
        (ON, PAGE, Encryption.UPGRADE_OFFERED),
        (b"HTTP/1.1 426 Upgrade Required\r\n\r\n", PAGE, Encryption.UPGRADE_OFFERED),
        (ON, ON, Encryption.TLS),
        (ON, b"", Encryption.UNKNOWN),
        (b"HTTP/1.1 426 Upgrade Required\r\n\r\n", b"HTTP/1.1 426 Upgrade Required\r\n\r\n", Encryption.TLS),
        (b"HTTP/1.1 400 No\r\n\r\nThe plain HTTP request was sent to HTTPS port", PAGE, Encryption.TLS),
        (b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", PAGE, Encryption.TLS),
    ],
)
@pytest.mark.parametrize(("wire", "tls_first"), [(Wire.HTTP, True), (Wire.HTTP, False), (None, None)])
def test_plaintext_beside_tls_is_not_refused_by_one_page(
    front: bytes, otherwise: bytes, encryption: Encryption, wire: Wire | None, tls_first: bool | None
) -> None:
    async def story() -> PlainFacts:
        async with (
            serving(site(front, otherwise)) as plain,
            serving(site(PAGE, PAGE), tls=TLS) as secured,
            either(plain.port, secured.port) as port,
        ):
            target = Target("127.0.0.1", port, server_name="probe.test", wire=wire, tls_first=tls_first)
            return await probe().look(target, timeout=4)

    seen = asyncio.run(story())
    assert (seen.encryption, seen.wire) == (encryption, Wire.HTTP), seen.evidence


def test_a_server_that_answers_to_nonsense_with_a_bare_page_speaks_http() -> None:
    """Python's own: to what is no request, an error page without a head, as HTTP/0.9 had it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            seen = asyncio.run(probe().look(Target("127.0.0.1", server.server_port), timeout=4))
        finally:
            server.shutdown()
            thread.join()
    assert (seen.encryption, seen.wire, seen.evidence) == (Encryption.PLAINTEXT, Wire.HTTP, "HTTP/1.0 200 OK")


def lines(answer: bytes) -> Talk:
    """Answers to a line of text, and to nothing else."""

    async def talk(reader: Reader, writer: Writer) -> None:
        data = await reader.read(1 << 14)
        if data.startswith(b"GET "):
            writer.write(answer)
        await reader.read()

    return talk


@pytest.mark.parametrize(
    ("answer", "encryption"),
    [
        (b"what do you mean?\r\n", Encryption.PLAINTEXT),
        (b"please use STARTTLS\r\n", Encryption.UNKNOWN),
        (b"what do you mean", Encryption.UNKNOWN),
        (b"\xff\xfe\x00\r\n", Encryption.UNKNOWN),
    ],
)
def test_a_line_for_a_line_is_plaintext_whatever_it_says(answer: bytes, encryption: Encryption) -> None:
    seen, _ = look(lines(answer), timeout=1.5)
    assert (seen.encryption, seen.wire) == (encryption, None), seen.evidence


# --- etiquette --------------------------------------------------------------------------------------------------


def test_who_is_known_is_asked_in_its_own_words_first() -> None:
    for wire in (Wire.POSTGRESQL, Wire.REDIS, Wire.MQTT, Wire.LDAP, Wire.KAFKA, Wire.AMQP):
        _, served = look(until_end, wire, timeout=0.5)
        assert served.received[0][:1] != b"\x16", wire
        assert any(first[:1] == b"\x16" for first in served.received[1:]), "and TLS after that"


@pytest.mark.parametrize("wire", [None, *Wire])
@pytest.mark.parametrize("tls_first", [True, False])
def test_nobody_hears_host_who_has_not_spoken_http(wire: Wire | None, tls_first: bool) -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        if await reader.read(1000):
            writer.write(b"-ERR unknown command\r\n")

    _, served = look(talk, wire, tls_first=tls_first, timeout=0.4)
    assert b"host:" not in served.all.lower()
    assert b"POST" not in served.all
    assert len(served.received) <= 16


@pytest.mark.parametrize("wire", list(Wire))
def test_no_password_is_sent_but_to_ldap(wire: Wire) -> None:
    """Whatever a look says names everyhop, and nobody else; the made-up password of LDAP is the same word."""
    _, served = look(until_end, wire, timeout=0.4)
    assert b"PASS" not in served.all
    assert b"LOGIN" not in served.all


# --- nobody, or nobody nice -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", [None, Wire.HTTP, Wire.POSTGRESQL])
def test_a_closed_port(wire: Wire | None) -> None:
    target = Target("127.0.0.1", closed_port(), wire=wire)
    seen = asyncio.run(probe().look(target))
    assert (seen.encryption, seen.wire, seen.connections) == (Encryption.CLOSED, wire, 1)
    assert seen.evidence == "unreachable: connection refused"


def test_no_such_host() -> None:
    seen = asyncio.run(probe().look(Target("no-such-host.invalid", 443)))
    assert seen.encryption is Encryption.UNKNOWN
    assert seen.evidence.startswith("unreachable: ")


@pytest.mark.parametrize("wire", [None, Wire.HTTP, Wire.SMTP])
def test_a_silent_port(wire: Wire | None) -> None:
    started = time.monotonic()
    seen, _ = look(until_end, wire, timeout=1.0)
    assert (seen.encryption, seen.evidence) == (Encryption.SILENT, "timeout")
    assert time.monotonic() - started < 20


async def reset(reader: Reader, writer: Writer) -> None:
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset_at_once(_: Reader, writer: Writer) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("talk", [reset, reset_at_once])
@pytest.mark.parametrize("wire", [None, Wire.POSTGRESQL, Wire.HTTP])
def test_who_resets_again_and_again_is_left_alone(talk: Talk, wire: Wire | None) -> None:
    seen, served = look(talk, wire)
    assert (seen.encryption, seen.wire) == (Encryption.UNKNOWN, wire)
    assert seen.evidence == "reset 5 times in a row"
    assert len(served.received) == seen.connections == 5


def flood(piece: bytes) -> Talk:
    async def talk(_: Reader, writer: Writer) -> None:
        while True:
            writer.write(piece * 50)
            await writer.drain()

    return talk


def drip(piece: bytes) -> Talk:
    async def talk(_: Reader, writer: Writer) -> None:
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)

    return talk


def once(answer: bytes) -> Talk:
    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.read(1)
        writer.write(answer)
        await reader.read()

    return talk


HOSTILE: dict[str, Callable[[], Talk]] = {
    "endless banner": lambda: flood(b"220-" + b"x" * 1000 + b"\r\n"),
    "endless line": lambda: flood(b"x" * 1000),
    "endless zeros": lambda: flood(bytes(1000)),
    "endless greeting": lambda: flood(b"* OK hello\r\n"),
    "endless stream": lambda: flood(b"<stream:stream>" * 50),
    "slow loris": lambda: drip(b"2"),
    "slow lines": lambda: drip(b"* OK\r\n"),
    "garbage": lambda: once(b"\xff\xfe\x00garbage\r\n"),
    "almost tls": lambda: once(b"\x16\x03\x03\xff\xff\x02"),
    "almost mysql": lambda: once(b"\x05\x00\x00\x00\x0aabc\x00"),
    "a greedy packet": lambda: once(b"\xff\xff\xff\x00\x0a"),
    "almost ldap": lambda: once(b"\x30\x84\xff\xff\xff\xff"),
    "almost nats": lambda: once(b"INFO {" + b"[" * 5000 + b"\r\n"),
    "almost http": lambda: once(b"HTTP/1.1 xyz\r\n\r\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("wire", [None, Wire.SMTP, Wire.IMAP, Wire.POSTGRESQL, Wire.MYSQL, Wire.XMPP, Wire.HTTP])
def test_hostile_servers(name: str, wire: Wire | None) -> None:
    started = time.monotonic()
    seen, _ = look(HOSTILE[name](), wire, timeout=0.6)
    assert seen.encryption in {Encryption.UNKNOWN, Encryption.SILENT}, seen.evidence
    assert seen.evidence, "unknown has a reason"
    assert len(seen.evidence) < 400
    assert seen.evidence.isprintable()
    assert time.monotonic() - started < 20


@settings(max_examples=40, deadline=None)
@given(
    answer=st.binary(max_size=300),
    wire=st.sampled_from([None, *Wire]),
    prefix=st.sampled_from(
        [
            b"",
            b"220 ",
            b"+OK",
            b"* OK ",
            b"INFO {",
            b"<stream:",
            b"HTTP/1.1 200",
            b"\x30\x0c\x02\x01\x01",
            b"\x4a\0\0\0\x0a",
            b"N",
            b"E",
        ]
    ),
)
def test_no_answer_raises(answer: bytes, wire: Wire | None, prefix: bytes) -> None:
    async def talk(_: Reader, writer: Writer) -> None:
        writer.write(prefix + answer)

    seen, _ = look(talk, wire, timeout=2.0)
    assert seen.evidence.isprintable()
