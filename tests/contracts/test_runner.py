"""What every runner promises, run on the fake and on real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.fakes.runner import FakeRunner

from everyhop.drivers.runners.local import LocalRunner
from everyhop.errors import EveryhopError
from everyhop.ports import ProcessSpec, Runner

SLEEPER = ProcessSpec("sleeper", ("sleep", "600"))
OTHER = ProcessSpec("other", ("sleep", "601"))

Story = Callable[[Runner], Awaitable[None]]


@pytest.fixture(params=["fake", "local"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Story], None]:
    """Plays a story on one runner, and ends what it left running."""

    async def on_stage(story: Story) -> None:
        runner: Runner = FakeRunner() if request.param == "fake" else LocalRunner(tmp_path, f"contract-{tmp_path.name}")
        try:
            await story(runner)
        finally:
            for process in await runner.running():
                await runner.stop(process, grace=1)

    return lambda story: asyncio.run(on_stage(story))


def test_what_was_started_is_running_and_what_was_stopped_is_not(play: Callable[[Story], None]) -> None:
    async def story(runner: Runner) -> None:
        assert await runner.running() == []
        sleeper = await runner.start(SLEEPER)
        other = await runner.start(OTHER)
        assert (sleeper.name, sleeper.digest, sleeper.adopted) == ("sleeper", SLEEPER.digest(), False)
        assert await runner.running() == [other, sleeper]
        await runner.stop(sleeper)
        assert await runner.running() == [other]

    play(story)


def test_wait_returns_when_it_has_ended_and_again_afterwards(play: Callable[[Story], None]) -> None:
    async def story(runner: Runner) -> None:
        process = await runner.start(SLEEPER)
        waiting = asyncio.create_task(runner.wait(process))
        await asyncio.sleep(0)
        assert not waiting.done()
        await runner.stop(process)
        assert await waiting == -15
        assert await runner.wait(process) == -15

    play(story)


def test_stopping_twice_is_no_fault(play: Callable[[Story], None]) -> None:
    async def story(runner: Runner) -> None:
        process = await runner.start(SLEEPER)
        await runner.stop(process)
        await runner.stop(process)

    play(story)


def test_a_process_without_a_command_is_refused(play: Callable[[Story], None]) -> None:
    async def story(runner: Runner) -> None:
        with pytest.raises(EveryhopError) as caught:
            await runner.start(ProcessSpec("nothing", ()))
        assert caught.value.code.name == "process-failed"
        assert await runner.running() == []

    play(story)


def test_the_log_of_an_unknown_name_is_empty(play: Callable[[Story], None]) -> None:
    async def story(runner: Runner) -> None:
        assert await runner.log("nobody") == []
        assert await runner.log("../nobody") == []

    play(story)
