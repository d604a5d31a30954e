"""What a scan is published as: JSON with its schema, SARIF, JUnit, and the difference to an earlier one."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.fakes.clock import START
from tests.fakes.endpoint import chose, verified

from everyhop.core.endpoint.facts import Encryption, EndpointFacts, PlainFacts
from everyhop.core.endpoint.judge import judge
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.finding import Finding, Severity
from everyhop.core.guidelines.registry import find
from everyhop.core.report import document as published
from everyhop.core.report import junit as suites
from everyhop.core.report import sarif as log
from everyhop.core.report.difference import compare
from everyhop.core.report.document import ScanDocument, document, endpoint, json_schema, plain, read
from everyhop.core.report.endpoint import EndpointReport, verdict_of
from everyhop.core.report.shelf import Shelf, ShelvedScan
from everyhop.core.tls.versions import TLS10
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError

GUIDELINE = find("mozilla-intermediate@6.0")


def report(address: str, *, old: bool = False, evidence: str = "", name: str = "") -> EndpointReport:
    """A report on an endpoint that is well, or accepts TLS 1.0."""
    target = replace(Target.parse(address), owner="payments", server_name=name)
    answers = {"forbidden_versions": replace(chose(TLS10, 0xC013), evidence=evidence or "chose TLSv1.0")} if old else {}
    facts = EndpointFacts(
        target,
        START,
        plain=PlainFacts(target, START, Encryption.TLS, Wire.TLS, "ServerHello"),
        tls=verified(target, START, **answers),
    )
    findings = judge(facts, GUIDELINE, now=START, stores={})
    return EndpointReport(target, START, GUIDELINE, "verify", facts, findings, "fleet.txt", 7, 0.25)


def scan(*reports: EndpointReport) -> ScanDocument:
    return document(map(endpoint, reports), tool="everyhop 1.2.3", at=START)


def render(found: published.Scan) -> str:
    return "".join(published.render(found))


def sarif(found: published.Scan) -> dict[str, Any]:
    return json.loads("".join(log.sarif(found)))


def junit(found: published.Scan) -> str:
    return "".join(suites.junit(found))


GOOD, BAD = report("good.test"), report("bad.test", old=True)


# --- verdicts -----------------------------------------------------------------------------------------------------


def finding(verdict: Verdict, severity: Severity = Severity.HIGH, excused: str = "") -> Finding:
    return Finding("r", verdict, severity, "s", "what", excused=excused)


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([], Verdict.UNKNOWN),
        ([finding(Verdict.NOT_APPLICABLE)], Verdict.UNKNOWN),
        ([finding(Verdict.PASS)], Verdict.PASS),
        ([finding(Verdict.PASS), finding(Verdict.FAIL)], Verdict.FAIL),
        ([finding(Verdict.UNKNOWN), finding(Verdict.FAIL)], Verdict.FAIL),
        ([finding(Verdict.PASS), finding(Verdict.UNKNOWN)], Verdict.UNKNOWN),
        ([finding(Verdict.PASS), finding(Verdict.FAIL, Severity.LOW)], Verdict.PASS),
        ([finding(Verdict.PASS), finding(Verdict.UNKNOWN, Severity.INFO)], Verdict.PASS),
        ([finding(Verdict.PASS), finding(Verdict.FAIL, excused="until the move")], Verdict.PASS),
    ],
)
def test_one_verdict_for_an_endpoint(findings: list[Finding], verdict: Verdict) -> None:
    assert verdict_of(findings) is verdict


def test_a_fleet_is_as_well_as_its_worst() -> None:
    assert scan(GOOD).verdict is Verdict.PASS
    assert scan(GOOD, BAD).verdict is Verdict.FAIL
    assert scan().verdict is Verdict.UNKNOWN


# --- JSON ---------------------------------------------------------------------------------------------------------


def test_the_document_names_things_and_reads_back() -> None:
    found = scan(GOOD, BAD)
    value = json.loads(render(found))
    assert [one["subject"] for one in value["endpoints"]] == ["bad.test:443", "good.test:443"]
    assert value["endpoints"][0]["accepts"][0] == {
        "name": "TLSv1.3",
        "suites": ["TLS_AES_128_GCM_SHA256"],
        "groups": ["X25519MLKEM768"],
    }
    assert {"what": "forbidden-versions", "evidence": "alert protocol version"} in value["endpoints"][1]["refuses"]
    assert read(render(found), file="saved.json") == found
    assert render(found) == render(found)


def test_every_field_stands_in_the_schema() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    _conforms(plain(scan(GOOD, BAD)), schema, schema["$defs"])


def _conforms(value: Any, schema: dict[str, Any], known: dict[str, Any]) -> None:
    """As much of JSON Schema as the document's schema uses."""
    if "$ref" in schema:
        _conforms(value, known[schema["$ref"].rpartition("/")[2]], known)
    elif "anyOf" in schema:
        assert value is None or len(schema["anyOf"]) == 2
    elif schema.get("type") == "object":
        assert set(schema.get("required", ())) <= set(value) <= set(schema["properties"])
        for key, item in value.items():
            _conforms(item, schema["properties"][key], known)
    elif schema.get("type") == "array":
        for item in value:
            _conforms(item, schema["items"], known)
    elif "enum" in schema:
        assert value in schema["enum"]
    elif "const" in schema:
        assert value == schema["const"]
    else:
        kinds: dict[str, type | tuple[type, ...]] = {"string": str, "integer": int, "number": (int, float)}
        assert isinstance(value, kinds[schema["type"]])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 2}', "no JSON at all"])
