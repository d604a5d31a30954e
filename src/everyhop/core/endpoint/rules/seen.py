"""Was a certificate seen at all? Everything else about certificates rests on it."""

from __future__ import annotations

from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed, unknown
from everyhop.core.endpoint.served import Served
from everyhop.core.finding import Severity


def _readable(case: Case) -> Outcome | None:
    facts = case.facts.certificate
    if facts is None:
        return None
    if not facts.chain:
        if facts.refused.startswith("not tls"):
            return not_applicable("no TLS is spoken here, so there is no certificate", facts.refused)
        return unknown("expected a handshake that shows a certificate, got none", facts.refused)
    fault = Served.of(facts).fault
    if fault:
        return failed("expected a chain of certificates that can be read, got something else", fault)
    return passed(f"a chain of {len(facts.chain)} was read", f"{facts.version} {facts.cipher}".strip())


RULES = (
    Rule(
        "certificate-unreadable",
        Severity.HIGH,
        "RFC 5280, 4.1",
        "what cannot be read cannot be verified by anybody",
        _readable,
    ),
)
