"""Findings as SARIF 2.1.0, for code-scanning pages and the tools that read it.

Rules: a result is what somebody may have to act on: ``kind`` is fail, or open for what could not be told (SARIF 2.1.0,
3.27.9), and only failures have a level. What passed stands in the JSON document: pages that read SARIF take a bounded
number of results, and a fleet's passes would crowd out its failures. What is to be said of a rule stands once, with the
rule. A result stands at the line of the fleet file that names its endpoint, so that reviewers see it where they can
change it; an endpoint from the command line has its own address as place. A failure under a running exception is shown
as suppressed, with its reason (3.35).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import quote

from everyhop.core.endpoint.remedies import REMEDIES
from everyhop.core.endpoint.rules import RULES
from everyhop.core.finding import Severity
from everyhop.core.report.document import Endpoint, Result, Scan
from everyhop.core.report.endpoint import Judged
from everyhop.core.report.splice import spliced
from everyhop.core.verdict import Verdict

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_KINDS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.UNKNOWN: "open",
    Verdict.NOT_APPLICABLE: "notApplicable",
}
_LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
_SCORES = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
    Severity.INFO: "0.0",
}
"""Code-scanning pages sort by this number; the bands are those of CVSS."""


class Told(Judged, Protocol):
    """What every form of a finding says of its rule."""

    @property
    def rule(self) -> str:
        """The rule's code."""
        ...


def sarif(scan: Scan) -> Iterator[str]:
    """The SARIF log of a scan, with one run, piece by piece; one result a line."""
    places = {code: place for place, code in enumerate(RULES)}
    around = json.dumps(log(scan.tool, scan.at, [_rule(code) for code in RULES], []))
    return spliced(around + "\n", "results", map(json.dumps, _results(scan, places)))


def _results(scan: Scan, places: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    for endpoint in scan.endpoints:
        for result in endpoint.findings:
            if result.verdict in (Verdict.FAIL, Verdict.UNKNOWN):
                yield _finding(endpoint, result, places[result.rule])


def log(tool: str, at: datetime, rules: list[dict[str, Any]], results: list[dict[str, Any]]) -> dict[str, Any]:
    """A SARIF log with one run; ``tool`` is name and version of the program."""
    name, _, version = tool.partition(" ")
    began = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": name, "version": version, "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": True, "startTimeUtc": began}],
                "results": results,
            }
        ],
    }


def describe(code: str, severity: Severity, *, why: str, source: str, remedy: str, page: str) -> dict[str, Any]:
    """A rule as SARIF describes it."""
    sentence = why[0].upper() + why[1:] + "."
    return {
        "id": code,
        "name": "".join(word.title() for word in code.split("-")),
        "shortDescription": {"text": sentence},
        "fullDescription": {"text": f"{sentence} Source: {source}."},
        "help": {"text": f"What to do: {remedy}. See {page} in the documentation."},
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {"security-severity": _SCORES[severity], "tags": ["security", "tls"]},
    }


def answered(result: Told, index: int) -> dict[str, Any]:
    """The part of a result that says which rule answered what."""
    failed = result.verdict is Verdict.FAIL
    said: dict[str, Any] = {
        "ruleId": result.rule,
        "ruleIndex": index,
        "kind": _KINDS[result.verdict],
        "level": _LEVELS[result.severity] if failed else "none",
    }
    if failed and result.excused:
        said["suppressions"] = [{"kind": "external", "status": "accepted", "justification": result.excused}]
    return said


def _rule(code: str) -> dict[str, Any]:
    rule = RULES[code]
    return describe(
        code, rule.severity, why=rule.explanation, source=rule.citation, remedy=REMEDIES[code], page=rule.runbook
    )


def _finding(endpoint: Endpoint, result: Result, index: int) -> dict[str, Any]:
    text = f"{endpoint.subject}: {result.statement}" + (f" ({result.evidence})" if result.evidence else "")
    return {
        **answered(result, index),
        "message": {"text": text},
        "locations": [_location(endpoint)],
        "partialFingerprints": {"everyhop/1": fingerprint(endpoint.subject, endpoint.name, result.rule)},
        "properties": {"guideline": endpoint.guideline, "owner": endpoint.owner},
    }


def _location(endpoint: Endpoint) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(endpoint)}}
    if endpoint.file and endpoint.line:
        place["region"] = {"startLine": endpoint.line}
    return {
        "physicalLocation": place,
        "logicalLocations": [{"fullyQualifiedName": endpoint.subject, "kind": "resource"}],
    }


def _uri(endpoint: Endpoint) -> str:
    return quote(endpoint.file) if endpoint.file else f"tls://{endpoint.subject}"


def fingerprint(subject: str, name: str, rule: str) -> str:
    """The same for the same trouble, whatever its words are today."""
    return sha256("\n".join((subject, name, rule)).encode()).hexdigest()[:32]
