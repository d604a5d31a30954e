"""The probes for certificates, client certificates and sessions, against real and hostile servers."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.fakes.pki import CA
from tests.servers.openssl import s_server

from everyhop.core.endpoint.facts import CertificateFacts, EnforcementFacts, Entrance, SessionFacts
from everyhop.core.endpoint.served import MOST_CERTIFICATES, Served
from everyhop.core.endpoint.target import Target, Wire
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.probes.certificate import CertificateProbe
from everyhop.drivers.probes.enforcement import EnforcementProbe
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.manners import Limits, Manners
from everyhop.drivers.probes.session import SessionProbe
from everyhop.drivers.probes.wire import Wire as Connection
from everyhop.errors import EveryhopError
from everyhop.ports import ClientCredential

CLOCK = SystemClock()
MANNERS = Manners(Limits(at_once=None, per_second=None, pause_first_seconds=0.0, pause_max_seconds=0.0))
ROOT = CA("root")
HANDSHAKE, CHANGE_CIPHER_SPEC = 22, b"\x14\x03\x03\x00\x01\x01"
Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


# --- hostile servers ---------------------------------------------------------------------------------------------


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes at once."""


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER of nothing: a reset
    writer.transport.abort()


async def _banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-nothing\r\n" * 3)
    await writer.drain()


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Handshake records without end: a ServerHello that never gets finished."""
    record = b"\x16\x03\x03\x40\x00" + b"\x02\xff\xff\xff" + bytes(0x3FFC)
    while True:
        writer.write(record)
        await writer.drain()


async def _slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte every now and then."""
    while True:
        writer.write(b"\x16")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"\x15\x03\x01\x00\x02\x02\x28")
    await writer.drain()


HOSTILE = (_silent, _gone, _reset, _banner, _endless, _slow, _alert)


