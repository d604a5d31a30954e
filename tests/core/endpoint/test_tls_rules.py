"""Rules about TLS, plaintext and HTTP, on facts made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes.clock import START
from tests.fakes.endpoint import HYBRID, OLD, REFUSED, chose, enumerated, verified

from everyhop.core.endpoint.facts import (
    Answer,
    CertificateFacts,
    Cookie,
    Encryption,
    EndpointFacts,
    HttpFacts,
    PlainFacts,
    Reply,
    TlsFacts,
    VersionFacts,
)
from everyhop.core.endpoint.redirect import leads_to_tls
from everyhop.core.endpoint.remedies import REMEDIES
from everyhop.core.endpoint.rules import RULES, Case
from everyhop.core.endpoint.strict_transport import read_header
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.finding import Finding, Severity
from everyhop.core.guidelines.registry import find
from everyhop.core.tls.versions import SSL3, TLS10, TLS11, TLS12, TLS13
from everyhop.core.verdict import Verdict

TARGET = Target.parse("shop.test")
INTERMEDIATE = find("mozilla-intermediate@6.0")
SILENT = Answer(Reply.SILENT, evidence="nothing more within 5 s")


def judged(rule: str, guideline: str = "mozilla-intermediate@6.0", target: Target = TARGET, **facts: object) -> Finding:
    """One rule's finding on these facts."""
    case = Case(EndpointFacts(target, START, **facts), find(guideline), START)  # type: ignore[arg-type]  # by name
    found = RULES[rule].judge(case)
    assert found is not None
    return found


def tls(**answers: Answer) -> TlsFacts:
    return verified(TARGET, START, **answers)


def accepts(*versions: VersionFacts) -> TlsFacts:
    return enumerated(TARGET, START, *versions)


GOOD13 = VersionFacts(TLS13, (0x1301, 0x1302, 0x1303), (HYBRID, 29, 23), REFUSED, server_order=False)
GOOD12 = VersionFacts(TLS12, (0xC02F, 0xC030), (29, 23), REFUSED, server_order=False)

TLS_RULES = [code for code in RULES if code.startswith("tls-") and code != "tls-optional"]


def test_every_rule_has_a_remedy() -> None:
    assert set(REMEDIES) == set(RULES)


@pytest.mark.parametrize("rule", TLS_RULES)
@pytest.mark.parametrize("facts", [tls(), accepts(GOOD13, GOOD12)], ids=["verify", "enumerate"])
def test_a_good_endpoint_breaks_no_rule(rule: str, facts: TlsFacts) -> None:
    assert judged(rule, tls=facts).verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE)


@pytest.mark.parametrize("rule", TLS_RULES)
def test_who_refuses_everything_has_proved_nothing(rule: str) -> None:
    nothing = tls(permitted_tls13=REFUSED, permitted_tls12=REFUSED)
    assert judged(rule, tls=nothing).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("rule", TLS_RULES)
def test_where_no_tls_is_spoken_no_rule_about_it_applies(rule: str) -> None:
    other = Answer(Reply.NOT_TLS, evidence="HTTP/1.1 400")
    facts = replace(tls(), asked=tuple(replace(one, answer=other) for one in tls().asked))
    assert judged(rule, tls=facts).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("rule", TLS_RULES)
def test_where_nobody_looked_nothing_is_said(rule: str) -> None:
    assert RULES[rule].judge(Case(EndpointFacts(TARGET, START), INTERMEDIATE, START)) is None


# --- versions -----------------------------------------------------------------------------------------------------


def test_a_pass_carries_the_servers_refusal() -> None:
    found = judged("tls-version-old", tls=tls())
    assert (found.verdict, found.evidence) == (Verdict.PASS, "alert protocol version")
    assert found.guideline == "mozilla-intermediate 6.0"


def test_an_old_version_names_itself() -> None:
    found = judged("tls-version-old", tls=tls(forbidden_versions=chose(TLS10, 0xC013)))
    assert (found.verdict, found.severity) == (Verdict.FAIL, Severity.HIGH)
    assert "TLSv1.0" in found.statement
    assert found.evidence == "chose TLSv1.0 0xC013"


