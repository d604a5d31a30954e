"""What a cipher suite is made of: key exchange, authentication, cipher, and what is weak about it.

Rules: everything is read from the registered name, which says it all, so that there is one table to be right. A suite
that is not registered has its number as name and no properties but that nothing is known of it. TLS 1.3 suites leave
key exchange and authentication open (RFC 8446, 4.1.1): both are ``any``, and forward secrecy is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from everyhop.core.tls.suite_names import NAMES


class Weakness(StrEnum):
    """Why a suite should not be used. The worst come first."""

    NULL = "null"
    """Nothing is encrypted."""
    ANONYMOUS = "anon"
    """Nobody proves who they are: anybody on the path can be the server."""
    EXPORT = "export"
    """40 or 56 bits, made to be broken (RFC 4346 withdrew them)."""
    RC4 = "rc4"
    """RFC 7465 forbids it."""
    DES = "des"
    """DES, RC2 and IDEA: RFC 5469 and RFC 9325, 4.1."""
    TRIPLE_DES = "3des"
    """64-bit blocks: Sweet32 (CVE-2016-2183)."""
    GOST = "gost"
    """A 64-bit block cipher, or none of the ones reviewed by the IETF's community."""
    NO_FORWARD_SECRECY = "no-fs"
    """Whoever gets the server's key later reads what was recorded (RFC 9325, 4.1)."""
    CBC = "cbc"
    """MAC-then-encrypt: Lucky Thirteen and its like; RFC 9325, 4.2 recommends AEAD only."""


@dataclass(frozen=True, slots=True)
class Suite:
    """One cipher suite."""

    code: int
    iana: str
    """The registered name; ``0xABCD`` if it is not registered."""
    openssl: str
    """OpenSSL's name, of any version; empty if it never had one."""
    exchange: str
    """``ECDHE``, ``DHE``, ``ECDH``, ``DH``, ``RSA``, ``PSK``, ``SRP``, ``KRB5``, ``GOST``, ``any``... or empty."""
    authentication: str
    """``ECDSA``, ``RSA``, ``DSS``, ``PSK``, ``anon``, ``any``... or empty."""
    cipher: str
    """``AES_128_GCM``, ``CHACHA20_POLY1305``, ``3DES_EDE_CBC``, ``NULL``... or empty."""
    bits: int
    """Length of the cipher's key in bits; 0 for none, or unknown."""
    forward_secrecy: bool
    aead: bool
    weaknesses: tuple[Weakness, ...]
    """Worst first; empty: nothing is known against it."""

    @property
    def tls13(self) -> bool:
        """True if it is for TLS 1.3, which shares no suite with the older versions."""
        return self.exchange == "any"


_BITS = (
    (re.compile(r"NULL"), 0),
    (re.compile(r"RC4_40|CBC_40|DES40"), 40),
    (re.compile(r"RC4_56|CBC_56"), 56),
    (re.compile(r"3DES_EDE"), 168),
    (re.compile(r"DES"), 56),
    (re.compile(r"128"), 128),
    (re.compile(r"256|CHACHA20|28147|KUZNYECHIK|MAGMA"), 256),
    (re.compile(r"SM4|IDEA|SEED"), 128),
)
_AEAD = re.compile(r"GCM|CCM|POLY1305|MGM|AEGIS")
_FORWARD = frozenset(("DHE", "ECDHE", "SRP", "ECCPWD", "any"))
_EXCHANGES = {"DH": ("DH", "DH"), "PSK": ("PSK", "PSK"), "RSA": ("RSA", "RSA"), "KRB5": ("KRB5", "KRB5")}
_NAMED = re.compile(r"(?:TLS|SSL)_(?P<keys>\w+?)_WITH_(?P<protection>\w+)")
_HASH = re.compile(r"_(?:SHA\d*|MD5|SM3|GOSTR3411|IMIT(?:_OLD)?|OMAC|OLD)\Z")


