"""A fleet file: one endpoint a line, who owns it, and by what it is judged.

    # the payment systems
    shop.example.org
    db1.internal:5432            owner=payments service=ledger name=ledger.internal
    smtp://mail.example.org      profile=mozilla-intermediate   # until the old printers are gone

Rules: a line is a target (as on the command line) and any number of ``key=value``; ``#`` begins a comment at the
start of a line or after a blank. Nothing is contacted unless every line can be read: all faults are told at once, each
with its line. The same endpoint twice, asked for under the same name, is a fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from everyhop.core.endpoint.target import Target
from everyhop.core.fault import Fault, FaultCode, FileFaults, describe, did_you_mean, listed

MAX_BYTES = 16 * 1024 * 1024
"""A hundred thousand endpoints with their owners are half of this."""

KEYS = ("owner", "service", "name", "profile")
"""What may be said of an endpoint: owner, service, the name to ask for, and the guideline it is held to."""

_COMMENT = re.compile(r"(^|\s)#.*")
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One endpoint of a fleet."""

    target: Target
    profile: str = ""
    """The guideline it is held to, or empty: that of the whole scan."""
    file: str = ""
    """Where it was named; empty: on the command line."""
    line: int = 0


def read_fleet(text: str, *, file: str) -> tuple[Entry, ...]:
    """Read a fleet file's text; ``file`` is its name in messages.

    Raises :class:`FileFaults` (``target-invalid``) with every fault, in file order; a file that names no endpoint is a
    fault, too, because a scan of nothing proves nothing.
    """
    if len(text) > MAX_BYTES:
        fault = Fault(file, 1, 1, "", f"at most {MAX_BYTES} bytes", f"{len(text)}", "split the file", FaultCode.LIMIT)
        raise FileFaults("target-invalid", "a fleet file", file, [fault])
    reader = _Reader(file)
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        reader.line(number, _COMMENT.sub("", line))
    if not reader.entries and not reader.faults:
        reader.fault(1, 1, "at least one endpoint", "none", "write one host:port a line", FaultCode.MISSING_KEY)
    if reader.faults:
        raise FileFaults("target-invalid", "a fleet file", file, reader.faults)
    return tuple(reader.entries)


class _Reader:
    """Collects entries and faults, line by line."""

    def __init__(self, file: str) -> None:
        self.entries: list[Entry] = []
        self.faults: list[Fault] = []
        self._file = file
        self._seen: dict[tuple[str, int, str], int] = {}

    def line(self, number: int, text: str) -> None:
        """Read one line without its comment."""
        words = list(_WORD.finditer(text))
        if not words:
            return
        said = self._pairs(number, words[1:])
        try:
            target = Target.parse(words[0][0])
        except ValueError as error:
            expected, _, got = str(error).removeprefix("expected ").rpartition(", got ")
            hint = "for example shop.example.org, db.internal:5432, [2001:db8::1]:443 or postgres://db.internal"
            self.fault(number, words[0].start() + 1, expected, got, hint, FaultCode.WRONG_VALUE)
            return
        target = replace(
            target,
            owner=said.get("owner", ""),
            service=said.get("service", ""),
            server_name=said.get("name", target.server_name),
        )
        key = (target.host.lower(), target.port, target.server_name.lower())
        before = self._seen.setdefault(key, number)
        if before != number:
            hint = f"it stands in line {before} already: remove one of the two"
            self.fault(number, words[0].start() + 1, "each endpoint once", f"{target} again", hint, FaultCode.DUPLICATE)
            return
        self.entries.append(Entry(target, said.get("profile", ""), self._file, number))

    def _pairs(self, number: int, words: list[re.Match[str]]) -> dict[str, str]:
        said: dict[str, str] = {}
        for word in words:
            key, equals, value = word[0].partition("=")
            column = word.start() + 1
            if not equals or not value:
                hint = "a comment begins with #" if not equals else f"leave out {key}=, or give it a value"
                self.fault(number, column, "key=value", describe(word[0]), hint, FaultCode.WRONG_VALUE)
            elif key not in KEYS:
                hint = did_you_mean(key, KEYS, otherwise=f"known are {listed(KEYS, last='and')}")
                self.fault(number, column, listed(KEYS), describe(key), hint, FaultCode.UNKNOWN_KEY)
            elif key in said:
                hint = "keep one of the two"
                self.fault(number, column, "each key once", f"{describe(key)} again", hint, FaultCode.DUPLICATE)
            else:
                said[key] = value
        return said

    def fault(self, line: int, column: int, expected: str, got: str, hint: str, code: FaultCode) -> None:
        """Remember what is wrong in a line."""
        self.faults.append(Fault(self._file, line, column, "", expected, got, hint, code))
