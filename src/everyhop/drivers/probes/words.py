"""First words inside TLS: what to say to be answered, and what an answer says about being let in.

Rules: one small entry for each protocol that judges its callers after the handshake, or answers readily. Nothing is
asked that changes anything, no credential is sent, and no name of a real user. For everything else a protected goodbye
is the word (see ``drivers.probes.client``).

A status that keeps somebody out says nothing of why: a login page, a rate limit and a missing certificate all look
alike. So it refuses a certificate only in words about the certificate; without them it is a closed door, and somebody
else has to open it before it counts (see ``drivers.probes.enforcement``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from everyhop.core.endpoint.target import Target, Wire
from everyhop.drivers.probes.dialogue import shown

CLOSED_DOORS = frozenset((400, 401, 403))
"""HTTP statuses with which a server refuses callers, for their certificate or for anything else. With all others, a 404
say, the application has answered: the caller is in."""
ABOUT_CERTIFICATES = frozenset((495, 496))
"""nginx's own statuses for a client certificate that is wrong, or missing."""

_ABOUT_A_CERTIFICATE = re.compile(
    rb"\b(?:ssl|tls|client)[ -]certificate\b|\bcertificate (?:is )?required\b", re.IGNORECASE
)
"""nginx: "No required SSL certificate was sent", "The SSL certificate error"; others name the client's."""
_ENOUGH = 4 << 10
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_TITLE = re.compile(rb"<title>([^<]{1,80})</title>")
_POSTGRES_PROTOCOL = 3 << 16


@dataclass(frozen=True, slots=True)
class Heard:
    """What an answer says of being let in; ``accepted`` is None where it says nothing of it."""

    accepted: bool | None
    stage: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Words:
    """What to say, and how to read the answer. ``read`` gets what came so far and whether that is all, and returns None
    while more is needed."""

    say: Callable[[Target], bytes]
    read: Callable[[bytes, bool], Heard | None]


def _http_request(target: Target) -> bytes:
    host = target.name or (f"[{target.host}]" if ":" in target.host else target.host)
    return f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: everyhop\r\nConnection: close\r\n\r\n".encode()


def _http_answer(data: bytes, over: bool) -> Heard | None:
    line, complete, _ = data.partition(b"\r\n")
    if not complete and not over and len(data) < 1 << 10:
        return None
    first = line.split(b" ", 2)
    if len(first) < 2 or not first[0].startswith(b"HTTP/") or not first[1].isdigit():
        return Heard(True, "", shown(data))
    status = int(first[1][:3])
    if status in ABOUT_CERTIFICATES:
        return Heard(False, f"http {status}", shown(line))
    if status not in CLOSED_DOORS:
        return Heard(True, "", shown(line))
    if not over and not _is_whole(data):
        return None
    said = _TITLE.search(data)
    about = False if _ABOUT_A_CERTIFICATE.search(data) else None
    return Heard(about, f"http {status}", shown(line) + (f": {shown(said[1])}" if said else ""))


def _is_whole(data: bytes) -> bool:
    """As much of the answer is there as is read, or as its head announces."""
    head, blank, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return len(data) >= _ENOUGH or (bool(blank) and length is not None and len(body) >= int(length[1]))


def _postgres_startup(_: Target) -> bytes:
    body = struct.pack("!I", _POSTGRES_PROTOCOL) + b"user\0everyhop\0database\0everyhop\0\0"
    return struct.pack("!I", len(body) + 4) + body


def _postgres_answer(data: bytes, over: bool) -> Heard | None:
    """An error that speaks of the certificate refuses it; any other, or a question for a password, came from beyond
    that check (PostgreSQL, "Message Formats" and ``pg_hba.conf``'s clientcert)."""
    if data[:1] != b"E":
        return Heard(True, "", f"answered {shown(data[:1])}")
    if not over and (len(data) < 5 or len(data) < 1 + int.from_bytes(data[1:5], "big") <= 4096):
        return None
    fields = {field[:1]: field[1:] for field in data[5:].split(b"\0")}
    message = shown(fields.get(b"M", b""))
    about = b"certificate" in fields.get(b"M", b"").lower()
    return Heard(not about, "after handshake" if about else "", message)


def _any_answer(data: bytes, _: bool) -> Heard | None:
    return Heard(True, "", f"answered {shown(data)}")


FIRST: Mapping[Wire, Words] = {
    Wire.HTTP: Words(_http_request, _http_answer),
    Wire.POSTGRESQL: Words(_postgres_startup, _postgres_answer),
    Wire.REDIS: Words(lambda _: b"PING\r\n", _any_answer),
    Wire.MEMCACHED: Words(lambda _: b"version\r\n", _any_answer),
}
