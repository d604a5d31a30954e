"""A fake Cassandra node: SUPPORTED to OPTIONS, ERROR to other versions (CQL protocol v4), as Cassandra 4 does."""

from __future__ import annotations

import asyncio
import struct


def _string(text: bytes) -> bytes:
    return struct.pack("!h", len(text)) + text


async def cassandra(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    while True:
        version, _, stream, opcode, length = struct.unpack("!BBhBi", await reader.readexactly(9))
        if version not in (3, 4, 5):
            message = b"Invalid or unsupported protocol version (%d)" % (version & 0x7F)
            body = struct.pack("!i", 0x000A) + _string(message)
            writer.write(struct.pack("!BBhBi", 0x84, 0, 0, 0x00, len(body)) + body)
            return
        await reader.readexactly(length)
        assert opcode == 0x05, "OPTIONS"
        body = struct.pack("!h", 1) + _string(b"CQL_VERSION") + struct.pack("!h", 1) + _string(b"3.4.5")
        writer.write(struct.pack("!BBhBi", 0x84, 0, stream, 0x06, len(body)) + body)
        await writer.drain()
