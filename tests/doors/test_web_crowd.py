"""Strangers in a crowd, slow and rude: they keep nobody out, and fill no log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.fakes.callers import ours
from tests.fakes.clock import MovedClock
from tests.fakes.estate import DATA, NOW, fill
from tests.fakes.random import SeededRandom
from tests.fakes.store import MemoryStore

from everyhop.core.hop import Address
from everyhop.doors.web.access import Access, Readers
from everyhop.doors.web.app import About, Dashboard
from everyhop.doors.web.server import WebServer
from everyhop.ports import Event

SLOW = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\ntoken="
SECRET = "evhp_not-for-the-log"


async def broken(request: Request) -> Response:
    """A page with a fault of ours."""
    raise ValueError(f"unexpected {request.headers.get('authorization')}")


@dataclass
class Place:
    """A dashboard that listens, what it told, and raw connections to it."""

    address: Address
    clock: MovedClock
    told: list[Event]
    open: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    async def connect(self, sent: bytes, *, source: str = "127.0.0.1") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port, local_addr=(source, 0))
        writer.write(sent)
        self.open.append(writer)
        return reader

    async def get(self, path: str) -> bytes:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\nConnection: close\r\n\r\n"
        reader = await self.connect(head.encode())
        async with asyncio.timeout(10):
            return await reader.read()


@asynccontextmanager
async def place(*, form_seconds: float = 60.0) -> AsyncGenerator[Place]:
    store, clock = MemoryStore(), MovedClock(NOW)
    await fill(store)
    app = Dashboard(
        store,
        DATA,
        clock,
        Access(store, clock, SeededRandom(), Readers(), ours),
        About("1"),
        more=[Route("/broken", broken)],
        form_seconds=form_seconds,
    )
    told: list[Event] = []
    server = WebServer(app.asgi, clock, told.append)
    here = Place(await server.start(Address("127.0.0.1", 0), None), clock, told)
    try:
        with printed_logs():
            yield here
    finally:
        for writer in here.open:
            writer.transport.abort()
        await server.stop()


@contextmanager
def printed_logs() -> Generator[None]:
    """As in a program of its own: what no handler takes is printed, and pytest takes nothing."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = before


async def is_cut(reader: asyncio.StreamReader) -> bool:
    """Wait for a connection's end; True if it came without an answer."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


def statuses(answers: Sequence[bytes]) -> list[bytes]:
    return [one[9:12] for one in answers]


def test_a_form_that_does_not_come_is_not_waited_for() -> None:
    async def run() -> None:
        async with place(form_seconds=0.05) as here, asyncio.timeout(10):
            answer = await (await here.connect(SLOW)).read()  # to its end: the connection is closed, too
            assert answer.startswith(b"HTTP/1.1 408 ")

    asyncio.run(run())


def test_one_address_does_not_keep_out_others() -> None:
    async def run() -> None:
        async with place() as here:
            crowd = [await here.connect(SLOW, source="127.0.0.2") for _ in range(205)]
            assert statuses([await here.get("/"), await here.get("/about")]) == [b"200", b"200"]
            async with asyncio.timeout(10):
                assert [await is_cut(one) for one in crowd[-100:]] == [True] * 100

    asyncio.run(run())


def test_who_leaves_in_the_middle_of_a_form_is_nobodys_trouble(capfd: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        async with place() as here:
            for _ in range(5):
                await here.connect(SLOW)
            assert statuses([await here.get("/")]) == [b"200"]
            for writer in here.open:
                writer.transport.abort()
            assert statuses([await here.get("/")]) == [b"200"]
        assert not here.told

    asyncio.run(run())
    assert capfd.readouterr() == ("", "")


def test_a_fault_of_ours_is_one_line_and_soon_not_again(capfd: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        async with place() as here:
            assert statuses([await here.get("/broken") for _ in range(3)]) == [b"500"] * 3
            (event,) = here.told
            assert event.name == "fault"
            assert event.fields["code"] == "dashboard"
            why = str(event.fields["why"])
            assert why.startswith("Exception in ASGI application: ValueError at test_web_crowd.py:")
            assert "\n" not in why
            assert SECRET not in why
            here.clock.move(timedelta(minutes=2))
            await here.get("/broken")
            assert len(here.told) == 2

    asyncio.run(run())
    assert capfd.readouterr() == ("", "")


def test_what_the_event_loop_would_print_is_told_while_it_listens(capfd: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        async with place() as here:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "SSL error in data received", "exception": OSError(SECRET)})
            assert [event.fields for event in here.told] == [
                {"code": "internal", "why": "SSL error in data received: OSError"}
            ]
            await here.connect(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            assert statuses([await here.get("/")]) == [b"200"]
            assert len(here.told) == 1, "a malformed request is the stranger's own trouble"

    before = [list(logging.getLogger(name).handlers) for name in ("asyncio", "uvicorn.error")]
    asyncio.run(run())
    assert [list(logging.getLogger(name).handlers) for name in ("asyncio", "uvicorn.error")] == before
    assert capfd.readouterr() == ("", "")
