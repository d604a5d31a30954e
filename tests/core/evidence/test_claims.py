"""What follows from observations, and what does not: an unknown stays unknown, and a failure is not outvoted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from everyhop.core import tally
from everyhop.core.evidence.claims import Claims, Declared, DeclaredException, DeclaredHop, Period
from everyhop.core.evidence.pack import claims_of
from everyhop.core.hop import End
from everyhop.core.observation import Kind, Observation, Plain, Source, Stream
from everyhop.core.tally import Shape, Tally
from everyhop.core.verdict import Verdict

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
PERIOD = Period(BEGIN, BEGIN + 2 * HOUR)
WEB, DB = "spiffe://shop.internal/test/web", "spiffe://shop.internal/test/db"
HOP = DeclaredHop("web -> db", "mtls", "data", "high", "127.0.0.1:9002", WEB, DB)
DECLARED = Declared("shop.internal", "test", "", BEGIN, 86_400, (), (HOP,))
SERVED = Shape("web -> db", End.SERVER, "envoy of db", "ok", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", WEB)
CALLED = replace(SERVED, end=End.CLIENT, by="envoy of web", peer=DB)


def derived(*observations: Observation, declared: Declared = DECLARED) -> Claims:
    """The claims of observations, numbered as they come."""
    numbered = [replace(one, sequence=number) for number, one in enumerate(observations, 1)]
    return claims_of(numbered, declared, PERIOD)


def answer(claims: Claims, code: str) -> Verdict:
    return next(one.verdict for one in claims.checklist if one.code == code)


def minute(shape: Shape, count: int = 1, at: datetime = BEGIN + MINUTE) -> Observation:
    return tally.observed(shape, Tally(count), at)


def fact(kind: Kind, subject: str, verdict: Verdict = Verdict.PASS, **body: Plain) -> Observation:
    return Observation(BEGIN + MINUTE, kind, Source.RULES, subject, "test", verdict, body)


def watched(hours: int = 2, value: float | None = 0.0) -> list[Observation]:
    """What everyhop says of itself in each hour that it lives: M10 among the indicators."""
    sign = fact(Kind.INDICATOR, "all", sli="M10", name="plaintext flows", value=value, objective=0.0)
    return [replace(sign, at=sign.at + number * HOUR) for number in range(hours)]


def test_nothing_seen_passes_nothing() -> None:
    claims = derived()
    assert {one.verdict for one in claims.checklist} <= {Verdict.UNKNOWN, Verdict.NOT_APPLICABLE}
    assert [hop.verdict for hop in claims.hops] == [Verdict.UNKNOWN]
    assert claims.hops[0].unknown_hours == 2


def test_a_hop_passes_when_both_ends_saw_it_as_it_should_be() -> None:
    claims = derived(minute(SERVED, 3), minute(CALLED, 3))
    assert claims.hops[0].verdict is Verdict.PASS
    assert claims.hops[0].unknown_hours == 1
    assert answer(claims, "both-ends") is answer(claims, "identities") is Verdict.PASS
    assert answer(claims, "observed-throughout") is Verdict.UNKNOWN


def test_one_connection_without_tls_fails_a_thousand_with() -> None:
    claims = derived(minute(SERVED, 1000), minute(replace(SERVED, version="", cipher="", group="")))
    assert claims.hops[0].verdict is Verdict.FAIL
    assert answer(claims, "hops-encrypted") is answer(claims, "plaintext-accepted") is Verdict.FAIL


def test_another_peer_fails_the_hop() -> None:
    claims = derived(minute(SERVED), minute(replace(SERVED, peer="spiffe://shop.internal/test/other")))
    assert claims.hops[0].verdict is answer(claims, "identities") is Verdict.FAIL


def test_one_end_alone_is_not_both() -> None:
    assert answer(derived(minute(SERVED)), "both-ends") is Verdict.UNKNOWN


def test_old_versions_and_weak_suites_fail() -> None:
    old = minute(replace(SERVED, version="TLSv1.1", cipher="AES128-SHA", group="P-256"))
    claims = derived(minute(SERVED, 99), old)
    for code in ("tls-versions", "cipher-suites", "post-quantum"):
        assert answer(claims, code) is Verdict.FAIL


def test_what_lies_outside_of_the_period_is_not_counted() -> None:
    before, after = minute(SERVED, 5, at=BEGIN), minute(SERVED, 7, at=BEGIN + 2 * HOUR + MINUTE)
    claims = derived(before, minute(SERVED, 2), after)
    assert [end.connections for end in claims.hops[0].ends] == [2]


def test_a_minute_that_an_hour_has_summed_up_counts_once() -> None:
    minutes = [minute(SERVED, 2, at=BEGIN + number * MINUTE) for number in (1, 2)]
    hours = tally.hours(minutes, BEGIN + HOUR)
    late = minute(SERVED, 4, at=BEGIN + HOUR + MINUTE)
    claims = derived(*minutes, *hours, late)
    assert [end.connections for end in claims.hops[0].ends] == [8]


def test_enforcement_is_unknown_until_somebody_was_refused() -> None:
    assert answer(derived(minute(SERVED)), "mtls-enforced") is Verdict.UNKNOWN
    refused = Shape("? -> db", End.SERVER, "envoy of db", "no_certificate", reason="no-certificate")
    assert answer(derived(minute(SERVED), minute(refused)), "mtls-enforced") is Verdict.PASS
    tried = fact(Kind.FINDING, "db (127.0.0.1:9002)", rule="client-certificate-optional")
    assert answer(derived(tried), "mtls-enforced") is Verdict.PASS
    let_in = replace(tried, verdict=Verdict.FAIL)
    assert answer(derived(minute(refused), let_in), "mtls-enforced") is Verdict.FAIL


def test_a_blind_detector_vouches_for_nothing() -> None:
    flow = replace(fact(Kind.FLOW, "f", encryption="mtls"), source=Source.SOCKETS)
    blind = replace(fact(Kind.BLIND, "flows", Verdict.UNKNOWN, since="a", reason="r"), source=Source.SOCKETS)
    seen = derived(flow, *watched())
    assert answer(seen, "detector-alive") is answer(seen, "plaintext-flows") is Verdict.PASS
    assert answer(derived(flow, blind, *watched()), "detector-alive") is Verdict.FAIL


def test_that_nothing_happened_passes_only_if_somebody_watched_all_the_time() -> None:
    flow = replace(fact(Kind.FLOW, "f", encryption="mtls"), source=Source.SOCKETS)
    half = derived(flow, minute(SERVED), *watched(1))
    for code in ("plaintext-accepted", "plaintext-flows", "detector-alive", "alerts-firing", "objectives-met"):
        (found,) = [one for one in half.checklist if one.code == code]
        assert found.verdict is Verdict.UNKNOWN, code
        assert "in 1 of 2 hours" in found.statement, code
    full = derived(flow, minute(SERVED), minute(SERVED, at=BEGIN + HOUR + MINUTE), *watched())
    for code in ("plaintext-accepted", "plaintext-flows", "detector-alive", "alerts-firing", "objectives-met"):
        assert answer(full, code) is Verdict.PASS, code
    blind = derived(flow, *watched(2, value=None))
    assert answer(blind, "detector-alive") is answer(blind, "plaintext-flows") is Verdict.UNKNOWN


def test_a_plaintext_flow_fails_although_it_has_ended_unless_it_is_excused() -> None:
    open_one = fact(Kind.FLOW, "f", Verdict.FAIL, encryption="plaintext", caller="web", callee="db")
    ended = replace(open_one, at=BEGIN + 2 * MINUTE, body={**open_one.body, "change": "ended"})
    claims = derived(open_one, ended)
    assert (claims.flows[0].encryption, claims.flows[0].now) == ("plaintext", "ended")
    assert answer(claims, "plaintext-flows") is Verdict.FAIL
    excused = replace(open_one, body={**open_one.body, "excused": "a reason"})
    assert answer(derived(excused, *watched()), "plaintext-flows") is Verdict.PASS


def test_an_exception_that_ended_fails() -> None:
    exempt = replace(DECLARED, hops=(replace(HOP, wanted="exempt"),))
    running = replace(exempt, exceptions=(DeclaredException("web -> db", "old", "data", date(2026, 4, 1)),))
    ended = replace(exempt, exceptions=(DeclaredException("web -> db", "old", "data", date(2026, 2, 1)),))
    seen = minute(replace(SERVED, version="", cipher="", group=""))
    assert answer(derived(seen, declared=running), "exceptions-owned") is Verdict.PASS
    assert derived(seen, declared=running).hops[0].verdict is Verdict.NOT_APPLICABLE
    assert answer(derived(seen, declared=ended), "exceptions-owned") is Verdict.FAIL
    assert derived(seen, declared=ended).hops[0].verdict is Verdict.FAIL


def test_an_open_finding_and_a_firing_alert_fail() -> None:
    finding = fact(Kind.FINDING, "x", Verdict.FAIL, rule="r", severity="high")
    mended = replace(finding, at=BEGIN + 2 * MINUTE, verdict=Verdict.PASS)
    assert answer(derived(finding), "findings-open") is Verdict.FAIL
    assert answer(derived(finding, mended), "findings-open") is Verdict.PASS
    alert = fact(Kind.ALERT, "x", Verdict.FAIL, alert="A")
    assert answer(derived(alert), "alerts-firing") is Verdict.FAIL
    over = replace(alert, at=BEGIN + HOUR, verdict=Verdict.PASS)
    assert answer(derived(alert, over, *watched()), "alerts-firing") is Verdict.PASS


plain = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=8))
anything = st.builds(
    Observation,
    st.datetimes(datetime(2026, 3, 1, 11), datetime(2026, 3, 1, 15), timezones=st.just(UTC)),
    st.sampled_from([kind for kind in Kind if kind not in (Kind.HOUR, Kind.CONNECTIONS)]),
    st.sampled_from(Source),
    st.sampled_from(["web -> db", "? -> db", "db/identity", "x"]),
    st.just("test"),
    st.sampled_from(Verdict),
    st.dictionaries(
        st.sampled_from(["event", "not_after", "serial", "profile", "encryption", "rule", "sli", "value", "objective"]),
        plain,
        max_size=5,
    ),
    st.sampled_from(Stream),
)


@given(st.lists(anything, max_size=12))
def test_whatever_was_observed_gives_claims_that_cite_it(observations: list[Observation]) -> None:
    """Bodies of any shape, so that an old or strange one never keeps a report from being made."""
    claims = derived(*observations)
    for one in claims.checklist:
        assert one.cites or one.verdict in (Verdict.UNKNOWN, Verdict.NOT_APPLICABLE)
    assert claims == derived(*observations)
