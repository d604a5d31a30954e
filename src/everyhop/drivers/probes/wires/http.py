"""HTTP/1: what does a GET get in the clear?

Rules: the first question has no ``Host:``, because a Redis behind the port would take it for an attack; HTTP/1.0 needs
none. Only what has answered as HTTP is asked again with ``Host:``, as a browser would, since many servers refuse a
request without. An answer in the clear that sends its visitor to TLS, or says that TLS must be used, is kept apart: on
a port that also speaks TLS it means that nothing is served in the clear.
"""

from __future__ import annotations

import re

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Target, Wire
from everyhop.drivers.probes.dialogue import shown
from everyhop.drivers.probes.wire import Ended
from everyhop.drivers.probes.wires.base import NAME, Caller, Said
from everyhop.drivers.probes.wires.h2c import is_frame

FIRST_QUESTION = b"GET / HTTP/1.0\r\nUser-Agent: " + NAME + b"\r\n\r\n"
"""Harmless to whoever takes it for something else."""

_BEGINNING = b"HTTP/1."
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})\b")
_TO_TLS = re.compile(rb"^location:[ \t]*https://", re.IGNORECASE | re.MULTILINE)
_SPEAKS_OF_TLS = re.compile(rb"https|\btls\b|\bssl\b", re.IGNORECASE)
_ENOUGH = 4 << 10
_FIRST_LINE = re.compile(rb"[^\r\n]{0,100}")


class Http:
    """Asks without ``Host:``, then, if it must, with."""

    wire = Wire.HTTP
    mixes = True
    speaks_first = False

    def recognise(self, banner: bytes) -> bool:
        """By a status line."""
        return banner.startswith(b"HTTP/1.")

    async def ask(self, caller: Caller) -> Said | None:
        """One connection, or two. ``upgrade required`` means: an answer came that sends to TLS and serves nothing."""
        answer = await _get(caller, FIRST_QUESTION)
        if is_frame(answer):
            return Said(Encryption.PLAINTEXT, "HTTP/2 SETTINGS in the clear (h2c)")
        if not _STATUS.match(answer):
            return None
        if not _serves(answer):
            try:
                answer = await _get(caller, request(caller.target))
            except Ended:
                pass  # what the first answer says, stands
        return Said(Encryption.UPGRADE_REQUIRED if _sends_to_tls(answer) else Encryption.PLAINTEXT, _evidence(answer))


def request(target: Target, *, path: str = "/", port_in_host: bool = True) -> bytes:
    """One GET that says who asks and wants the connection closed after it."""
    host = target.name or (f"[{target.host}]" if ":" in target.host else target.host)
    if port_in_host:
        host = f"{host}:{target.port}"
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: everyhop\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    return head.encode("ascii", "replace")


async def _get(caller: Caller, question: bytes) -> bytes:
    """The first 4 KiB of an answer, or as much as came before its end. Raises :class:`Ended` if nothing came."""
    async with caller.call() as dialogue:
        await dialogue.say(question)
        answer = await dialogue.some()
        try:
            while len(answer) < _ENOUGH and _BEGINNING.startswith(answer[: len(_BEGINNING)]) and not _is_whole(answer):
                answer += await dialogue.some()
        except Ended:
            pass  # also a server that keeps the connection open, and us waiting
        return answer


def _is_whole(answer: bytes) -> bool:
    """Head and body are there, by the length that the head gives."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(blank) and length is not None and len(body) >= int(length[1])


def _serves(answer: bytes) -> bool:
    found = _STATUS.match(answer)
    return bool(found) and found[1].startswith(b"2")


def _sends_to_tls(answer: bytes) -> bool:
    """A redirect to https:, 426 Upgrade Required (RFC 9110, 15.5.22), or a 400 or 403 with words about TLS."""
    found = _STATUS.match(answer)
    status = int(found[1]) if found else 0
    if 300 <= status < 400:
        return bool(_TO_TLS.search(answer))
    return status == 426 or (status in (400, 403) and bool(_SPEAKS_OF_TLS.search(answer)))


def _evidence(answer: bytes) -> str:
    line = _FIRST_LINE.match(answer)
    to = re.search(rb"^location:[ \t]*([^\r\n?]{1,100})", answer, re.IGNORECASE | re.MULTILINE)
    return shown(line[0] if line else b"") + (f", to {shown(to[1])}" if to else "")


HTTP = Http()
