"""Names to numbers, so that a guideline reads like the document it comes from.

Rules: a name that is not registered is a ``ValueError`` when the module is read, which every test does.
"""

from __future__ import annotations

from everyhop.core.tls.groups import GROUPS, group_code
from everyhop.core.tls.suites import suite_code


def suites(names: str) -> tuple[int, ...]:
    """Cipher suites by IANA or OpenSSL name, separated by blanks or line ends; their order is kept."""
    return tuple(_known(suite_code(name), name) for name in names.split())


def groups(names: str) -> tuple[int, ...]:
    """Groups by name, separated by blanks; their order is kept."""
    return tuple(_known(group_code(name), name) for name in names.split())


def _known(code: int | None, name: str) -> int:
    if code is None:
        raise ValueError(f"expected a registered name, got {name!r}")
    return code


TLS13_AES_AND_CHACHA = suites("TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256")
"""What almost everybody permits in TLS 1.3 (RFC 8446, 9.1)."""

HYBRIDS = groups("X25519MLKEM768 SecP256r1MLKEM768 SecP384r1MLKEM1024")
"""Post-quantum hybrids (draft-ietf-tls-ecdhe-mlkem)."""

SOUND_GROUPS = tuple(code for code, group in GROUPS.items() if group.bits >= 112)
"""For policies that name versions and suites and leave the groups open: all of at least 112 bits (NIST SP 800-57)."""
