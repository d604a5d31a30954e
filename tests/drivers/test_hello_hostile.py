"""Servers that mean no good, and servers that are merely old: every look ends in time, with a reasoned verdict."""

from __future__ import annotations

import asyncio
import socket
import struct
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest
from tests.drivers.test_hello import message, record, server_hello

from everyhop.core.endpoint.facts import Reply, TlsFacts
from everyhop.core.endpoint.target import Target
from everyhop.core.guidelines.registry import find
from everyhop.core.tls.versions import SSL3, TLS10, TLS12, TLS13
from everyhop.drivers.probes.enumerate import enumerate_tls
from everyhop.drivers.probes.hello.answer import LIMIT
from everyhop.drivers.probes.hello.ask import Interview, UpgradeRefused
from everyhop.drivers.probes.hello.encode import legacy
from everyhop.drivers.probes.manners import Limits, Manners
from everyhop.drivers.probes.verify import verify_tls
from everyhop.drivers.probes.wire import Wire

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SHORT = 0.3
"""Seconds for what never answers."""
LONG = 30.0
"""Seconds for what answers by itself: never waited for."""
INTERMEDIATE = find("mozilla-intermediate@6.0")
HURRIED = Limits(per_second=None, pause_first_seconds=0.001, pause_max_seconds=0.001)

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(talk: Talk) -> AsyncGenerator[Target]:
    """A server on a free loopback port; its conversations end with it."""
    talks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1], server_name="probe.test")
    finally:
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        server.close()
        await server.wait_closed()


def look(talk: Talk, mode: str = "verify", *, timeout: float = LONG) -> TlsFacts:
    async def story() -> TlsFacts:
        async with serving(talk) as target:
            interview = Interview(target, Manners(HURRIED), timeout=timeout)
            if mode == "verify":
                return await verify_tls(interview, INTERMEDIATE, NOW)
            return await enumerate_tls(interview, NOW)

    return asyncio.run(story())


async def heard(reader: asyncio.StreamReader) -> bytes:
    """One whole hello."""
    header = await reader.readexactly(5)
    return header + await reader.readexactly(int.from_bytes(header[3:5], "big"))


# --- the hostile --------------------------------------------------------------------------------------------------


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def endless_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"\x55" * 65536)
        await writer.drain()


