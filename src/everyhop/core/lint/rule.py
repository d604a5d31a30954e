"""What a rule about files is, what it looks at, and what it answers.

Rules: a rule is one small object with a stable code, and it speaks about one kind of file. It sees a parsed file and
answers with places, each with one sentence; no place means that it has nothing to say. It never guesses: where another
file decides (an include, a discovered endpoint), the verdict is ``unknown``. Its examples are read by tests: the rule
finds something in the bad one, and nothing at all is found in the good one. No secret is ever repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from everyhop.core.finding import Finding, Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.verdict import Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class File:
    """One file to look at, as whoever walks the disk found it."""

    path: str
    text: str
    mode: int | None = None
    """Permission bits, or None: not known."""
    tracked: bool = False
    """True if it is, or is about to be, in a repository."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that could not be read at all, and why."""

    path: str
    reason: str
    severity: Severity = Severity.MEDIUM
    """Low where nobody would miss it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, lines and columns counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A place where a rule has something to say."""

    place: Place
    statement: str
    """One sentence: what was expected and what came."""
    evidence: str = ""
    """The file's own words, without secrets."""
    severity: Severity | None = None
    """Where it depends on what was seen; None: the rule's own."""
    verdict: Verdict = Verdict.FAIL


class Unreadable(Exception):  # noqa: N818  # an answer, not an error: the file is not what it seemed
    """A file cannot be parsed, from here on."""

    def __init__(self, place: Place, reason: str, *, severity: Severity = Severity.MEDIUM) -> None:
        """``severity`` is low for what is not meant to be parsed as it stands, such as a template."""
        super().__init__(reason)
        self.place = place
        self.reason = reason
        self.severity = severity


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """One rule about one kind of file."""

    code: str
    """Lower case with hyphens, the kind of file first: ``nginx-upstream-plain``. Never changes its meaning."""
    severity: Severity
    citation: str
    """The clause that governs, or the manual that says how the product behaves."""
    explanation: str
    """Why it exists, one sentence."""
    remedy: str
    """What to write instead."""
    bad: str
    """A file in which it finds something."""
    good: str
    """A file in which nothing is found."""
    check: Callable[[T, Guideline], Iterable[Hit]]


@dataclass(frozen=True, slots=True)
class Language(Generic[T]):
    """A kind of file: how it is recognised and parsed, and what is asked of it."""

    name: str
    example: str
    """A file name that belongs to it."""
    reads: Callable[[File], bool]
    """True if a file is of this kind, by its name or its first words."""
    parse: Callable[[File], T]
    """Raises :class:`Unreadable`, and nothing else, whatever the text is."""
    rules: tuple[Rule[T], ...]

    def look(self, file: File, guideline: Guideline) -> tuple[Finding, ...]:
        """Every finding of every rule, in the order of rules."""
        try:
            parsed = self.parse(file)
        except Unreadable as reason:
            return (unreadable(file.path, reason, what=self.name),)
        return tuple(
            told(rule, hit, file.path, guideline) for rule in self.rules for hit in rule.check(parsed, guideline)
        )


UNREADABLE = "file-unreadable"
"""The code of what is said of a file that could not be read: it is unknown, and stays so."""


def told(rule: Rule[Any], hit: Hit, path: str, guideline: Guideline) -> Finding:
    """A hit as a finding; its subject is ``path:line:column``."""
    return Finding(
        rule=rule.code,
        verdict=hit.verdict,
        severity=hit.severity or rule.severity,
        subject=f"{path}:{hit.place.line}:{hit.place.column}",
        statement=hit.statement,
        evidence=hit.evidence,
        guideline=str(guideline),
        citation=rule.citation,
        runbook="reference/lint-rules.md",
    )


def unreadable(path: str, reason: Unreadable, *, what: str) -> Finding:
    """What is said of a file that could not be parsed."""
    return Finding(
        rule=UNREADABLE,
        verdict=Verdict.UNKNOWN,
        severity=reason.severity,
        subject=f"{path}:{reason.place.line}:{reason.place.column}",
        statement=f"expected a file that can be read as {what}, got {reason.reason}; nothing else was asked of it",
        runbook="reference/lint-rules.md",
    )
