"""Excuses in the file itself: ``everyhop: allow RULE until 2026-12-31 because REASON`` in a comment.

Rules: an excuse stands on the line it is for, or on the line before, and covers exactly one rule through its last day.
It never makes a failure a pass: the finding is marked. One that has expired, lacks its reason or its day, names no
rule, or covers nothing is a finding itself, so that excuses do not outlive what they are for.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from everyhop.core.finding import Finding, Severity
from everyhop.core.lint.rule import Place
from everyhop.core.lint.text import Lines
from everyhop.core.verdict import Verdict

EXCUSE = re.compile(
    r"(?:\#|//|;|/\*|\*|<!--|--)[ \t]{0,20}everyhop:[ \t]{0,9}allow\b"
    r"(?:[ \t]{1,9}(?P<rule>[\w:.-]{1,100}))?"
    r"(?:[ \t]{1,9}until[ \t]{1,9}(?P<until>[0-9-]{1,10}))?"
    r"(?:[ \t]{1,9}because[ \t]{1,9}(?P<reason>[^\n]{1,300}))?"
)
_END = re.compile(r"\s*(?:\*/|-->)\s*\Z")

INVALID = "excuse-invalid"
EXPIRED = "excuse-expired"
UNUSED = "excuse-unused"
SEVERITIES = {INVALID: Severity.MEDIUM, EXPIRED: Severity.MEDIUM, UNUSED: Severity.LOW}


@dataclass(frozen=True, slots=True)
class Excuse:
    """One excuse that is well written."""

    rule: str
    until: date
    reason: str
    place: Place


def read_excuses(path: str, text: str, known: Callable[[str], bool]) -> tuple[list[Excuse], list[Finding]]:
    """The excuses of a file, and what is wrong with others; ``known`` says whether a code is one of a rule."""
    if "everyhop:" not in text:
        return [], []
    excuses: list[Excuse] = []
    findings: list[Finding] = []
    lines = Lines(text)
    comments = _python_comments(text) if path.endswith((".py", ".pyi")) else None
    for found in EXCUSE.finditer(text):
        place = lines.place(found.start())
        if comments is not None and place not in comments:
            continue
        rule, reason = found["rule"] or "", _END.sub("", found["reason"] or "").strip()
        until = _day(found["until"] or "")
        if not known(rule):
            lacks = f"the code of a rule, got {rule or 'none'}"
        elif until is None:
            lacks = "`until` with a day such as 2026-12-31, got none"
        elif not reason:
            lacks = "`because` with a reason, got none"
        else:
            excuses.append(Excuse(rule, until, reason, place))
            continue
        findings.append(_finding(INVALID, path, place, f"expected {lacks}: it excuses nothing"))
    return excuses, findings


def apply_excuses(path: str, findings: Iterable[Finding], excuses: Sequence[Excuse], today: date) -> list[Finding]:
    """The findings of a file, marked where a running excuse covers them, and what is wrong with the excuses."""
    by_place: dict[tuple[int, str], Excuse] = {}
    for one in excuses:
        by_place[one.place.line + 1, one.rule] = one
    for one in excuses:
        by_place[one.place.line, one.rule] = one
    used: set[Excuse] = set()
    result: list[Finding] = []
    for finding in findings:
        excuse = by_place.get((line_of(finding), finding.rule))
        if excuse is None or finding.verdict not in (Verdict.FAIL, Verdict.UNKNOWN):
            result.append(finding)
            continue
        used.add(excuse)
        running = today <= excuse.until
        result.append(replace(finding, excused=excuse.reason, excused_until=excuse.until) if running else finding)
    for one in excuses:
        if today > one.until:
            said = f"expected an excuse that runs, got one until {one.until}: mend it, or say anew why not"
            result.append(_finding(EXPIRED, path, one.place, said, one.rule))
        elif one not in used:
            said = f"expected {one.rule} on this line or the next, got nothing to excuse: take the comment out"
            result.append(_finding(UNUSED, path, one.place, said, one.rule))
    return result


def line_of(finding: Finding) -> int:
    """The line of a finding's subject ``path:line:column``."""
    return int(finding.subject.rsplit(":", 2)[1])


def _finding(code: str, path: str, place: Place, statement: str, evidence: str = "") -> Finding:
    subject = f"{path}:{place.line}:{place.column}"
    page = "reference/lint-rules.md"
    return Finding(code, Verdict.FAIL, SEVERITIES[code], subject, statement, evidence, runbook=page)


def _python_comments(text: str) -> set[Place] | None:
    """Where Python's comments begin, so that a text which shows an excuse is none; None if it cannot be told."""
    try:
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        return {Place(one.start[0], one.start[1] + 1) for one in tokens if one.type == tokenize.COMMENT}
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError):
        return None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
