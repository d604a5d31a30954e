"""A fake Kafka broker: answers ApiVersions v0 (KIP-35), closes on everything else, as a broker does."""

from __future__ import annotations

import asyncio
import struct


async def kafka(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    while True:
        size = int.from_bytes(await reader.readexactly(4), "big", signed=True)
        if not 10 <= size <= 1 << 16:  # InvalidReceiveException
            return
        request = await reader.readexactly(size)
        key, version, correlation = struct.unpack_from("!hhi", request)
        if (key, version) != (18, 0):
            return
        versions = [(0, 0, 9), (1, 0, 15), (18, 0, 4)]
        body = struct.pack("!ihi", correlation, 0, len(versions)) + b"".join(struct.pack("!hhh", *v) for v in versions)
        writer.write(struct.pack("!i", len(body)) + body)
        await writer.drain()
