"""Whatever servers say, in every field that they fill: it is judged and rendered, and nothing is ever raised."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from io import StringIO
from typing import Any, get_args, get_origin, get_type_hints
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from tests.fakes.pki import CA

from everyhop.cli.scan_text import print_scan
from everyhop.core.endpoint.facts import Encryption, EndpointFacts, HttpFacts, PlainFacts
from everyhop.core.endpoint.judge import judge
from everyhop.core.endpoint.rules import RULES, Case, Outcome
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.finding import Severity
from everyhop.core.guidelines.registry import find
from everyhop.core.report.difference import compare
from everyhop.core.report.document import document, endpoint, read, render
from everyhop.core.report.endpoint import EndpointReport
from everyhop.core.report.junit import junit
from everyhop.core.report.sarif import sarif
from everyhop.core.report.shelf import Shelf, ShelvedScan
from everyhop.core.verdict import Verdict

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TARGET = Target("web.test", 443)
GUIDELINE = find("mozilla-intermediate@6.0")
ROOT = CA("root")
STORES = {"own": [ROOT.certificate]}
LEAF = ROOT.issue("web.test").der
FAULT = "a fault of everyhop itself"

WORDS = st.one_of(
    st.sampled_from(
        [
            "https://[::bad",
            "https://a]b/",
            "HTTPS://\x9b31m",
            "//[",
            "max-age=" + "9" * 500,
            "max-age=\u0663",
            "[bold red]x[/] [/nothing]",
            "]]> <![CDATA[ &#0; \x00",
            "\x1b]0;title\x07 \u202e \ud800 \ufffe",
            "not tls: ",
            "unreachable: ",
        ]
    ),
    st.text(st.characters(), max_size=40),
)
TARGETS = st.builds(Target, st.just("web.test"), st.integers(1, 65535), WORDS, service=WORDS, owner=WORDS)
ANYTHING: dict[Any, st.SearchStrategy[Any]] = {
    str: WORDS,
    int: st.integers(-1, 1 << 40),
    float: st.floats(0, 1e9),
    bool: st.booleans(),
    bytes: st.one_of(st.binary(max_size=60), st.just(LEAF)),
    datetime: st.datetimes(timezones=st.just(UTC)),
    Target: TARGETS,
    type(None): st.none(),
}


def anything(kind: Any) -> st.SearchStrategy[Any]:
    """Anything of a kind: also of kinds of facts, and of fields in them, that are yet to come."""
    if kind in ANYTHING:
        return ANYTHING[kind]
    parts = get_args(kind)
    if get_origin(kind) is tuple and parts[-1] is ...:
        return st.lists(anything(parts[0]), max_size=3).map(tuple)
    if get_origin(kind) is tuple:
        return st.tuples(*map(anything, parts))
    if parts:
        return st.one_of(*map(anything, parts))
    if issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    hints = get_type_hints(kind)
    return st.builds(kind, **{name: anything(hint) for name, hint in hints.items()})


def reported(facts: EndpointFacts) -> EndpointReport:
    findings = judge(facts, GUIDELINE, now=NOW, stores=STORES)
    return EndpointReport(facts.target, NOW, GUIDELINE, "verify", facts, findings)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(anything(EndpointFacts).map(lambda facts: replace(facts, fault="")))
def test_anything_is_judged_and_rendered(facts: EndpointFacts) -> None:
    report = reported(facts)
    assert not [one for one in report.findings if FAULT in one.statement], "every rule has its own answer"
    found = document([endpoint(report)], tool="everyhop 1", at=NOW)
    shelf = Shelf()
    shelf.put(endpoint(report))
    kept = ShelvedScan("everyhop 1", NOW, shelf, compare(found, found))

    saved, log, suites = "".join(render(found)), "".join(sarif(kept)), "".join(junit(kept))
    assert read(saved, file="saved.json") == found
    assert json.loads("".join(render(kept)))["endpoints"] == json.loads(saved)["endpoints"]
    assert all(one["message"]["text"] for one in json.loads(log)["runs"][0]["results"])
    assert len(ElementTree.fromstring(suites.encode()).findall("testsuite/testcase")) == len(report.findings)
    terminal = StringIO()
    print_scan(Console(file=terminal, width=200), kept)
    for text in (saved, log, suites, terminal.getvalue()):
        assert all(one.isprintable() or one == "\n" for one in text)


@pytest.mark.parametrize("location", ["https://[::bad", "https://a]b/", "//[", "HTTPS://[::1"])
def test_a_redirect_to_nowhere_is_judged(location: str) -> None:
    seen = HttpFacts(TARGET, NOW, status=200, plain_port=80, plain_status=301, plain_location=location)
    facts = EndpointFacts(TARGET, NOW, plain=PlainFacts(TARGET, NOW, Encryption.TLS, Wire.HTTP), http=seen)
    assert not [one for one in reported(facts).findings if FAULT in one.statement]


# --- and if a rule has a hole all the same ------------------------------------------------------------------------


def test_a_rule_that_fails_is_one_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Case) -> Outcome:
        raise KeyError("something nobody thought of")

    facts = EndpointFacts(TARGET, NOW, plain=PlainFacts(TARGET, NOW, Encryption.TLS, Wire.HTTP))
    others = {one.rule: one for one in reported(facts).findings}
    rules = {code: replace(rule, check=broken) if code == "tls-optional" else rule for code, rule in RULES.items()}
    monkeypatch.setattr("everyhop.core.endpoint.judge.RULES", rules)
    found = {one.rule: one for one in reported(facts).findings}
    one = found.pop("tls-optional")
    assert (one.verdict, one.severity) == (Verdict.UNKNOWN, RULES["tls-optional"].severity)
    assert FAULT in one.statement
    assert "KeyError: 'something nobody thought of' (test_hostile_facts.py:" in one.evidence
    assert found.items() <= others.items()


def test_an_endpoint_at_which_we_failed_is_unknown() -> None:
    (finding,) = reported(EndpointFacts(TARGET, NOW, fault="OSError: too many open files (wire.py:99)")).findings
    assert (finding.rule, finding.verdict, finding.severity) == ("scan-failed", Verdict.UNKNOWN, Severity.HIGH)
    assert "too many open files" in finding.evidence
