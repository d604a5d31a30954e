"""Processes are kept: started in order, adopted, replaced, restarted with pauses, and nobody else's is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.fakes.clock import MovedClock
from tests.fakes.runner import FakeRunner
from tests.fakes.store import MemoryStore

from everyhop.errors import EveryhopError
from everyhop.ports import Document, Event, Json, Lease, ProcessSpec, RunningProcess
from everyhop.services.supervise import PROCESSES, Backoff, ProcessState, Supervisor, Wanted

WEB, DB = ProcessSpec("web", ("web",)), ProcessSpec("db", ("db",))
TIMEOUT = timedelta(seconds=30)


class Stage:
    """A supervisor on fakes; ``up`` tells which processes do their work."""

    def __init__(self, runner: FakeRunner | None = None, store: MemoryStore | None = None) -> None:
        self.clock = MovedClock()
        self.runner = runner or FakeRunner()
        self.store = store or MemoryStore()
        self.events: list[Event] = []
        self.up: set[str] = {"web", "db"}
        self.supervisor = Supervisor(
            self.runner, self.store, self.clock, self.clock.sleep, self.events.append, Backoff(1.0, 30.0, 60.0)
        )

    def wanted(self, *specs: ProcessSpec) -> list[Wanted]:
        def asker(name: str) -> Callable[[], Awaitable[bool]]:
            async def is_up() -> bool:
                return name in self.up

            return is_up

        return [Wanted(spec, asker(spec.name), TIMEOUT) for spec in specs]

    async def ensure(self, *specs: ProcessSpec) -> None:
        task = asyncio.create_task(self.supervisor.ensure(self.wanted(*specs)))
        await self.clock.until(task.done)
        await task

    def names(self, event: str) -> list[str]:
        return [str(one.fields["name"]) for one in self.events if one.name == event]

    @property
    def started(self) -> list[str]:
        return [one.name for one in self.runner.started]

    async def state(self, name: str) -> ProcessState:
        found = await PROCESSES.get(self.store, name)
        assert found is not None
        return found.value


def test_processes_start_one_after_the_other_each_when_the_one_before_is_up() -> None:
    async def play() -> None:
        stage = Stage()
        stage.up = set()
        task = asyncio.create_task(stage.supervisor.ensure(stage.wanted(DB, WEB)))
        await stage.clock.pass_by(timedelta(seconds=5))
        assert stage.started == ["db"]
        stage.up = {"db"}
        await stage.clock.pass_by(timedelta(seconds=1))
        assert stage.started == ["db", "web"]
        stage.up = {"db", "web"}
        await stage.clock.until(task.done)
        assert stage.names("process.up") == ["db", "web"]
        assert (await stage.state("web")).state == "up"
        assert stage.supervisor.pid("db") == (await stage.state("db")).pid

    asyncio.run(play())


def test_one_that_is_late_is_told_and_does_not_hold_up_the_others() -> None:
    async def play() -> None:
        stage = Stage()
        stage.up = {"web"}
        begun = stage.clock.now()
        await stage.ensure(DB, WEB)
        assert stage.names("process.late") == ["db"]
        assert stage.clock.now() - begun >= TIMEOUT
        assert (await stage.state("web")).state == "up"
        stage.up = {"web", "db"}
        await stage.clock.pass_by(timedelta(seconds=1))
        assert (await stage.state("db")).state == "up"

    asyncio.run(play())


def test_one_that_ends_is_started_again_with_growing_pauses() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.ensure(WEB)
        pauses: list[float] = []
        for count in range(2, 9):
            ended = stage.clock.now()
            stage.runner.end("web", 3)
            await stage.clock.until(lambda count=count: len(stage.started) == count)
            pauses.append((stage.clock.now() - ended).total_seconds())
        assert pauses == [1, 2, 4, 8, 16, 30, 30]
        died = [one.fields["why"] for one in stage.events if one.name == "process.died"]
        assert set(died) == {"it ended with status 3"}
        await stage.clock.until(lambda: stage.names("process.up") == ["web"] * 8)
        assert (await stage.state("web")).restarts == 7

    asyncio.run(play())


def test_who_ran_steadily_begins_with_a_short_pause_again() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.ensure(WEB)
        for count in range(2, 6):
            stage.runner.end("web")
            await stage.clock.until(lambda count=count: len(stage.started) == count)
        await stage.clock.pass_by(timedelta(seconds=61))
        ended = stage.clock.now()
        stage.runner.end("web")
        await stage.clock.until(lambda: len(stage.started) == 6)
        assert (stage.clock.now() - ended).total_seconds() == 1

    asyncio.run(play())


def test_one_that_cannot_be_started_is_reported_and_tried_again() -> None:
    async def play() -> None:
        stage = Stage(FakeRunner(cannot_run=["web"]))
        await stage.ensure(DB, WEB)
        assert stage.names("process.failed")[:2] == ["web", "web"]
        assert (await stage.state("web")).state == "waiting"
        assert stage.supervisor.pid("web") is None
        stage.runner.cannot_run.clear()
        await stage.clock.until(lambda: "web" in stage.names("process.up"))

    asyncio.run(play())


def test_what_an_earlier_life_left_is_adopted_if_it_is_the_same() -> None:
    async def play() -> None:
        stage = Stage()
        left = stage.runner.adopt(WEB)
        await stage.ensure(WEB)
        assert stage.started == []
        assert stage.supervisor.pid("web") == left.pid
        assert (await stage.state("web")).detail == "adopted"
        stage.runner.end("web")
        await stage.clock.until(lambda: stage.started == ["web"])

    asyncio.run(play())


def test_the_pid_of_who_was_left_running_is_known_before_its_turn_comes() -> None:
    """Its proxy reconnects at once and must get its secrets, though others are still being started."""

    async def play() -> None:
        stage = Stage()
        left = stage.runner.adopt(WEB)
        stage.up = set()
        task = asyncio.create_task(stage.supervisor.ensure(stage.wanted(DB, WEB)))
        await stage.clock.pass_by(timedelta(seconds=1))
        assert stage.supervisor.pid("web") == left.pid
        task.cancel()

    asyncio.run(play())


def test_what_an_earlier_life_left_is_replaced_if_it_is_another() -> None:
    async def play() -> None:
        stage = Stage()
        stage.runner.adopt(replace(WEB, command=("web", "--old")))
        await stage.ensure(WEB)
        assert stage.runner.stopped == ["web"]
        assert stage.started == ["web"]

    asyncio.run(play())


def test_a_changed_specification_replaces_and_the_same_one_does_nothing() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.ensure(DB, WEB)
        await stage.ensure(DB, WEB)
        assert stage.started == ["db", "web"]
        changed = replace(WEB, environment={"MODE": "new"})
        await stage.ensure(DB, changed)
        assert stage.runner.stopped == ["web"]
        assert stage.started == ["db", "web", "web"]
        assert [one.digest for one in await stage.runner.running() if one.name == "web"] == [changed.digest()]

    asyncio.run(play())


def test_what_is_not_planned_any_more_is_ended_and_forgotten() -> None:
    async def play() -> None:
        stage = Stage()
        stage.runner.adopt(ProcessSpec("old", ("old",)))
        await stage.ensure(DB, WEB)
        assert stage.runner.stopped == ["old"]
        await stage.ensure(DB)
        assert set(stage.runner.stopped) == {"old", "web"}
        assert [one.name for one in await stage.runner.running()] == ["db"]
        assert [one.value.name for one in await PROCESSES.all(stage.store)] == ["db"]
        await stage.clock.pass_by(timedelta(minutes=5))
        assert stage.started == ["db", "web"], "it was started again"

    asyncio.run(play())


def test_the_end_comes_in_the_opposite_order_and_is_final() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.ensure(DB, WEB)
        await stage.supervisor.stop_all()
        assert stage.runner.stopped == ["web", "db"]
        assert (await stage.state("db")).state == "stopped"
        await asyncio.sleep(0)
        assert await stage.runner.running() == []

    asyncio.run(play())


def test_one_that_will_not_end_does_not_keep_the_others() -> None:
    class Stubborn(FakeRunner):
        async def stop(self, process: RunningProcess, *, grace: float = 10.0) -> None:
            if process.name == "web":
                raise EveryhopError("process-failed", "it does not end")
            await super().stop(process, grace=grace)

    async def play() -> None:
        stage = Stage(Stubborn())
        await stage.ensure(DB, WEB)
        with pytest.raises(EveryhopError):
            await stage.supervisor.stop_all()
        assert stage.runner.stopped == ["db"]

    asyncio.run(play())


def test_to_abandon_is_to_let_live() -> None:
    async def play() -> None:
        stage = Stage()
        await stage.ensure(DB, WEB)
        stage.supervisor.abandon()
        await asyncio.sleep(0)
        assert stage.runner.stopped == []
        assert len(await stage.runner.running()) == 2

    asyncio.run(play())


def test_a_store_that_takes_nothing_does_not_end_the_watch() -> None:
    class Full(MemoryStore):
        full = False

        async def put(
            self,
            kind: str,
            key: str,
            value: Mapping[str, Json],
            *,
            expect: int | None = None,
            fence: Lease | None = None,
        ) -> Document:
            if self.full:
                raise EveryhopError("store-unavailable", "the disk is full")
            return await super().put(kind, key, value, expect=expect, fence=fence)

    async def play() -> None:
        store = Full()
        stage = Stage(store=store)
        await stage.ensure(WEB)
        store.full = True
        stage.runner.end("web")
        await stage.clock.until(lambda: stage.started == ["web", "web"])
        stage.runner.end("web")
        await stage.clock.until(lambda: len(stage.started) == 3)

    asyncio.run(play())
