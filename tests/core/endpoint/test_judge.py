"""Judging: every rule answers once, exceptions are marked and end, and nothing is ever raised."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.pki import CA, Issued
from tests.servers.badpki import Minted, Wish, mint

from everyhop.core.endpoint.excuse import Excuse
from everyhop.core.endpoint.facts import (
    CertificateFacts,
    EndpointFacts,
    EnforcementFacts,
    Entrance,
    Entry,
    RevocationFacts,
    SessionFacts,
)
from everyhop.core.endpoint.judge import judge
from everyhop.core.endpoint.rules import RULES
from everyhop.core.endpoint.rules.dates import margin
from everyhop.core.endpoint.target import Target
from everyhop.core.finding import Finding
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.verdict import Verdict

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TARGET = Target("web.test", 443, owner="team-web")
GUIDELINE = Guideline("test", "1", None, "here", (0x0304,), (), (), ())
ROOT = CA("root")
LEAF = ROOT.issue("web.test")


def _facts(*chain: bytes, **more: object) -> EndpointFacts:
    seen = CertificateFacts(TARGET, NOW, usable=True, chain=chain)
    return replace(EndpointFacts(TARGET, NOW, certificate=seen), **more)  # pyright: ignore[reportArgumentType]


def _of(leaf: Issued | Minted) -> EndpointFacts:
    return _facts(leaf.certificate.public_bytes(Encoding.DER))


def _judged(facts: EndpointFacts, *, stores: dict[str, list[CA]] | None = None, **more: object) -> dict[str, Finding]:
    trusted = {name: [ca.certificate for ca in cas] for name, cas in (stores or {"own": [ROOT]}).items()}
    found = judge(facts, GUIDELINE, now=NOW, stores=trusted, **more)  # pyright: ignore[reportArgumentType]
    return {each.rule: each for each in found}


def _failed(found: dict[str, Finding]) -> set[str]:
    return {code for code, each in found.items() if each.verdict is Verdict.FAIL}


def test_codes_are_stable_words_and_every_rule_says_why() -> None:
    for code, rule in RULES.items():
        assert code == rule.code
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", code), code
        assert rule.citation, code
        assert rule.explanation, code
        assert rule.runbook == f"runbooks/{code}.md"


def test_a_good_certificate_passes_and_says_whose_it_is() -> None:
    found = _judged(_of(LEAF))
    assert not _failed(found)
    trusted = found["chain-untrusted"]
    assert trusted.verdict is Verdict.PASS
    assert (trusted.owner, trusted.subject, trusted.guideline) == ("team-web", "web.test:443", "test 1")


def test_what_was_not_asked_is_not_judged() -> None:
    assert judge(EndpointFacts(TARGET, NOW), GUIDELINE, now=NOW, stores={}) == ()


def test_a_private_certificate_without_any_means_of_revocation_is_good() -> None:
    found = _judged(_of(LEAF))
    for code in ("certificate-revoked", "staple-missing", "staple-invalid", "timestamps-missing", "timestamps-invalid"):
        assert found[code].verdict is Verdict.NOT_APPLICABLE, code


def test_a_publicly_trusted_certificate_must_be_logged() -> None:
    assert "timestamps-missing" in _failed(_judged(_of(LEAF), stores={"mozilla": [ROOT]}))


def test_without_a_store_trust_is_unknown() -> None:
    found = {each.rule: each for each in judge(_of(LEAF), GUIDELINE, now=NOW, stores={})}
    assert found["chain-untrusted"].verdict is Verdict.UNKNOWN
    assert found["chain-incomplete"].verdict is Verdict.UNKNOWN
    assert not _failed(found)


def test_without_a_handshake_only_one_rule_speaks() -> None:
    silent = CertificateFacts(TARGET, NOW, usable=False, refused="timeout")
    found = judge(EndpointFacts(TARGET, NOW, certificate=silent), GUIDELINE, now=NOW, stores={})
    assert [(each.rule, each.verdict, each.evidence) for each in found] == [
        ("certificate-unreadable", Verdict.UNKNOWN, "timeout")
    ]


def test_an_impostor_of_a_trusted_root_is_untrusted_and_not_incomplete() -> None:
    copy = CA("root")
    assert _failed(_judged(_of(copy.issue("web.test")))) == {"chain-untrusted"}


def test_ed25519_is_good_and_its_structure_unknown() -> None:
    found = _judged(_of(mint(Wish(names=("web.test",), key="ed25519", days=(-999, 9999)), ROOT)))
    assert not _failed(found)
    assert found["chain-invalid"].verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("permitted", "good"),
    [(("rsa-2048",), False), (("ecdsa-p256", "rsa-2048"), True), (("ecdsa-p384",), False), ((), True)],
)
def test_the_guidelines_kinds_of_keys(permitted: tuple[str, ...], good: bool) -> None:
    strict = replace(GUIDELINE, certificate_keys=permitted)
    found = judge(_of(LEAF), strict, now=NOW, stores={"own": [ROOT.certificate]})
    assert ("certificate-key-not-permitted" not in {each.rule for each in found if each.counts}) is good


def test_an_rsa_entry_is_the_least_size() -> None:
    strict = replace(GUIDELINE, certificate_keys=("rsa-2048",))
    leaf = mint(Wish(names=("web.test",), key="rsa-1024"), ROOT)
    found = {each.rule: each for each in judge(_of(leaf), strict, now=NOW, stores={"own": [ROOT.certificate]})}
    assert found["certificate-key-weak"].verdict is Verdict.FAIL
    assert found["certificate-key-not-permitted"].verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("life", "least"),
    [
        (timedelta(hours=24), timedelta(hours=2.4)),
        (timedelta(days=90), timedelta(days=9)),
        (timedelta(days=365), timedelta(days=14)),
    ],
)
def test_how_much_of_a_life_must_be_left(life: timedelta, least: timedelta) -> None:
    assert margin(life) == least


def test_both_ends_of_a_life_are_inside() -> None:
    leaf = ROOT.issue("web.test", not_before=NOW, not_after=NOW)
    assert _failed(_judged(_of(leaf))) == {"certificate-nearly-spent"}


def test_an_exception_marks_a_failure_through_its_last_day() -> None:
    facts = _of(ROOT.issue("other.test"))
    excuse = Excuse("certificate-name-mismatch", "web.test:443", "moves in december", date(2026, 11, 22), "team-web")
    finding = _judged(facts, exceptions=[excuse])["certificate-name-mismatch"]
    assert (finding.verdict, finding.counts, finding.excused) == (Verdict.FAIL, False, "moves in december")
    ended = replace(excuse, until=date(2026, 11, 21))
    assert _judged(facts, exceptions=[ended])["certificate-name-mismatch"].counts
    elsewhere = replace(excuse, subject="db.test:5432")
    assert _judged(facts, exceptions=[elsewhere])["certificate-name-mismatch"].counts
    assert not _judged(facts, exceptions=[replace(excuse, subject="*")])["certificate-name-mismatch"].counts


def test_an_exception_says_why() -> None:
    with pytest.raises(ValueError, match="expected a reason"):
        Excuse("certificate-expired", "*", " ", date(2026, 1, 1))


@pytest.mark.parametrize(
    ("status", "fault", "verdict"),
    [
        ("good", "", Verdict.PASS),
        ("revoked", "", Verdict.FAIL),
        ("unknown", "", Verdict.UNKNOWN),
        ("", "ocsp: nobody answered", Verdict.UNKNOWN),
        ("good", "crl: nobody answered", Verdict.UNKNOWN),
    ],
)
def test_what_authorities_say(status: str, fault: str, verdict: Verdict) -> None:
    leaf = mint(Wish(names=("web.test",), ocsp="http://ocsp.test/"), ROOT)
    word = RevocationFacts(TARGET, NOW, status=status, source="ocsp", fault=fault)
    assert _judged(replace(_of(leaf), revocation=word))["certificate-revoked"].verdict is verdict


@pytest.mark.parametrize(("days", "verdict"), [(1, Verdict.PASS), (-1, Verdict.UNKNOWN)])
def test_a_good_word_of_the_past_is_none(days: int, verdict: Verdict) -> None:
    leaf = mint(Wish(names=("web.test",), ocsp="http://ocsp.test/"), ROOT)
    word = RevocationFacts(TARGET, NOW, status="good", source="crl", next_update=NOW + timedelta(days=days))
    assert _judged(replace(_of(leaf), revocation=word))["certificate-revoked"].verdict is verdict


@pytest.mark.parametrize(
    ("accepted", "verdict"), [(True, Verdict.FAIL), (False, Verdict.PASS), (None, Verdict.UNKNOWN)]
)
@pytest.mark.parametrize("entrance", Entrance)
def test_every_way_in_has_its_rule(entrance: Entrance, accepted: bool | None, verdict: Verdict) -> None:
    facts = EndpointFacts(TARGET, NOW, enforcement=EnforcementFacts(TARGET, NOW, (Entry(entrance, accepted),)))
    (finding,) = _judged(facts).values()
    if entrance is Entrance.GIVEN and accepted is not None:
        verdict = Verdict.PASS if accepted else Verdict.FAIL
    assert finding.verdict is verdict


def test_facts_about_sessions_that_were_not_found_out_are_unknown() -> None:
    facts = EndpointFacts(TARGET, NOW, session=SessionFacts(TARGET, NOW, evidence=(("compression", "timeout"),)))
    found = _judged(facts)
    assert {each.verdict for each in found.values()} == {Verdict.UNKNOWN}
    assert found["session-compression"].evidence == "timeout"


def test_a_ticket_that_lives_too_long() -> None:
    for seconds, verdict in ((604800, Verdict.PASS), (604801, Verdict.FAIL)):
        session = SessionFacts(TARGET, NOW, ticket_lifetime_seconds=seconds)
        found = _judged(EndpointFacts(TARGET, NOW, session=session))
        assert found["session-ticket-life-long"].verdict is verdict


@given(st.lists(st.one_of(st.binary(max_size=200), st.just(LEAF.der)), max_size=6), st.binary(max_size=200))
def test_any_bytes_are_judged_without_an_exception(chain: list[bytes], staple: bytes) -> None:
    seen = CertificateFacts(TARGET, NOW, usable=True, chain=tuple(chain), staple=staple, more_leaves=tuple(chain))
    found = judge(EndpointFacts(TARGET, NOW, certificate=seen), GUIDELINE, now=NOW, stores={"own": [ROOT.certificate]})
    assert len({each.rule for each in found}) == len(found)


@given(st.integers(0, len(LEAF.der) - 1), st.integers(1, 255))
def test_one_wrong_byte_is_judged_without_an_exception(place: int, difference: int) -> None:
    spoilt = bytearray(LEAF.der)
    spoilt[place] ^= difference
    assert judge(_facts(bytes(spoilt)), GUIDELINE, now=NOW, stores={"own": [ROOT.certificate]})