def test_what_is_no_scan_is_refused(text: str) -> None:
    with pytest.raises(EveryhopError, match=r"expected a scan that everyhop wrote .* in saved\.json"):
        read(text, file="saved.json")


def test_the_text_is_the_same_as_that_of_any_json_writer_and_all_ascii() -> None:
    found = scan(GOOD, report("bad.test", old=True, evidence="gr\u00fc\u00df dich \U0001f512"))
    assert render(found) == json.dumps(plain(found), indent=2) + "\n"
    assert render(scan()) == json.dumps(plain(scan()), indent=2) + "\n"


def test_a_strangers_words_reach_nobodys_terminal_raw() -> None:
    """8-bit controls, marks that turn the writing, halves of characters: spelled out in every form."""
    words = "\x1b[2J\x9b31m\x85\u202e\ud800 ok"
    found = scan(report("bad.test", old=True, evidence=words))
    for text in (render(found), "".join(log.sarif(found)), junit(found)):
        assert not {one for one in text if not one.isprintable()} - {"\n"}
    (failure,) = [one for one in found.endpoints[0].findings if one.verdict is Verdict.FAIL]
    assert failure.evidence == r"\x1b[2J\x9b31m\x85\u202e\ud800 ok"
    assert read(render(found), file="saved.json") == found


# --- on a shelf ---------------------------------------------------------------------------------------------------


def shelved(*reports: EndpointReport) -> ShelvedScan:
    shelf = Shelf()
    for one in reports:
        shelf.put(endpoint(one))
    return ShelvedScan("everyhop 1.2.3", START, shelf)


def test_a_shelf_is_rendered_like_a_document() -> None:
    reports = [report("z.test"), BAD, GOOD, report("192.0.2.1", name="b.test"), report("192.0.2.1", name="a.test")]
    kept, whole = shelved(*reports), scan(*reports)
    assert (kept.verdict, len(kept.endpoints), tuple(kept.endpoints)) == (whole.verdict, 5, whole.endpoints)
    assert (render(kept), sarif(kept), junit(kept)) == (render(whole), sarif(whole), junit(whole))
    before = scan(report("good.test", old=True))
    assert compare(before, kept) == compare(before, whole)
    assert shelved().verdict is Verdict.UNKNOWN


def test_an_endpoint_on_the_shelf_is_small() -> None:
    """A fleet of a hundred thousand is some hundred megabytes, not gigabytes."""
    reports = [report(f"host{number}.test", old=number % 3 == 0) for number in range(300)]
    shelf = shelved(*reports).endpoints
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for one in reports:
            shelf.put(endpoint(one))
        after, _ = tracemalloc.get_traced_memory()
        for _ in shelf:
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(reports) < 1500
    assert peak - after < 1 << 20, "one after the other"


# --- difference ---------------------------------------------------------------------------------------------------


def test_what_is_new_mended_still_there_and_unseen() -> None:
    then = scan(report("a.test", old=True), report("b.test", old=True), report("c.test"), report("gone.test", old=True))
    now = scan(report("a.test", old=True), report("b.test"), report("c.test", old=True))
    found = compare(then, now)
    assert [change.subject for change in found.still] == ["a.test:443"]
    assert [change.subject for change in found.mended] == ["b.test:443"]
    assert [change.subject for change in found.new] == ["c.test:443"]
    assert [change.subject for change in found.unseen] == ["gone.test:443"]
    assert {change.rule for change in found.still} == {"tls-version-old"}


