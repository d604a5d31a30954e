"""Rules about HTTP over TLS: that browsers come back over TLS, and that nothing leaks beside it.

Rules: only answers to real requests are judged. Where nobody gets in without a certificate, a stranger has no request
that could be answered. An address has no HSTS (RFC 6797, 8.1.1), and a site that does not ask to be preloaded owes the
preload list nothing.
"""

from __future__ import annotations

from everyhop.core.endpoint.facts import Encryption, HttpFacts
from everyhop.core.endpoint.redirect import REDIRECTS
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed, unknown
from everyhop.core.endpoint.strict_transport import PRELOAD_SECONDS, StrictTransport, read_header
from everyhop.core.finding import Severity

_BEFORE_SERVICE = (400, 495, 496, 497)
"""Refused for the connection's sake: no client certificate, or not a request at all (nginx says 495 to 497)."""
_WANTS_A_CERTIFICATE = ("alert certificate required", "alert bad certificate")
"""How a server says that it got none: RFC 8446, 6.2, and Go before it knew that alert."""
_REFUSED, _NO_WAY = "unreachable: connection refused", "unreachable: timeout"
"""How the probe says that nobody listens, and that a connection did not come about in time: a filter, most likely."""
_SHOWN = 5
"""Names shown of a longer list."""


def _answered(case: Case) -> HttpFacts | Outcome | None:
    """The HTTP facts if there was an answer over TLS; else what every rule says without one."""
    seen = case.facts.http
    if seen is None:
        return None
    if case.facts.plain and case.facts.plain.encryption is Encryption.PLAINTEXT:
        return not_applicable("there is no TLS here")
    if not seen.status and _keeps_strangers_out(case):
        return not_applicable("nobody is served here without a certificate")
    if not seen.status:
        return unknown(f"expected an answer to GET over TLS, got {seen.fault or 'none'}")
    return seen


def _keeps_strangers_out(case: Case) -> bool:
    """True if the connection was ended for want of a client certificate. Below TLS 1.3 servers have no alert for that,
    but there it is seen that they asked for one."""
    seen, tls = case.facts.certificate, case.facts.tls
    if seen is None or not seen.version or seen.usable:
        return False
    asked = tls is not None and tls.certificate_requested is True
    return seen.refused in _WANTS_A_CERTIFICATE or (asked and seen.refused.startswith("alert "))


def _header(case: Case) -> tuple[HttpFacts, StrictTransport] | Outcome | None:
    """The HSTS header as a browser reads it, or what a rule about its content says without one."""
    seen = _answered(case)
    if not isinstance(seen, HttpFacts):
        return seen
    if idle := _needs_no_header(case, seen):
        return idle
    try:
        return seen, read_header(seen.strict_transport_security or "")
    except ValueError:
        return not_applicable("there is no HSTS header that browsers would keep")


def _needs_no_header(case: Case, seen: HttpFacts) -> Outcome | None:
    if not case.facts.target.name:
        return not_applicable("browsers keep HSTS for names only, and this is an address")
    if case.guideline.hsts_seconds_min is None:
        return not_applicable("the guideline asks for no HSTS")
    if seen.status in _BEFORE_SERVICE and seen.strict_transport_security is None:
        return not_applicable(f"the request was refused before anything was served (HTTP {seen.status})")
    return None


def _hsts_missing(case: Case) -> Outcome | None:
    seen = _answered(case)
    if not isinstance(seen, HttpFacts):
        return seen
    if idle := _needs_no_header(case, seen):
        return idle
    if seen.strict_transport_security is None:
        return failed("expected a Strict-Transport-Security header, got none", f"HTTP {seen.status}, no header")
    try:
        found = read_header(seen.strict_transport_security)
    except ValueError as error:
        return failed(f"expected an HSTS header that browsers keep: {error}", seen.strict_transport_security)
    if not found.seconds:
        return failed("expected HSTS, got max-age=0, which makes browsers forget it", seen.strict_transport_security)
    return passed("browsers will come back over TLS only", seen.strict_transport_security)


def _hsts_short(case: Case) -> Outcome | None:
    read = _header(case)
    if not isinstance(read, tuple):
        return read
    seen, found = read
    least = case.guideline.hsts_seconds_min or 0
    if not found.seconds:
        return not_applicable("there is no HSTS header that browsers would keep")
    evidence = seen.strict_transport_security or ""
    if found.seconds < least:
        return failed(f"expected HSTS for at least {least} seconds, got {found.seconds}", evidence)
    return passed(f"browsers keep HSTS for {found.seconds} seconds, at least {least} are asked for", evidence)


