"""Versions and cipher lists as people write them, held to a guideline.

Rules: a list is judged by what it lets in. *Broken* is what nobody should accept: no encryption, nobody's name, export
strength, RC4, DES, triple DES. *Beyond* is what the guideline does not permit although no attack is at hand: CBC, or no
forward secrecy. OpenSSL's words for groups of suites are judged by their worst member, unless it is taken out with an
exclamation mark (openssl-ciphers(1)). A word that nobody knows is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.tls.suites import Weakness, suite, suite_code
from everyhop.core.tls.versions import SSL3, version_code, version_name

_HARMLESS = frozenset((Weakness.CBC, Weakness.NO_FORWARD_SECRECY))
_SEPARATOR = re.compile(r"[:, \t\n]+")
_BROKEN_WORDS = frozenset(
    (
        *(
            "NULL",
            "ENULL",
            "ANULL",
            "ADH",
            "AECDH",
            "EXP",
            "EXPORT",
            "EXPORT40",
            "EXPORT56",
            "LOW",
            "MEDIUM",
            "RC4",
            "RC2",
        ),
        *("DES", "3DES", "MD5", "IDEA", "SEED", "COMPLEMENTOFDEFAULT", "COMPLEMENTOFALL", "SSLV2", "@SECLEVEL=0"),
    )
)
_WORST_OF = {"ALL": ("ANULL", "MEDIUM"), "HIGH": ("ANULL",), "AES": ("ANULL",), "AES128": ("ANULL",)}
"""What these words let in unless it is taken out."""
_WIDE_WORDS = frozenset(
    (
        *("DEFAULT", "RSA", "KRSA", "SSLV3", "TLSV1", "TLSV1.0", "SHA", "SHA1", "CAMELLIA", "ARIA", "CBC", "AES256"),
        *("ECDH", "EECDH", "ECDHE", "EDH", "DHE", "DH", "HIGH", "ALL", "AES", "AES128", "@SECLEVEL=1"),
    )
)
_AEAD_WORDS = frozenset(("AESGCM", "AESCCM", "CHACHA20", "AESCCM8"))
_FRESH_WORDS = frozenset(("ECDHE", "EECDH", "KECDHE", "KEECDH", "DHE", "EDH", "KDHE", "KEDH", "ECDHE-ECDSA"))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a cipher list lets in that it should not, in its own words."""

    broken: tuple[str, ...]
    beyond: tuple[str, ...]


def old_versions(names: Iterable[str], guideline: Guideline) -> list[str]:
    """Those of the named versions that the guideline does not permit, in the order given."""
    return [name for name in names if (code := code_of(name)) is not None and code not in guideline.versions]


def too_low(name: str, guideline: Guideline) -> bool:
    """True if a *lowest* version lets in one that the guideline does not permit."""
    code = code_of(name)
    return code is not None and code < min(guideline.versions)


def code_of(name: str) -> int | None:
    """A version's code by whatever name: ``TLSv1.1``, ``TLSv1_1``, ``TLS11``, ``SSLv3``; SSLv2 counts as SSLv3."""
    plain = name.lower().strip("\"'").replace("_", ".").replace("version", "").replace("v", "")
    if plain in ("ssl2", "ssl3", "ssl30", "ssl"):
        return SSL3
    if re.fullmatch(r"tls1\d", plain):
        plain = f"tls1.{plain[-1]}"
    return version_code(plain)


def least(guideline: Guideline) -> str:
    """The lowest version that a guideline permits, by name."""
    return version_name(min(guideline.versions))


def judge_list(text: str, guideline: Guideline) -> Judgement:
    """Judge a cipher list in OpenSSL's notation, or names separated by commas or blanks."""
    words = [word for word in _SEPARATOR.split(text.strip().strip("\"'")) if word]
    out = {word[1:].upper() for word in words if word[0] in "!-" and len(word) > 1}
    broken: list[str] = []
    beyond: list[str] = []
    for word in words:
        if word[0] in "!-+":
            continue
        if _is_broken(word, out):
            broken.append(word)
        elif _is_beyond(word, guideline):
            beyond.append(word)
    return Judgement(tuple(dict.fromkeys(broken)), tuple(dict.fromkeys(beyond)))


def _is_broken(word: str, out: set[str]) -> bool:
    code = suite_code(word)
    if code is not None:
        return bool(set(suite(code).weaknesses) - _HARMLESS)
    parts = word.upper().split("+")
    if any(part in _BROKEN_WORDS and part not in out for part in parts):
        return True
    anonymous_out = bool(out & {"ANULL", "ADH"})
    worst = _WORST_OF.get(parts[0], ()) if len(parts) == 1 else ()
    return any(not (one in out or (one == "ANULL" and anonymous_out)) for one in worst if one != "MEDIUM") or (
        "MEDIUM" in worst and not out & {"MEDIUM", "RC4"}
    )


def _is_beyond(word: str, guideline: Guideline) -> bool:
    code = suite_code(word)
    if code is not None:
        return code not in (*guideline.suites_tls13, *guideline.suites_tls12)
    parts = set(word.upper().split("+"))
    if parts & _AEAD_WORDS:
        return not parts & _FRESH_WORDS
    return bool(parts & (_WIDE_WORDS | _FRESH_WORDS))