def test_an_old_version_that_encrypts_nothing_is_worse() -> None:
    assert judged("tls-version-old", tls=tls(forbidden_versions=chose(SSL3, 0x0002))).severity is Severity.CRITICAL


def test_tls12_is_too_old_for_a_modern_guideline_only() -> None:
    found = judged("tls-version-old", "mozilla-modern@6.0", tls=accepts(GOOD13, GOOD12))
    assert (found.verdict, found.severity) == (Verdict.FAIL, Severity.MEDIUM)
    assert judged("tls-version-old", tls=accepts(GOOD13, GOOD12)).verdict is Verdict.PASS


@pytest.mark.parametrize("answer", [SILENT, Answer(Reply.GARBLED), Answer(Reply.UNREACHABLE)])
@pytest.mark.parametrize(
    ("question", "rule"),
    [
        ("forbidden_versions", "tls-version-old"),
        ("forbidden_suites_tls12", "tls-suite-forbidden"),
        ("forbidden_groups_tls13", "tls-group-forbidden"),
    ],
)
def test_silence_is_no_refusal(question: str, rule: str, answer: Answer) -> None:
    assert judged(rule, tls=tls(**{question: answer})).verdict is Verdict.UNKNOWN


def test_a_list_that_was_not_finished_proves_nothing() -> None:
    open_end = replace(GOOD12, refusal=None)
    assert judged("tls-suite-forbidden", tls=accepts(GOOD13, open_end)).verdict is Verdict.UNKNOWN
    broken_off = replace(accepts(GOOD13), fault="reset 3 times")
    assert judged("tls-version-old", tls=broken_off).verdict is Verdict.UNKNOWN


def test_a_required_version_must_be_accepted() -> None:
    missing = judged("tls-version-missing", tls=tls(permitted_tls13=OLD))
    assert (missing.verdict, missing.evidence) == (Verdict.FAIL, "alert protocol version")
    assert judged("tls-version-missing", tls=accepts(GOOD12)).verdict is Verdict.FAIL
    assert judged("tls-version-missing", tls=tls(permitted_tls13=SILENT)).verdict is Verdict.UNKNOWN
    assert judged("tls-version-missing", "aws-elb-tls13-1-2", tls=tls()).verdict is Verdict.NOT_APPLICABLE


# --- suites and groups --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suite", "severity"),
    [
        (0x0002, Severity.CRITICAL),  # NULL
        (0x0034, Severity.CRITICAL),  # anonymous
        (0x0003, Severity.CRITICAL),  # export
        (0x0005, Severity.HIGH),  # RC4
        (0x000A, Severity.HIGH),  # 3DES
        (0x009C, Severity.MEDIUM),  # no forward secrecy
        (0xC027, Severity.MEDIUM),  # CBC
        (0x009E, Severity.MEDIUM),  # DHE
    ],
)
def test_a_suite_is_as_bad_as_its_worst_weakness(suite: int, severity: Severity) -> None:
    asked = judged("tls-suite-forbidden", tls=tls(forbidden_suites_tls12=chose(TLS12, suite)))
    listed = judged("tls-suite-forbidden", tls=accepts(GOOD13, replace(GOOD12, suites=(0xC02F, suite))))
    assert (asked.verdict, asked.severity) == (listed.verdict, listed.severity) == (Verdict.FAIL, severity)


def test_what_a_forbidden_version_accepts_is_that_versions_matter() -> None:
    old = VersionFacts(TLS11, (0xC013,), (25,), REFUSED)
    facts = accepts(GOOD13, GOOD12, old)
    assert judged("tls-version-old", tls=facts).verdict is Verdict.FAIL
    assert judged("tls-suite-forbidden", tls=facts).verdict is Verdict.PASS
    assert judged("tls-group-forbidden", tls=facts).verdict is Verdict.PASS


