"""Alerting: who is told what, once, whatever crashes between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.clock import START, MovedClock
from tests.fakes.crash import Crash, Fuse
from tests.fakes.store import Disk, MemoryStore
from tests.fakes.world import TEXT, topology

from everyhop.core.alerts.snapshot import CertificateState, Errors, HopState, Snapshot
from everyhop.core.alerts.state import AlertPhase, AlertState
from everyhop.core.finding import Finding, Severity
from everyhop.core.flow import Flow, FlowClass
from everyhop.core.hop import Posture
from everyhop.core.observation import Kind, Stream
from everyhop.core.telling import Receiver
from everyhop.core.topology import Topology
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError
from everyhop.ports import Event, Notice
from everyhop.services.alert import ALERTS, Alerter
from everyhop.services.apply import ADDRESSES, DASHBOARD, Remembered

Facts = dict[str, Any]
MINUTE = timedelta(minutes=1)
NOTIFY = """\
notify:
  receivers:
    oncall: {webhook: {url: "https://hooks.example/oncall"}}
    mail: {smtp: {server: "mail.example:587", sender: e@shop.example, to: all@shop.example}}
    shop: {webhook: {url: "https://hooks.example/shop"}}
  page: [oncall, mail]
  ticket: [mail]
"""
WRONG = HopState("web -> db", "data", "high", Posture.MTLS, Posture.TLS, 0.9995, ok=False)
"""A page, after a minute."""


class Mailbox:
    """``ports.Notifier`` that keeps what it is told, or refuses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[Notice] = []
        self.messages = 0
        self.works = True

    async def notify(self, notices: Sequence[Notice]) -> None:
        await asyncio.sleep(0)
        if not self.works:
            raise EveryhopError("notify-failed", "the receiver is away")
        self.messages += 1
        self.heard += notices

    @property
    def told(self) -> list[tuple[str, bool]]:
        return [(one.alert, one.firing) for one in self.heard]


class Scene:
    """What outlives everyhop: the disk, the clock, and those who are told."""

    def __init__(self, text: str = TEXT + NOTIFY) -> None:
        self.disk = Disk()
        self.clock = MovedClock()
        self.topology: Topology = topology(text)
        self.boxes = {name: Mailbox(name) for name in self.topology.notify.receivers}
        self.events: list[Event] = []
        self.restart()

    def restart(self) -> None:
        """A new life on the same disk."""
        self.store = MemoryStore(self.disk)
        self.alerter = Alerter(self.store, self.clock, self.events.append, self._make)

    def _make(self, name: str, receiver: Receiver) -> Mailbox:
        assert receiver == self.topology.notify.receivers[name]
        return self.boxes[name]

    async def look(self, after: timedelta = MINUTE, **facts: Any) -> tuple[AlertState, ...]:
        now = self.clock.move(after)
        given: dict[str, Any] = {"detector_last_run": now, "observer_last_run": now} | facts
        return await self.alerter.tick(Snapshot(now, **given), self.topology, None)

    async def tell(self) -> int:
        return await self.alerter.deliver(self.topology, None)

    async def play(self, after: timedelta = MINUTE, **facts: Any) -> tuple[AlertState, ...]:
        states = await self.look(after, **facts)
        await self.tell()
        return states

    async def lasting(self, minutes: int, **facts: Any) -> AlertState:
        """The one alert that is known once something was true for so long."""
        for _ in range(minutes - 1):
            await self.play(**facts)
        (state,) = await self.play(**facts)
        return state


def test_an_alert_begins_and_ends_and_everybody_hears_both_once() -> None:
    async def play() -> None:
        world = Scene()
        await world.play(hops=(WRONG,))
        assert not world.boxes["oncall"].heard, "it has not held for long enough"
        for _ in range(3):
            await world.play(hops=(WRONG,))
        for _ in range(3):
            await world.play()
        for name in ("oncall", "mail"):
            assert world.boxes[name].told == [("HopPostureWrong", True), ("HopPostureWrong", False)]
        assert not world.boxes["shop"].heard
        first, last = world.boxes["oncall"].heard
        assert (first.owner, first.contact, first.severity) == ("data", "data@shop.example", "critical")
        assert first.fingerprint == last.fingerprint
        assert first.runbook == "everyhop runbook HopPostureWrong", "nobody knows yet where the dashboard is"
        assert last.ended_at is not None
        assert last.began_at == first.began_at == START + 2 * MINUTE
        observed = await world.store.observations(stream=Stream.RECORD, kind=Kind.ALERT)
        assert [one.body["phase"] for one in observed] == ["firing", "ended"]
        assert [event.name for event in world.events] == ["alert.firing", "alert.ended"]

    asyncio.run(play())


