"""The published form of what `everyhop lint` found: one JSON document, SARIF or JUnit.

Rules: as for a scan: names, not numbers; nothing secret; a field never changes its meaning within a schema version. A
finding stands at its file, line and column; a file without findings is not listed, only counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Literal
from urllib.parse import quote

from everyhop.core.finding import Finding
from everyhop.core.lint.excuses import SEVERITIES
from everyhop.core.lint.languages import RULES
from everyhop.core.report.document import Result
from everyhop.core.report.endpoint import verdict_of
from everyhop.core.report.junit import suite_of, tally, whole
from everyhop.core.report.sarif import answered, describe, fingerprint, log
from everyhop.core.verdict import Verdict

PAGE = "reference/lint-rules.md"
_OTHER_REMEDY = "see what the tool that found it says"
_EXCUSE_REMEDY = "write `everyhop: allow RULE until 2026-12-31 because REASON`, or take the comment out"


@dataclass(frozen=True, slots=True)
class LintResult(Result):
    """A rule's verdict on a place in a file."""

    file: str = ""
    line: int = 1
    column: int = 1
    remedy: str = ""
    """What to write instead."""


@dataclass(frozen=True, slots=True)
class LintDocument:
    """What `everyhop lint --json` prints."""

    tool: str
    at: datetime
    guideline: str
    verdict: Verdict
    """`fail` if anything must be mended, else `unknown` if anything could not be read or told."""
    files: int
    """How many files were looked at."""
    findings: tuple[LintResult, ...]
    """Sorted by file and line."""
    schema: Literal[1] = 1


def lint_document(findings: Iterable[Finding], *, files: int, tool: str, at: datetime, guideline: str) -> LintDocument:
    """The published form of a run. Without a file there is nothing to be well: the verdict is unknown."""
    results = sorted(map(_result, findings), key=lambda one: (one.file, one.line, one.column))
    verdict = verdict_of(results) if results else Verdict.PASS if files else Verdict.UNKNOWN
    return LintDocument(tool, at.astimezone(UTC), guideline, verdict, files, tuple(results))


def remedy_of(rule: str) -> str:
    """What to do about a finding of a rule."""
    if rule in RULES:
        return RULES[rule].remedy
    return _EXCUSE_REMEDY if rule in SEVERITIES else _OTHER_REMEDY if ":" in rule else ""


def _result(finding: Finding) -> LintResult:
    file, line, column = finding.subject.rsplit(":", 2)
    return LintResult(
        rule=finding.rule,
        verdict=finding.verdict,
        severity=finding.severity,
        statement=finding.statement,
        evidence=finding.evidence,
        citation=finding.citation,
        runbook=finding.runbook,
        excused=finding.excused,
        excused_until=finding.excused_until,
        file=file,
        line=int(line),
        column=int(column),
        remedy=remedy_of(finding.rule),
    )


def lint_json(document: LintDocument) -> str:
    """The document as JSON text."""
    return json.dumps(asdict(document), indent=2, default=_plain) + "\n"


def _plain(value: object) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def lint_sarif(document: LintDocument) -> dict[str, Any]:
    """The document as a SARIF 2.1.0 log; every result stands at its line and column."""
    first = {one.rule: one for one in reversed(document.findings)}
    codes = sorted(first)
    rules = [_described(first[code]) for code in codes]
    results = [_located(one, codes.index(one.rule)) for one in document.findings]
    return log(document.tool, document.at, rules, results)


def _described(one: LintResult) -> dict[str, Any]:
    rule = RULES.get(one.rule)
    why = rule.explanation if rule else one.statement
    source = one.citation or PAGE
    severity = rule.severity if rule else one.severity
    return describe(one.rule, severity, why=why, source=source, remedy=one.remedy or "look at the file", page=PAGE)


def _located(one: LintResult, index: int) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": quote(one.file)},
        "region": {"startLine": one.line, "startColumn": one.column},
    }
    return {
        **answered(one, index),
        "message": {"text": one.statement + (f" ({one.evidence})" if one.evidence else "")},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"everyhop/1": fingerprint(one.file, one.evidence, one.rule)},
        "properties": {"citation": one.citation},
    }


def lint_junit(document: LintDocument) -> str:
    """The document as JUnit XML: a file is a suite, a finding is a case."""
    by_file = groupby(document.findings, key=lambda one: one.file)
    suites = (suite_of(file, [*results], at=document.at) for file, results in by_file)
    return "".join(whole("everyhop lint", tally(document.findings), suites))
