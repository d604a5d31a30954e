"""Certificate Transparency: where a public store trusts the chain, the certificate must be in public logs.

Rules: only chains that Mozilla's store anchors are asked for timestamps; a private authority's are good without, and
better so, since logs publish internal names. Timestamps are believed only where the log's key is known: without a list
of logs nothing is said of them, and a list that does not know a log (logs come and go) is no more than advice.
"""

from __future__ import annotations

from everyhop.core.endpoint import timestamps
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed, unknown
from everyhop.core.finding import Severity
from everyhop.core.verdict import Verdict

PUBLIC_STORE = "mozilla"
FEWEST = 2
"""Timestamps that browsers ask for, from different logs (three for lives over 180 days)."""


def _logged(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    leaf = case.path.leaf
    if PUBLIC_STORE not in case.path.anchors:
        return not_applicable("no public store trusts it, so it need not be logged")
    facts = case.facts.certificate
    sent = leaf.timestamps + (len(facts.timestamps) if facts else 0)
    if sent < FEWEST:
        return failed(f"expected at least {FEWEST} certificate timestamps, got {sent}", leaf.title)
    return passed(f"{sent} timestamps came along")


def _real(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    path, leaf = case.path, case.path.leaf
    if not leaf.timestamps:
        return not_applicable("the certificate holds no timestamps")
    if not case.logs:
        return not_applicable("no log list was given, so the timestamps were not verified")
    issuer = path.issuer
    if issuer is None:
        return unknown("the leaf's issuer is not known, so its timestamps cannot be verified")
    try:
        found = timestamps.check(leaf.x509, issuer, case.logs)
    except ValueError as error:
        return unknown("the timestamps could not be verified", str(error))
    evidence = ", ".join(f"{each.log}: {each.verdict}" for each in found)
    if any(each.verdict is Verdict.FAIL for each in found):
        return failed("expected timestamps that their logs gave, got a wrong signature", evidence)
    if not any(each.verdict is Verdict.PASS for each in found):
        return unknown("none of its logs is in the list that was given", evidence, Severity.LOW)
    if any(each.verdict is Verdict.PASS and each.at > case.now for each in found):
        return failed("expected timestamps of the past, got one from the future", evidence)
    return passed("the timestamps are their logs' own", evidence)


RULES = (
    Rule(
        "timestamps-missing",
        Severity.MEDIUM,
        "RFC 6962, 3.3; browsers' CT policies",
        "browsers refuse public certificates that no log has seen",
        _logged,
    ),
    Rule(
        "timestamps-invalid",
        Severity.HIGH,
        "RFC 6962, 3.2",
        "a timestamp that no log gave hides a certificate from its owner",
        _real,
    ),
)