def test_one_address_under_two_names_is_two_subjects() -> None:
    then = scan(report("192.0.2.1", name="a.test"), report("192.0.2.1", name="b.test", old=True))
    now = scan(report("192.0.2.1", name="a.test", old=True), report("192.0.2.1", name="b.test"))
    found = compare(then, now)
    assert [change.subject for change in found.new] == ["192.0.2.1:443 (a.test)"]
    assert [change.subject for change in found.mended] == ["192.0.2.1:443 (b.test)"]


def test_what_could_not_be_told_is_not_mended() -> None:
    now = scan(GOOD)
    (one,) = now.endpoints
    results = tuple(
        replace(result, verdict=Verdict.UNKNOWN) if result.rule == "tls-version-old" else result
        for result in one.findings
    )
    found = compare(scan(report("good.test", old=True)), replace(now, endpoints=(replace(one, findings=results),)))
    assert (len(found.mended), len(found.unseen)) == (0, 1)


# --- SARIF --------------------------------------------------------------------------------------------------------


def test_sarif_has_what_the_standard_requires() -> None:
    """Required by the schema of SARIF 2.1.0: version and runs; tool.driver.name; a result's message; a rule's id."""
    found = sarif(scan(GOOD, BAD))
    assert found["version"] == "2.1.0"
    assert found["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = found["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("everyhop", "1.2.3")
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
    assert run["invocations"][0]["startTimeUtc"] == "2026-03-01T12:00:00.000Z"
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["kind"] in ("fail", "open"), "what passed needs nobody"
        assert (result["level"] == "none") == (result["kind"] != "fail"), "SARIF 2.1.0, 3.27.10"
        assert result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "fleet.txt"
        assert location["physicalLocation"]["region"]["startLine"] == 7
    fingerprints = [result["partialFingerprints"]["everyhop/1"] for result in run["results"]]
    assert len(set(fingerprints)) == len(fingerprints)


def test_sarif_shows_failures_where_they_can_be_mended() -> None:
    results = sarif(scan(BAD))["runs"][0]["results"]
    (failure,) = [one for one in results if one["kind"] == "fail"]
    assert (failure["ruleId"], failure["level"]) == ("tls-version-old", "error")
    assert failure["properties"] == {"guideline": "mozilla-intermediate 6.0", "owner": "payments"}
    alone = sarif(scan(replace(BAD, file="", line=0)))["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert alone == {"artifactLocation": {"uri": "tls://bad.test:443"}}


def test_an_excused_failure_is_suppressed() -> None:
    (one,) = scan(BAD).endpoints
    results = tuple(
        replace(result, excused="until the move") if result.verdict is Verdict.FAIL else result
        for result in one.findings
    )
    found = sarif(replace(scan(BAD), endpoints=(replace(one, findings=results),)))["runs"][0]["results"]
    (failure,) = [result for result in found if result["kind"] == "fail"]
    assert failure["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "until the move"}]


# --- JUnit --------------------------------------------------------------------------------------------------------


def test_junit_counts_what_it_shows() -> None:
    root = ElementTree.fromstring(junit(scan(GOOD, BAD)))
    assert root.tag == "testsuites"
    bad, good = root.findall("testsuite")
    assert (bad.get("name"), bad.get("failures"), good.get("failures")) == ("bad.test:443", "1", "0")
    for suite in (bad, good):
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        assert suite.get("skipped") == str(sum(case.find("skipped") is not None for case in cases))
        assert all(case.get("name") and case.get("classname") for case in cases)
    assert root.get("tests") == str(len(root.findall("testsuite/testcase")))
    (failure,) = bad.findall("testcase/failure")
    assert failure.get("type") == "high"


def test_a_strangers_words_cannot_break_the_xml() -> None:
    words = "\x00\x1b[31m<![CDATA[ ]]> & \ud800 \ufffe"
    root = ElementTree.fromstring(junit(scan(report("bad.test", old=True, evidence=words))))
    (failure,) = root.findall("testsuite/testcase/failure")
    assert "<![CDATA[ ]]> &" in (failure.text or "")
