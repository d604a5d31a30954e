"""What other tools found: a report that bandit wrote, and reports in the style of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everyhop.core.finding import Severity
from everyhop.core.lint.imported import is_transport, read_sarif
from everyhop.errors import EveryhopError

BANDIT = Path(__file__).with_name("bandit.sarif")
"""Written by bandit 1.9.4: ``bandit -q -r shop -f sarif``."""


def test_bandits_findings_about_transport_are_taken_and_no_others() -> None:
    findings = read_sarif(BANDIT.read_text(encoding="utf-8"), file="bandit.sarif")
    assert [(one.rule, one.subject, one.severity) for one in findings] == [
        ("bandit:B501", "shop/client.py:6:1", Severity.HIGH),
        ("bandit:B113", "shop/client.py:7:1", Severity.MEDIUM),
        ("bandit:B323", "shop/client.py:8:11", Severity.MEDIUM),
    ]
    assert findings[0].statement.startswith("bandit says: ")
    assert findings[0].citation.startswith("https://bandit.readthedocs.io/")


@pytest.mark.parametrize(
    ("code", "rule", "taken"),
    [
        ("B501", {}, True),
        ("B506", {}, False),
        ("B101", {}, False),
        ("python.requests.security.disabled-cert-validation.disabled-cert-validation", {}, True),
        ("go.lang.security.audit.crypto.missing-ssl-minversion.missing-ssl-minversion", {}, True),
        ("javascript.express.security.audit.xss", {}, False),
        ("problem-based-packs.insecure-transport.js-node.bypass-tls-verification", {}, True),
        ("CKV_AWS_2", {"shortDescription": {"text": "Ensure ALB protocol is HTTPS"}}, True),
        ("CKV_AWS_24", {"shortDescription": {"text": "Ensure no ingress from 0.0.0.0 to port 22"}}, False),
        ("AVD-AWS-0047", {"name": "OutdatedTLSPolicy"}, True),
        ("jwt-verify", {"shortDescription": {"text": "verify your inputs"}}, True),
        ("inputs", {"shortDescription": {"text": "verify your inputs"}}, False),
    ],
)
def test_which_rules_are_about_transport(code: str, rule: dict[str, Any], taken: bool) -> None:
    assert is_transport(code, rule) is taken


def report(**result: object) -> str:
    place = {"physicalLocation": {"artifactLocation": {"uri": "file:///a%20b.tf"}, "region": {"startLine": 3}}}
    whole = {"ruleId": "no-tls", "level": "error", "message": {"text": "oh"}, "locations": [place], **result}
    return json.dumps({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "Some Tool"}}, "results": [whole]}]})


def test_a_suppressed_result_stays_told() -> None:
    (finding,) = read_sarif(report(suppressions=[{"kind": "inSource", "justification": "test"}]), file="x")
    assert (finding.rule, finding.subject, finding.excused) == ("some-tool:no-tls", "/a b.tf:3:1", "test")
    assert not finding.counts


def test_a_passed_result_is_no_finding() -> None:
    assert read_sarif(report(kind="pass"), file="x") == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"runs": 3}', "[" * 100_000, "null"])
def test_what_is_no_sarif_is_said_so(text: str) -> None:
    with pytest.raises(EveryhopError) as error:
        read_sarif(text, file="x")
    assert error.value.code.name == "sarif-invalid"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "tool", "text", "uri"]), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("ruleId", "level", "message", "locations", "suppressions"), JSON))
)
def test_strange_results_never_raise_anything_else(result: dict[str, object]) -> None:
    assert len(read_sarif(report(**result), file="x")) <= 1
