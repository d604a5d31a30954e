"""Alerts: every condition fires when it should and only then; the life of an alert; what stands beside each alert."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyhop.core.alerts import ALERTS
from everyhop.core.alerts.alert import EVERYTHING, Silence, Trouble
from everyhop.core.alerts.life import REMEMBERED, WORTH_TELLING, cleared, fingerprint, noticed, owes, suppression
from everyhop.core.alerts.promql import span
from everyhop.core.alerts.snapshot import CertificateState, Errors, Excuse, HopState, Refused, Snapshot
from everyhop.core.alerts.state import AlertPhase, AlertState
from everyhop.core.finding import Finding, Severity
from everyhop.core.flow import Flow, FlowClass
from everyhop.core.hop import Posture
from everyhop.core.metrics import METRICS, MetricKind
from everyhop.core.sli import INDICATORS
from everyhop.core.sli.objective import FAST, SLOW
from everyhop.core.verdict import Verdict

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
LIVING: dict[str, Any] = {"detector_last_run": NOW, "observer_last_run": NOW}
WELL = HopState("web -> api", "shop", "critical", Posture.MTLS, Posture.MTLS, 0.9999)


def firing(**facts: Any) -> dict[str, list[str]]:
    """Which alerts see trouble in a snapshot, and about whom."""
    snapshot = Snapshot(NOW, **(LIVING | facts))
    found = {name: [one.subject for one in alert.condition(snapshot)] for name, alert in ALERTS.items()}
    return {name: subjects for name, subjects in found.items() if subjects}


def hop(**fields: Any) -> HopState:
    return replace(WELL, **fields)


def certificate(life: timedelta, left: timedelta, **fields: Any) -> CertificateState:
    return CertificateState("web/identity", "web", "shop", NOW + left - life, NOW + left, **fields)


def test_when_all_is_well_nothing_fires() -> None:
    assert (
        firing(hops=(WELL,), certificates=(certificate(DAY, DAY / 2, renew_at=NOW, served_not_after=NOW + DAY),)) == {}
    )


# --- handshakes -----------------------------------------------------------------------------------------------


def every_window(failures: int, attempts: int) -> dict[timedelta, Errors]:
    return {window: Errors(failures, attempts) for burn in (*FAST, *SLOW) for window in (burn.long, burn.short)}


def test_a_budget_that_burns_fast_burns_slowly_too_but_for_few_failures() -> None:
    assert set(firing(hops=(hop(errors=every_window(10, 1000)),))) == {
        "HopHandshakeBudgetBurnFast",
        "HopHandshakeBudgetBurnSlow",
    }
    assert firing(hops=(hop(errors=every_window(9, 900)),)) == {}
    assert set(firing(hops=(hop(errors=every_window(10, 20_000)),))) == {"HopHandshakeBudgetBurnSlow"}


def test_a_burn_that_is_over_is_none() -> None:
    errors = every_window(100, 1000) | {burn.short: Errors(0, 100) for burn in (*FAST, *SLOW)}
    assert firing(hops=(hop(errors=errors),)) == {}


def test_what_cannot_burn_does_not() -> None:
    assert "HopHandshakeBudgetBurnFast" not in firing(hops=(hop(objective=0.8, errors=every_window(900, 1000)),))


def test_all_handshakes_fail() -> None:
    assert firing(hops=(hop(lately=Errors(3, 3)),)) == {"HopHandshakesAllFail": ["web -> api"]}
    assert firing(hops=(hop(lately=Errors(2, 2)), hop(lately=Errors(30, 31)))) == {}


def test_strangers_at_an_edge_that_is_well_wake_nobody() -> None:
    failing: dict[str, Any] = {"lately": Errors(9, 9), "errors": every_window(90, 100)}
    edge = hop(hop="client -> edge", wanted=Posture.TLS, seen=Posture.TLS, **failing)
    assert set(firing(hops=(edge,))) == {"HopHandshakeBudgetBurnSlow"}, "a ticket, no page"
    for own_handshake_fails in (replace(edge, ok=False), replace(edge, seen=Posture.UNKNOWN)):
        assert set(firing(hops=(own_handshake_fails,))) >= {"HopHandshakesAllFail", "HopHandshakeBudgetBurnFast"}
    assert "HopHandshakesAllFail" in firing(hops=(hop(**failing),)), "callers of ours are no strangers"


def test_postures() -> None:
    assert firing(hops=(hop(seen=Posture.UNKNOWN),)) == {"HopNotSeen": ["web -> api"]}
    assert firing(hops=(hop(seen=Posture.TLS, ok=False),)) == {"HopPostureWrong": ["web -> api"]}
    ended = hop(wanted=Posture.EXEMPT, seen=Posture.EXEMPT, ok=False, note="the exemption ended on 2026-02-28")
    assert firing(hops=(ended,)) == {"HopPostureWrong": ["web -> api"]}
    assert firing(hops=(hop(wanted=Posture.EXEMPT, seen=Posture.EXEMPT),)) == {}


# --- certificates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("life", "left", "expected"),
    [
        (365 * DAY, 40 * DAY, []),
        (365 * DAY, 29 * DAY, ["CertExpiry30d"]),
        (365 * DAY, 13 * DAY, ["CertExpiry30d", "CertExpiry14d"]),
        (90 * DAY, 29 * DAY, []),
        (90 * DAY, 13 * DAY, ["CertExpiry14d"]),
        (30 * DAY, 6 * DAY, ["CertExpiry7d"]),
        (30 * DAY, 20 * HOUR, ["CertExpiry7d", "CertExpiry1d"]),
        (7 * DAY, 20 * HOUR, ["CertExpiry1d"]),
        (DAY, 12 * HOUR, []),
        (DAY, 3 * HOUR, []),
        (DAY, 2 * HOUR, ["CertLifetimeNearlySpent"]),
        (5 * MINUTE, 40 * MINUTE / 60, []),
        (5 * MINUTE, 20 * MINUTE / 60, ["CertLifetimeNearlySpent"]),
        (365 * DAY, -DAY, ["CertExpiry30d", "CertExpiry14d", "CertExpiry7d", "CertExpiry1d"]),
    ],
)
def test_the_ladder_is_for_the_long_lived_and_the_tenth_for_the_short_lived(
    life: timedelta, left: timedelta, expected: list[str]
) -> None:
    assert list(firing(certificates=(certificate(life, left),))) == expected


@pytest.mark.parametrize("life", [2 * MINUTE, DAY, 90 * DAY, 3650 * DAY])
def test_a_renewal_is_overdue_a_tenth_of_a_life_after_it_fell_due(life: timedelta) -> None:
    def overdue(late: float) -> bool:
        one = certificate(life, life / 2, renew_at=NOW - life * late)
        return "CertRenewalOverdue" in firing(certificates=(one,))

    assert (overdue(0.05), overdue(0.09), overdue(0.11)) == (False, False, True)


def test_a_running_rotation_suppresses_what_it_mends() -> None:
    one = certificate(DAY, DAY / 3, renew_at=NOW - DAY / 4, served_not_after=NOW, rotating="the rotation runs")
    snapshot = Snapshot(NOW, certificates=(one,))
    for name in ("CertRenewalOverdue", "CertServedIsNotCertIssued"):
        (trouble,) = ALERTS[name].condition(snapshot)
        assert trouble.suppressed == "the rotation runs"


def test_orders_that_fail_and_what_is_not_served() -> None:
    fine = certificate(DAY, DAY / 2, attempts=2, served_not_after=NOW + DAY / 2)
    assert firing(certificates=(fine,)) == {}
    assert firing(certificates=(replace(fine, attempts=3),)) == {"IssuanceFailing": ["web/identity"]}
    assert set(firing(certificates=(replace(fine, served_not_after=NOW),))) == {"CertServedIsNotCertIssued"}


# --- the rest -------------------------------------------------------------------------------------------------


def test_plaintext() -> None:
    flow = Flow("key", "web", "metrics", "10.0.0.5:9100", FlowClass.PLAINTEXT, NOW, NOW, 1, "shop")
    assert firing(flows=(flow,)) == {"PlaintextFlow": ["key"]}
    for other in ({"encryption": FlowClass.UNKNOWN}, {"last_at": NOW - HOUR}, {"ended_at": NOW}, {"owner": ""}):
        assert firing(flows=(replace(flow, **other),)) == {}
    stale = replace(flow, last_at=NOW - HOUR)
    assert "PlaintextFlow" in firing(flows=(stale,), detector_last_run=NOW - HOUR), "nobody has seen it end"
    (trouble,) = ALERTS["PlaintextFlow"].condition(Snapshot(NOW, flows=(replace(flow, excused="measured"),)))
    assert trouble.suppressed == "an exception: measured"
    assert firing(refused=(Refused("? -> api", "shop", 21), Refused("web -> api", "shop", 20))) == {
        "PlaintextRefusedSurge": ["? -> api"]
    }


def test_who_does_not_look_is_blind() -> None:
    assert firing(detector_last_run=None) == {"FlowDetectorBlind": [EVERYTHING]}
    assert firing(detector_last_run=NOW - 3 * MINUTE) == {}
    assert firing(detector_last_run=NOW - 3 * MINUTE - timedelta(seconds=1)) == {"FlowDetectorBlind": [EVERYTHING]}
    assert firing(detector_fault="/proc/net is not there") == {"FlowDetectorBlind": [EVERYTHING]}
    assert firing(hops=(WELL,), observer_last_run=None) == {"ObserverBlind": [EVERYTHING]}
    assert firing(hops=(WELL,), observer_last_run=NOW - 6 * MINUTE) == {"ObserverBlind": [EVERYTHING]}
    assert firing(hops=(WELL,), observer_last_run=NOW - 29 * MINUTE, heartbeat=10 * MINUTE) == {}
    assert set(firing(hops=(WELL,), observer_last_run=NOW - 31 * MINUTE, heartbeat=10 * MINUTE)) == {"ObserverBlind"}
    assert firing(observer_last_run=None) == {}  # without hops there is nothing to hear
    edge = hop(hop="client -> edge", wanted=Posture.PASSTHROUGH, seen=Posture.PASSTHROUGH)
    assert firing(hops=(edge,), observer_last_run=None) == {}, "where no hop beats nobody has to be heard"


def test_guidelines_exceptions_sources_and_seals() -> None:
    broken = Finding("tls-version-old", Verdict.FAIL, Severity.HIGH, "10.0.0.5:443", "accepts TLS 1.0", owner="shop")
    lesser = replace(broken, severity=Severity.LOW)
    assert firing(findings=(broken, replace(broken, rule="suite-weak"))) == {"PolicyViolated": ["10.0.0.5:443"]}
    assert firing(findings=(lesser, replace(broken, excused="until May"), replace(broken, verdict=Verdict.PASS))) == {}
    ending = Excuse("web -> metrics", "shop", date(2026, 3, 14), "measured")
    assert firing(excuses=(ending,)) == {"ExceptionEnding": ["web -> metrics"]}
    assert firing(excuses=(replace(ending, until=date(2026, 3, 15)),)) == {}
    assert firing(excuses=(replace(ending, until=date(2026, 2, 1)),)) == {"ExceptionEnding": ["web -> metrics"]}
    assert firing(revocation={"ocsp": {"good": 1, "none": 2}, "crl": {"good": 1, "revoked": 1}}) == {
        "RevocationCheckFailing": ["ocsp"]
    }
    assert firing(unsealed_since={"record": NOW - HOUR, "detail": NOW - HOUR / 3}) == {"SealLate": ["record"]}


# --- what stands beside each alert ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_complete(name: str) -> None:
    alert = ALERTS[name]
    assert alert.runbook == f"runbooks/{name}.md"
    assert len(alert.meaning) > 30
    assert alert.sli == "" or alert.sli in INDICATORS
    assert set(alert.inhibited_by) <= set(ALERTS) - {name}
    assert alert.hold == timedelta(0) or span(alert.hold)
    shown = set(re.findall(r"\$labels\.(\w+)", alert.summary))
    assert alert.subject_label in shown | {"", "flow"}


def words(expr: str) -> set[str]:
    return set(re.findall(r"\beveryhop_[a-z0-9_]+", expr))


@pytest.mark.parametrize("expr", [*(one.expr for one in ALERTS.values()), *(one.expr for one in INDICATORS.values())])
def test_expressions_name_only_metrics_and_labels_that_exist(expr: str) -> None:
    known = dict(METRICS)
    known |= {f"{name}_bucket": one for name, one in METRICS.items() if one.kind is MetricKind.HISTOGRAM}
    assert words(expr) <= set(known)
    for name, matchers in re.findall(r"\b(everyhop_[a-z0-9_]+)\{([^}]*)\}", expr):
        assert set(re.findall(r"(\w+)(?:=|!)", matchers)) <= set(known[name].labels)


# --- the life of an alert -------------------------------------------------------------------------------------

ALERT = ALERTS["HopNotSeen"]
TROUBLE = Trouble("web -> api", "shop", "not seen")


def test_from_the_first_sign_to_the_all_clear() -> None:
    first = noticed(ALERT, TROUBLE, None, NOW)
    assert (first.phase, owes(first, "mail", NOW)) == (AlertPhase.PENDING, False)
    assert cleared(first, NOW) is None
    fired = noticed(ALERT, TROUBLE, first, NOW + ALERT.hold)
    assert (fired.phase, fired.fired_at, owes(fired, "mail", NOW)) == (AlertPhase.FIRING, NOW + ALERT.hold, True)
    told = replace(fired, told={"mail": "firing"})
    assert not owes(told, "mail", NOW)
    assert owes(told, "pager", NOW)
    ended = cleared(told, NOW + HOUR)
    assert ended is not None
    assert (ended.phase, owes(ended, "mail", NOW + 30 * DAY)) == (AlertPhase.ENDED, True)
    assert owes(ended, "pager", NOW + 2 * HOUR), "it missed everything, and hears of it once"
    assert not owes(ended, "pager", NOW + HOUR + WORTH_TELLING + MINUTE)
    assert cleared(ended, NOW + HOUR + REMEMBERED) == ended
    assert cleared(ended, NOW + 2 * HOUR + REMEMBERED) is None


def test_who_still_believes_that_it_fires_is_not_told_again() -> None:
    fired = replace(noticed(ALERT, TROUBLE, noticed(ALERT, TROUBLE, None, NOW), NOW + HOUR), told={"mail": "firing"})
    ended = cleared(fired, NOW + HOUR)
    back = noticed(ALERT, TROUBLE, ended, NOW + 2 * HOUR)
    assert back.phase is AlertPhase.PENDING
    passing = cleared(back, NOW + 2 * HOUR)
    assert passing is not None
    assert owes(passing, "mail", NOW), "the all-clear is still owed"
    again = noticed(ALERT, TROUBLE, back, NOW + 3 * HOUR)
    assert (again.phase, again.fired_at, owes(again, "mail", NOW)) == (AlertPhase.FIRING, NOW + 3 * HOUR, False)
    heard = noticed(
        ALERT, TROUBLE, noticed(ALERT, TROUBLE, replace(passing, told={"mail": "ended"}), NOW + DAY), NOW + 2 * DAY
    )
    assert owes(heard, "mail", NOW), "a new trouble is told anew"


def test_suppression_names_its_reason() -> None:
    state = noticed(ALERT, replace(TROUBLE, suppressed="a rotation"), None, NOW)
    silence = Silence("HopNotSeen", "web -> api", "moves", date(2026, 3, 1))
    assert suppression(state, ALERT, {}, [], NOW) == "a rotation"
    assert suppression(state, ALERT, {"ObserverBlind": {EVERYTHING}}, [], NOW) == "ObserverBlind fires"
    assert suppression(state, ALERT, {"HopHandshakesAllFail": {"web -> db"}}, [], NOW) == "a rotation"
    assert suppression(state, ALERT, {}, [silence], NOW) == "silenced until 2026-03-01: moves"
    assert suppression(state, ALERT, {}, [silence], NOW + DAY) == "a rotation"
    assert not owes(replace(state, phase=AlertPhase.FIRING, suppressed="a rotation"), "mail", NOW)


def test_a_fingerprint_is_for_ever() -> None:
    assert fingerprint("HopNotSeen", "web -> api") == "917a00f191a715fe"
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


STEPS = st.lists(st.tuples(st.booleans(), st.integers(-60, 900)), max_size=40)


@given(STEPS, st.booleans())
def test_whatever_happens_everybody_knows_where_it_stands(steps: list[tuple[bool, int]], reliable: bool) -> None:
    """Whoever is told hears firing and ended in turn, and in the end believes what is true."""
    state: AlertState | None = None
    now, heard = NOW, list[str]()
    for number, (true, seconds) in enumerate(steps):
        now += timedelta(seconds=seconds)
        state = noticed(ALERT, TROUBLE, state, now) if true else state and cleared(state, now)
        if state is not None and owes(state, "mail", now) and (reliable or number % 2):
            heard.append(state.phase.value)
            state = replace(state, told={**state.told, "mail": state.phase.value})
    assert all(one != two or one == "ended" for one, two in pairwise(heard))
    if state is not None and state.phase is AlertPhase.FIRING and reliable:
        assert heard[-1] == "firing"
    if state is not None and state.phase is AlertPhase.ENDED and reliable:
        assert heard[-1] == "ended"
