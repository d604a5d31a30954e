"""A fake NATS server: INFO first; TLS absent, available or required (NATS protocol, INFO and CONNECT)."""

from __future__ import annotations

import asyncio
import json
import ssl

from tests.servers.conversation import Talk


def nats(*, available: bool = False, required: bool = False, says_why: bool = True, tls: ssl.SSLContext) -> Talk:
    """Its conversation. ``says_why``: an error before it closes on plaintext that it does not want."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = {"server_id": "FAKE", "version": "2.10.0", "max_payload": 1048576}
        told |= {"tls_required": True} if required else {"tls_available": True} if available else {}
        writer.write(b"INFO " + json.dumps(told).encode() + b" \r\n")
        await writer.drain()
        if required and not says_why:
            await writer.start_tls(tls)
            return
        line = await reader.readuntil(b"\r\n")
        assert line.startswith(b"CONNECT {")
        json.loads(line[8:])
        if required:
            writer.write(b"-ERR 'Secure Connection - TLS Required'\r\n")
            return
        assert await reader.readuntil(b"\r\n") == b"PING\r\n"
        writer.write(b"PONG\r\n")
        await reader.read()

    return talk