def test_a_weak_group_is_worse_than_a_strange_one() -> None:
    strange = judged("tls-group-forbidden", tls=tls(forbidden_groups_tls13=chose(TLS13, 0x1301, 30)))
    weak = judged("tls-group-forbidden", tls=tls(forbidden_groups_tls12=chose(TLS12, 0xC02F, 19)))
    assert (strange.severity, weak.severity) == (Severity.MEDIUM, Severity.HIGH)
    assert "x448" in strange.statement


def test_groups_that_the_certificate_hides_are_not_refused() -> None:
    assert judged("tls-group-forbidden", tls=accepts(replace(GOOD12, unsure_groups=True))).verdict is Verdict.UNKNOWN


def test_post_quantum_is_preferred_not_demanded() -> None:
    classical = tls(permitted_tls13=chose(TLS13, 0x1301, 29), preferred_groups=REFUSED)
    found = judged("tls-group-post-quantum", tls=classical)
    assert (found.verdict, found.severity) == (Verdict.FAIL, Severity.LOW)
    assert judged("tls-group-post-quantum", tls=tls()).evidence == "chose X25519MLKEM768"
    assert judged("tls-group-post-quantum", "mozilla-modern@5.7", tls=tls()).verdict is Verdict.NOT_APPLICABLE
    unheard = tls(permitted_tls13=chose(TLS13, 0x1301, 29), preferred_groups=SILENT)
    assert judged("tls-group-post-quantum", tls=unheard).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("bits", "verdict", "severity"),
    [(512, Verdict.FAIL, Severity.HIGH), (1536, Verdict.FAIL, Severity.MEDIUM), (2048, Verdict.PASS, Severity.MEDIUM)],
)
def test_primes_have_a_least_size(bits: int, verdict: Verdict, severity: Severity) -> None:
    facts = tls(permitted_dh=chose(TLS12, 0x009E, None, key_bits=bits))
    found = judged("tls-dh-small", "mozilla-intermediate@5.7", tls=facts)
    assert (found.verdict, found.severity) == (verdict, severity)


def test_whose_order_decides() -> None:
    servers = replace(GOOD12, server_order=True)
    assert judged("tls-server-order", tls=accepts(GOOD13, servers)).verdict is Verdict.FAIL
    assert judged("tls-server-order", "mozilla-old@5.8", tls=accepts(servers)).verdict is Verdict.PASS
    assert judged("tls-server-order", "everyhop", tls=accepts(GOOD13)).verdict is Verdict.NOT_APPLICABLE


# --- plaintext ----------------------------------------------------------------------------------------------------


def plain(encryption: Encryption, wire: Wire = Wire.POSTGRESQL) -> PlainFacts:
    return PlainFacts(TARGET, START, encryption, wire, "its own words")


@pytest.mark.parametrize(
    ("encryption", "served", "optional"),
    [
        (Encryption.TLS, Verdict.PASS, Verdict.NOT_APPLICABLE),
        (Encryption.UPGRADE_REQUIRED, Verdict.PASS, Verdict.PASS),
        (Encryption.UPGRADE_OFFERED, Verdict.NOT_APPLICABLE, Verdict.FAIL),
        (Encryption.PLAINTEXT, Verdict.FAIL, Verdict.NOT_APPLICABLE),
        (Encryption.OWN, Verdict.NOT_APPLICABLE, Verdict.NOT_APPLICABLE),
        (Encryption.SILENT, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE),
        (Encryption.CLOSED, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE),
        (Encryption.UNKNOWN, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE),
    ],
)
def test_only_a_refusal_of_plaintext_counts(encryption: Encryption, served: Verdict, optional: Verdict) -> None:
    assert judged("plaintext-served", plain=plain(encryption)).verdict is served
    assert judged("tls-optional", plain=plain(encryption)).verdict is optional


# --- HTTP ---------------------------------------------------------------------------------------------------------

WEB = HttpFacts(TARGET, START, 200, strict_transport_security="max-age=63072000; includeSubDomains; preload")


