"""An HTTP/1 response from a stranger, read within bounds (RFC 9112).

Rules: the head has at most 100 lines of 16 KiB and 64 KiB in all; 256 KiB of the body are kept and what follows is not
read, whatever length was claimed; at most 4096 chunks are put together. Whatever breaks the grammar ends the reading:
before the head is whole as :class:`Garbled`, in the body with what came until then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from everyhop.drivers.probes.dialogue import Dialogue, Garbled
from everyhop.drivers.probes.wire import Ended

MOST_HEADERS = 100
LARGEST_HEAD = 64 << 10
LARGEST_BODY = 256 << 10
MOST_CHUNKS = 4096
_MOST_INTERIM = 5

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: .*)?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers by lower-case name in their order, and the beginning of the body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """The values of a header, by its lower-case name."""
        return [value for known, value in self.headers if known == name]

    def first(self, name: str) -> str:
        """The first value of a header; empty: there is none."""
        return next(iter(self.all(name)), "")


async def read_response(dialogue: Dialogue) -> Response:
    """Read one response to a GET, past interim ones. Raises :class:`Ended` if no whole head came."""
    for _ in range(_MOST_INTERIM):
        response = await _head(dialogue)
        if response.status >= 200 or response.status == 101:
            return Response(response.status, response.headers, await _body(dialogue, response))
    raise Garbled("a final response")


async def _head(dialogue: Dialogue) -> Response:
    line = await dialogue.line()
    found = _STATUS.fullmatch(line)
    if not found:
        raise Garbled("an HTTP/1 status line", line or b"an empty line")
    headers: list[tuple[str, str]] = []
    size = 0
    while line := await dialogue.line():
        size += len(line)
        if len(headers) >= MOST_HEADERS or size > LARGEST_HEAD:
            raise Garbled(f"at most {MOST_HEADERS} headers and {LARGEST_HEAD} bytes")
        name, colon, value = line.decode("latin-1").partition(":")
        if colon and name == name.strip():  # a space in or before a name: ignored, as an attack (RFC 9112, 5.1)
            headers.append((name.lower(), value.strip()))
    return Response(int(found[1]), tuple(headers))


async def _body(dialogue: Dialogue, head: Response) -> bytes:
    """What came of the body, at most 256 KiB."""
    if head.status in (101, 204, 304):
        return b""
    body = bytearray()
    try:
        if "chunked" in head.first("transfer-encoding").lower():
            await _chunks(dialogue, body)
        else:
            await _plain(dialogue, body, head.first("content-length"))
    except Ended:
        pass  # cut off or garbled: what came, came
    return bytes(body)


async def _plain(dialogue: Dialogue, body: bytearray, length: str) -> None:
    """So many bytes, or up to the end of the connection."""
    wanted = int(length) if length.isascii() and length.isdigit() and len(length) < 12 else LARGEST_BODY
    await _take(dialogue, body, wanted)


async def _chunks(dialogue: Dialogue, body: bytearray) -> None:
    for _ in range(MOST_CHUNKS):
        found = _CHUNK_SIZE.fullmatch(await dialogue.line())
        size = int(found[1], 16) if found else 0
        if not size:
            return
        await _take(dialogue, body, size)
        if len(body) >= LARGEST_BODY or await dialogue.line():
            return


async def _take(dialogue: Dialogue, body: bytearray, size: int) -> None:
    """Append ``size`` bytes, or fewer if the body is full then. What came before an end is kept."""
    left = min(size, LARGEST_BODY - len(body))
    while left > 0:
        piece = await dialogue.some(left)
        body += piece
        left -= len(piece)
