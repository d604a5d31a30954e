"""Servers in the test's own process: honest fakes by their protocols' specifications, and hostile ones.

Rules: a conversation ends with its server; one that takes TLS and plaintext on one port decides by the first byte, as
proxies do. Every server records what it was sent, for tests of what must never be sent.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import SupportsIndex

Talk = Callable[[Reader, Writer], Awaitable[None]]


@dataclass
class Served:
    """A server's port, and what came to it."""

    port: int
    received: list[bytes] = field(default_factory=list[bytes])
    """One entry a connection, in the clear."""

    @property
    def all(self) -> bytes:
        return b"\n--\n".join(self.received)


class _Recorded(Reader):
    """Keeps the first 4 KiB of what a connection brought."""

    def __init__(self, served: Served) -> None:
        super().__init__(limit=1 << 16)
        self._served = served
        self._number = len(served.received)
        served.received.append(b"")

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        if len(self._served.received[self._number]) < 4096:
            self._served.received[self._number] += bytes(data)
        super().feed_data(data)


@asynccontextmanager
async def serving(talk: Talk, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Served]:
    """Run a server on a free loopback port; ``tls`` from the first byte if given."""
    talks: set[asyncio.Task[None]] = set()
    served = Served(0)

    async def one(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await talk(reader, writer)
                writer.close()
                await writer.wait_closed()
        except asyncio.CancelledError:
            pass  # the server ends: asyncio would report a cancelled conversation as a fault
        finally:
            writer.transport.abort()
            talks.discard(task)

    def protocol() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(_Recorded(served), one)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@asynccontextmanager
async def either(plain: int, tls: int) -> AsyncGenerator[int]:
    """A port that hands TLS to one port and everything else to another, as a permissive proxy does."""

    async def pump(source: Reader, sink: Writer) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 14):
                sink.write(data)
                await sink.drain()
            sink.write_eof()

    async def talk(reader: Reader, writer: Writer) -> None:
        first = await reader.read(1 << 14)
        if not first:
            return
        behind, to = await asyncio.open_connection("127.0.0.1", tls if first[0] == 0x16 else plain)
        try:
            to.write(first)
            await asyncio.gather(pump(reader, to), pump(behind, writer))
        finally:
            to.transport.abort()

    async with serving(talk) as served:
        yield served.port


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


async def until_end(reader: Reader, _: Writer) -> None:
    """Reads and says nothing."""
    while await reader.read(1 << 14):
        pass
