"""What a topology asks for is sent at its pace, and a collector's troubles are told once and hurt nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import pytest
from tests.fakes.store import MemoryStore
from tests.fakes.world import TEXT, World, start, topology
from tests.services.test_trace import Taken

from everyhop.core.sending import Otlp
from everyhop.errors import EveryhopError
from everyhop.ports import Telemetry
from everyhop.services.apply import apply
from everyhop.services.chronicle import Chronicler
from everyhop.services.forward import Forwarder
from everyhop.services.inventory import status
from everyhop.services.measure import Meter

ASKED = topology(f"{TEXT}telemetry: {{otlp: {{endpoint: 'http://127.0.0.1:4318', every: 30s}}}}\n")
TRACES_ONLY = topology(f"{TEXT}telemetry: {{otlp: {{endpoint: 'http://127.0.0.1:4318', signals: [traces]}}}}\n")


class Play:
    """A small world that is measured, and what forwards it."""

    def __init__(self) -> None:
        self.world = World()
        self.store = MemoryStore(self.world.disk)
        self.taken = Taken()
        self.made: list[tuple[Otlp, Mapping[str, str]]] = []
        self.meter = Meter(self.store, self.world.clock)
        clock, report = self.world.clock, self.world.events.append
        self.forwarder = Forwarder(self.store, clock, report, self.meter, self.make, instance="here")

    def make(self, otlp: Otlp, about: Mapping[str, str]) -> Telemetry:
        self.made.append((otlp, about))
        return self.taken

    async def measure(self) -> None:
        await start(self.world)
        await apply(self.store, TEXT, file="f", file_dir="/", actor="t", now=self.world.clock.now())
        await Chronicler(self.store).tick(None)
        await self.again(timedelta(0))

    async def again(self, after: timedelta) -> None:
        now = self.world.clock.move(after)
        await self.meter.tick(await status(self.store, "/data", now), ASKED, None)
        await self.forwarder.tick(ASKED, None)

    def told(self) -> list[str]:
        events = [one for one in self.world.events if one.name in ("fault", "telemetry.recovered")]
        return [str(one.fields.get("why", one.fields.get("signal"))) for one in events]


def test_nothing_is_sent_unless_it_is_asked_for() -> None:
    async def story() -> None:
        play = Play()
        await play.world.life().begin()
        await play.forwarder.tick(topology(), None)
        assert not play.made

    asyncio.run(story())


def test_metrics_and_traces_go_at_the_pace_that_is_asked_for() -> None:
    async def story() -> None:
        play = Play()
        await play.measure()
        for _ in range(5):
            await play.again(timedelta(seconds=15))
        assert [at for _, _, at in play.taken.measured] == [
            play.world.clock.now() - timedelta(seconds=15 * back) for back in (5, 3, 1)
        ]
        samples, began_at, at = play.taken.measured[-1]
        assert samples
        assert began_at < at
        assert play.taken.names()["renewal"] == 4
        ((_, about),) = play.made
        assert about == {
            "service.name": "everyhop",
            "service.instance.id": "here",
            "deployment.environment.name": "test",
            "everyhop.trust_domain": "shop.internal",
        }
        await play.forwarder.tick(topology(), None)
        await play.again(timedelta(minutes=1))
        assert len(play.made) == 2, "it began anew after it was taken out of the topology"
        assert not play.told()

    asyncio.run(story())


def test_a_collector_that_is_down_is_told_of_once_and_once_when_it_is_back() -> None:
    async def story() -> None:
        play = Play()
        play.taken.down = True
        await play.measure()
        for _ in range(6):
            await play.again(timedelta(seconds=30))
        assert play.told() == ["down", "down"], "one for metrics, one for traces"
        play.taken.down = False
        await play.again(timedelta(seconds=30))
        assert play.told()[2:] == ["metrics", "traces"]
        assert len(play.taken.measured) == 1
        assert play.taken.names()["renewal"] == 4

    asyncio.run(story())


def test_only_the_signals_that_are_asked_for_are_sent() -> None:
    async def story() -> None:
        play = Play()
        await play.measure()
        play.taken.measured.clear()
        play.world.clock.move(timedelta(minutes=1))
        await play.forwarder.tick(TRACES_ONLY, None)
        assert not play.taken.measured

    asyncio.run(story())


def test_a_missing_extra_is_told_like_any_fault_and_a_fence_ends_the_work() -> None:
    async def story() -> None:
        play = Play()

        def missing(otlp: Otlp, about: Mapping[str, str]) -> Telemetry:
            raise EveryhopError("telemetry-failed", "no extra", hint="pip install 'everyhop[otlp]'")

        play.forwarder = Forwarder(
            play.store, play.world.clock, play.world.events.append, play.meter, missing, instance="here"
        )
        await play.measure()
        assert play.told() == ["no extra (hint: pip install 'everyhop[otlp]')"] * 2
        old = await play.store.acquire("control", "old", timedelta(seconds=1), play.world.clock.now())
        play.world.clock.move(timedelta(minutes=1))
        await play.store.acquire("control", "new", timedelta(seconds=1), play.world.clock.now())
        fenced = Forwarder(
            play.store, play.world.clock, play.world.events.append, play.meter, play.make, instance="here"
        )
        with pytest.raises(EveryhopError) as refused:
            await fenced.tick(TRACES_ONLY, old)
        assert refused.value.code.name == "store-fenced"

    asyncio.run(story())
