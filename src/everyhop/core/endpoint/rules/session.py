"""Sessions: what outlives a handshake, and what old attacks found in it.

Rules: resumption itself is good and is not judged; how long it can stretch a credential is. A fact that was not found
out is unknown, with the reason that the probe wrote beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from everyhop.core.endpoint.accepted import speaks_tls
from everyhop.core.endpoint.facts import SessionFacts
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed, unknown
from everyhop.core.finding import Severity

LONGEST_TICKET = timedelta(days=7)
"""RFC 8446, 4.6.1: servers must not use more."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A yes-or-no fact and the answer that is good."""

    fact: str
    good: bool
    as_it_should: str
    as_it_should_not: str


def _answer(question: _Question) -> Callable[[Case], Outcome | None]:
    def check(case: Case) -> Outcome | None:
        facts = case.facts.session
        if facts is None:
            return None
        if not _tls_spoken(case):
            return not_applicable("no TLS is spoken here")
        seen: bool | None = getattr(facts, question.fact)
        evidence = _evidence(facts, question.fact)
        if seen is None:
            return unknown(f"{question.fact.replace('_', ' ')} could not be found out", evidence)
        if seen is question.good:
            return passed(question.as_it_should, evidence)
        return failed(question.as_it_should_not, evidence)

    return check


def _ticket_life(case: Case) -> Outcome | None:
    facts = case.facts.session
    if facts is None:
        return None
    if not _tls_spoken(case):
        return not_applicable("no TLS is spoken here")
    seconds = facts.ticket_lifetime_seconds
    if seconds is None:
        if facts.resumes_by_ticket is False and facts.resumes_by_psk is False:
            return not_applicable("no tickets are given")
        return unknown("the life of a ticket was not found out", _evidence(facts, "ticket_lifetime_seconds"))
    if seconds > LONGEST_TICKET.total_seconds():
        return failed(f"expected tickets that live {LONGEST_TICKET.days} days at most, got {seconds} seconds")
    return passed(f"tickets live {seconds} seconds")


def _tls_spoken(case: Case) -> bool:
    """False only where it was seen that something else is spoken."""
    seen, tls = case.facts.certificate, case.facts.tls
    if seen is not None and not seen.chain and seen.refused.startswith("not tls"):
        return False
    return tls is None or speaks_tls(tls) is not False


def _evidence(facts: SessionFacts, fact: str) -> str:
    return dict(facts.evidence).get(fact, "")


RULES = (
    Rule(
        "session-early-data",
        Severity.LOW,
        "RFC 8446, 8 and E.5",
        "early data can be sent again by anybody who recorded it",
        _answer(
            _Question(
                "accepts_early_data",
                good=False,
                as_it_should="no early data is taken",
                as_it_should_not="expected early data to be off, got tickets that allow it",
            )
        ),
    ),
    Rule(
        "session-ticket-life-long",
        Severity.LOW,
        "RFC 8446, 4.6.1",
        "a ticket lets its holder in without showing a certificate again, however long ago that expired",
        _ticket_life,
    ),
    Rule(
        "session-renegotiation-insecure",
        Severity.HIGH,
        "RFC 5746",
        "an attacker can put his own bytes before those of the client",
        _answer(
            _Question(
                "secure_renegotiation",
                good=True,
                as_it_should="renegotiation is bound to its connection",
                as_it_should_not="expected renegotiation_info, got none",
            )
        ),
    ),
    Rule(
        "session-renegotiation-by-client",
        Severity.MEDIUM,
        "CVE-2011-1473; RFC 9325, 3.5",
        "one client can keep a server busy with handshakes",
        _answer(
            _Question(
                "client_renegotiation",
                good=False,
                as_it_should="a client cannot start a renegotiation",
                as_it_should_not="expected a client's renegotiation to be refused, got a second handshake",
            )
        ),
    ),
    Rule(
        "session-compression",
        Severity.HIGH,
        "RFC 9325, 3.3; CVE-2012-4929 (CRIME)",
        "compressed secrets can be guessed from their length",
        _answer(
            _Question(
                "compression",
                good=False,
                as_it_should="compression is refused",
                as_it_should_not="expected no compression, got it chosen",
            )
        ),
    ),
    Rule(
        "session-fallback-unprotected",
        Severity.LOW,
        "RFC 7507",
        "an attacker can talk both sides down to an older version",
        _answer(
            _Question(
                "fallback_scsv",
                good=True,
                as_it_should="a fallback is recognised and refused",
                as_it_should_not="expected a marked fallback to be refused, got it accepted",
            )
        ),
    ),
)
