"""A rate limiter in front of a server: so many connections pass, and all others are accepted and ended."""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from tests.servers.conversation import serving


@asynccontextmanager
async def limited(port: int, connections: int, *, how: str) -> AsyncGenerator[int]:
    """Let so many connections through to ``port``; ``how`` the others end is ``closed`` or ``reset``."""
    passed = 0

    async def pump(source: Reader, sink: Writer) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 14):
                sink.write(data)
                await sink.drain()
            sink.write_eof()

    async def talk(reader: Reader, writer: Writer) -> None:
        nonlocal passed
        passed += 1
        if passed > connections:
            await reader.read(1 << 14)
            if how == "reset":
                end: socket.socket = writer.get_extra_info("socket")
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        behind, to = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pump(reader, to), pump(behind, writer))
        finally:
            to.transport.abort()

    async with serving(talk) as served:
        yield served.port
