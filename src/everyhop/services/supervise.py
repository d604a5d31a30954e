"""Supervise: keep the planned processes running, adopt those of an earlier life, end those that are not planned.

Rules: the kernel knows what runs, not a file. A process that ends is started again with growing pauses. A change of a
process's specification means another process. What others started is never touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Event, ProcessSpec, Reporter, Runner, RunningProcess, Sleep, Store
from everyhop.services.records import Records

IsUp = Callable[[], Awaitable[bool]]
"""Whether a process does its work."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What a supervised process is doing, for status."""

    name: str
    state: str
    """``starting``, ``up``, ``waiting`` (for the next try) or ``stopped``."""
    pid: int
    since: datetime
    restarts: int
    detail: str = ""


PROCESSES = Records("process", ProcessState)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A process that should run."""

    spec: ProcessSpec
    is_up: IsUp
    start_timeout: timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the n-th restart."""

    first: float = 0.5
    last: float = 30.0
    steady: float = 60.0
    """After this many seconds of running, counting begins anew."""

    def delay(self, failures: int) -> float:
        """Seconds: doubling, bounded."""
        return min(self.first * 2 ** min(failures, 16), self.last)


class Supervisor:
    """Runs processes and keeps them."""

    def __init__(
        self,
        runner: Runner,
        store: Store,
        clock: Clock,
        sleep: Sleep,
        report: Reporter,
        backoff: Backoff,
        *,
        grace: float = 10.0,
    ) -> None:
        """``backoff`` says how long to wait between restarts, ``grace`` how long an asked process may take to end."""
        self._grace = grace
        self._runner = runner
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._report = report
        self._backoff = backoff
        self._keepers: dict[str, tuple[Wanted, asyncio.Task[None]]] = {}
        self._pids: dict[str, int] = {}
        self._up: dict[str, asyncio.Event] = {}

    def pid(self, name: str) -> int | None:
        """The pid of a process that runs now."""
        return self._pids.get(name)

    async def ensure(self, wanted: Sequence[Wanted], hurry: asyncio.Event | None = None) -> None:
        """Keep exactly these from now on, and return when each is up or its time is over, or when ``hurry`` is set.

        They are started in order, each when the one before is up: a callee before its callers. One that does not come
        up is reported and tried again in the background; it does not hold up the others for ever.
        """
        names = {one.spec.name for one in wanted}
        alive = {process.name: process for process in await self._runner.running()}
        for name in [name for name in self._keepers if name not in names]:
            await self._let_go(name)
        for name, process in alive.items():
            if name not in names:
                await self._runner.stop(process)
                self._report(Event("process.ended", self._clock.now(), {"name": name, "why": "not planned any more"}))
        for one in wanted:  # who is still running may ask for its secrets at once, whoever is started before it
            process = alive.get(one.spec.name)
            if process is not None and process.digest == one.spec.digest():
                self._pids.setdefault(one.spec.name, process.pid)
        for one in wanted:
            await self._keep(one, alive.get(one.spec.name), hurry)
        await self._forget_others(names)

    async def stop_all(self) -> None:
        """End everything that was started here, in this life or an earlier one, the newest first.

        One that will not end does not keep the others; raises ``process-failed`` for it when the rest is done.
        """
        for _, task in self._keepers.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in self._keepers.values()), return_exceptions=True)
        order = {name: index for index, name in enumerate(self._keepers)}
        alive = sorted(await self._runner.running(), key=lambda process: -order.get(process.name, -1))
        stubborn: list[EveryhopError] = []
        for process in alive:
            try:
                await self._runner.stop(process, grace=self._grace)
            except EveryhopError as error:
                stubborn.append(error)
                continue
            await self._note(process.name, "stopped", 0, 0, "")
            self._report(Event("process.ended", self._clock.now(), {"name": process.name, "why": "asked to"}))
        self._keepers.clear()
        if stubborn:
            raise stubborn[0]

    def abandon(self) -> None:
        """Stop watching without ending anything."""
        for _, task in self._keepers.values():
            task.cancel()

    async def _keep(self, wanted: Wanted, alive: RunningProcess | None, hurry: asyncio.Event | None) -> None:
        name = wanted.spec.name
        known = self._keepers.get(name)
        if known is not None and not known[1].done():
            if known[0].spec == wanted.spec:
                return
            await self._let_go(name)
            alive = next((one for one in await self._runner.running() if one.name == name), None)
        if alive is not None and alive.digest != wanted.spec.digest():
            await self._runner.stop(alive, grace=self._grace)
            alive = None
        self._up[name] = asyncio.Event()
        task = asyncio.create_task(self._run(wanted, alive), name=f"keep {name}")
        self._keepers[name] = (wanted, task)
        waits: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._sleep(wanted.start_timeout.total_seconds())),
            asyncio.create_task(self._up[name].wait()),
        ]
        if hurry is not None:
            waits.append(asyncio.create_task(hurry.wait()))
        try:
            await asyncio.wait({*waits, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._up[name].is_set() and not (hurry and hurry.is_set()):
            self._report(Event("process.late", self._clock.now(), {"name": name}))

    async def _run(self, wanted: Wanted, alive: RunningProcess | None) -> None:
        name, failures, restarts = wanted.spec.name, 0, 0
        while True:
            began = self._clock.now()
            try:
                process = alive or await self._runner.start(wanted.spec)
            except EveryhopError as error:
                await self._note(name, "waiting", 0, restarts, error.message)
                self._report(Event("process.failed", began, {"name": name, "why": error.message}))
            else:
                alive = None
                detail = "adopted" if process.adopted else ""
                self._pids[name] = process.pid
                await self._note(name, "starting", process.pid, restarts, detail)
                self._report(
                    Event("process.started", began, {"name": name, "pid": process.pid, "adopted": process.adopted})
                )
                status = await self._watch(wanted, process, restarts)
                self._pids.pop(name, None)
                self._up[name].clear()
                if (self._clock.now() - began).total_seconds() >= self._backoff.steady:
                    failures = 0
                text = f"it ended with status {status}" if status is not None else "it ended"
                await self._note(name, "waiting", 0, restarts, text)
                self._report(Event("process.died", self._clock.now(), {"name": name, "why": text}))
            await self._sleep(self._backoff.delay(failures))
            failures += 1
            restarts += 1

    async def _watch(self, wanted: Wanted, process: RunningProcess, restarts: int) -> int | None:
        ended = asyncio.create_task(self._runner.wait(process))
        try:
            while not ended.done():
                if await wanted.is_up():
                    self._up[process.name].set()
                    await self._note(process.name, "up", process.pid, restarts, "adopted" if process.adopted else "")
                    self._report(Event("process.up", self._clock.now(), {"name": process.name, "pid": process.pid}))
                    break
                pause = asyncio.create_task(self._sleep(0.1))
                await asyncio.wait({ended, pause}, return_when=asyncio.FIRST_COMPLETED)
                pause.cancel()
            return await ended
        finally:
            ended.cancel()

    async def _let_go(self, name: str) -> None:
        _, task = self._keepers.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for process in await self._runner.running():
            if process.name == name:
                await self._runner.stop(process)
        self._pids.pop(name, None)

    async def _note(self, name: str, state: str, pid: int, restarts: int, detail: str) -> None:
        """Tell status. A store that takes nothing now is no reason to stop keeping the process."""
        try:
            await PROCESSES.put(self._store, name, ProcessState(name, state, pid, self._clock.now(), restarts, detail))
        except EveryhopError as error:
            self._report(Event("fault", self._clock.now(), {"code": error.code.name, "why": error.message}))

    async def _forget_others(self, names: set[str]) -> None:
        for one in await PROCESSES.all(self._store):
            if one.value.name not in names:
                await self._store.delete(PROCESSES.kind, one.value.name)
