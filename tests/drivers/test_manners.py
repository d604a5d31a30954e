"""Politeness: how many at once and in a second, and what a rebuff costs. The clock is the loop's, made to order."""

from __future__ import annotations

import asyncio
import resource
import selectors
from collections.abc import Coroutine
from typing import Any

import pytest

from everyhop.drivers.probes.manners import Limits, Manners


class _Hurry(selectors.DefaultSelector):
    """Never waits: the loop's clock jumps to when something is due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += max(timeout or 0.0, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._hurry = _Hurry()
        super().__init__(self._hurry)

    def time(self) -> float:
        return self._hurry.now


def play(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(story)


def clock() -> float:
    return asyncio.get_running_loop().time()


class Visits:
    """Visits that last a while; when each began, and how many there were at once."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.began: list[float] = []
        self.now = self.most = 0

    async def one(self, port: int = 1, *, lasts: float = 0.1, rebuffed: bool = False) -> None:
        async with self.manners.turn("host", port) as turn:
            self.began.append(clock())
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(lasts)
            self.now -= 1
            turn.rebuffed = rebuffed


def test_no_more_than_four_at_once_and_twenty_in_any_second() -> None:
    async def story() -> None:
        visits = Visits(Manners())
        await asyncio.gather(*(visits.one(lasts=0.01) for _ in range(90)))
        assert visits.most == 4
        began = visits.began
        assert all(began[place + 20] - began[place] > 0.999999 for place in range(len(began) - 20))
        assert 3.9 < began[-1] < 4.2
        assert visits.manners.turns == 90

    play(story())


def test_endpoints_do_not_wait_for_one_another_but_for_the_limit_of_all() -> None:
    async def story() -> None:
        visits = Visits(Manners(Limits(overall=10)))
        await asyncio.gather(*(visits.one(port) for port in range(100)))
        assert visits.most == 10
        assert visits.began[-1] < 1

    play(story())


def test_rebuffs_are_answered_by_longer_and_longer_pauses_and_forgiven() -> None:
    async def story() -> None:
        visits = Visits(Manners())
        for rebuffed in (True, True, True, False, True, False):
            await visits.one(lasts=0, rebuffed=rebuffed)
        pauses = [round(after - before, 3) for before, after in zip(visits.began, visits.began[1:], strict=False)]
        assert pauses == [0.25, 0.5, 1.0, 0, 0.25]
        for _ in range(10):
            await visits.one(lasts=0, rebuffed=True)
        assert round(visits.began[-1] - visits.began[-2], 3) == 4

    play(story())


def test_limits_can_be_lifted() -> None:
    async def story() -> None:
        visits = Visits(Manners(Limits(at_once=None, per_second=None, overall=1000)))
        await asyncio.gather(*(visits.one() for _ in range(500)))
        assert visits.most == 500
        assert visits.began[-1] == 0

    play(story())


def test_a_visit_that_is_given_up_leaves_its_place() -> None:
    async def story() -> None:
        visits = Visits(Manners(Limits(at_once=1, per_second=None)))
        long = asyncio.create_task(visits.one(lasts=100))
        waiting = asyncio.create_task(visits.one(lasts=100))
        await asyncio.sleep(1)
        long.cancel()
        waiting.cancel()
        await asyncio.gather(long, waiting, return_exceptions=True)
        await visits.one()
        assert clock() < 2

    play(story())


def test_a_fleet_is_not_remembered_for_ever() -> None:
    async def story() -> None:
        manners = Manners()
        for port in range(5000):
            async with manners.turn("host", port):
                pass
            await asyncio.sleep(0.01)
        assert len(manners._endpoints) <= 1024 + 100  # pyright: ignore[reportPrivateUsage]  # nothing else shows memory

    play(story())


@pytest.mark.parametrize(("allowed", "overall"), [(64, 32), (1, 1), (1024, 256), (resource.RLIM_INFINITY, 256)])
def test_half_of_the_file_descriptors_is_left_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, allowed: int, overall: int
) -> None:
    def limits(_: int) -> tuple[int, int]:
        return allowed, resource.RLIM_INFINITY

    monkeypatch.setattr(resource, "getrlimit", limits)
    assert Limits().overall == overall
