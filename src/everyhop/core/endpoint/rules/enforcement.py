"""Client certificates: is everybody kept out who should be, and the right one let in?

Rules: the proof is an attempt that came to an end: connect, handshake, write, read. "Asks for a certificate" is not
"insists on one". One rule for each way in; an attempt that could not be judged is unknown. Where nobody tried, nothing
is said.
"""

from __future__ import annotations

from collections.abc import Callable

from everyhop.core.endpoint.facts import Entrance, Entry
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, passed, unknown
from everyhop.core.finding import Severity


def _entry(case: Case, entrance: Entrance) -> Entry | None:
    facts = case.facts.enforcement
    return next((each for each in facts.entries if each.entrance is entrance), None) if facts else None


def _kept_out(entrance: Entrance) -> Callable[[Case], Outcome | None]:
    def check(case: Case) -> Outcome | None:
        entry = _entry(case, entrance)
        if entry is None:
            return None
        if entry.accepted is None:
            return unknown(f"whether {entrance} gets in could not be told", entry.evidence)
        if entry.accepted:
            return failed(f"expected a refusal of {entrance}, got let in", entry.evidence)
        return passed(f"{entrance} is refused: {entry.stage}", entry.evidence)

    return check


def _let_in(case: Case) -> Outcome | None:
    entry = _entry(case, Entrance.GIVEN)
    if entry is None:
        return None
    if entry.accepted is None:
        return unknown("whether the given certificate gets in could not be told", entry.evidence)
    if not entry.accepted:
        return failed(f"expected the given certificate to get in, got refused: {entry.stage}", entry.evidence)
    return passed("the given certificate gets in", entry.evidence)


def _rule(code: str, entrance: Entrance, severity: Severity, explanation: str) -> Rule:
    return Rule(code, severity, "RFC 8446, 4.4.2.4", explanation, _kept_out(entrance))


RULES = (
    _rule(
        "client-certificate-optional",
        Entrance.NO_CERTIFICATE,
        Severity.HIGH,
        "whoever reaches the port gets in: the endpoint knows nobody",
    ),
    _rule(
        "client-authority-unchecked",
        Entrance.FOREIGN_AUTHORITY,
        Severity.CRITICAL,
        "anybody can make a certificate that gets in, and it looks like mutual TLS",
    ),
    _rule(
        "client-expiry-unchecked",
        Entrance.EXPIRED,
        Severity.HIGH,
        "a certificate that has ended still opens the door",
    ),
    _rule(
        "client-identity-unchecked",
        Entrance.WRONG_IDENTITY,
        Severity.HIGH,
        "every service of the house gets in, not only those that should call",
    ),
    _rule(
        "client-revocation-unchecked",
        Entrance.REVOKED,
        Severity.MEDIUM,
        "a withdrawn certificate opens the door until it expires",
    ),
    Rule(
        "client-certificate-refused",
        Severity.MEDIUM,
        "RFC 8446, 4.4.2.4",
        "a caller that should get in is kept out",
        _let_in,
    ),
)
