"""What is wrong in a file, said so that a person can put it right.

Rules: a fault names the place (file, line, column, path), what was expected, what came and a way out; it never
repeats a long value, and never one that may be a secret. Faults are collected and told all at once, in file order.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from everyhop.errors import EveryhopError

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""What a document holds once it is read: the values of JSON."""

Path = tuple[str | int, ...]
"""Where a value stands in a document: keys and list indices from the top; () is the whole document."""


class FaultCode(StrEnum):
    """The kinds of faults, for machines."""

    SYNTAX = "syntax"
    """Not YAML, or a part of YAML that topology files do not use."""
    LIMIT = "limit"
    """Larger, deeper or more repetitive than a topology file may be."""
    VERSION = "version"
    """Written in another version of the language."""
    DUPLICATE = "duplicate"
    """The same thing said twice."""
    UNKNOWN_KEY = "unknown-key"
    MISSING_KEY = "missing-key"
    WRONG_VALUE = "wrong-value"
    UNKNOWN_NAME = "unknown-name"
    """A reference to something the file does not define."""
    WRONG_TARGET = "wrong-target"
    """A reference to something that exists but cannot be meant."""
    ADDRESS_CLASH = "address-clash"
    EXPOSED = "exposed"
    """Plaintext that other machines could reach."""
    OUTSIDE_NAMES = "outside-names"
    """A DNS name that the authority may not vouch for."""
    CONFLICT = "conflict"
    """Values that are fine alone and do not fit together."""
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where. ``line`` and ``column`` count from 1, in characters."""

    file: str
    line: int
    column: int
    path: str
    """For example ``services.web.calls[0]``; empty for the document as a whole."""
    expected: str
    got: str
    hint: str
    code: FaultCode

    def __str__(self) -> str:
        """``file:line:column: path: expected ..., got ... (hint: ...)``, as editors and terminals link it."""
        place = f"{self.file}:{self.line}:{self.column}"
        path = f"{self.path}: " if self.path else ""
        return f"{place}: {path}expected {self.expected}, got {self.got} (hint: {self.hint})"

    def as_json(self) -> dict[str, str | int]:
        """The fault as ``--json`` prints it."""
        return {
            "code": self.code.value,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "expected": self.expected,
            "got": self.got,
            "hint": self.hint,
        }


class FileFaults(EveryhopError):  # noqa: N818 - a number of faults, told at once
    """A file that cannot be used: ``faults`` holds every fault found, in file order."""

    def __init__(self, code: str, kind: str, file: str, faults: Iterable[Fault]) -> None:
        """``code`` is the error's; ``kind`` says what the file should be: ``a topology``, ``a fleet file``."""
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line, fault.column)))
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(code, f"expected {kind} without faults, got {count} in {file}")

    def __str__(self) -> str:
        """One fault a line."""
        return "\n".join(str(fault) for fault in self.faults)

    def as_json(self) -> dict[str, object]:
        """The error with every fault."""
        return {"error": self.code.name, "message": self.message, "faults": [fault.as_json() for fault in self.faults]}


class TopologyFaults(FileFaults):
    """A topology file that cannot be used."""

    def __init__(self, file: str, faults: Iterable[Fault]) -> None:
        super().__init__("topology-invalid", "a topology", file, faults)


# --- saying things well ---------------------------------------------------------------------------------------

_SHORT = 60
"""Longer texts are counted, not shown."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")

_SECRET_KEY = re.compile(r"pass(wd|word|phrase|code)|secret|token|api[_-]?key|private|credential", re.IGNORECASE)

_SECRET_PLACES = (("run", "environment"), ("run", "command"))
"""A process is often handed its secrets here: nothing below is shown."""

_SECRET_TEXT = (
    re.compile(r"-----BEGIN|://[^/@\s]*:[^/@\s]*@"),
    re.compile(r"(password|passwd|secret|token)\s*[=:]", re.IGNORECASE),
    re.compile(r"\A(AKIA|ASIA|gh[pousr]_|xox[a-z]-|sk[-_]|eyJ|AGE-SECRET-KEY)"),
    re.compile(r"\A[0-9a-fA-F]{24,}\Z"),
    re.compile(r"\A(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/=_-]{20,}\Z"),
)
"""PEM, passwords in URLs, well-known token prefixes, long hexadecimal or base64."""


def _looks_secret(text: str) -> bool:
    return any(pattern.search(text) for pattern in _SECRET_TEXT)


def _is_secret_place(path: Path) -> bool:
    keys = [step for step in path if isinstance(step, str)]
    if not keys:
        return False
    by_name = bool(_SECRET_KEY.search(keys[-1])) or keys[-1] == "run"
    return by_name or any(pair in _SECRET_PLACES for pair in pairwise(path))


def describe(value: Plain, path: Path = ()) -> str:
    """A value in a few words for the ``got`` of a fault: never long, and no secret as far as one can tell."""
    hidden = _is_secret_place(path)
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number (not shown)" if hidden else repr(value)
        case str():
            if not value:
                return "an empty text"
            if hidden or _looks_secret(value):
                return f"a text of {len(value)} characters (not shown)"
            return repr(value) if len(value) <= _SHORT else f"a text of {len(value)} characters"
        case list():
            return "an empty list" if not value else f"a list of {_count(len(value), 'item')}"
        case dict():
            return "an empty mapping" if not value else f"a mapping with {_count(len(value), 'key')}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def written(path: Path) -> str:
    """A path as people write it: ``edge.hosts["shop.localhost"].to``, ``services.web.calls[0]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.match(step) and not _looks_secret(step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]' if step.isprintable() and len(step) <= _SHORT and not _looks_secret(step) else "[...]"
    return text


def listed(words: Iterable[str], *, last: str = "or") -> str:
    """``a, b or c``."""
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail


def did_you_mean(word: object, known: Iterable[str], *, otherwise: str) -> str:
    """A hint: the nearest known word if there is one, else ``otherwise``."""
    if isinstance(word, str) and len(word) <= _SHORT:
        folded = {name.casefold(): name for name in known}
        near = difflib.get_close_matches(word.casefold(), folded, n=1)
        if near:
            return f"did you mean {folded[near[0]]!r}?"
    return otherwise
