"""Rules about plaintext: what a port does with somebody who comes without TLS.

Rules: a port that takes plaintext is a plaintext port, whatever else it offers: an attacker on the path removes the
offer (STARTTLS stripping) and both ends carry on. Only a refusal counts as encrypted, and the refusal is the proof.
Where a protocol decides by user, a pass says for whom it was proved.
"""

from __future__ import annotations

from everyhop.core.endpoint.facts import Encryption, PlainFacts
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed, unknown
from everyhop.core.endpoint.rules.http import leads_to_tls
from everyhop.core.endpoint.target import Wire
from everyhop.core.finding import Severity

_UNTOLD = {
    Encryption.SILENT: "expected to hear whether plaintext is refused, got no answer to anything that was tried",
    Encryption.CLOSED: "expected a port that somebody listens on, got a closed one",
    Encryption.UNKNOWN: "expected to learn what the port does with plaintext, and could not",
}


def _plaintext(case: Case) -> Outcome | None:
    seen = case.facts.plain
    if seen is None:
        return None
    if seen.encryption in _UNTOLD:
        return unknown(_UNTOLD[seen.encryption], seen.evidence)
    if seen.encryption is Encryption.PLAINTEXT:
        http = case.facts.http
        leads = leads_to_tls(http) if http and http.plain_port == case.facts.target.port else False
        if leads is None:
            return unknown("whether more is served here than the way to https could not be told", seen.evidence)
        if leads:
            return passed("nothing is served here but the way to https", seen.evidence)
        return failed(f"expected TLS, got {_wire(seen)} in plaintext: anybody on the path reads it", seen.evidence)
    if seen.encryption is Encryption.UPGRADE_OFFERED:
        return not_applicable("TLS is offered here; another rule asks whether it is required")
    if seen.encryption is Encryption.OWN:
        return not_applicable(f"{_wire(seen)} encrypts by itself", seen.evidence)
    return passed("plaintext is not served", seen.evidence)


def _optional(case: Case) -> Outcome | None:
    seen = case.facts.plain
    if seen is None:
        return None
    if seen.encryption is Encryption.UPGRADE_OFFERED:
        statement = f"expected {_wire(seen)} to refuse plaintext, got TLS as an offer that an attacker can take away"
        return failed(statement, seen.evidence)
    if seen.encryption is Encryption.UPGRADE_REQUIRED:
        whom = " for a user whom nobody knows" if seen.wire is Wire.POSTGRESQL else ""
        return passed(f"{_wire(seen)} goes on after the upgrade to TLS only{whom}", seen.evidence)
    return not_applicable("no upgrade from plaintext to TLS was seen here")


def _wire(seen: PlainFacts) -> str:
    return seen.wire.value if seen.wire else "something"


RULES = (
    Rule(
        "plaintext-served",
        Severity.CRITICAL,
        "RFC 7258, 2; RFC 9325, 3.2",
        "what is sent in plaintext can be read and changed by anybody on the path",
        _plaintext,
    ),
    Rule(
        "tls-optional",
        Severity.HIGH,
        "RFC 8314, 3; RFC 9325, 3.2",
        "TLS that is merely offered can be stripped on the way, so it counts as plaintext until plaintext is refused",
        _optional,
    ),
)