FLOW = Flow("f", "web", "db", "127.0.0.1:7002", FlowClass.PLAINTEXT, START, START, 3, "data")
BROKEN = Finding("tls-version-old", Verdict.FAIL, Severity.HIGH, "10.0.0.5:443", "accepts TLS 1.0", owner="data")
UNSEEN = replace(WRONG, seen=Posture.UNKNOWN, seen_at=START)
UNCERTAIN: dict[str, tuple[Facts, Facts, Facts, str]] = {
    "PlaintextFlow": (
        {"flows": (FLOW,), "detector_last_run": START},
        {"flows": (FLOW,), "detector_last_run": START},
        {"flows": (replace(FLOW, ended_at=START),)},
        "nobody has looked at the socket table since 2026",
    ),
    "PlaintextFlow, its port is closed": (
        {"flows": (FLOW,), "detector_last_run": START},
        {"flows": (replace(FLOW, encryption=FlowClass.UNKNOWN, evidence="it was closed"),), "detector_last_run": START},
        {"flows": (replace(FLOW, encryption=FlowClass.TLS),)},
        "; last known: web talks to db at 127.0.0.1:7002 in plaintext",
    ),
    "HopPostureWrong": (
        {"hops": (WRONG,)},
        {"hops": (UNSEEN,)},
        {"hops": (replace(WRONG, seen=Posture.MTLS, ok=True),)},
        "; last known: should be mtls, and is tls",
    ),
    "HopHandshakesAllFail": (
        {"hops": (replace(UNSEEN, lately=Errors(5, 5)),)},
        {"hops": (UNSEEN,)},
        {"hops": (replace(WRONG, seen=Posture.MTLS, ok=True),)},
        "; last known: all of 5 handshakes in ten minutes failed",
    ),
    "PolicyViolated": (
        {"findings": (BROKEN,)},
        {"findings": (replace(BROKEN, verdict=Verdict.UNKNOWN), replace(BROKEN, rule="other", verdict=Verdict.PASS))},
        {"findings": (replace(BROKEN, verdict=Verdict.PASS), replace(BROKEN, rule="x", verdict=Verdict.UNKNOWN))},
        "nobody can tell now: tls-version-old; last known: breaks tls-version-old",
    ),
}
"""What makes an alert fire; what leaves open whether it is over; what shows that it is; and what it says meanwhile."""


@pytest.mark.parametrize("name", UNCERTAIN)
def test_not_knowing_is_no_all_clear(name: str) -> None:
    """An hour of not knowing, across a restart: it goes on, says so, and nobody hears more of it until it is over."""
    true, open_question, over, said = UNCERTAIN[name]
    alert = name.partition(",")[0]

    async def play() -> None:
        world = Scene()

        async def state(facts: Facts, minutes: int) -> AlertState:
            for _ in range(minutes - 1):
                await world.play(**facts)
            return next(one for one in await world.play(**facts) if one.alert == alert)

        assert (await state(true, 8)).phase is AlertPhase.FIRING
        unsure = await state(open_question, 30)
        world.restart()
        assert (await state(open_question, 30)).summary == unsure.summary
        assert unsure.phase is AlertPhase.FIRING
        assert said in unsure.summary
        told = world.boxes["mail"].told
        assert (told.count((alert, True)), told.count((alert, False))) == (1, 0)
        assert (await state(over, 1)).phase is AlertPhase.ENDED
        assert world.boxes["mail"].told.count((alert, False)) == 1

    asyncio.run(play())


def test_what_is_gone_from_the_topology_is_over() -> None:
    async def play() -> None:
        world = Scene()
        for hop in (WRONG, WRONG, UNSEEN):
            await world.play(hops=(hop,))
        states = await world.play(hops=())
        assert [(one.alert, one.phase) for one in states] == [("HopPostureWrong", AlertPhase.ENDED)]

    asyncio.run(play())


def test_an_alert_that_did_not_hold_is_forgotten() -> None:
    async def play() -> None:
        world = Scene()
        await world.play(hops=(WRONG,))
        assert len(await ALERTS.all(world.store)) == 1
        assert await world.play() == ()
        assert not await ALERTS.all(world.store)
        assert not await world.store.observations(stream=Stream.RECORD, kind=Kind.ALERT)

    asyncio.run(play())


