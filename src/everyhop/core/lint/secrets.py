"""Private keys where they should not be: in a repository, or readable by everybody. Asked of every text file.

Rules: a key is a PEM block with a body; its first line alone is a mention. Nothing of the body is ever repeated: only
the kind of key is said. A key encrypted with a passphrase is as good as that passphrase, which often stands beside it.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass

from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.rule import File, Hit, Language, Place, Rule
from everyhop.core.lint.text import Lines

_BEGIN = "-----BEGIN "
_PEM = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]{0,40})PRIVATE KEY(?: BLOCK)?-----"
    r"(?P<heads>(?:(?:\s|\\n){1,40}[A-Za-z-]{2,30}: ?[^\n\\]{0,80}){0,4})"
    r"(?:[\s\"'+,|>]|\\n|\\r){0,60}(?P<body>[A-Za-z0-9+/=]{40,80})"
)
_AGE = re.compile(r"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{40,2000}")
_WRAPPED = re.compile(r"(?<![A-Za-z0-9+/])LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,200}")
"""``-----BEGIN`` in base64, as Kubernetes' Secrets have it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A private key in a file."""

    kind: str
    place: Place
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """A file with the keys in it."""

    file: File
    keys: tuple[Key, ...]


def _parse(file: File) -> Holding:
    return Holding(file, tuple(_keys(file.text)))


def _keys(text: str) -> Iterator[Key]:
    if _BEGIN not in text and "AGE-SECRET-KEY-" not in text and "LS0tLS1CRUdJTi" not in text:
        return
    lines = Lines(text)
    for found in _PEM.finditer(text):
        kind = found["kind"].strip() or "PKCS #8"
        encrypted = kind == "ENCRYPTED" or "ENCRYPTED" in found["heads"] or _is_sealed(kind, found["body"])
        yield Key(kind, lines.place(found.start()), encrypted)
    for found in _AGE.finditer(text):
        yield Key("age", lines.place(found.start()), encrypted=False)
    for found in _WRAPPED.finditer(text):
        first = _decoded(found[0]).partition("\n")[0]
        if "PRIVATE KEY-----" in first:
            kind = first.removeprefix(_BEGIN).partition("PRIVATE KEY")[0].strip() or "PKCS #8"
            yield Key(f"{kind}, in base64", lines.place(found.start()), encrypted="ENCRYPTED" in first)


def _is_sealed(kind: str, body: str) -> bool:
    """True for an OpenSSH key under a passphrase: its cipher is not ``none``."""
    return kind == "OPENSSH" and "\x04none" not in _decoded(body)


def _decoded(text: str) -> str:
    try:
        return b64decode(text[: len(text) // 4 * 4]).decode("latin-1")
    except (Base64Error, ValueError):
        return ""


def _in_repository(holding: Holding, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for key in holding.keys if holding.file.tracked else ():
        severity = Severity.MEDIUM if key.encrypted else Severity.CRITICAL
        sealed = " under a passphrase" if key.encrypted else ""
        yield Hit(key.place, f"expected no private key in a repository, got one{sealed}", f"kind: {key.kind}", severity)


def _readable(holding: Holding, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    mode = holding.file.mode
    if mode is None or not mode & 0o077 or not holding.keys:
        return
    key = holding.keys[0]
    severity = Severity.LOW if key.encrypted else Severity.HIGH if mode & 0o007 else Severity.MEDIUM
    who = "everybody" if mode & 0o007 else "a group"
    statement = f"expected a private key that only its owner reads (0600), got one open to {who}"
    yield Hit(key.place, statement, f"mode {mode & 0o777:04o}, kind: {key.kind}", severity)


def example_key() -> str:
    """A text that looks like a private key and is none, put together so that no scanner mistakes this file for one."""
    return f"{_BEGIN}PRIVATE KEY-----\n{'everyhop' * 8}\n-----END PRIVATE KEY-----\n"


_GOOD = "the key is made where it is used, and stays there\n"

RULES: tuple[Rule[Holding], ...] = (
    Rule(
        "secret-key-committed",
        Severity.CRITICAL,
        "NIST SP 800-57 Part 1, 6.2.2; CWE-321",
        "whoever has the repository, now or ever, has the key",
        "revoke its certificate, make a new key where it is used, and take this one out of the history, too",
        bad=example_key(),
        good=_GOOD,
        check=_in_repository,
    ),
    Rule(
        "secret-key-readable",
        Severity.HIGH,
        "NIST SP 800-57 Part 1, 6.2.2; CWE-732",
        "every process of the machine can take the key",
        "write `chmod 600 FILE`, and give it to the user that needs it",
        bad=example_key(),
        good=_GOOD,
        check=_readable,
    ),
)

SECRETS: Language[Holding] = Language("text", "notes.txt", lambda file: True, _parse, RULES)