@asynccontextmanager
async def _serving(conversation: Conversation, context: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await conversation(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(held, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Facts = CertificateFacts | EnforcementFacts | SessionFacts


async def _certificate(target: Target, timeout: float) -> Facts:
    return await CertificateProbe(CLOCK, manners=MANNERS).look(target, timeout=timeout)


async def _enforcement(target: Target, timeout: float) -> Facts:
    credential = {Entrance.GIVEN.value: ROOT.issue(uri="spiffe://a/b").credential}
    return await EnforcementProbe(CLOCK, manners=MANNERS).look(target, credential, timeout=timeout)


async def _session(target: Target, timeout: float) -> Facts:
    return await SessionProbe(CLOCK, manners=MANNERS).look(target, timeout=timeout)


@pytest.mark.parametrize("conversation", HOSTILE, ids=lambda each: each.__name__.strip("_"))
@pytest.mark.parametrize("look", [_certificate, _enforcement, _session], ids=lambda each: each.__name__.strip("_"))
@pytest.mark.parametrize("wire", [Wire.HTTP, None])
def test_a_hostile_server_teaches_nothing_and_holds_nobody_up(
    conversation: Conversation, look: Callable[[Target, float], Awaitable[Facts]], wire: Wire | None
) -> None:
    async def story() -> Facts:
        async with _serving(conversation) as port, asyncio.timeout(60):
            return await look(Target("127.0.0.1", port, server_name="web.test", wire=wire), 0.3)

    facts = asyncio.run(story())
    if isinstance(facts, CertificateFacts):
        assert (facts.usable, facts.chain) == (False, ())
        assert facts.refused
    elif isinstance(facts, EnforcementFacts):
        for entry in facts.entries:
            assert entry.accepted is None, "nobody was asked for a certificate, so none was refused"
            assert entry.evidence
    else:
        assert facts.resumes_by_psk is not True
        assert facts.compression is None
        assert facts.evidence


def test_nobody_there() -> None:
    facts = asyncio.run(_certificate(Target("127.0.0.1", 1), 1.0))
    assert isinstance(facts, CertificateFacts)
    assert facts.refused == "unreachable: connection refused"


def test_a_name_that_cannot_be_sent_is_not() -> None:
    async def story() -> None:
        context = ROOT.issue("web.test").server_context()
        async with _serving(_silent, context) as port:
            for name in ("a" * 300, "bücher.test", "..", "a b"):
                facts = await CertificateProbe(CLOCK).look(Target("127.0.0.1", port, server_name=name), timeout=5)
                assert facts.chain, name

    asyncio.run(story())


# --- certificates ------------------------------------------------------------------------------------------------


def test_a_long_chain_is_brought_home_and_read_to_a_bound(tmp_path: Path) -> None:
    leaf = ROOT.issue("web.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with leaf.files() as (chain, key):
        chain.write_bytes(leaf.chain_pem + ROOT.pem * 200)
        context.load_cert_chain(chain, key)

    async def story() -> CertificateFacts:
        async with _serving(_silent, context) as port:
            return await CertificateProbe(CLOCK).look(Target("127.0.0.1", port), timeout=10)

    facts = asyncio.run(story())
    assert len(facts.chain) == 201 or facts.refused  # OpenSSL may refuse a message of that size
    assert len(Served.of(facts).chain) <= MOST_CERTIFICATES


def test_what_comes_before_tls_is_said(tmp_path: Path) -> None:
    """The probe gets through a protocol's own upgrade, and a refusal of it has the server's words."""

    async def upgrade(wire: Connection) -> None:
        await wire.send(b"please\n")
        answer = await wire.receive()
        if answer != b"go\n":
            raise UpgradeRefused(answer.decode().strip())

    context = ROOT.issue("db.test").server_context()

    async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"please\n"
        writer.write(b"go\n")
        await writer.drain()
        await writer.start_tls(context)
        await reader.read()

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"certainly not\n")
        await reader.read()

    async def story(conversation: Conversation) -> CertificateFacts:
        async with _serving(conversation) as port:
            return await CertificateProbe(CLOCK).look(Target("127.0.0.1", port), upgrade=upgrade, timeout=5)

    assert len(asyncio.run(story(polite)).chain) == 1
    refused = asyncio.run(story(rude))
    assert (refused.chain, refused.refused) == ((), "not tls: certainly not")


def test_a_certificate_that_a_client_is_asked_for_does_not_hide_the_servers(tmp_path: Path) -> None:
    with s_server(tmp_path, "-Verify", "1") as port:
        facts = asyncio.run(CertificateProbe(CLOCK).look(Target("127.0.0.1", port), timeout=10))
    assert facts.chain
    assert (facts.usable, facts.refused) == (False, "alert certificate required")


def test_a_credential_that_is_none_is_the_callers_mistake() -> None:
    with pytest.raises(EveryhopError, match="credential"):
        asyncio.run(CertificateProbe(CLOCK).look(Target("127.0.0.1", 1), credential=ClientCredential(b"", b"")))


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"])
def test_a_chain_is_seen_whatever_the_version(version: str, tmp_path: Path) -> None:
    with s_server(tmp_path, version, "-cipher", "ALL:eNULL@SECLEVEL=0") as port:
        facts = asyncio.run(CertificateProbe(CLOCK).look(Target("127.0.0.1", port, wire=Wire.TLS), timeout=10))
    assert facts.usable
    assert facts.chain
    assert facts.version == "TLSv1" + version.removeprefix("-tls1").replace("_", ".")


# --- sessions ----------------------------------------------------------------------------------------------------


def test_sessions_of_openssl(tmp_path: Path) -> None:
    with s_server(tmp_path, "-client_renegotiation") as port:
        facts = asyncio.run(SessionProbe(CLOCK).look(Target("127.0.0.1", port, wire=Wire.TLS), timeout=10))
    assert (facts.resumes_by_id, facts.resumes_by_ticket, facts.resumes_by_psk) == (True, True, True)
    assert facts.ticket_lifetime_seconds == 7200
    assert facts.accepts_early_data is False
    assert (facts.client_renegotiation, facts.secure_renegotiation) == (True, True)
    assert (facts.compression, facts.fallback_scsv) == (False, True)


def test_a_server_without_tickets_and_cache(tmp_path: Path) -> None:
    with s_server(tmp_path, "-no_ticket", "-no_cache", "-num_tickets", "0") as port:
        facts = asyncio.run(SessionProbe(CLOCK).look(Target("127.0.0.1", port, wire=Wire.TLS), timeout=10))
    assert (facts.resumes_by_id, facts.resumes_by_ticket) == (False, False)
    assert facts.resumes_by_psk is None, "it might give one after data, and nobody knows what to say to it"
    assert facts.accepts_early_data is None


def test_only_tls13(tmp_path: Path) -> None:
    with s_server(tmp_path, "-tls1_3") as port:
        facts = asyncio.run(SessionProbe(CLOCK).look(Target("127.0.0.1", port, wire=Wire.TLS), timeout=10))
    assert (facts.resumes_by_id, facts.resumes_by_ticket, facts.resumes_by_psk) == (False, False, True)
    assert (facts.client_renegotiation, facts.compression, facts.secure_renegotiation) == (False, False, True)


def test_renegotiation_that_is_declined_and_one_that_nobody_answers(tmp_path: Path) -> None:
    """A server that takes up the second handshake and then stalls has declined nothing."""

    async def story(port: int) -> SessionFacts:
        async def stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Hands everything on until the handshake is over, and then no further handshake message."""
            behind, to = await asyncio.open_connection("127.0.0.1", port)
            finished = False

            async def back() -> None:
                while data := await behind.read(1 << 14):
                    writer.write(data)

            answering = asyncio.ensure_future(back())
            try:
                while data := await reader.read(1 << 14):
                    if finished and data[0] == HANDSHAKE:
                        await reader.read()
                        return
                    finished = finished or CHANGE_CIPHER_SPEC in data
                    to.write(data)
            finally:
                answering.cancel()
                to.transport.abort()

        async with _serving(stalling) as front:
            target = Target("127.0.0.1", front, wire=Wire.TLS)
            return await SessionProbe(CLOCK, manners=MANNERS).look(target, timeout=1.0)

    with s_server(tmp_path, "-tls1_2") as port:
        declined = asyncio.run(SessionProbe(CLOCK).look(Target("127.0.0.1", port, wire=Wire.TLS), timeout=10))
    assert declined.client_renegotiation is False
    with s_server(tmp_path, "-tls1_2", "-client_renegotiation") as port:
        stalled = asyncio.run(story(port))
    assert stalled.client_renegotiation is None
    assert dict(stalled.evidence)["client_renegotiation"] == "timeout"
