"""The messages of a server's first flight, from ServerHello to ServerHelloDone.

Rules: a message that breaks its own lengths raises :class:`Cut` with the reason, and nothing else is ever raised; what
was read before stays. Nothing is verified here, and no key is used. What a version encrypts is not seen: since TLS 1.3
that is everything behind the ServerHello.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from everyhop.core.tls.suites import suite
from everyhop.core.tls.versions import TLS12, TLS13

RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()
"""The random of a ServerHello that is a HelloRetryRequest (RFC 8446, 4.1.3)."""

MOST_CERTIFICATES = 32

_CERTIFICATE, _KEY_EXCHANGE, _CERTIFICATE_REQUEST = 11, 12, 13
_ALPN, _MASTER_SECRET, _VERSIONS, _KEY_SHARE, _RENEGOTIATION = 16, 23, 43, 51, 0xFF01
_NAMED_CURVE = 3
_SHORTEST_HELLO_WITH_EXTENSIONS = 2


class Cut(Exception):  # noqa: N818 -- not an error of ours: what is wrong with a server's message
    """A message cannot be read; ``reason`` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Reader:
    """Takes fields from a message, front to back. Every method raises :class:`Cut` if there are not enough bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        if size > self.left:
            raise Cut(f"a message that ends {size - self.left} bytes too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        """The next ``size`` bytes as a number."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A field that begins with its length in ``size`` bytes."""
        return self.take(self.number(size))


@dataclass(slots=True)
class ServerFlight:
    """What a server has chosen and shown so far."""

    version: int
    suite: int
    compression: int
    retry: bool
    group: int | None = None
    alpn: str = ""
    extended_master_secret: bool = False
    secure_renegotiation: bool = False
    chain: tuple[bytes, ...] = ()
    key_bits: int | None = None
    signature: int | None = None
    requests_certificate: bool = False
    done: bool = False

    @classmethod
    def begin(cls, body: bytes) -> ServerFlight:
        """From the ServerHello (RFC 8446, 4.1.3; RFC 5246, 7.4.1.3)."""
        message = Reader(body)
        version, random = message.number(2), message.take(32)
        if len(message.vector(1)) > 32:
            raise Cut("a session id of more than 32 bytes")
        flight = cls(version, message.number(2), message.number(1), random == RETRY_RANDOM)
        if message.left >= _SHORTEST_HELLO_WITH_EXTENSIONS:
            extensions = Reader(message.vector(2))
            while extensions.left:
                flight._extension(extensions.number(2), Reader(extensions.vector(2)))
        return flight

    def _extension(self, kind: int, body: Reader) -> None:
        if kind == _VERSIONS:
            self.version = body.number(2)
        elif kind == _KEY_SHARE:
            self.group = body.number(2)
        elif kind == _ALPN:
            name = Reader(body.vector(2)).vector(1).decode("ascii", "replace")
            self.alpn = name if name.isprintable() else ""
        elif kind == _MASTER_SECRET:
            self.extended_master_secret = True
        elif kind == _RENEGOTIATION:
            self.secure_renegotiation = True

    def read(self, kind: int, message: Reader) -> None:
        """A message behind the ServerHello, in TLS 1.2 and older. Those without news are passed over."""
        if kind == _CERTIFICATE:
            self._certificates(Reader(message.vector(3)))
        elif kind == _KEY_EXCHANGE:
            self._key_exchange(message)
        elif kind == _CERTIFICATE_REQUEST:
            self.requests_certificate = True

    def _certificates(self, certificates: Reader) -> None:
        chain: list[bytes] = []
        while certificates.left:
            if len(chain) == MOST_CERTIFICATES:
                raise Cut(f"a chain of more than {MOST_CERTIFICATES} certificates")
            chain.append(certificates.vector(3))
        self.chain = tuple(chain)

    def _key_exchange(self, message: Reader) -> None:
        """The curve, or the size of the prime; and the scheme of the signature, if there is one (RFC 5246, 7.4.3)."""
        chosen = suite(self.suite)
        if chosen.authentication == "PSK":
            message.vector(2)  # a hint for the key
        if chosen.exchange == "ECDHE":
            if message.number(1) != _NAMED_CURVE:
                return
            self.group = message.number(2)
            message.vector(1)
        elif chosen.exchange == "DHE":
            self.key_bits = int.from_bytes(message.vector(2), "big").bit_length()
            message.vector(2)
            message.vector(2)
        else:
            return
        if self.version in (TLS12, TLS13) and chosen.authentication not in ("anon", "PSK"):
            self.signature = message.number(2)
