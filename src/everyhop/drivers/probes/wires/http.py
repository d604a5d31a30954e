"""HTTP/1: what does a GET get in the clear?

Rules: the first question has no ``Host:``, because a Redis behind the port would take it for an attack; HTTP/1.0 needs
none. Only what has answered as HTTP is asked again with ``Host:``, as a browser would, since many servers refuse a
request without. An answer in the clear that leads to TLS is kept apart: on a port that also speaks TLS it means that
nothing is served in the clear. That has to be shown twice, for ``/`` and for a path that nobody can know, and a refusal
counts only in the words of servers that take no plaintext on their TLS port: a 403 that mentions https is a page.
"""

from __future__ import annotations

import os
import re

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.redirect import leads_to_tls
from everyhop.core.endpoint.target import Target, Wire
from everyhop.drivers.probes.dialogue import shown
from everyhop.drivers.probes.wire import Ended
from everyhop.drivers.probes.wires.base import NAME, Caller, Said
from everyhop.drivers.probes.wires.h2c import is_frame

FIRST_QUESTION = b"GET / HTTP/1.0\r\nUser-Agent: " + NAME + b"\r\n\r\n"
"""Harmless to whoever takes it for something else."""

_BEGINNING = b"HTTP/1."
_PAGE = re.compile(rb"\s{0,8}<(?:!doctype html|html)\b", re.IGNORECASE)
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})\b")
_LOCATION = re.compile(rb"^location:[ \t]*([^\r\n?]{1,500})", re.IGNORECASE | re.MULTILINE)
_ONLY_TLS = re.compile(
    rb"plain HTTP request was sent to HTTPS port"  # nginx
    rb"|sent an HTTP request to an HTTPS server"  # Go, and with it Caddy, Traefik and Kubernetes
    rb"|speaking plain HTTP to an SSL-enabled server port"  # Apache
    rb"|combination of host and port requires TLS",  # Tomcat
    re.IGNORECASE,
)
"""What servers answer, with 400, to a plaintext request on a port of TLS."""
_ENOUGH = 4 << 10
_FIRST_LINE = re.compile(rb"[^\r\n]{0,100}")


class Http:
    """Asks without ``Host:``, then, if it must, with."""

    wire = Wire.HTTP
    mixes = True
    speaks_first = False

    def recognise(self, banner: bytes) -> bool:
        """By a status line, or by the bare page of HTTP/0.9 that some give to what is no request."""
        return banner.startswith(_BEGINNING) or bool(_PAGE.match(banner))

    async def ask(self, caller: Caller) -> Said | None:
        """At most three connections. ``upgrade required`` means: what came leads to TLS, and so does any other path."""
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
        return Said(await _encryption(caller, answer), _evidence(answer))


async def _encryption(caller: Caller, answer: bytes) -> Encryption:
    """What the answer to ``/`` means; one that leads to TLS is checked on another path."""
    if _takes_only_tls(answer):
        return Encryption.UPGRADE_REQUIRED
    if not _leads_to_tls(caller.target, "/", answer):
        return Encryption.PLAINTEXT
    path = unguessable_path()
    try:
        second = await _get(caller, request(caller.target, path=path))
    except Ended:
        return Encryption.UNKNOWN
    return Encryption.UPGRADE_REQUIRED if _leads_to_tls(caller.target, path, second) else Encryption.PLAINTEXT


def unguessable_path() -> str:
    """A path that no server can have prepared itself for."""
    return f"/everyhop-{os.urandom(8).hex()}"


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
    return 200 <= _status(answer) < 300


def _takes_only_tls(answer: bytes) -> bool:
    return _status(answer) == 400 and bool(_ONLY_TLS.search(answer))


def _leads_to_tls(target: Target, path: str, answer: bytes) -> bool:
    """A redirect to https, or 426 Upgrade Required (RFC 9110, 15.5.22)."""
    status, to = _status(answer), _LOCATION.search(answer)
    return status == 426 or leads_to_tls(target, path, status, to[1].decode("ascii", "replace") if to else "")


def _status(answer: bytes) -> int:
    found = _STATUS.match(answer)
    return int(found[1]) if found else 0


def _evidence(answer: bytes) -> str:
    line = _FIRST_LINE.match(answer)
    to = _LOCATION.search(answer)
    return shown(line[0] if line else b"") + (f", to {shown(to[1], 100)}" if to else "")


HTTP = Http()
