"""The smallest app that can stand behind a hop: answers every GET, by itself or with what the next one answers.

Rules: standard library only, HTTP/1.1 with keep-alive, no request bodies. ``ECHO_LISTEN`` is host:port. With
``ECHO_NEXT`` (host:port) each request makes one there first, over a connection of its own, and an answer other than
200 is passed on as 502.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

BODY = b'{"says":"hello"}'
_REASONS = {200: b"OK", 502: b"Bad Gateway"}


def response(status: int, body: bytes) -> bytes:
    """A complete HTTP/1.1 response."""
    head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, _REASONS[status], len(body)) + body


_PLAIN = response(200, BODY)


class Echo(asyncio.Protocol):
    """Answers at once."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        """Nothing was read yet."""
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        *requests, self.buffer = (self.buffer + data).split(b"\r\n\r\n")
        if requests:
            self.transport.write(_PLAIN * len(requests))


async def ask_next(host: str, port: int) -> bytes:
    """One request to the next app; its answer as ours."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(b"GET / HTTP/1.1\r\nhost: next\r\nconnection: close\r\n\r\n")
            answer = await reader.read()
        finally:
            writer.close()
    except OSError as error:
        return response(502, type(error).__name__.encode())
    if answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(BODY):
        return _PLAIN
    return response(502, answer.partition(b"\r\n")[0])


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    """Answer each request of a connection with what the next app answers."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            healthy = head.startswith(b"GET /healthz ")
            writer.write(_PLAIN if healthy else await ask_next(host, port))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def address(text: str) -> tuple[str, int]:
    """``host:port`` as its parts."""
    host, _, port = text.rpartition(":")
    return host, int(port)


async def serve() -> None:
    """Serve until told to end."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    host, port = address(os.environ["ECHO_LISTEN"])
    following = os.environ.get("ECHO_NEXT")
    if following:
        next_host, next_port = address(following)
        server = await asyncio.start_server(lambda r, w: relay(r, w, next_host, next_port), host, port)
    else:
        server = await loop.create_server(Echo, host, port)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(serve()))
