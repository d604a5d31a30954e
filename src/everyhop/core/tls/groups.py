"""Groups for key exchange: curves, finite fields, post-quantum KEMs and their hybrids (IANA TLS Supported Groups).

Rules: a hybrid's ends are safe if either part is; a pure KEM stands alone. Which versions a group is for follows RFC
8446, 4.2.7, RFC 8422, 5.1 and RFC 8734 (the Brainpool curves have other numbers in TLS 1.3). Codes for drafts that
servers still choose are here too, under their drafts' names; arbitrary curves (0xFF01, 0xFF02) are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What kind of key exchange a group is for."""

    HYBRID = "hybrid"
    """A post-quantum KEM together with a curve."""
    KEM = "kem"
    """A post-quantum KEM alone."""
    CURVE = "curve"
    FIELD = "finite field"


@dataclass(frozen=True, slots=True)
class Group:
    """One group."""

    code: int
    name: str
    """As registered; ``0x2A2A`` if it is not."""
    kind: Kind
    bits: int
    """Security against computers of today, in bits, by the table of NIST SP 800-57; 0 where nobody can say."""
    tls12: bool
    """TLS 1.2 and older may choose it."""
    tls13: bool

    @property
    def post_quantum(self) -> bool:
        """True if a recording made today stays closed to a quantum computer."""
        return self.kind in (Kind.HYBRID, Kind.KEM)


_OLD, _NEW, _BOTH = (True, False), (False, True), (True, True)

_ROWS: tuple[tuple[int, str, Kind, int, tuple[bool, bool]], ...] = (
    (0x11EC, "X25519MLKEM768", Kind.HYBRID, 128, _NEW),
    (0x11EB, "SecP256r1MLKEM768", Kind.HYBRID, 128, _NEW),
    (0x11ED, "SecP384r1MLKEM1024", Kind.HYBRID, 192, _NEW),
    (0x11EE, "curveSM2MLKEM768", Kind.HYBRID, 128, _NEW),
    (0x0200, "MLKEM512", Kind.KEM, 128, _NEW),
    (0x0201, "MLKEM768", Kind.KEM, 192, _NEW),
    (0x0202, "MLKEM1024", Kind.KEM, 256, _NEW),
    (0x6399, "X25519Kyber768Draft00", Kind.HYBRID, 128, _NEW),
    (0x639A, "SecP256r1Kyber768Draft00", Kind.HYBRID, 128, _NEW),
    (29, "x25519", Kind.CURVE, 128, _BOTH),
    (23, "secp256r1", Kind.CURVE, 128, _BOTH),
    (24, "secp384r1", Kind.CURVE, 192, _BOTH),
    (25, "secp521r1", Kind.CURVE, 256, _BOTH),
    (30, "x448", Kind.CURVE, 224, _BOTH),
    (256, "ffdhe2048", Kind.FIELD, 112, _BOTH),
    (257, "ffdhe3072", Kind.FIELD, 128, _BOTH),
    (258, "ffdhe4096", Kind.FIELD, 152, _BOTH),
    (259, "ffdhe6144", Kind.FIELD, 176, _BOTH),
    (260, "ffdhe8192", Kind.FIELD, 200, _BOTH),
    (31, "brainpoolP256r1tls13", Kind.CURVE, 128, _NEW),
    (32, "brainpoolP384r1tls13", Kind.CURVE, 192, _NEW),
    (33, "brainpoolP512r1tls13", Kind.CURVE, 256, _NEW),
    (26, "brainpoolP256r1", Kind.CURVE, 128, _OLD),
    (27, "brainpoolP384r1", Kind.CURVE, 192, _OLD),
    (28, "brainpoolP512r1", Kind.CURVE, 256, _OLD),
    (34, "GC256A", Kind.CURVE, 128, _BOTH),
    (35, "GC256B", Kind.CURVE, 128, _BOTH),
    (36, "GC256C", Kind.CURVE, 128, _BOTH),
    (37, "GC256D", Kind.CURVE, 128, _BOTH),
    (38, "GC512A", Kind.CURVE, 256, _BOTH),
    (39, "GC512B", Kind.CURVE, 256, _BOTH),
    (40, "GC512C", Kind.CURVE, 256, _BOTH),
    (41, "curveSM2", Kind.CURVE, 128, _BOTH),
    (22, "secp256k1", Kind.CURVE, 128, _OLD),
    (21, "secp224r1", Kind.CURVE, 112, _OLD),
    (20, "secp224k1", Kind.CURVE, 112, _OLD),
    (19, "secp192r1", Kind.CURVE, 96, _OLD),
    (18, "secp192k1", Kind.CURVE, 96, _OLD),
    (17, "secp160r2", Kind.CURVE, 80, _OLD),
    (16, "secp160r1", Kind.CURVE, 80, _OLD),
    (15, "secp160k1", Kind.CURVE, 80, _OLD),
    (14, "sect571r1", Kind.CURVE, 256, _OLD),
    (13, "sect571k1", Kind.CURVE, 256, _OLD),
    (12, "sect409r1", Kind.CURVE, 192, _OLD),
    (11, "sect409k1", Kind.CURVE, 192, _OLD),
    (10, "sect283r1", Kind.CURVE, 128, _OLD),
    (9, "sect283k1", Kind.CURVE, 128, _OLD),
    (8, "sect239k1", Kind.CURVE, 112, _OLD),
    (7, "sect233r1", Kind.CURVE, 112, _OLD),
    (6, "sect233k1", Kind.CURVE, 112, _OLD),
    (5, "sect193r2", Kind.CURVE, 96, _OLD),
    (4, "sect193r1", Kind.CURVE, 96, _OLD),
    (3, "sect163r2", Kind.CURVE, 80, _OLD),
    (2, "sect163r1", Kind.CURVE, 80, _OLD),
    (1, "sect163k1", Kind.CURVE, 80, _OLD),
)

GROUPS = {code: Group(code, name, kind, bits, *when) for code, name, kind, bits, when in _ROWS}
"""Every group, best known first: in this order they are offered."""

TLS13_GROUPS = tuple(code for code, found in GROUPS.items() if found.tls13)
TLS12_GROUPS = tuple(code for code, found in GROUPS.items() if found.tls12)

_CODES = {found.name.lower(): found.code for found in GROUPS.values()}
_CODES.update({"p-256": 23, "p-384": 24, "p-521": 25, "prime256v1": 23, "prime192v1": 19})


def group(code: int) -> Group:
    """The group with this code; one that is not registered has its number as name."""
    return GROUPS.get(code) or Group(code, f"0x{code:04X}", Kind.CURVE, 0, tls12=True, tls13=True)


def group_name(code: int) -> str:
    """``x25519`` for 29."""
    return group(code).name


def group_code(name: str) -> int | None:
    """29 for ``x25519`` or ``X25519``, 23 for ``secp256r1``, ``P-256`` or ``prime256v1``; None if there is none."""
    return _CODES.get(name.lower())
