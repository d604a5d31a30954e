"""Findings as JUnit XML, for the test pages of CI systems.

Rules: an endpoint is a suite and a rule is a case. A violation is a ``failure``, what could not be told is an
``error``, what does not apply or is excused is ``skipped``; advice passes, and is told in ``system-out``. Text that XML
1.0 cannot hold is replaced, because evidence comes from strangers. A suite is written as it comes; the sums that stand
before all suites are counted first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from xml.etree import ElementTree

from everyhop.core.report.document import Endpoint, Result, Scan
from everyhop.core.report.endpoint import is_untold, is_violation
from everyhop.core.verdict import Verdict

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no character of XML 1.0 (production Char)."""


_SUMS = ("tests", "failures", "errors", "skipped")


def junit(scan: Scan) -> Iterator[str]:
    """The report as XML text, suite by suite."""
    sums = tally(result for endpoint in scan.endpoints for result in endpoint.findings)
    return whole("everyhop scan", sums, map(_suite, scan.endpoints))


def whole(name: str, sums: Mapping[str, int], suites: Iterable[ElementTree.Element]) -> Iterator[str]:
    """Suites as one XML text, below their sums."""
    root = ElementTree.Element("testsuites", name=name)
    _count(root, sums)
    yield "<?xml version='1.0' encoding='utf-8'?>\n"
    yield ElementTree.tostring(root, encoding="unicode").removesuffix(" />") + ">\n"
    for suite in suites:
        ElementTree.indent(suite, level=1)
        yield f"  {ElementTree.tostring(suite, encoding='unicode')}\n"
    yield "</testsuites>\n"


def tally(results: Iterable[Result]) -> Mapping[str, int]:
    """How many cases there are, and how many of each kind."""
    counted = Counter(_kind(result) for result in results)
    return {"tests": counted.total()} | {kind: counted[kind] for kind in _SUMS[1:]}


def _kind(result: Result) -> str:
    """Under which sum a case counts besides all; empty: it passed."""
    if result.verdict is Verdict.NOT_APPLICABLE or (result.verdict is Verdict.FAIL and result.excused):
        return "skipped"
    return "failures" if is_violation(result) else "errors" if is_untold(result) else ""


def _count(element: ElementTree.Element, sums: Mapping[str, int]) -> None:
    for name in _SUMS:
        element.set(name, str(sums[name]))


def _suite(endpoint: Endpoint) -> ElementTree.Element:
    suite = suite_of(endpoint.subject, endpoint.findings, at=endpoint.at, seconds=endpoint.seconds)
    suite.set("hostname", _text(endpoint.subject))
    properties = ElementTree.Element("properties")
    suite.insert(0, properties)
    for name in ("guideline", "mode", "owner", "service"):
        if value := getattr(endpoint, name):
            ElementTree.SubElement(properties, "property", name=name, value=_text(str(value)))
    return suite


def suite_of(subject: str, results: Sequence[Result], *, at: datetime, seconds: float = 0.0) -> ElementTree.Element:
    """What was found about one subject, as a suite."""
    suite = ElementTree.Element("testsuite", name=_text(subject))
    suite.set("timestamp", at.replace(tzinfo=None).isoformat(timespec="seconds"))
    suite.set("time", f"{seconds:.3f}")
    suite.extend(_case(subject, result) for result in results)
    _count(suite, tally(results))
    return suite


def _case(subject: str, result: Result) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=_text(subject), name=_text(result.rule), time="0")
    message = _text(result.statement)
    details = _text(f"{result.evidence}\n{result.citation}".strip())
    kind = _kind(result)
    if kind == "skipped":
        ElementTree.SubElement(
            case, "skipped", message=_text(f"excused: {result.excused}") if result.excused else message
        )
    elif kind == "failures":
        ElementTree.SubElement(case, "failure", message=message, type=result.severity.value).text = details
    elif kind == "errors":
        ElementTree.SubElement(case, "error", message=message, type="unknown").text = details
    else:
        ElementTree.SubElement(case, "system-out").text = _text(
            f"{result.verdict}: {result.statement}\n{details}".strip()
        )
    return case


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
