"""Where the chain leads, and whether everything needed was sent, in order, and nothing else.

Rules: one trouble, one finding. The walk (``core.endpoint.path``) ends in exactly one way, and each way belongs to
one rule. Without any store nothing can be said of trust, and nothing is. What is good for a private authority is good:
the own bundle is a store like the others.
"""

from __future__ import annotations

import itertools

from everyhop.core.endpoint.path import Ending, strict_fault
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed, unknown
from everyhop.core.endpoint.rules.strength import weak_keys, weak_signatures
from everyhop.core.finding import Severity


def _self_signed(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    leaf = case.path.leaf
    if case.path.ending is not Ending.SELF_SIGNED:
        return passed("the leaf is signed by another key than its own, or trusted as it is")
    return failed("expected a certificate signed by an authority, got one that signed itself", leaf.title)


def _trusted(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    path, last = case.path, case.path.links[-1]
    if not case.stores:
        return unknown("no store of trusted roots was given")
    stores = ", ".join(sorted(case.stores))
    if path.trusted:
        return passed(f"trusted by {', '.join(sorted(path.anchors))}", _route(case))
    if path.ending is Ending.SELF_SIGNED:
        return not_applicable("there is no root: the leaf signed itself")
    if path.impostor:
        return failed(
            f"expected a path to a root of {stores}, got one to a root that only bears the name of a trusted one",
            path.impostor,
        )
    if path.ending is Ending.GAP:
        return unknown("the path ends at the leaf: whether its root is trusted cannot be told", last.issuer)
    whose = last.title if path.ending is Ending.UNTRUSTED_ROOT else last.issuer
    return failed(f"expected a path to a root of {stores}, got one to {whose or 'a nameless issuer'}", _route(case))


def _complete(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    if case.path.ending is not Ending.GAP or case.path.impostor:
        return passed("nothing is missing on the path", _route(case))
    issuer = case.path.leaf.issuer
    if not case.stores:
        return unknown("the leaf's issuer was not sent; without a store it cannot be told whether it is a root", issuer)
    return failed("expected the leaf's issuer to be sent or trusted, got neither", issuer)


def _ordered(case: Case) -> Outcome | None:
    if case.path is None or case.served is None:
        return None
    sent, links = case.served.chain, case.path.links
    if len(sent) == 1:
        return not_applicable("only one certificate was sent")
    if sent[: len(links)] == links:
        stray = [each for each in sent[len(links) :] if not each.self_issued]
        if not stray or _leads_on(case):
            return passed("each certificate is followed by its issuer", _route(case))
        return failed(
            "expected every certificate to certify the one before it, got one that certifies none", stray[0].title
        )
    return failed(
        "expected every certificate to certify the one before it, got another order",
        " > ".join(each.title for each in sent),
    )


def _leads_on(case: Case) -> bool:
    """True if what follows the first trusted anchor still goes on upwards: a cross-signed root, say."""
    if case.path is None or case.served is None or not case.path.anchors:
        return False
    rest = case.served.chain[len(case.path.links) - 1 :]
    return all(below.x509.issuer == above.x509.subject for below, above in itertools.pairwise(rest))


def _root_sent(case: Case) -> Outcome | None:
    if case.path is None or case.served is None:
        return None
    if len(case.served.chain) == 1:
        return not_applicable("only one certificate was sent")
    roots = [each for each in case.served.chain[1:] if each.self_issued]
    if roots:
        return failed("expected the root to be left out, got it sent along", roots[0].title)
    return passed("no root was sent along")


_NO_URI_CONSTRAINTS = "unsupported name constraint"


def _strictly_valid(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    if not case.path.trusted:
        return not_applicable("there is no trusted path to validate")
    if weak_keys(case.path.links) or weak_signatures(case.path.links):
        return not_applicable("a weak key or signature is refused before anything else")
    try:
        fault = strict_fault(case.path, case.now)
    except ValueError as error:
        return unknown(f"constraints and usages were not validated: {error}")
    if _NO_URI_CONSTRAINTS in fault:  # a limit of the validator, and no fault of the path: RFC 5280 asks for them
        return not_applicable("the strict validator does not know constraints on URI names (SPIFFE identities)", fault)
    if fault:
        return failed("expected a path that a strict validator accepts, got its refusal", fault)
    return passed("a strict validator accepts the path", ", ".join(sorted(case.path.anchors)))


def _route(case: Case) -> str:
    """The path in words, leaf first."""
    if case.path is None:
        return ""
    anchor = next((each.subject.rfc4514_string() for each in case.path.anchors.values()), "")
    titles = [each.title for each in case.path.links]
    return " < ".join(titles if not anchor or anchor == titles[-1] else [*titles, anchor])


RULES = (
    Rule(
        "certificate-self-signed",
        Severity.HIGH,
        "RFC 5280, 6.1",
        "anybody can sign for himself: nothing binds the key to the name",
        _self_signed,
    ),
    Rule(
        "chain-untrusted",
        Severity.HIGH,
        "RFC 5280, 6.1",
        "a chain that ends at an unknown root is as good as none",
        _trusted,
    ),
    Rule(
        "chain-incomplete",
        Severity.MEDIUM,
        "RFC 8446, 4.4.2",
        "clients that do not happen to know the missing issuer fail, the others hide it",
        _complete,
    ),
    Rule(
        "chain-disordered",
        Severity.LOW,
        "RFC 5246, 7.4.2; RFC 8446, 4.4.2",
        "clients that take the chain as it comes fail, and every client pays for what it does not need",
        _ordered,
    ),
    Rule(
        "chain-root-sent",
        Severity.INFO,
        "RFC 8446, 4.4.2",
        "whoever trusts the root has it already: it costs bytes in every handshake and proves nothing",
        _root_sent,
    ),
    Rule(
        "chain-invalid",
        Severity.MEDIUM,
        "RFC 5280, 6",
        "constraints, usages or identifiers on the path are wrong, and strict clients refuse it",
        _strictly_valid,
    ),
)
