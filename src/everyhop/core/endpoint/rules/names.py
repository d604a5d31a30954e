"""Does the certificate speak for the endpoint that was asked for, by name, address or SPIFFE ID?

Rules: exactly one of the two rules applies. Where an identity is expected, host names do not matter; elsewhere a SPIFFE
ID does not. Several leaves on one port are each held to it.
"""

from __future__ import annotations

from everyhop.core.endpoint.names import matches
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed
from everyhop.core.endpoint.served import Certificate
from everyhop.core.finding import Severity

_MOST_NAMES = 8


def _host(case: Case) -> Outcome | None:
    if case.served is None or case.served.leaf is None:
        return None
    if case.expected_identity:
        return not_applicable("a SPIFFE ID is expected here, not a host name")
    wanted = case.facts.target.name or case.facts.target.host
    for leaf in (case.served.leaf, *case.served.more_leaves):
        if not matches(wanted, leaf.dns_names, leaf.addresses):
            return failed(f"expected a certificate for {wanted}, got {_names(leaf)}", leaf.title)
    return passed(f"it speaks for {wanted}", _names(case.served.leaf))


def _identity(case: Case) -> Outcome | None:
    if case.served is None or case.served.leaf is None:
        return None
    if not case.expected_identity:
        return not_applicable("no SPIFFE ID is expected here")
    for leaf in (case.served.leaf, *case.served.more_leaves):
        if leaf.uris != (case.expected_identity,):
            got = ", ".join(leaf.uris[:_MOST_NAMES]) or "none"
            return failed(f"expected exactly the identity {case.expected_identity}, got {got}", leaf.title)
    return passed(f"it shows {case.expected_identity}")


def _names(leaf: Certificate) -> str:
    """What it does speak for; a common name counts for nothing and is named for the reader's sake."""
    names = (*leaf.dns_names, *leaf.addresses)
    if names:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        return f"one for {', '.join(names[:_MOST_NAMES])}{more}"
    if leaf.uris:
        return f"one for {', '.join(leaf.uris[:_MOST_NAMES])}"
    return f"one without alternative names ({leaf.subject or 'no subject'})"


RULES = (
    Rule(
        "certificate-name-mismatch",
        Severity.CRITICAL,
        "RFC 9525, 6",
        "a certificate for another name proves nothing about this endpoint",
        _host,
    ),
    Rule(
        "certificate-identity-mismatch",
        Severity.CRITICAL,
        "SPIFFE X509-SVID, 2 and 5.2",
        "a service is who its SPIFFE ID says, and it has exactly one",
        _identity,
    ),
)