@cache
def suite(code: int) -> Suite:
    """The suite with this code; see the rules for one that is not registered."""
    if code not in NAMES:
        return Suite(code, f"0x{code:04X}", "", "", "", "", 0, forward_secrecy=False, aead=False, weaknesses=())
    iana, openssl = NAMES[code]
    named = _NAMED.fullmatch(iana)
    if named:
        exchange, authentication = _keys(named["keys"])
        cipher = _cipher(named["protection"])
    else:
        exchange = authentication = "any"
        cipher = _cipher(iana.removeprefix("TLS_"))
    if named and (named["keys"] == "AKE" or "_MGM_" in iana):  # RFC 9150 and RFC 9367: for TLS 1.3, named as of old
        exchange = authentication = "any"
    forward, aead = exchange in _FORWARD, bool(_AEAD.search(cipher))
    return Suite(
        code,
        iana,
        openssl,
        exchange,
        authentication,
        cipher,
        next((bits for pattern, bits in _BITS if pattern.search(cipher)), 0),
        forward,
        aead,
        tuple(_weaknesses(iana, cipher, authentication, forward_secrecy=forward)),
    )


def _keys(text: str) -> tuple[str, str]:
    """Key exchange and authentication of ``ECDHE_RSA``, ``DH_anon_EXPORT``, ``PSK_DHE``, ``SRP_SHA_DSS``..."""
    parts = [part for part in text.split("_") if part not in ("EXPORT", "EXPORT1024", "FIPS", "SHA")]
    if parts == ["PSK", "DHE"]:  # RFC 6655 turned the words round for two suites
        parts.reverse()
    first, last = parts[0], parts[-1]
    if first.startswith("GOSTR"):
        return "GOST", "GOST"
    if last == "anon":  # the keys are fresh all the same
        return f"{first}E", "anon"
    if first == "SRP" and len(parts) == 1:
        return "SRP", "SRP"
    return (first, last) if len(parts) > 1 else _EXCHANGES.get(first, (first, first))


def _cipher(text: str) -> str:
    """``AES_128_CBC`` of ``AES_128_CBC_SHA``."""
    while (found := _HASH.search(text)) and found.start():
        text = text[: found.start()]
    return text


def _weaknesses(iana: str, cipher: str, authentication: str, *, forward_secrecy: bool) -> list[Weakness]:
    found = {
        Weakness.NULL: "NULL" in cipher,
        Weakness.ANONYMOUS: authentication in ("anon", "NULL"),
        Weakness.EXPORT: "EXPORT" in iana,
        Weakness.RC4: "RC4" in cipher,
        Weakness.DES: bool(re.search(r"\ADES|RC2|IDEA", cipher)),
        Weakness.TRIPLE_DES: "3DES" in cipher,
        Weakness.GOST: "28147" in cipher or "MAGMA" in cipher,
        Weakness.NO_FORWARD_SECRECY: not forward_secrecy,
        Weakness.CBC: "CBC" in cipher,
    }
    return [weakness for weakness, applies in found.items() if applies]


TLS13_SUITES = tuple(sorted((code for code in NAMES if suite(code).tls13), key=lambda code: (code >> 8 != 0x13, code)))
"""Every suite for TLS 1.3, those of RFC 8446 first."""

_COMMON = (
    *(0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0x009E, 0x009F, 0xCCAA),
    *(0xC009, 0xC013, 0xC00A, 0xC014, 0xC023, 0xC027, 0xC024, 0xC028, 0x0033, 0x0039, 0x0067, 0x006B),
    *(0x009C, 0x009D, 0x003C, 0x003D, 0x002F, 0x0035, 0x000A, 0x0005, 0x0004),
)

TLS12_SUITES = (
    *_COMMON,
    *(code for code in sorted(NAMES) if code and not suite(code).tls13 and code not in _COMMON),
)
"""Every suite for TLS 1.2 and older, those that are in use first: in this order they are offered, so that the first
hundred are enough for almost every server. 0x0000, no protection at all, must never be asked for (RFC 5246, A.5)."""

_CODES = {name.upper(): code for code, names in NAMES.items() for name in reversed(names) if name}


def suite_name(code: int) -> str:
    """The registered name."""
    return suite(code).iana


def suite_code(name: str) -> int | None:
    """The code of a suite by its IANA or OpenSSL name (in any case); None if nobody knows it."""
    return _CODES.get(name.upper())
