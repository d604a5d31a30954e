"""What other tools found, from SARIF 2.1.0: bandit, semgrep, checkov, trivy and their like.

Rules: only what is about transport security is taken, by the rule's code or the words of its name; the tool is named in
the code (``bandit:B501``) and nothing is judged anew. What a tool suppressed stays told, as excused. A log from
strangers never raises anything but ``sarif-invalid``, and at most :data:`MAX_RESULTS` results are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import unquote

from everyhop.core.finding import Finding, Severity
from everyhop.core.lint.text import evidence
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError

MAX_RESULTS = 100_000

BANDIT = frozenset(("B113", "B323", "B501", "B502", "B503", "B504", "B505", "B507"))
"""Bandit's rules about transport: time limits of requests, contexts, verification, versions, keys, keys of hosts. B506,
yaml.load, stands among them by its number only."""
_SURE = frozenset(("tls", "ssl", "https", "certificate", "certificates", "mtls", "hsts", "x509"))
"""Words that are enough in a sentence; ``verify`` is said of many things."""
_WORDS = _SURE | {"cert", "certs", "verify", "verification", "verified", "hostname", "sslv3", "tlsv1", "starttls"}
_SPLIT = re.compile(r"[^a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LEVELS = {"error": Severity.HIGH, "warning": Severity.MEDIUM, "note": Severity.LOW, "none": Severity.INFO}
Json = dict[str, Any]


def read_sarif(text: str, *, file: str) -> tuple[Finding, ...]:
    """The findings about transport security in a SARIF log. Raises ``sarif-invalid``."""
    try:
        log: object = json.loads(text)
    except (ValueError, RecursionError):
        log = None
    if not isinstance(_map(log).get("runs"), list):
        raise EveryhopError(
            "sarif-invalid",
            f"expected a SARIF log with runs in {file}, got something else",
            hint="for example `bandit -r src -f sarif -o bandit.sarif`",
        )
    found: list[Finding] = []
    for run in _list(_map(log).get("runs")):
        for finding in _run(_map(run)):
            found.append(finding)
            if len(found) >= MAX_RESULTS:
                return tuple(found)
    return tuple(found)


def _run(run: Json) -> Iterator[Finding]:
    driver = _map(_map(run.get("tool")).get("driver"))
    tool = evidence(_text(driver.get("name")).lower()).replace(" ", "-") or "unnamed"
    rules = {_text(_map(rule).get("id")): _map(rule) for rule in _list(driver.get("rules"))}
    for one in _list(run.get("results")):
        result = _map(one)
        code = _text(result.get("ruleId")) or _text(_map(result.get("rule")).get("id"))
        rule = rules.get(code, {})
        if code and result.get("kind", "fail") == "fail" and is_transport(code, rule):
            yield _finding(tool, code, rule, result)


def is_transport(code: str, rule: Json) -> bool:
    """True if a rule is about transport security, by its code or the words of its name."""
    if re.fullmatch(r"B\d{3}", code):
        return code in BANDIT
    names = f"{code} {_text(rule.get('name'))}"
    if _words(names) & _WORDS:
        return True
    return bool(_words(_text(_map(rule.get("shortDescription")).get("text"))) & _SURE)


def _words(text: str) -> set[str]:
    return set(_SPLIT.split(_HUMP.sub(" ", text[:500]).lower()))


def _finding(tool: str, code: str, rule: Json, result: Json) -> Finding:
    excuse = next((_map(one) for one in _list(result.get("suppressions"))), None)
    reason = evidence(_text(excuse.get("justification"))) or f"suppressed in {tool}" if excuse is not None else ""
    message = evidence(_text(_map(result.get("message")).get("text"))) or "no message"
    return Finding(
        rule=f"{tool}:{evidence(code)}",
        verdict=Verdict.FAIL,
        severity=_severity(rule, result),
        subject=_subject(result),
        statement=f"{tool} says: {message}",
        citation=evidence(_text(rule.get("helpUri"))),
        runbook="reference/lint-rules.md",
        excused=reason,
    )


def _severity(rule: Json, result: Json) -> Severity:
    """By the tool's own score (the bands are those of CVSS), else by its level."""
    try:
        score = float(_text(_map(rule.get("properties")).get("security-severity")))
    except ValueError:
        default = _text(_map(rule.get("defaultConfiguration")).get("level"))
        return _LEVELS.get(_text(result.get("level")) or default or "warning", Severity.MEDIUM)
    bands = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM), (0.1, Severity.LOW))
    return next((severity for least, severity in bands if score >= least), Severity.INFO)


def _subject(result: Json) -> str:
    location = _map(next(iter(_list(result.get("locations"))), None))
    place = _map(location.get("physicalLocation"))
    region = _map(place.get("region"))
    uri = _text(_map(place.get("artifactLocation")).get("uri"))
    path = evidence(unquote(uri.removeprefix("file://"))).removeprefix("./") or "unknown"
    return f"{path}:{_number(region.get('startLine'))}:{_number(region.get('startColumn'))}"


def _number(value: object) -> int:
    return value if type(value) is int and 0 < value < 10**9 else 1


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _map(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