@pytest.mark.parametrize(
    ("header", "missing", "short", "preload"),
    [
        ("max-age=63072000; includeSubDomains; preload", Verdict.PASS, Verdict.PASS, Verdict.PASS),
        ("max-age=300", Verdict.PASS, Verdict.FAIL, Verdict.NOT_APPLICABLE),
        ('MAX-AGE="63072000";', Verdict.PASS, Verdict.PASS, Verdict.NOT_APPLICABLE),
        ("max-age=63072000; preload", Verdict.PASS, Verdict.PASS, Verdict.FAIL),
        ("max-age=0", Verdict.FAIL, Verdict.NOT_APPLICABLE, Verdict.NOT_APPLICABLE),
        ("includeSubDomains", Verdict.FAIL, Verdict.NOT_APPLICABLE, Verdict.NOT_APPLICABLE),
        ("max-age=1; max-age=2", Verdict.FAIL, Verdict.NOT_APPLICABLE, Verdict.NOT_APPLICABLE),
        ("max-age=x", Verdict.FAIL, Verdict.NOT_APPLICABLE, Verdict.NOT_APPLICABLE),
        (None, Verdict.FAIL, Verdict.NOT_APPLICABLE, Verdict.NOT_APPLICABLE),
    ],
)
def test_hsts_is_read_as_browsers_do(header: str | None, missing: Verdict, short: Verdict, preload: Verdict) -> None:
    facts = replace(WEB, strict_transport_security=header)
    found = [judged(f"hsts-{rule}", http=facts).verdict for rule in ("missing", "short", "preload")]
    assert found == [missing, short, preload]


def test_hsts_is_for_names_and_for_guidelines_that_ask_for_it() -> None:
    bare = replace(WEB, strict_transport_security=None)
    address = Target.parse("192.0.2.1")
    assert judged("hsts-missing", target=address, http=bare).verdict is Verdict.NOT_APPLICABLE
    assert judged("hsts-missing", "everyhop", http=bare).verdict is Verdict.NOT_APPLICABLE
    assert judged("hsts-missing", http=replace(bare, status=400)).verdict is Verdict.NOT_APPLICABLE
    assert judged("hsts-missing", http=replace(bare, status=0, fault="reset")).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("refused", "version", "asked", "verdict"),
    [
        ("alert certificate required", "TLSv1.3", None, Verdict.NOT_APPLICABLE),
        ("alert bad certificate", "TLSv1.3", None, Verdict.NOT_APPLICABLE),
        ("alert handshake failure", "TLSv1.2", True, Verdict.NOT_APPLICABLE),
        ("alert handshake failure", "TLSv1.2", False, Verdict.UNKNOWN),
        ("alert handshake failure", "", True, Verdict.UNKNOWN),  # nothing was agreed on: it may have been the suites
        ("closed", "TLSv1.2", True, Verdict.UNKNOWN),
        ("", "TLSv1.3", None, Verdict.UNKNOWN),
    ],
)
def test_where_strangers_are_kept_out_nothing_is_served_to_browsers(
    refused: str, version: str, asked: bool | None, verdict: Verdict
) -> None:
    http = HttpFacts(TARGET, START, fault="whatever OpenSSL says")
    spoken = replace(accepts(GOOD12), certificate_requested=asked)
    seen = CertificateFacts(TARGET, START, usable=not refused, refused=refused, version=version)
    for rule in ("hsts-missing", "hsts-short", "hsts-preload", "cookie-not-secure", "mixed-content"):
        assert judged(rule, http=http, tls=spoken, certificate=seen).verdict is verdict, rule


def test_an_upgrade_that_is_required_says_for_whom_where_users_differ() -> None:
    """``pg_hba.conf`` may take another user in the clear."""
    assert "for a user whom nobody knows" in judged("tls-optional", plain=plain(Encryption.UPGRADE_REQUIRED)).statement
    mail = judged("tls-optional", plain=plain(Encryption.UPGRADE_REQUIRED, Wire.SMTP))
    assert "user" not in mail.statement