def test_killed_between_storing_and_telling_nothing_is_lost_or_doubled() -> None:
    async def play() -> None:
        world = Scene()
        await world.look(hops=(WRONG,))
        await world.look(hops=(WRONG,))
        world.store.crash()
        world.restart()
        await world.play(hops=(WRONG,))
        world.restart()
        await world.play(hops=(WRONG,))
        assert world.boxes["oncall"].told == [("HopPostureWrong", True)]
        await world.look()
        world.restart()
        await world.play()
        assert world.boxes["oncall"].told == [("HopPostureWrong", True), ("HopPostureWrong", False)]

    asyncio.run(play())


def test_killed_between_telling_and_storing_it_comes_twice_with_one_fingerprint() -> None:
    async def play() -> None:
        world = Scene()
        await world.look(hops=(WRONG,))
        await world.look(hops=(WRONG,))
        box, store = world.boxes["oncall"], world.store
        hear = box.notify

        async def heard_and_killed(notices: Sequence[Notice]) -> None:
            await hear(notices)
            store.crash()

        box.notify = heard_and_killed  # pyright: ignore[reportAttributeAccessIssue]  # the crash is the test
        with pytest.raises(EveryhopError, match="open store"):
            await world.tell()
        box.notify = hear  # pyright: ignore[reportAttributeAccessIssue]
        world.restart()
        await world.play(hops=(WRONG,))
        await world.play(hops=(WRONG,))
        assert [one.firing for one in box.heard] == [True, True]
        assert len({(one.fingerprint, one.began_at) for one in box.heard}) == 1

    asyncio.run(play())


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after"])
def test_killed_at_any_call_everybody_hears_the_begin_and_the_end(after: bool) -> None:
    async def life(world: Scene, fuse: Fuse) -> None:
        world.store = fuse.fit(MemoryStore(world.disk))
        boxes = {name: fuse.fit(box) for name, box in world.boxes.items()}
        world.alerter = Alerter(world.store, world.clock, world.events.append, lambda name, _: boxes[name])

    async def play(kill_at: int) -> bool:
        world = Scene()
        fuse = Fuse(kill_at, after)
        await life(world, fuse)
        for moment in range(12):
            try:
                await world.play(hops=(WRONG,) if moment < 6 else ())
            except Crash:
                await life(world, Fuse())
        for name in ("oncall", "mail"):
            told = [firing for _, firing in world.boxes[name].told]
            assert sorted(set(told)) == [False, True], f"killed at {kill_at}: {name} missed something"
            assert told == sorted(told, reverse=True), f"killed at {kill_at}: {name} heard the end before the begin"
            assert len(told) <= 3, f"killed at {kill_at}: {name} heard too often"
            assert len({one.fingerprint for one in world.boxes[name].heard}) == 1
        return fuse.blown

    kill_at = 1
    while asyncio.run(play(kill_at)):
        kill_at += 1
    assert kill_at > 30


def test_a_receiver_that_is_away_hears_later_and_keeps_nobody_waiting() -> None:
    async def play() -> None:
        world = Scene()
        world.boxes["oncall"].works = False
        await world.play(hops=(WRONG,))
        await world.play(hops=(WRONG,))
        assert world.boxes["mail"].told == [("HopPostureWrong", True)]
        assert [event.name for event in world.events].count("notify.failed") == 1
        world.boxes["oncall"].works = True
        await world.play(timedelta(seconds=5), hops=(WRONG,))
        assert not world.boxes["oncall"].heard, "it is not asked again at once"
        await world.play(timedelta(seconds=15), hops=(WRONG,))
        assert world.boxes["oncall"].told == [("HopPostureWrong", True)]

    asyncio.run(play())


def test_one_message_holds_what_one_owner_has_to_hear() -> None:
    async def play() -> None:
        world = Scene()
        hops = tuple(
            replace(WRONG, hop=f"web -> db{n}", owner=owner) for n, owner in enumerate(("data", "data", "shop"))
        )
        await world.play(hops=hops)
        await world.play(hops=hops)
        box = world.boxes["oncall"]
        assert (box.messages, len(box.heard)) == (2, 3)
        assert {one.contact for one in box.heard} == {"data@shop.example", "shop@shop.example"}

    asyncio.run(play())


