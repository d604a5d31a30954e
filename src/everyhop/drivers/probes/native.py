"""What OpenSSL knows and pyOpenSSL has no words for: sessions, requests for certificates, signatures that are offered.

Rules: the same library that pyOpenSSL uses, by the bindings that it uses itself; nowhere else in everyhop. Only
reading, and settings before a handshake; every pointer belongs to a living pyOpenSSL object. A session's bytes hold
its secrets: they never leave this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

# The bindings are made by a C compiler: nothing in them has a type.
_lib: Any = Binding.lib
_ffi: Any = Binding.ffi

_callbacks: WeakKeyDictionary[SSL.Connection, object] = WeakKeyDictionary()
"""The library calls them and does not keep them alive: here they live as long as their connections."""

_SEQUENCE, _OCTETS = 0x30, 0x04
_LIFETIME, _TICKET = 0xA9, 0xAA
"""Explicit tags [9] and [10] of OpenSSL's ``SSL_SESSION_ASN1``."""


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """What a server gave to come back with."""

    has_id: bool
    has_ticket: bool
    lifetime_seconds: int | None
    """How long the ticket may be used, as the server says."""
    early_data_bytes: int
    """How much early data the ticket allows; 0: none."""


def offer_signatures(context: SSL.Context, names: str) -> None:
    """Offer these signature schemes only (``ECDSA+SHA256:...``, OpenSSL's names)."""
    pointer = context._context  # pyright: ignore[reportPrivateUsage]  # the one way to the library's object
    if _lib.SSL_CTX_set1_sigalgs_list(pointer, names.encode("ascii")) != 1:
        _lib.ERR_clear_error()
        raise ValueError(f"expected signature schemes that OpenSSL knows, got {names}")


def on_certificate_request(connection: SSL.Connection, told: Callable[[], None]) -> None:
    """Call ``told`` whenever the server asks for a client certificate. It must not hold the connection."""

    def asked(_: Any, __: Any) -> int:
        told()
        return 1  # go on, with the certificate that is set, if any

    callback = _ffi.callback("int (*)(SSL *, void *)", asked)
    _lib.SSL_set_cert_cb(connection._ssl, callback, _ffi.NULL)  # pyright: ignore[reportPrivateUsage]
    _callbacks[connection] = callback


def resumed(connection: SSL.Connection) -> bool:
    """True if the handshake took up an earlier session."""
    return bool(_lib.SSL_session_reused(connection._ssl))  # pyright: ignore[reportPrivateUsage]


def session_seen(session: SSL.Session) -> SessionSeen:
    """Read a session."""
    pointer = session._session  # pyright: ignore[reportPrivateUsage]
    fields = list(_fields(_encoded(pointer)))
    octets = [body for tag, body in fields if tag == _OCTETS]  # suite, session id, master key
    by_tag = dict(fields)
    lifetime = by_tag.get(_LIFETIME)
    return SessionSeen(
        has_id=len(octets) > 1 and bool(octets[1]),
        has_ticket=_TICKET in by_tag,
        lifetime_seconds=int.from_bytes(next(_fields(lifetime))[1], "big") if lifetime else None,
        early_data_bytes=int(_lib.SSL_SESSION_get_max_early_data(pointer)),
    )


def _encoded(pointer: Any) -> bytes:
    """The inside of the session's outer sequence."""
    size = int(_lib.i2d_SSL_SESSION(pointer, _ffi.NULL))
    buffer = _ffi.new("unsigned char[]", max(size, 1))
    place = _ffi.new("unsigned char **", buffer)
    _lib.i2d_SSL_SESSION(pointer, place)
    (_, body), *_ = _fields(bytes(_ffi.buffer(buffer, size))) or [(_SEQUENCE, b"")]
    return body


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and bodies of DER that OpenSSL itself has just written."""
    at = 0
    while at + 1 < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            width = size & 0x7F
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        yield tag, data[at : at + size]
        at += size
