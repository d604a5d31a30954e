"""Findings as JUnit XML, for the test pages of CI systems.

Rules: an endpoint is a suite and a rule is a case. A violation is a ``failure``, what could not be told is an
``error``, what does not apply or is excused is ``skipped``; advice passes, and is told in ``system-out``. Text that XML
1.0 cannot hold is replaced, because evidence comes from strangers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from xml.etree import ElementTree

from everyhop.core.report.document import Endpoint, Result, ScanDocument
from everyhop.core.report.endpoint import is_untold, is_violation
from everyhop.core.verdict import Verdict

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no character of XML 1.0 (production Char)."""


def junit(document: ScanDocument) -> str:
    """The report as XML text."""
    return whole("everyhop scan", map(_suite, document.endpoints))


def whole(name: str, suites: Iterable[ElementTree.Element]) -> str:
    """Suites as one XML text, with their sums."""
    root = ElementTree.Element("testsuites", name=name)
    root.extend(suites)
    for kind in ("tests", "failures", "errors", "skipped"):
        root.set(kind, str(sum(int(suite.get(kind, "0")) for suite in root)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


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
    suite.set("tests", str(len(results)))
    for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(kind, str(len(suite.findall(f"testcase/{tag}"))))
    return suite


def _case(subject: str, result: Result) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=_text(subject), name=_text(result.rule), time="0")
    message = _text(result.statement)
    details = _text(f"{result.evidence}\n{result.citation}".strip())
    if result.verdict is Verdict.NOT_APPLICABLE:
        ElementTree.SubElement(case, "skipped", message=message)
    elif result.verdict is Verdict.FAIL and result.excused:
        ElementTree.SubElement(case, "skipped", message=_text(f"excused: {result.excused}"))
    elif is_violation(result):
        ElementTree.SubElement(case, "failure", message=message, type=result.severity.value).text = details
    elif is_untold(result):
        ElementTree.SubElement(case, "error", message=message, type="unknown").text = details
    else:
        ElementTree.SubElement(case, "system-out").text = _text(
            f"{result.verdict}: {result.statement}\n{details}".strip()
        )
    return case


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
