"""The bytes of a ClientHello, for any version from SSLv3 to TLS 1.3.

Rules: no I/O, no randomness of its own. A hello for TLS 1.3 has an *empty* key share: the server then has to answer
with a HelloRetryRequest, which names the suite and the group of its choice and costs it no key exchange (RFC 8446,
4.2.8). A hello for TLS 1.2 and older has no ``supported_versions``: its legacy version is the highest that the server
may choose, so that one refusal speaks for every older version too (RFC 5246, E.1). What is offered is offered in the
given order. A hello between 256 and 511 bytes is padded, because some load balancers hang on it (RFC 7685).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from everyhop.core.tls.groups import TLS12_GROUPS, TLS13_GROUPS
from everyhop.core.tls.signatures import SIGNATURES
from everyhop.core.tls.suites import TLS12_SUITES, TLS13_SUITES
from everyhop.core.tls.versions import SSL3, TLS10, TLS12, TLS13

RANDOM_BYTES = 64
"""How much randomness a hello takes: 32 bytes each for the client random and the session id."""

FILLERS = tuple(range(0x6000, 0x6200))
"""Suites that nobody has registered, and that every server has to ignore (RFC 5246, 7.4.1.2): with them a short list
gets as long as another, so that a refusal of the other cannot be due to its length."""

_HANDSHAKE, _CLIENT_HELLO = 0x16, 0x01
_RENEGOTIATION_INFO_SCSV = 0x00FF
_SERVER_NAME, _GROUPS, _POINT_FORMATS, _SIGNATURES, _ALPN = 0, 10, 11, 13, 16
_PADDING, _MASTER_SECRET, _VERSIONS, _PSK_MODES, _KEY_SHARE = 21, 23, 43, 45, 51
_AWKWARD = range(256, 512)
_LEGACY_SESSION = 32


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client offers."""

    version: int = TLS12
    """The highest version; TLS 1.3 stands alone."""
    suites: tuple[int, ...] = TLS12_SUITES
    groups: tuple[int, ...] = TLS12_GROUPS
    signatures: tuple[int, ...] = SIGNATURES
    server_name: str = ""
    alpn: tuple[str, ...] = ()
    compressions: bytes = b"\0"
    """Compression methods, one byte each; 0 is none, and the only one that TLS 1.3 permits (RFC 8446, 4.1.2)."""

    def named(self, server_name: str) -> Hello:
        """The same for another server name."""
        return replace(self, server_name=server_name)


def tls13(
    suites: Sequence[int] = TLS13_SUITES, groups: Sequence[int] = TLS13_GROUPS, *, server_name: str = ""
) -> Hello:
    """A hello for TLS 1.3 and nothing else."""
    return Hello(TLS13, tuple(suites), tuple(groups), server_name=server_name)


def legacy(
    version: int,
    suites: Sequence[int] = TLS12_SUITES,
    groups: Sequence[int] = TLS12_GROUPS,
    *,
    server_name: str = "",
) -> Hello:
    """A hello for ``version`` (TLS 1.2 at most) and everything older."""
    return Hello(version, tuple(suites), tuple(groups), server_name=server_name)


def encode(hello: Hello, randomness: bytes) -> bytes:
    """The record to send. ``randomness`` is :data:`RANDOM_BYTES` long. Raises ``ValueError`` if it is not, or if a
    name is no ASCII or too long."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"expected {RANDOM_BYTES} random bytes, got {len(randomness)}")
    before, session, after = _parts(hello)
    return before + randomness[:32] + (b"\x20" + randomness[32:] if session else b"\0") + after


@lru_cache(maxsize=512)
def _parts(hello: Hello) -> tuple[bytes, bool, bytes]:
    """What comes before the randomness and after it; and whether a session id is there (RFC 8446, D.4)."""
    session = hello.version == TLS13
    suites = hello.suites if session else (*hello.suites, _RENEGOTIATION_INFO_SCSV)
    body = _length16(_codes(suites)) + _length8(hello.compressions)
    ahead = 2 + 32 + 1 + (_LEGACY_SESSION if session else 0)
    extensions = _extensions(hello)
    if extensions:
        size = 4 + ahead + len(body) + 2 + len(extensions)
        if size in _AWKWARD:
            extensions += _extension(_PADDING, bytes(max(_AWKWARD.stop - size - 4, 0)))
        body += _length16(extensions)
    version = min(hello.version, TLS12)
    message = struct.pack("!BBH", _CLIENT_HELLO, 0, ahead + len(body)) + version.to_bytes(2, "big")
    record = struct.pack("!BHH", _HANDSHAKE, min(version, TLS10), 4 + ahead + len(body))
    return record + message, session, body


def _extensions(hello: Hello) -> bytes:
    """SSLv3 has none; what a version cannot use is left out."""
    if hello.version == SSL3:
        return b""
    found = [
        _extension(_SERVER_NAME, _length16(b"\0" + _length16(hello.server_name.encode("ascii"))))
        if hello.server_name
        else b"",
        _extension(_GROUPS, _length16(_codes(hello.groups))) if hello.groups else b"",
        _extension(_ALPN, _length16(b"".join(_length8(name.encode("ascii")) for name in hello.alpn)))
        if hello.alpn
        else b"",
    ]
    if hello.version >= TLS12:
        found.append(_extension(_SIGNATURES, _length16(_codes(hello.signatures))))
    if hello.version == TLS13:
        found.append(_extension(_VERSIONS, b"\x02" + _codes((TLS13,))))
        found.append(_extension(_PSK_MODES, b"\x01\x01"))
        found.append(_extension(_KEY_SHARE, _length16(b"")))
    else:
        found.append(_extension(_POINT_FORMATS, b"\x01\x00") if hello.groups else b"")
        found.append(_extension(_MASTER_SECRET, b""))
    return b"".join(found)


def _extension(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, len(body)) + body


def _codes(codes: Sequence[int]) -> bytes:
    return struct.pack(f"!{len(codes)}H", *codes)


def _length8(body: bytes) -> bytes:
    if not 0 < len(body) < 1 << 8:
        raise ValueError(f"expected from 1 to 255 bytes, got {len(body)}")
    return bytes([len(body)]) + body


def _length16(body: bytes) -> bytes:
    if len(body) >= 1 << 16:
        raise ValueError(f"expected less than 65,536 bytes, got {len(body)}")
    return struct.pack("!H", len(body)) + body
