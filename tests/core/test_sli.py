"""Indicators against counted ground truth, windows, objectives and how budgets burn."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyhop.core.flow import Flow, FlowClass
from everyhop.core.hop import End
from everyhop.core.sli import INDICATORS
from everyhop.core.sli.counts import CLIENT, SERVER, SOCKETS, Counts, counts_of, of_one_end, total
from everyhop.core.sli.indicator import Scope
from everyhop.core.sli.m01_tls_usage import tls_usage
from everyhop.core.sli.m02_handshake_success import handshake_success
from everyhop.core.sli.m03_mtls_coverage import mtls_coverage
from everyhop.core.sli.m04_expiry_lead import expiry_lead, least, overdue_at, renewal_slack
from everyhop.core.sli.m05_cipher_strength import cipher_strength, post_quantum, strong
from everyhop.core.sli.m06_handshake_p95 import handshake_p95, quantile
from everyhop.core.sli.m07_resumption import resumption
from everyhop.core.sli.m08_issuance import Orders, issuance
from everyhop.core.sli.m09_revocation import no_revocation, revocation
from everyhop.core.sli.m10_plaintext_flows import FlowCount, count_flows, plaintext_flows
from everyhop.core.sli.objective import (
    FAST,
    OBJECTIVES,
    SLOW,
    budget_left,
    burn_rate,
    burn_rate_possible,
    target,
)
from everyhop.core.sli.window import PERIOD, History
from everyhop.core.tally import Shape, Tally, one
from everyhop.core.topology import Criticality
from everyhop.core.verdict import Verdict

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
AES = "TLS_AES_128_GCM_SHA256"


def scope(objective: float | None = None, window: timedelta = HOUR) -> Scope:
    return Scope("web -> api", NOW, window, objective, "storefront")


def counted(
    result: str,
    count: int,
    *,
    end: End = End.SERVER,
    peer: str = "spiffe://d/e/web",
    group: str = "X25519",
    **more: int,
) -> Counts:
    ok = result == "ok"
    shape = Shape("web -> api", end, "envoy", result, "TLSv1.3" if ok else "", AES if ok else "", group, peer)
    return counts_of(shape, Tally(count, more.get("resumed")))


# --- counting -------------------------------------------------------------------------------------------------


def test_encrypted_connections_of_all_that_carried_data() -> None:
    counts = total(
        [
            counted("ok", 70),
            counted("ok", 20, peer=""),
            counted("plaintext", 50),
            Counts(carried={"plaintext": 4, "unknown": 6}),
        ]
    )
    found = tls_usage(scope(0.95), counts)
    assert (found.good, found.total, found.unknown, found.value) == (90, 100, 6, 0.9)
    assert found.verdict is Verdict.UNKNOWN


def test_an_answer_that_hangs_on_what_is_unknown_is_unknown() -> None:
    nearly = Counts(carried={"mtls": 94, "unknown": 6})
    assert tls_usage(scope(0.95), nearly).verdict is Verdict.UNKNOWN
    assert tls_usage(scope(0.94), nearly).verdict is Verdict.PASS
    assert tls_usage(scope(0.95), Counts(carried={"mtls": 90, "plaintext": 5, "unknown": 5})).verdict is Verdict.UNKNOWN
    assert tls_usage(scope(0.96), Counts(carried={"mtls": 90, "plaintext": 5, "unknown": 5})).verdict is Verdict.FAIL


def test_no_events_have_no_value() -> None:
    for measure in (tls_usage, handshake_success, mtls_coverage, cipher_strength, handshake_p95):
        found = measure(scope(0.9), Counts())
        assert found.value is None
        assert found.verdict is Verdict.UNKNOWN
        assert found.note


def test_handshakes_that_should_succeed() -> None:
    counts = total(
        [
            counted("ok", 9_990),
            counted("verify", 3),
            counted("no_certificate", 2),
            counted("protocol", 5),
            counted("abandoned", 400),
            counted("refused_by_policy", 500),
            counted("plaintext", 700),
        ]
    )
    found = handshake_success(scope(0.999), counts, total([counts, counted("ok", 10_000)]))
    assert (found.good, found.total, found.value, found.verdict) == (9_990, 10_000, 0.999, Verdict.PASS)
    assert found.budget_left == pytest.approx(1 - (10 / 20_000) / 0.001)


def test_both_ends_proved_only_where_the_serving_end_says_so() -> None:
    counts = {
        ("web -> api", SERVER): total([counted("ok", 8), counted("ok", 2, peer="")]),
        ("web -> api", CLIENT): counted("ok", 10, end=End.CLIENT),
        ("web -> api", SOCKETS): Counts(carried={"plaintext": 10}),
    }
    found = mtls_coverage(scope(0.95), of_one_end(counts, "web -> api"))
    assert (found.good, found.total) == (8, 20)
    mute = of_one_end({("web -> api", CLIENT): counted("ok", 10, end=End.CLIENT)}, "web -> api")
    assert mtls_coverage(scope(), mute).good == 0
    assert handshake_success(scope(), mute).value == 1


def test_the_end_that_knows_tells_of_resumption() -> None:
    counts = {
        ("web -> api", SERVER): counted("ok", 100),
        ("web -> api", CLIENT): counted("ok", 90, end=End.CLIENT, resumed=45),
    }
    found = resumption(scope(0.8, timedelta(minutes=5)), of_one_end(counts, "web -> api"))
    assert (found.good, found.total, found.value) == (45, 90, 0.5)
    assert resumption(scope(), Counts(resumed=50, resumption_known=400)).good == 50
    early = resumption(scope(0.8, timedelta(minutes=5)), Counts(resumed=50, resumption_known=40))
    assert early.value == 1, "some of the connections that took a session up have not ended yet"


def test_the_end_that_knows_tells_how_long_handshakes_took() -> None:
    """The serving end of a TCP tunnel has no time for them."""
    calling = Counts(results={"ok": 2}, buckets=(0, 1, 1, *[2] * 7), handshake_us=3_700)
    both = {("web -> api", SERVER): counted("ok", 2), ("web -> api", CLIENT): calling}
    found = of_one_end(both, "web -> api")
    assert (found.ok, found.buckets, found.handshake_us) == (2, calling.buckets, 3_700)
    both["web -> api", SERVER] = Counts(results={"ok": 1}, buckets=(*[0] * 8, 1, 1), handshake_us=100_000)
    assert of_one_end(both, "web -> api").handshake_us == 100_000, "the serving end goes first"


def test_resumption_means_nothing_where_handshakes_are_few() -> None:
    few = resumption(scope(0.8, timedelta(minutes=5)), counted("ok", 30, resumed=3))
    assert (few.value, few.verdict) == (None, Verdict.NOT_APPLICABLE)
    assert resumption(scope(0.8, timedelta(minutes=5)), counted("ok", 31, resumed=31)).value == 1


def test_strength_counts_versions_suites_and_groups() -> None:
    assert strong("TLSv1.3", AES, "X25519MLKEM768")
    assert strong("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", "x25519")
    assert strong("TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "P-256")
    assert strong("TLSv1.2", "AES128-SHA", "P-256") is False
    assert strong("TLSv1.1", "ECDHE-RSA-AES128-SHA", "P-256") is False
    assert strong("TLSv1.3", AES, "ffdhe2048") is False
    assert strong("TLSv1.3", AES, "") is None
    assert (post_quantum("X25519MLKEM768"), post_quantum("X25519")) == (True, False)
    counts = total([counted("ok", 6, group="X25519MLKEM768"), counted("ok", 2), counted("ok", 1, group="")])
    counts.add(Counts(kinds={("TLSv1.0", "AES128-SHA", "P-256"): 1}))
    found = cipher_strength(scope(1.0), counts)
    assert (found.good, found.total, found.unknown, found.note) == (8, 10, 1, "60.0% with a post-quantum group")
    assert found.verdict is Verdict.FAIL


def test_the_95th_percentile_is_that_of_the_times() -> None:
    times = [900] * 94 + [3_000] * 4 + [100_000, 500_000]
    tally = sum((one(time) for time in times), Tally())
    counts = counts_of(Shape("h", End.SERVER, "e", "ok", "TLSv1.3", AES, "X25519", "p"), tally)
    found = handshake_p95(scope(0.01), counts)
    assert found.value is not None
    assert 0.002 <= found.value <= 0.004
    assert found.verdict is Verdict.PASS
    assert counts.handshake_us == sum(times)
    assert quantile(0.999, counts.buckets) == 0.128  # above the last bound it is that bound
    assert quantile(0.95, [0] * 10) is None


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=60))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(times: list[int]) -> None:
    tally = sum((one(time) for time in times), Tally())
    buckets = [*tally.buckets, tally.timed]
    true = sorted(times)[-(-95 * len(times) // 100) - 1]
    bounds = [0, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000]
    found = quantile(0.95, buckets)
    assert found is not None
    upper = next((bound for bound in bounds[1:] if true <= bound), 128_000)
    lower = max((bound for bound in bounds if bound < true), default=0) if true <= 128_000 else 128_000
    assert lower <= round(found * 1e6, 3) <= upper


def test_expiry_is_per_slot_and_the_least_counts() -> None:
    day = timedelta(days=1)
    fresh = expiry_lead(scope(0.1), NOW, NOW + day)
    old = expiry_lead(scope(0.1), NOW - day * 0.95, NOW + day * 0.05)
    assert (fresh.value, fresh.objective, fresh.verdict) == (86_400, 8_640, Verdict.PASS)
    assert old.verdict is Verdict.FAIL
    found = least(Scope("all", NOW, timedelta(0)), [fresh] * 99 + [old])
    assert (found.value, found.verdict) == (old.value, Verdict.FAIL)
    assert least(Scope("all", NOW, timedelta(0)), []).value is None
    slack = renewal_slack(scope(), NOW - timedelta(hours=2), day)
    assert slack.value == timedelta(hours=0.4).total_seconds()
    assert renewal_slack(scope(), NOW - timedelta(hours=3), day).verdict is Verdict.FAIL
    assert overdue_at(NOW, day) == NOW + timedelta(hours=2.4)


def test_orders_are_counted_and_denials_are_no_errors() -> None:
    found = issuance(scope(0.999), Orders(ok=997, failed=3, denied=40))
    assert (found.good, found.total, found.value, found.note) == (997, 1000, 0.997, "40 denied by policy")


def test_revoked_is_an_answer_and_no_source_is_not_applicable() -> None:
    found = revocation(scope(0.999), {"good": 7, "revoked": 1, "unknown": 1, "none": 1})
    assert (found.good, found.total) == (8, 10)
    assert no_revocation(scope()).verdict is Verdict.NOT_APPLICABLE


def flow(
    encryption: FlowClass, *, ago: int = 0, excused: str = "", until: date | None = None, ended: bool = False
) -> Flow:
    at = NOW - timedelta(minutes=ago)
    flow = Flow("k", "web", "metrics", "10.0.0.5:9100", encryption, at, at, 3, "storefront")
    return replace(flow, excused=excused, excused_until=until, ended_at=at if ended else None)


def test_plaintext_flows_of_now_without_an_exception() -> None:
    flows = [
        flow(FlowClass.PLAINTEXT),
        flow(FlowClass.PLAINTEXT, ago=16),
        flow(FlowClass.PLAINTEXT, ended=True),
        flow(FlowClass.PLAINTEXT, excused="measured", until=NOW.date()),
        flow(FlowClass.PLAINTEXT, excused="over", until=date(2026, 2, 28)),
        flow(FlowClass.WITHIN_SERVICE),
        flow(FlowClass.WITHIN_HOST),
        flow(FlowClass.MTLS),
        flow(FlowClass.UNKNOWN),
    ]
    counts = count_flows(flows, NOW)
    assert counts == FlowCount(plaintext=2, excused=1, unknown=1, total=5)
    assert count_flows(flows, NOW + HOUR, looked_at=NOW) == counts, "no flow ends because nobody looks"
    found = plaintext_flows(scope(0), counts, NOW)
    assert (found.value, found.verdict, found.good) == (2, Verdict.FAIL, 1)


def test_no_plaintext_is_good_only_if_somebody_looked() -> None:
    for last, fault in ((None, ""), (NOW - timedelta(seconds=181), ""), (NOW, "/proc/net is not there")):
        blind = plaintext_flows(scope(0), FlowCount(), last, fault)
        assert (blind.value, blind.verdict) == (None, Verdict.UNKNOWN)
        assert fault in blind.note
    assert plaintext_flows(scope(0), FlowCount(), NOW).verdict is Verdict.PASS
    assert plaintext_flows(scope(0), FlowCount(unknown=1, total=1), NOW).verdict is Verdict.UNKNOWN


# --- windows --------------------------------------------------------------------------------------------------


def test_windows_count_what_happened_in_them() -> None:
    history = History()
    for minute in range(10 * 60):
        history.add(NOW - timedelta(minutes=minute, seconds=1), ("h", SERVER), counted("ok", 1))
    sums = {window: history.over(NOW, window)["h", SERVER].ok for window in (5 * HOUR / 60, HOUR, 2 * HOUR, 6 * HOUR)}
    assert list(sums.values()) == [6, 61, 130, 370]  # whole steps, rounded outwards
    assert history.over(NOW, PERIOD)["h", SERVER].ok == 600
    history.forget(NOW)
    assert history.over(NOW, HOUR)["h", SERVER].ok == 61
    history.forget(NOW + timedelta(days=31))
    assert history.over(NOW + timedelta(days=31), PERIOD) == {}


def test_an_hour_that_was_summed_up_is_not_counted_twice() -> None:
    history = History()
    history.add_hour(NOW, ("h", SERVER), counted("ok", 60))
    history.add(NOW - timedelta(seconds=1), ("h", SERVER), counted("ok", 1), hour_too=False)
    assert history.over(NOW, PERIOD)["h", SERVER].ok == 60
    assert history.over(NOW, HOUR)["h", SERVER].ok == 1


# --- objectives and budgets -----------------------------------------------------------------------------------


def test_every_indicator_has_objectives_with_a_reason() -> None:
    assert set(OBJECTIVES) == set(INDICATORS)
    assert all(len(one.reason) > 20 and set(one.targets) == set(Criticality) for one in OBJECTIVES.values())
    assert target("M2", "critical") == 0.9999
    assert target("M2", "critical", {"M2": {Criticality.CRITICAL: 0.99}}) == 0.99
    assert target("M2", "high", {"M2": {Criticality.CRITICAL: 0.99}}) == OBJECTIVES["M2"].target("high")


@pytest.mark.parametrize(
    ("objective", "factor", "possible"),
    [
        (0.9999, 14.4, True),
        (0.999, 14.4, True),
        (0.95, 14.4, True),
        (0.93, 14.4, False),
        (0.8, 14.4, False),
        (0.8, 6, False),
        (0.8, 1, True),
        (1.0, 14.4, False),
    ],
)
def test_a_budget_burns_only_as_fast_as_it_can(objective: float, factor: float, possible: bool) -> None:
    assert burn_rate_possible(objective, factor) is possible


@given(st.floats(0.5, 0.99999), st.floats(1, 20))
def test_feasibility_is_arithmetic(objective: float, factor: float) -> None:
    """An alert is possible exactly if a ratio of failures below 1 crosses its threshold."""
    assert burn_rate_possible(objective, factor) == (factor * (1 - objective) < 1)


def test_every_default_objective_of_handshakes_can_burn_at_every_factor() -> None:
    for goal in OBJECTIVES["M2"].targets.values():
        assert all(burn_rate_possible(goal, burn.factor) for burn in (*FAST, *SLOW))


def test_burn_and_budget() -> None:
    assert burn_rate(144, 100_000, 0.9999) == pytest.approx(14.4)
    assert burn_rate(1, 0, 0.99) is None
    assert burn_rate(1, 10, 1.0) is None
    assert budget_left(5, 100_000, 0.9999) == pytest.approx(0.5)
    assert budget_left(20, 100_000, 0.9999) == pytest.approx(-1)
    spent = sum(burn.factor * burn.long / timedelta(days=30) for burn in FAST[:1])
    assert spent == pytest.approx(0.02)  # 14.4 times, for an hour of thirty days
