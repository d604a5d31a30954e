"""A fake AMQP 0-9-1 broker: Connection.Start to its header, its own header to anything else (4.2.2), as RabbitMQ does.
(A real RabbitMQ takes longer to start than a test may.)"""

from __future__ import annotations

import asyncio
import struct


async def amqp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    header = await reader.readexactly(8)
    if header != b"AMQP\x00\x00\x09\x01":
        writer.write(b"AMQP\x00\x00\x09\x01")
        return
    product = b"\x07productS" + struct.pack("!I", 8) + b"RabbitMQ"
    body = b"\x00\x0a\x00\x0a\x00\x09" + struct.pack("!I", len(product)) + product
    for text in (b"PLAIN AMQPLAIN", b"en_US"):
        body += struct.pack("!I", len(text)) + text
    writer.write(b"\x01\x00\x00" + struct.pack("!I", len(body)) + body + b"\xce")
    await reader.read()