@pytest.mark.parametrize(
    ("status", "leads", "verdict"),
    [
        (301, True, Verdict.PASS),
        (301, False, Verdict.FAIL),
        (308, None, Verdict.UNKNOWN),
        (200, False, Verdict.FAIL),
        (403, False, Verdict.PASS),
    ],
)
def test_the_plaintext_port_sends_to_https(status: int, leads: bool | None, verdict: Verdict) -> None:
    facts = replace(WEB, plain_port=80, plain_status=status, plain_leads_to_tls=leads)
    assert judged("http-no-redirect", http=facts).verdict is verdict


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ("unreachable: connection refused", Verdict.PASS),
        ("unreachable: timeout", Verdict.NOT_APPLICABLE),
        ("unreachable: too many open files", Verdict.UNKNOWN),
        ("timeout", Verdict.UNKNOWN),
        ("closed", Verdict.UNKNOWN),
        ("garbled: expected at most 100 headers", Verdict.UNKNOWN),
        ("", Verdict.UNKNOWN),
    ],
)
def test_a_plaintext_port_that_could_not_be_read_proves_nothing(fault: str, verdict: Verdict) -> None:
    facts = replace(WEB, plain_port=80, plain_fault=fault)
    assert judged("http-no-redirect", http=facts).verdict is verdict


def test_a_plaintext_port_that_only_redirects_serves_nothing() -> None:
    target = Target.parse("http://shop.test")
    http = HttpFacts(target, START, plain_port=80, plain_status=301, plain_leads_to_tls=True)
    facts = plain(Encryption.PLAINTEXT, Wire.HTTP)
    for expected, seen in (
        (Verdict.PASS, http),
        (Verdict.UNKNOWN, replace(http, plain_leads_to_tls=None)),
        (Verdict.FAIL, replace(http, plain_leads_to_tls=False)),
        (Verdict.FAIL, replace(http, plain_status=200, plain_leads_to_tls=False)),
        (Verdict.FAIL, replace(http, plain_port=8080)),
    ):
        assert judged("plaintext-served", target=target, plain=facts, http=seen).verdict is expected


@pytest.mark.parametrize(
    ("location", "leads"),
    [
        ("https://shop.test/a", True),
        ("HTTPS://WWW.shop.test./a", True),
        ("https://shop.test:8443/a", True),
        ("https://shop.test/a?next=b", True),
        ("https://shop.test/", True),
        ("https://shop.test", True),
        ("https://shop.test/login", False),
        ("https://login.test/a", False),
        ("https://shop.test.evil.test/a", False),
        ("https:///a", False),
        ("http://shop.test/a", False),
        ("//shop.test/a", False),
        ("/a", False),
        ("", False),
        ("https://[::bad", False),
        ("https://a]b/", False),
        ("https://\u2100/", False),
    ],
)
def test_where_a_redirect_leads(location: str, leads: bool) -> None:
    assert leads_to_tls(Target("shop.test", 80), "/a", 301, location) is leads
    assert not leads_to_tls(Target("shop.test", 80), "/a", 200, location)


def test_whoever_asked_for_an_address_does_not_know_the_name() -> None:
    assert leads_to_tls(Target("192.0.2.1", 80), "/a", 301, "https://shop.test/a")
    assert not leads_to_tls(Target("192.0.2.1", 80, server_name="web.test"), "/a", 301, "https://shop.test/a")


def test_cookies_and_references_do_not_leave_tls() -> None:
    bare = replace(WEB, cookies=(Cookie("id", secure=True, http_only=True), Cookie("theme", False, False)))
    found = judged("cookie-not-secure", http=bare)
    assert found.verdict is Verdict.FAIL
    assert "theme" in found.statement
    assert "id" not in found.evidence.split()
    assert judged("cookie-not-secure", http=WEB).verdict is Verdict.NOT_APPLICABLE
    mixed = replace(WEB, insecure_references=tuple(f"http://cdn.test/{number}" for number in range(9)))
    assert judged("mixed-content", http=mixed).evidence.endswith("and 4 more")
    assert judged("mixed-content", http=WEB).verdict is Verdict.PASS


def test_a_header_without_end_is_read_in_bounded_time() -> None:
    with pytest.raises(ValueError, match="max-age"):
        read_header(";" * 10_000_000)