async def endless_records(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Warnings, and empty requests to say hello again: all of it legal."""
    while True:
        writer.write((record(21, b"\x01\x70") + record(22, message(0, b""))) * 1000)
        await writer.drain()


async def endless_flight(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A ServerHello for whatever was offered, then certificate status messages without end."""
    hello = await heard(reader)
    session = hello[43]
    code = int.from_bytes(hello[46 + session : 48 + session], "big")
    writer.write(record(22, server_hello(TLS12, code)))
    while True:
        writer.write(record(22, message(22, bytes(1000))))
        await writer.drain()


async def slow_loris(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in record(22, message(2, bytes(5000))):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(SHORT / 10)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await heard(reader)
    reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """The next close is a reset."""
    end: socket.socket = writer.get_extra_info("socket")
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await heard(reader)


async def truncated(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await heard(reader)
    writer.write(record(22, server_hello(TLS12, 0xC02F))[:20])


async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.test ESMTP\r\n")
    await reader.read()


async def liar(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Chooses what was not offered."""
    await heard(reader)
    writer.write(record(22, server_hello(TLS13, 0x6000)))


@pytest.mark.parametrize("mode", ["verify", "enumerate"])
@pytest.mark.parametrize(
    ("talk", "timeout", "reply", "reason"),
    [
        (silent, SHORT, Reply.SILENT, "nothing more within 0.3 s"),
        (endless_garbage, LONG, Reply.NOT_TLS, "no TLS but 'UUUU"),
        (endless_records, LONG, Reply.REFUSED, "alert unrecognized name"),
        (slow_loris, SHORT, Reply.GARBLED, "nothing more within 0.3 s"),
        (resetting, LONG, Reply.RESET, "reset"),
        (closing, LONG, Reply.REFUSED, "closed"),
        (truncated, LONG, Reply.GARBLED, "then closed"),
        (greeting, LONG, Reply.NOT_TLS, "no TLS but '220 mail.test ESMTP..'"),
        (liar, LONG, Reply.GARBLED, "which was not offered"),
    ],
)
def test_hostile_servers_get_a_verdict_with_its_reason(
    talk: Talk, timeout: float, reply: Reply, reason: str, mode: str
) -> None:
    facts = look(talk, mode, timeout=timeout)
    answers = [one.answer for one in facts.asked] or [answer for _, answer in facts.refused_versions]
    if reply in (Reply.SILENT, Reply.NOT_TLS, Reply.GARBLED):
        assert reason in facts.fault
        assert facts.hellos <= 4
    else:
        assert {answer.reply for answer in answers} == {reply}
        assert any(reason in answer.evidence for answer in answers), answers
    assert not facts.versions
    assert facts.hellos <= 45


def test_what_a_server_sends_without_end_is_cut_off() -> None:
    for talk in (endless_garbage, endless_records, endless_flight):
        tracemalloc.start()
        try:
            look(talk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 24 * LIMIT  # the server's own buffers are in it, four connections at a time


def test_a_server_that_accepts_everything_is_bounded() -> None:
    """It chooses what comes first, for ever: an exclusion ends when nothing is left."""

    async def agreeable(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await heard(reader)
        version, session = int.from_bytes(hello[9:11], "big"), hello[43]
        suites = 46 + session
        writer.write(record(22, server_hello(version, int.from_bytes(hello[suites : suites + 2], "big"))))

    facts = look(agreeable, "enumerate")
    assert [one.version for one in facts.versions] == [TLS12, 0x0302, TLS10, SSL3]
    assert all(len(one.suites) == 353 for one in facts.versions)
    assert facts.hellos < 1500


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = Target("127.0.0.1", taken.getsockname()[1])
        facts = asyncio.run(verify_tls(Interview(target, Manners(HURRIED)), INTERMEDIATE, NOW))
    assert (facts.fault, facts.hellos) == ("unreachable: connection refused", 1)
    facts = asyncio.run(enumerate_tls(Interview(Target("nobody.invalid", 443), Manners(HURRIED)), NOW))
    assert "no address" in facts.fault
    named = Target("127.0.0.1", 443, server_name="x" * 64 + ".test")
    facts = asyncio.run(verify_tls(Interview(named, Manners(HURRIED)), INTERMEDIATE, NOW))
    assert (facts.fault, facts.hellos) == ("the server name is no name that can be sent", 0)


def test_patience_ends() -> None:
    """A server that accepts everything, but takes its time: the look ends, and says that it is not finished."""

    async def sluggish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await heard(reader)
        await asyncio.sleep(SHORT / 10)
        version, suites = int.from_bytes(hello[9:11], "big"), 46 + hello[43]
        writer.write(record(22, server_hello(version, int.from_bytes(hello[suites : suites + 2], "big"))))

    async def story() -> TlsFacts:
        async with serving(sluggish) as target:
            return await enumerate_tls(Interview(target, Manners(HURRIED), timeout=LONG, patience=1.0), NOW)

    facts = asyncio.run(story())
    assert facts.fault == "a list could not be finished: gave up after 1 s"
    assert facts.seconds < LONG
    assert {one.refusal for one in facts.versions} == {None}


# --- the old ------------------------------------------------------------------------------------------------------


def old_server(most_suites: int, *, how: str, suites: tuple[int, ...] = (0x002F, 0x0005)) -> Talk:
    """A server of TLS 1.0 that cannot take more than so many suites: it resets, closes, or reads only the first."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await heard(reader)
        at = 44 + hello[43]
        offered = struct.unpack_from(f"!{int.from_bytes(hello[at : at + 2], 'big') // 2}H", hello, at + 2)
        if len(offered) > most_suites and how != "truncates":
            if how == "resets":
                reset(writer)
            return
        if int.from_bytes(hello[9:11], "big") < TLS10:
            writer.write(record(21, b"\x02\x46"))
            return
        shared = [code for code in suites if code in offered[:most_suites]]
        writer.write(record(22, server_hello(TLS10, shared[0])) if shared else record(21, b"\x02\x28"))

    return talk


@pytest.mark.parametrize("how", ["resets", "closes", "truncates"])
def test_servers_that_choke_on_long_hellos_are_asked_in_parts(how: str) -> None:
    rare = (0xC0A0, 0x00BA)  # far down in the list of what is offered
    facts = look(old_server(128, how=how, suites=(0x002F, *rare)), "enumerate")
    assert [(one.version, set(one.suites)) for one in facts.versions] == [(TLS10, {0x002F, *rare})]
    assert {version for version, _ in facts.refused_versions} == {TLS13, TLS12, 0x0302, SSL3}


@pytest.mark.parametrize("how", ["resets", "closes", "truncates"])
def test_a_refusal_for_its_length_is_no_proof(how: str) -> None:
    """Nothing but a suite that is forbidden and stands far behind: asked in one, every question looks refused."""
    facts = look(old_server(128, how=how, suites=(0x00BA,)))
    answers = {one.question: one.answer for one in facts.asked}
    assert answers["forbidden-suites-tls12"].reply is Reply.ACCEPTED
    assert answers["forbidden-suites-tls12"].suite == 0x00BA
    assert answers["forbidden-versions"].reply is Reply.ACCEPTED
    assert "asked in 4 parts" in answers["forbidden-versions"].evidence


# --- behind an upgrade --------------------------------------------------------------------------------------------


async def starttls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert await reader.readline() == b"STARTTLS\n"
    writer.write(b"OK\n")
    await old_server(1000, how="closes")(reader, writer)


async def upgrade(wire: Wire) -> None:
    await wire.send(b"STARTTLS\n")
    if await wire.receive() != b"OK\n":
        raise UpgradeRefused("no")


def ask_behind(talk: Talk) -> tuple[Reply, str]:
    async def story() -> tuple[Reply, str]:
        async with serving(talk) as target:
            interview = Interview(target, Manners(HURRIED), upgrade=upgrade, timeout=SHORT)
            answer = await interview.ask(legacy(TLS12))
            return answer.reply, answer.evidence

    return asyncio.run(story())


async def no_upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"500 what?\n")


async def leaving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()


def test_questions_behind_an_upgrade() -> None:
    assert ask_behind(starttls) == (Reply.ACCEPTED, "chose TLSv1.0 TLS_RSA_WITH_AES_128_CBC_SHA")
    assert ask_behind(no_upgrade) == (Reply.NOT_TLS, "no TLS: no")
    assert ask_behind(leaving) == (Reply.NOT_TLS, "closed before TLS could begin")
    assert ask_behind(silent) == (Reply.SILENT, "nothing more within 0.3 s")


def test_a_name_is_looked_up_once_and_all_questions_go_to_one_address() -> None:
    async def story() -> TlsFacts:
        async with serving(old_server(1000, how="closes")) as target:
            named = Target("localhost", target.port)
            return await enumerate_tls(Interview(named, Manners(HURRIED)), NOW)

    facts = asyncio.run(story())
    assert [one.version for one in facts.versions] == [TLS10]
