"""The versions of SSL and TLS, as they are on the wire and as people call them."""

from __future__ import annotations

from collections.abc import Iterable

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304

NAMES = {SSL3: "SSLv3", TLS10: "TLSv1.0", TLS11: "TLSv1.1", TLS12: "TLSv1.2", TLS13: "TLSv1.3"}
"""Names as OpenSSL and most scanners spell them."""

NEWEST_FIRST = (TLS13, TLS12, TLS11, TLS10, SSL3)


def version_name(code: int) -> str:
    """``TLSv1.2`` for 0x0303; an unknown version as ``0x0305``."""
    return NAMES.get(code, f"0x{code:04X}")


def version_slug(code: int) -> str:
    """``tls12`` for 0x0303, as the names of questions have it: no dots, no capitals."""
    return version_name(code).lower().replace("v", "").replace(".", "")


def version_code(name: str) -> int | None:
    """0x0303 for ``TLSv1.2``, ``TLS 1.2``, ``tls1.2`` or ``1.2``; None if it is no version. ``TLSv1`` is TLS 1.0."""
    plain = name.lower().replace(" ", "").replace("v", "").removeprefix("tls")
    return {"ssl3": SSL3, "1": TLS10, "1.0": TLS10, "1.1": TLS11, "1.2": TLS12, "1.3": TLS13}.get(plain)


def version_names(codes: Iterable[int]) -> str:
    """``TLSv1.3, TLSv1.2`` for people."""
    return ", ".join(version_name(code) for code in codes)
