"""A fake MongoDB: answers OP_MSG ``hello``, tells HTTP clients off in HTTP, closes on other bytes, as mongod does."""

from __future__ import annotations

import asyncio
import struct

_TOLD_OFF = b"It looks like you are trying to access MongoDB over HTTP on the native driver port.\r\n"


async def mongodb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    header = await reader.readexactly(16)
    if header[:4] == b"GET ":
        head = b"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(_TOLD_OFF) + _TOLD_OFF)
        return
    length, request, _, code = struct.unpack("<iiii", header)
    if code != 2013 or not 16 < length <= 48_000_000:
        return
    body = await reader.readexactly(length - 16)
    assert body[:5] == bytes(5), "no flags, one section of kind 0"
    size = int.from_bytes(body[5:9], "little")
    assert size == len(body) - 5
    assert body[-1] == 0, "a document ends with a zero"
    document = b"\x08isWritablePrimary\0\x01\x01ok\0" + struct.pack("<d", 1.0)
    document = struct.pack("<i", len(document) + 5) + document + b"\0"
    answer = bytes(5) + document
    writer.write(struct.pack("<iiii", 16 + len(answer), 7, request, 2013) + answer)
    await reader.read()