def _hsts_preload(case: Case) -> Outcome | None:
    read = _header(case)
    if not isinstance(read, tuple):
        return read
    seen, found = read
    if not found.preload:
        return not_applicable("the site does not ask to be preloaded")
    faults = [
        text
        for wrong, text in (
            (found.seconds < PRELOAD_SECONDS, f"max-age={found.seconds} instead of at least {PRELOAD_SECONDS}"),
            (not found.include_subdomains, "no includeSubDomains"),
        )
        if wrong
    ]
    evidence = seen.strict_transport_security or ""
    if faults:
        return failed(f"expected what the preload list asks for, got {' and '.join(faults)}", evidence)
    return passed("the header is as the preload list asks", evidence)


def _redirect(case: Case) -> Outcome | None:
    seen = case.facts.http
    if seen is None or seen.plain_port in (None, case.facts.target.port):  # that one, another rule judges
        return None
    if not seen.plain_status:
        return _no_answer(seen)
    evidence = f"HTTP {seen.plain_status}" + (f" to {seen.plain_location}" if seen.plain_location else "")
    leads = leads_to_tls(seen)
    if leads is None:
        return unknown(f"whether all of port {seen.plain_port} leads to https could not be told", evidence)
    if leads:
        return passed(f"port {seen.plain_port} sends its visitors to https", evidence)
    if 400 <= seen.plain_status < 500:
        return passed(f"port {seen.plain_port} refuses to serve over plaintext", evidence)
    return failed(f"expected port {seen.plain_port} to send every visitor to the same page at https", evidence)


def _no_answer(seen: HttpFacts) -> Outcome:
    """A closed port serves nothing. One that cannot be reached from here says nothing. One that was reached and could
    not be read may serve anything."""
    if seen.plain_fault == _REFUSED:
        return passed(f"nothing listens on port {seen.plain_port}", seen.plain_fault)
    if seen.plain_fault == _NO_WAY:
        return not_applicable(f"port {seen.plain_port} cannot be reached from here", seen.plain_fault)
    statement = f"expected to learn what port {seen.plain_port} does with its visitors, and could not"
    return unknown(statement, seen.plain_fault or "no answer")


def leads_to_tls(seen: HttpFacts) -> bool | None:
    """True if the plaintext port was seen to do nothing but send its visitors to https; None if it began to, and the
    second path got no answer."""
    return seen.plain_leads_to_tls if seen.plain_status in REDIRECTS else False


def _cookies(case: Case) -> Outcome | None:
    seen = _answered(case)
    if not isinstance(seen, HttpFacts):
        return seen
    if not seen.cookies:
        return not_applicable("no cookie was set")
    bare = [cookie.name for cookie in seen.cookies if not cookie.secure]
    if bare:
        return failed(f"expected every cookie to be Secure, got {_some(bare)} without", f"Set-Cookie: {_some(bare)}")
    return passed("every cookie is Secure", f"Set-Cookie: {_some([cookie.name for cookie in seen.cookies])}")


def _mixed(case: Case) -> Outcome | None:
    seen = _answered(case)
    if not isinstance(seen, HttpFacts):
        return seen
    if seen.insecure_references:
        found = list(seen.insecure_references)
        return failed("expected a page that fetches everything by https, got references to http", _some(found))
    return passed("the page fetches nothing by plain http", f"HTTP {seen.status}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


RULES = (
    Rule(
        "hsts-missing",
        Severity.MEDIUM,
        "RFC 6797, 6.1 and 8.1",
        "without HSTS the first request of every visit may go out in plaintext, and can be kept there",
        _hsts_missing,
    ),
    Rule(
        "hsts-short",
        Severity.MEDIUM,
        "RFC 6797, 6.1.1",
        "a short HSTS time has run out when a visitor comes back",
        _hsts_short,
    ),
    Rule(
        "hsts-preload",
        Severity.MEDIUM,
        "hstspreload.org, submission requirements",
        "a header that asks to be preloaded and does not keep the list's rules is refused or removed there",
        _hsts_preload,
    ),
    Rule(
        "http-no-redirect",
        Severity.MEDIUM,
        "RFC 6797, 7.2",
        "a plaintext port that serves pages keeps visitors on it who could be encrypted",
        _redirect,
    ),
    Rule(
        "cookie-not-secure",
        Severity.MEDIUM,
        "RFC 6265, 4.1.2.5",
        "a cookie without Secure is sent over plaintext too, where anybody on the path can take it",
        _cookies,
    ),
    Rule(
        "mixed-content",
        Severity.MEDIUM,
        "W3C Mixed Content, 2",
        "what a page fetches by http can be read and changed by anybody on the path",
        _mixed,
    ),
)
