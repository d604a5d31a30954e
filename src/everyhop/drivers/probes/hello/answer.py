"""What a server answers to a ClientHello, read piece by piece until it is clear what it means.

Rules: no I/O, and nothing that a server sends raises an exception. Memory is bounded by what is fed, which the
connection bounds; a length that promises more than :data:`LONGEST_MESSAGE` ends the reading at once. A choice that we
did not offer is no choice but a fault. A ServerHello is proof that the server accepts, whatever follows it.

Sources: RFC 8446, 4.1.3 and 5.1; RFC 5246, 7.4; RFC 8422, 5.4; RFC 4279; RFC 6101 for SSLv3.
"""

from __future__ import annotations

from everyhop.core.endpoint.facts import Answer, Reply
from everyhop.core.tls.alerts import CLOSE_NOTIFY, FATAL, alert_name
from everyhop.core.tls.groups import group_name
from everyhop.core.tls.suites import suite_name
from everyhop.core.tls.versions import SSL3, TLS12, TLS13, version_name
from everyhop.drivers.probes.hello.encode import Hello
from everyhop.drivers.probes.hello.flight import Cut, Reader, ServerFlight

LONGEST_MESSAGE = 96 << 10
"""Bytes of one handshake message: a chain of certificates has a few thousand, a post-quantum one some ten thousand."""
LIMIT = 128 << 10
"""Bytes of one whole answer."""

_LONGEST_RECORD = (1 << 14) + 2048
_HEADER = 5
_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _APPLICATION_DATA = 20, 21, 22, 23
_HELLO_REQUEST, _SERVER_HELLO, _SERVER_HELLO_DONE = 0, 2, 14
_SHOWN = 40


