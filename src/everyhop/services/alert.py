"""Alert: look at the snapshot, remember what is wrong, and tell those whose it is, once.

The story: every alert's condition is asked; what it says moves a state from pending to firing to ended, and what fires
and cannot be told any more goes on firing. The states are stored first, with an observation of each beginning and end
in the same transaction; only then is anybody told, and what was told is stored, too. Killed between the two, the next
life tells what is still owed: nothing is lost, and what comes twice has the same fingerprint. One message holds
everything that one owner has to hear in one way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from everyhop.core.alerts import ALERTS as KNOWN_ALERTS
from everyhop.core.alerts.alert import Silence
from everyhop.core.alerts.life import cleared, doubted, fingerprint, noticed, owes, suppression
from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import AlertPhase, AlertState, Route
from everyhop.core.layout import issuance_policy
from everyhop.core.observation import Kind, Observation, Plain, Source
from everyhop.core.showing import dashboard_url
from everyhop.core.telling import Receiver
from everyhop.core.topology import Topology
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Event, Lease, Notice, Notifier, Reporter, Store
from everyhop.services.apply import DASHBOARD, remembered
from everyhop.services.records import Records

ALERTS = Records("alert", AlertState)
MakeNotifier = Callable[[str, Receiver], Notifier]
"""A notifier for a receiver of the topology, by its name."""

_FIRST_RETRY, _LAST_RETRY = timedelta(seconds=15), timedelta(minutes=5)
_TRIES = 5


@dataclass(slots=True)
class _Pause:
    """A receiver that failed, and when it is asked again."""

    until: datetime
    length: timedelta


def silences_of(topology: Topology) -> tuple[Silence, ...]:
    """What the topology silences."""
    return tuple(Silence(one.alert, one.about or "", one.reason, one.until) for one in topology.notify.silences)


class Alerter:
    """Evaluates alerts and tells people."""

    def __init__(self, store: Store, clock: Clock, report: Reporter, make_notifier: MakeNotifier) -> None:
        """Nothing happens before :meth:`tick`."""
        self._store = store
        self._clock = clock
        self._report = report
        self._make_notifier = make_notifier
        self._notifiers: dict[str, tuple[Receiver, Notifier]] = {}
        self._pauses: dict[str, _Pause] = {}
        self._writing = asyncio.Lock()

    # --- what is wrong --------------------------------------------------------------------------------------------

    async def tick(self, snapshot: Snapshot, topology: Topology, fence: Lease | None) -> tuple[AlertState, ...]:
        """Ask every alert about a snapshot and store what it says; returns every alert that is known now."""
        async with self._writing:
            known = {one.value.fingerprint: one.value for one in await ALERTS.all(self._store)}
            states = _judged(known, snapshot, silences_of(topology))
            turned = [one for key, one in states.items() if _turn(known.get(key), one)]
            changed = {key: one for key, one in states.items() if known.get(key) != one}
            if changed:
                await self._store.observe(
                    [_observed(one, snapshot.at) for one in turned],
                    beside={(ALERTS.kind, key): ALERTS.encode(one) for key, one in changed.items()},
                    fence=fence,
                )
            for key in known.keys() - states.keys():
                await self._store.delete(ALERTS.kind, key, fence=fence)
        for one in turned:
            fields = {"alert": one.alert, "subject": one.subject, "owner": one.owner, "summary": one.summary}
            self._report(Event(f"alert.{one.phase}", snapshot.at, dict(fields)))
        return tuple(states.values())

    # --- who is told ----------------------------------------------------------------------------------------------

    async def deliver(self, topology: Topology, fence: Lease | None) -> int:
        """Tell every receiver what it is owed; how many notices were taken. A receiver that fails is asked again
        later, and keeps nobody else waiting: nothing is raised for it."""
        now = self._clock.now()
        owed: dict[tuple[str, str], list[AlertState]] = {}
        for stored in await ALERTS.all(self._store):
            for name in receivers(topology, stored.value):
                if owes(stored.value, name, now) and not self._paused(name, now):
                    owed.setdefault((name, stored.value.owner), []).append(stored.value)
        sent = await asyncio.gather(*(self._tell(topology, name, states, fence) for (name, _), states in owed.items()))
        return sum(sent)

    async def _tell(self, topology: Topology, name: str, states: Sequence[AlertState], fence: Lease | None) -> int:
        notifier = self._notifier(name, topology.notify.receivers[name])
        contact, pages = _contact(topology, states[0].owner), await self._pages(topology)
        try:
            await notifier.notify([_notice(state, contact, pages) for state in states])
        except EveryhopError as error:
            self._pause(name, error)
            return 0
        self._pauses.pop(name, None)
        for state in states:
            await self._remember(state, name, fence)
        return len(states)

    async def _remember(self, sent: AlertState, receiver: str, fence: Lease | None) -> None:
        """Store that a receiver was told, unless the alert has begun anew meanwhile."""
        for _ in range(_TRIES):
            async with self._writing:
                stored = await ALERTS.get(self._store, sent.fingerprint)
                if stored is None or stored.value.fired_at != sent.fired_at:
                    return
                told = replace(stored.value, told={**stored.value.told, receiver: sent.phase.value})
                try:
                    await ALERTS.put(self._store, sent.fingerprint, told, expect=stored.version, fence=fence)
                    return
                except EveryhopError as error:
                    if error.code.name != "store-conflict":
                        raise

    async def _pages(self, topology: Topology) -> str:
        """Where the dashboard is, which has the runbooks; empty: it is off, or nobody knows yet."""
        board = topology.dashboard
        address = board and (board.listen or (await remembered(self._store)).get(DASHBOARD))
        return dashboard_url(address, issuance_policy(topology).dashboard) if address else ""

    def _notifier(self, name: str, receiver: Receiver) -> Notifier:
        known = self._notifiers.get(name)
        if known is None or known[0] != receiver:
            known = receiver, self._make_notifier(name, receiver)
            self._notifiers[name] = known
        return known[1]

    def _paused(self, name: str, now: datetime) -> bool:
        pause = self._pauses.get(name)
        return pause is not None and pause.until - pause.length <= now < pause.until

    def _pause(self, name: str, error: EveryhopError) -> None:
        before = self._pauses.get(name)
        length = min(before.length * 2, _LAST_RETRY) if before else _FIRST_RETRY
        now = self._clock.now()
        self._pauses[name] = _Pause(now + length, length)
        if before is None:
            self._report(Event("notify.failed", now, {"receiver": name, "why": error.message}))


def receivers(topology: Topology, state: AlertState) -> tuple[str, ...]:
    """Who is told of an alert: whom its owner names, else whom the topology names for everybody."""
    owner = topology.owners.get(state.owner)
    page = state.route is Route.PAGE
    own = (owner.page if page else owner.ticket) if owner else ()
    names = own or (topology.notify.page if page else topology.notify.ticket)
    return tuple(name for name in dict.fromkeys(names) if name in topology.notify.receivers)


def _contact(topology: Topology, owner: str) -> str:
    found = topology.owners.get(owner)
    return found.contact if found else ""


def _judged(known: Mapping[str, AlertState], snapshot: Snapshot, silences: Sequence[Silence]) -> dict[str, AlertState]:
    """Every alert's state now, by fingerprint."""
    states: dict[str, AlertState] = {}
    for alert in KNOWN_ALERTS.values():
        for trouble in alert.condition(snapshot):
            key = fingerprint(alert.name, trouble.subject)
            states[key] = noticed(alert, trouble, known.get(key), snapshot.at)
    for key, before in known.items():
        after = _missed(before, snapshot) if key not in states else None
        if after is not None:
            states[key] = after
    firing: dict[str, set[str]] = {}
    for one in states.values():
        if one.phase is AlertPhase.FIRING:
            firing.setdefault(one.alert, set()).add(one.subject)
    for key, one in states.items():
        alert = KNOWN_ALERTS.get(one.alert)
        if alert is not None and one.phase is not AlertPhase.ENDED:
            states[key] = replace(one, suppressed=suppression(one, alert, firing, silences, snapshot.at))
    return states


