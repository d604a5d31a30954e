"""The life of an alert: what becomes of it when its condition holds, clears or returns; and who is still to be told.

Rules: pure; the state table in ``state`` decides. Whoever was told that it fires is told that it ended. Whoever still
believes that it fires is not told again when it returns. An alert that never held long enough is forgotten. One that
fires ends only when it is known to be over: while that cannot be told, it goes on and says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from everyhop.core.alerts.alert import EVERYTHING, Alert, Silence, Trouble
from everyhop.core.alerts.state import ALERT, AlertEvent, AlertPhase, AlertState

REMEMBERED = timedelta(days=7)
"""How long an alert that ended stays listed."""
WORTH_TELLING = timedelta(days=1)
"""A receiver that missed a whole alert is told of it for so long; older news are none."""

_LAST_KNOWN = "; last known: "


def fingerprint(alert: str, subject: str) -> str:
    """The same for the same trouble, for ever: made of the alert's name and what it is about."""
    return hashlib.sha256(f"{alert}\0{subject}".encode()).hexdigest()[:16]


def noticed(alert: Alert, trouble: Trouble, known: AlertState | None, now: datetime) -> AlertState:
    """The state of an alert whose condition is true now."""
    state = known or _first(alert, trouble, now)
    if state.phase is AlertPhase.ENDED:
        state = replace(state, phase=ALERT.after(state.phase, AlertEvent.RETURNED), since=now)
    if state.phase is AlertPhase.PENDING and now - state.since >= alert.hold:
        believing = {name: phase for name, phase in state.told.items() if phase == AlertPhase.FIRING}
        phase = ALERT.after(state.phase, AlertEvent.HELD)
        state = replace(state, phase=phase, fired_at=now, ended_at=None, told=believing)
    return replace(
        state,
        severity=alert.severity,
        route=alert.route,
        owner=trouble.owner,
        summary=trouble.summary,
        suppressed=trouble.suppressed,
        rests_on=trouble.rests_on,
    )


def doubted(state: AlertState, why: str) -> AlertState:
    """The state of an alert that fires and of which nobody can tell now whether it is over."""
    known = state.summary.rpartition(_LAST_KNOWN)[2]
    return replace(state, summary=f"{why}{_LAST_KNOWN}{known}")


def cleared(state: AlertState, now: datetime) -> AlertState | None:
    """The state of an alert whose condition is not true any more; None: it is forgotten."""
    if state.phase is AlertPhase.ENDED:
        return None if state.ended_at is None or now - state.ended_at > REMEMBERED else state
    if state.fired_at is None:
        return None
    ended_at = now if state.phase is AlertPhase.FIRING else state.ended_at
    return replace(state, phase=ALERT.after(state.phase, AlertEvent.CLEARED), ended_at=ended_at)


def suppression(
    state: AlertState, alert: Alert, firing: Mapping[str, set[str]], silences: Iterable[Silence], now: datetime
) -> str:
    """Why nobody is told of an alert, or nothing. ``firing`` are the subjects of the alerts that fire, by name."""
    silence = next((one for one in silences if one.covers(alert.name, state.subject, now.date())), None)
    if silence is not None:
        return f"silenced until {silence.until}: {silence.reason}"
    for name in alert.inhibited_by:
        if firing.get(name, set()) & {state.subject, EVERYTHING}:
            return f"{name} fires"
    return state.suppressed


def owes(state: AlertState, receiver: str, now: datetime) -> bool:
    """Whether a receiver has still to be told where an alert stands."""
    told = state.told.get(receiver)
    if state.phase is AlertPhase.FIRING:
        return told != AlertPhase.FIRING and not state.suppressed
    if state.phase is not AlertPhase.ENDED or state.fired_at is None or told == AlertPhase.ENDED:
        return False
    fresh = state.ended_at is not None and now - state.ended_at <= WORTH_TELLING
    return told == AlertPhase.FIRING or (fresh and not state.suppressed)


def _first(alert: Alert, trouble: Trouble, now: datetime) -> AlertState:
    subject = {alert.subject_label: trouble.subject} if alert.subject_label else {}
    return AlertState(
        fingerprint=fingerprint(alert.name, trouble.subject),
        alert=alert.name,
        phase=AlertPhase.PENDING,
        severity=alert.severity,
        route=alert.route,
        owner=trouble.owner,
        subject=trouble.subject,
        summary=trouble.summary,
        runbook=alert.runbook,
        since=now,
        labels=subject | ({"sli": alert.sli} if alert.sli else {}),
    )
