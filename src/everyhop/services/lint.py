"""Hold files against the classic mistakes of transport security: one judgement a file, then everything together.

Rules: nothing is walked and nothing is read here: files come as texts, and what could not be read comes with its reason
and becomes an unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

from everyhop.core.finding import Finding
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.judge import judge_file
from everyhop.core.lint.rule import File, Place, Unread, Unreadable, unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class LintOrder:
    """What files are held to."""

    guideline: Guideline
    today: date
    """For excuses, which end."""
    only: Collection[str] = ()
    """The codes of rules that are asked; empty: all."""


@dataclass(frozen=True, slots=True)
class LintReport:
    """What was found, and in how many files it was looked for."""

    findings: tuple[Finding, ...]
    files: int


def lint(files: Iterable[File | Unread], order: LintOrder, *, imported: Iterable[Finding] = ()) -> LintReport:
    """Look at every file."""
    findings = [one for one in imported if not order.only or one.rule in order.only]
    count = 0
    for file in files:
        if isinstance(file, Unread):
            reason = Unreadable(Place(1, 1), file.reason, severity=file.severity)
            findings.append(unreadable(file.path, reason, what="text"))
            continue
        count += 1
        findings += judge_file(file, order.guideline, today=order.today, only=order.only)
    return LintReport(tuple(findings), count)
