"""Revocation: is it revoked, are the words about it fresh and real, and is a promised staple there?

Rules: revocation is judged where a certificate names its means. A certificate that names neither OCSP nor CRL is
short-lived by design, and that is good: not applicable, never an alarm. "Could not ask" is unknown, never good, and so
is an old word: whoever shows it may have reason to hide the new one. A staple is judged even though few clients ask for
it: a wrong one breaks those that do.
"""

from __future__ import annotations

from everyhop.core.endpoint.revocation import Word, read_ocsp
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed, unknown
from everyhop.core.finding import Severity


def _revoked(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    word = _staple(case)
    if isinstance(word, Word) and word.status == "revoked":
        return failed("expected a certificate that is not revoked, got a revoked one", "staple")
    facts = case.facts.revocation
    if facts is not None and facts.status == "revoked":
        return failed("expected a certificate that is not revoked, got a revoked one", facts.source)
    if not any(each.responders or each.distribution_points for each in case.path.links):
        return not_applicable("no certificate on the path names an OCSP responder or a CRL")
    if facts is None:
        return None
    if facts.status == "good" and facts.next_update is not None and case.now > facts.next_update:
        until = f"{facts.next_update:%Y-%m-%d %H:%M} UTC"
        return unknown("whether it is revoked by now could not be learned", f"{facts.source} said good until {until}")
    if facts.status == "good" and not facts.fault:
        return passed("not revoked", facts.source)
    return unknown("whether it is revoked could not be learned", facts.fault or f"{facts.source} says unknown")


def _fresh(case: Case) -> Outcome | None:
    facts = case.facts.revocation
    if facts is None or case.path is None:
        return None
    if facts.source not in ("ocsp", "crl"):
        return not_applicable("no responder or CRL was asked")
    if facts.next_update is None:
        return passed(f"the {facts.source} word does not expire")
    if case.now > facts.next_update:
        return failed(
            f"expected a fresh word by {facts.source}, got one that should have been replaced by now",
            f"next update {facts.next_update:%Y-%m-%d %H:%M} UTC",
        )
    return passed(f"the {facts.source} word is fresh", f"next update {facts.next_update:%Y-%m-%d %H:%M} UTC")


def _promised(case: Case) -> Outcome | None:
    if case.path is None or case.served is None:
        return None
    if not case.path.leaf.must_staple:
        return not_applicable("the certificate does not promise a staple")
    if not case.served.staple:
        return failed("expected a stapled OCSP answer as the certificate promises, got none")
    return passed("the promised staple is there")


def _staple_valid(case: Case) -> Outcome | None:
    if case.path is None or case.served is None:
        return None
    if not case.served.staple:
        return not_applicable("no OCSP answer was stapled")
    word = _staple(case)
    if word is None:
        return unknown("the leaf's issuer is not known, so nobody can tell who signed the staple")
    if isinstance(word, str):
        return failed("expected a stapled answer about this certificate by its issuer, got another", word)
    return passed(f"the staple says {word.status}")


def _staple_fresh(case: Case) -> Outcome | None:
    if case.path is None or case.served is None:
        return None
    word = _staple(case)
    if not isinstance(word, Word):
        return not_applicable("no staple that can be believed was sent")
    if not word.current(case.now):
        until = f"{word.next_update:%Y-%m-%d %H:%M} UTC" if word.next_update else "no end"
        return failed(
            "expected a staple that is valid now, got another",
            f"from {word.this_update:%Y-%m-%d %H:%M} UTC, until {until}",
        )
    return passed("the staple is fresh")


def _staple(case: Case) -> Word | str | None:
    """The staple's word; a sentence if it is not to be believed; None if there is none or its issuer is unknown."""
    if case.path is None or case.served is None or not case.served.staple:
        return None
    issuer = case.path.issuer
    if issuer is None:
        return None
    try:
        return read_ocsp(case.served.staple, case.path.leaf.x509, issuer)
    except ValueError as error:
        return str(error)


RULES = (
    Rule(
        "certificate-revoked",
        Severity.CRITICAL,
        "RFC 5280, 6.3; RFC 6960",
        "its authority has withdrawn it: its key may be in other hands",
        _revoked,
    ),
    Rule(
        "revocation-stale",
        Severity.MEDIUM,
        "RFC 5280, 5.1.2.5; RFC 6960, 4.2.2.1",
        "an authority that does not renew its words cannot withdraw anything, and strict clients fail",
        _fresh,
    ),
    Rule(
        "staple-missing",
        Severity.HIGH,
        "RFC 7633, 4.2.3.1",
        "the certificate tells clients to refuse a handshake without a staple",
        _promised,
    ),
    Rule(
        "staple-invalid",
        Severity.MEDIUM,
        "RFC 6066, 8; RFC 6960, 3.2",
        "a staple that proves nothing makes careful clients refuse",
        _staple_valid,
    ),
    Rule(
        "staple-stale",
        Severity.MEDIUM,
        "RFC 6960, 4.2.2.1",
        "an old staple is refused, and hides that the server cannot fetch new ones",
        _staple_fresh,
    ),
)