class AnswerReader:
    """Takes bytes as they come; says when it has heard enough."""

    def __init__(self, hello: Hello, *, whole: bool = False) -> None:
        """``whole``: below TLS 1.3 read on to the end of the server's flight, for its certificates, its key exchange
        and whether it asks for a certificate; otherwise the ServerHello is enough."""
        self._hello = hello
        self._whole = whole
        self._bytes = bytearray()
        self._messages = bytearray()
        self._alerts = bytearray()
        self._warning: int | None = None
        self._flight: ServerFlight | None = None

    def feed(self, data: bytes) -> Answer | None:
        """More bytes of the server; the answer once it is clear, else None."""
        self._bytes += data
        try:
            return self._records()
        except Cut as cut:
            return self._broken(cut.reason)

    def end(self, reason: str, reply: Reply) -> Answer:
        """The answer, now that nothing more will come: ``reason`` for people, ``reply`` if nothing was said before."""
        if self._flight:
            return _accepted(self._flight, f", then {reason}")
        if self._warning is not None:
            told = f"alert {alert_name(self._warning)}, then {reason}"
            return Answer(Reply.REFUSED, alert=self._warning, evidence=told)
        if self._bytes or self._messages:
            kind = Reply.GARBLED if self._looks_like_tls() else Reply.NOT_TLS
            return Answer(kind, evidence=f"{_shown(bytes(self._bytes))}, then {reason}")
        return Answer(reply, evidence=reason)

    def _looks_like_tls(self) -> bool:
        start = self._bytes or b"\x16\x03"  # with messages kept, whole records have been read
        return start[0] in (_ALERT, _HANDSHAKE) and (len(start) < 2 or start[1] == SSL3 >> 8)

    def _records(self) -> Answer | None:
        while self._bytes:
            kind = self._bytes[0]
            if not self._looks_like_tls() and not (self._flight and kind in (_CHANGE_CIPHER_SPEC, _APPLICATION_DATA)):
                if self._flight:
                    raise Cut("bytes that are no TLS record")
                return Answer(Reply.NOT_TLS, evidence=_shown(bytes(self._bytes)))
            if len(self._bytes) < _HEADER:
                return None
            size = int.from_bytes(self._bytes[3:5], "big")
            if not 0 < size <= _LONGEST_RECORD:
                raise Cut(f"a record of {size} bytes")
            if len(self._bytes) < _HEADER + size:
                return None
            body = bytes(self._bytes[_HEADER : _HEADER + size])
            del self._bytes[: _HEADER + size]
            if answer := self._record(kind, body):
                return answer
        return None

    def _record(self, kind: int, body: bytes) -> Answer | None:
        if kind == _ALERT:
            self._alerts += body
            return self._alert()
        if kind != _HANDSHAKE:  # the rest is encrypted: there is no more to see
            return _accepted(self._flight) if self._flight else None
        self._messages += body
        return self._handshake()

    def _alert(self) -> Answer | None:
        """The first alert that ends the connection counts; warnings before it are remembered (RFC 5246, 7.2)."""
        while len(self._alerts) >= 2:
            level, code = self._alerts[:2]
            del self._alerts[:2]
            if self._flight:
                return _accepted(self._flight, f", then alert {alert_name(code)}", alert=code)
            if level == FATAL or code == CLOSE_NOTIFY or self._hello.version == TLS13:
                return Answer(Reply.REFUSED, alert=code, evidence=f"alert {alert_name(code)}")
            self._warning = code
        return None

    def _handshake(self) -> Answer | None:
        while len(self._messages) >= 4:
            kind, size = self._messages[0], int.from_bytes(self._messages[1:4], "big")
            if size > LONGEST_MESSAGE:
                raise Cut(f"a handshake message of {size} bytes")
            if len(self._messages) < 4 + size:
                return None
            body = bytes(self._messages[4 : 4 + size])
            del self._messages[: 4 + size]
            if answer := self._message(kind, body):
                return answer
        return None

    def _message(self, kind: int, body: bytes) -> Answer | None:
        if self._flight is None:
            if kind == _HELLO_REQUEST:
                return None
            if kind != _SERVER_HELLO:
                raise Cut(f"handshake message {kind} before a ServerHello")
            flight = ServerFlight.begin(body)
            if fault := self._not_offered(flight):
                return Answer(
                    Reply.GARBLED, version=flight.version, suite=flight.suite, group=flight.group, evidence=fault
                )
            self._flight = flight
            return None if self._whole and flight.version < TLS13 else _accepted(flight)
        if kind == _SERVER_HELLO_DONE:
            self._flight.done = True
            return _accepted(self._flight)
        self._flight.read(kind, Reader(body))
        return None

    def _not_offered(self, flight: ServerFlight) -> str:
        hello = self._hello
        if not _permits(hello.version, flight.version):
            return f"chose {version_name(flight.version)}, which was not offered"
        if flight.suite not in hello.suites:
            return f"chose {suite_name(flight.suite)}, which was not offered"
        if flight.group is not None and flight.group not in hello.groups:
            return f"chose {group_name(flight.group)}, which was not offered"
        return ""

    def _broken(self, reason: str) -> Answer:
        if self._flight:
            return _accepted(self._flight, f", then {reason}")
        return Answer(Reply.GARBLED, evidence=reason)


def _accepted(flight: ServerFlight, then: str = "", *, alert: int | None = None) -> Answer:
    """What a server that has said hello has shown; ``then``: what became of the rest."""
    words = [version_name(flight.version), suite_name(flight.suite)]
    words += [group_name(flight.group)] if flight.group is not None else []
    older = flight.version < TLS13
    return Answer(
        Reply.ACCEPTED,
        version=flight.version,
        suite=flight.suite,
        group=flight.group,
        alert=alert,
        retry=flight.retry,
        alpn=flight.alpn,
        certificate_requested=flight.requests_certificate or (False if flight.done else None),
        chain=flight.chain,
        extended_master_secret=flight.extended_master_secret if older else None,
        secure_renegotiation=flight.secure_renegotiation if older else None,
        compression=flight.compression,
        key_bits=flight.key_bits,
        signature=flight.signature,
        evidence=f"chose {' '.join(words)}{then}",
    )


def _permits(highest: int, chosen: int) -> bool:
    return chosen == TLS13 if highest == TLS13 else SSL3 <= chosen <= min(highest, TLS12)


def _shown(data: bytes) -> str:
    """The beginning of bytes that are no TLS, for people: printable ASCII, the rest as dots."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data[:_SHOWN])
    return f"no TLS but {text!r}{'...' if len(data) > _SHOWN else ''}"