def _missed(before: AlertState, snapshot: Snapshot) -> AlertState | None:
    """What becomes of an alert whose condition is not seen to be true: it is over, or nobody can tell."""
    alert = KNOWN_ALERTS.get(before.alert)
    firing = before.phase is AlertPhase.FIRING
    why = alert.doubt(snapshot, before) if alert is not None and firing else ""
    return doubted(before, why) if why else cleared(before, snapshot.at)


def _turn(before: AlertState | None, after: AlertState) -> bool:
    """Whether an alert has begun to fire, or has ended, just now."""
    was = before is not None and before.phase is AlertPhase.FIRING
    return was != (after.phase is AlertPhase.FIRING)


def _observed(state: AlertState, at: datetime) -> Observation:
    firing = state.phase is AlertPhase.FIRING
    body: dict[str, Plain] = {
        "alert": state.alert,
        "phase": state.phase.value,
        "fingerprint": state.fingerprint,
        "owner": state.owner,
        "severity": state.severity.value,
        "route": state.route.value,
        "summary": state.summary[:300],
        "suppressed": state.suppressed[:300],
    }
    verdict = Verdict.FAIL if firing else Verdict.PASS
    return Observation(at, Kind.ALERT, Source.RULES, state.subject, f"alert {state.alert}", verdict, body)


def _where(runbook: str, pages: str) -> str:
    """Where somebody who was woken finds a runbook: a page to click on, else the command that shows it."""
    name = runbook.rpartition("/")[2].removesuffix(".md")
    return f"{pages}runbooks/{name}.html" if pages else f"everyhop runbook {name}"


def _notice(state: AlertState, contact: str, pages: str) -> Notice:
    return Notice(
        fingerprint=state.fingerprint,
        alert=state.alert,
        firing=state.phase is AlertPhase.FIRING,
        severity=state.severity.value,
        owner=state.owner,
        contact=contact,
        summary=f"{state.subject}: {state.summary}",
        labels={**state.labels, "alertname": state.alert, "route": state.route.value},
        runbook=_where(state.runbook, pages),
        began_at=state.fired_at or state.since,
        ended_at=state.ended_at if state.phase is AlertPhase.ENDED else None,
    )
