"""A fake XMPP server: stream features with STARTTLS absent, offered or required (RFC 6120, 4 to 6)."""

from __future__ import annotations

import asyncio
import ssl

from tests.servers.conversation import Talk

_STREAM = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
    b"id='1' from='probe.test' version='1.0'>"
)
_MECHANISMS = b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism></mechanisms>"
_FAILURE = b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><encryption-required/></failure>"


def xmpp(*, offered: bool = True, required: bool = False, silent: bool = False, tls: ssl.SSLContext) -> Talk:
    """Its conversation. ``silent``: hangs up on a login in the clear instead of refusing it."""
    starttls = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>%s</starttls>" % (
        b"<required/>" if required else b""
    )
    features = (starttls if offered else b"") + (b"" if required else _MECHANISMS)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = await reader.readuntil(b">")
        opened += await reader.readuntil(b">") if opened.startswith(b"<?xml") else b""
        writer.write(_STREAM)
        if b"<stream:stream" not in opened:
            writer.write(b"<stream:error><not-well-formed/></stream:error></stream:stream>")
            return
        await writer.drain()  # the features come in a piece of their own
        writer.write(b"<stream:features>" + features + b"</stream:features>")
        asked = await reader.readuntil(b">")
        if asked.startswith(b"<starttls"):
            writer.write(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            await writer.drain()
            await writer.start_tls(tls)
        elif required:
            writer.write(b"" if silent else _FAILURE)
        else:
            writer.write(b"<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
            await reader.read()

    return talk