def test_an_owner_names_receivers_of_its_own() -> None:
    async def play() -> None:
        text = TEXT.replace("{contact: shop@shop.example}", "{contact: shop@shop.example, page: [shop]}")
        world = Scene(text + NOTIFY)
        hops = (replace(WRONG, owner="shop"), replace(WRONG, hop="a -> b"))
        await world.play(hops=hops)
        await world.play(hops=hops)
        assert [one.owner for one in world.boxes["shop"].heard] == ["shop"]
        assert [one.owner for one in world.boxes["oncall"].heard] == ["data"]

    asyncio.run(play())


def overdue(rotating: str) -> CertificateState:
    day = timedelta(days=1)
    return CertificateState("web/identity", "web", "shop", START - day, START + day / 2, START - day, rotating=rotating)


def test_nobody_is_told_during_a_rotation_and_everybody_after_it() -> None:
    async def play() -> None:
        world = Scene()
        state = await world.lasting(8, certificates=(overdue("the rotation of the root is overlapping"),))
        assert (state.phase, state.suppressed) == (AlertPhase.FIRING, "the rotation of the root is overlapping")
        assert not world.boxes["mail"].heard
        await world.play(certificates=(overdue(""),))
        assert world.boxes["mail"].told == [("CertRenewalOverdue", True)]

    asyncio.run(play())


def test_what_ended_while_it_was_suppressed_is_no_news() -> None:
    async def play() -> None:
        world = Scene()
        for _ in range(8):
            await world.play(certificates=(overdue("a rotation"),))
        await world.play()
        await world.play()
        assert not world.boxes["mail"].heard

    asyncio.run(play())


def test_what_says_more_inhibits_and_silences_hold() -> None:
    async def play() -> None:
        silence = "  silences: [{alert: HopNotSeen, about: 'web -> db', reason: moves, until: 2026-03-02}]\n"
        world = Scene(TEXT + NOTIFY + silence)
        unseen = (replace(WRONG, seen=Posture.UNKNOWN), replace(WRONG, hop="edge -> web", seen=Posture.UNKNOWN))
        for _ in range(7):
            await world.play(hops=unseen, observer_last_run=None)
        states = await world.play(hops=unseen, observer_last_run=None)
        suppressed = {(one.alert, one.subject): one.suppressed for one in states}
        assert suppressed == {
            ("ObserverBlind", "everyhop"): "",
            ("HopNotSeen", "web -> db"): "silenced until 2026-03-02: moves",
            ("HopNotSeen", "edge -> web"): "ObserverBlind fires",
        }
        assert world.boxes["mail"].told == [("ObserverBlind", True)]

    asyncio.run(play())


def test_without_receivers_alerts_are_only_shown() -> None:
    async def play() -> None:
        world = Scene(TEXT)
        state = await world.lasting(3, hops=(WRONG,))
        assert state.phase is AlertPhase.FIRING
        assert state.told == {}

    asyncio.run(play())


def test_what_ended_long_ago_is_forgotten() -> None:
    async def play() -> None:
        world = Scene()
        for _ in range(3):
            await world.play(hops=(WRONG,))
        await world.play()
        assert len(await ALERTS.all(world.store)) == 1
        await world.play(timedelta(days=8))
        assert not await ALERTS.all(world.store)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("board", "where"),
    [
        ("{listen: '10.0.0.5:9443'}", "https://10.0.0.5:9443/runbooks/HopPostureWrong.html"),
        ("{listen: '0.0.0.0:9443'}", "https://everyhop.shop.internal:9443/runbooks/HopPostureWrong.html"),
        ("off", "everyhop runbook HopPostureWrong"),
    ],
)
def test_whoever_is_woken_is_told_where_the_runbook_is(board: str, where: str) -> None:
    async def play() -> None:
        world = Scene(f"{TEXT}{NOTIFY}dashboard: {board}\n")
        await world.lasting(4, hops=(WRONG,))
        assert [one.runbook for one in world.boxes["oncall"].heard] == [where]

    asyncio.run(play())


def test_a_dashboard_that_chose_its_port_is_known_too() -> None:
    async def play() -> None:
        world = Scene()
        await ADDRESSES.put(world.store, DASHBOARD, Remembered(DASHBOARD, "127.0.0.1:15791"))
        await world.lasting(4, hops=(WRONG,))
        (heard,) = world.boxes["oncall"].heard
        assert heard.runbook.startswith("https://everyhop.")
        assert heard.runbook.endswith(":15791/runbooks/HopPostureWrong.html")

    asyncio.run(play())
