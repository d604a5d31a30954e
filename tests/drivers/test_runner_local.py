"""Processes that outlive everyhop: found again, ended completely, and nobody else's touched."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from everyhop.drivers.runners import logs, processes
from everyhop.drivers.runners.local import LocalRunner
from everyhop.drivers.runners.processes import Mark
from everyhop.errors import EveryhopError
from everyhop.ports import ProcessSpec, RunningProcess

LONG = 20.0
"""Seconds until a condition that must come true is given up."""


def python(name: str, program: str, **environment: str) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", textwrap.dedent(program)), environment)


STUBBORN = python(
    "stubborn",
    """
    import os, signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        os.setsid()                                     # as PostgreSQL's children do
    print("ready", os.getpid(), flush=True)
    time.sleep(600)
    """,
)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[str]:
    """An instance name of this test; whatever still carries it at the end is killed, by handle."""
    name = f"test-{os.getpid()}-{tmp_path.name}"[:64].rstrip("-._")
    yield name
    for pid in list(processes.pids()):
        if (mark := processes.mark_of(pid)) and mark.instance == name and (handle := processes.hold(pid)):
            with handle:
                handle.signal(signal.SIGKILL)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll a condition until it holds; fails after a generous deadline."""
    async with asyncio.timeout(LONG):
        while not await condition():
            await asyncio.sleep(0.01)


async def logged(runner: LocalRunner, name: str, count: int) -> list[str]:
    """The log of a process once it has so many lines."""

    async def enough() -> bool:
        return len(await runner.log(name)) >= count

    await until(enough)
    return list(await runner.log(name))


def alive(pid: int) -> bool:
    handle = processes.hold(pid)
    if handle is None:
        return False
    handle.close()
    return True


def test_a_process_leads_its_session_and_logs_privately(tmp_path: Path, instance: str) -> None:
    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        spec = python("app", "import os, sys; print(os.getsid(0) == os.getpid(), sys.stdin.read() == '', os.getcwd())")
        process = await runner.start(spec)
        assert await runner.wait(process) == 0
        assert await runner.log("app") == [f"True True {tmp_path}"]

    asyncio.run(story())
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "logs" / "app.log").stat().st_mode) == 0o600


def test_the_exit_status_is_told_and_a_later_start_appends(tmp_path: Path, instance: str) -> None:
    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        for status in (3, 4):
            process = await runner.start(python("app", f"import sys; print({status}); sys.exit({status})"))
            assert await runner.wait(process) == status
        killed = await runner.start(ProcessSpec("killed", ("sleep", "600")))
        os.kill(killed.pid, signal.SIGKILL)
        assert await runner.wait(killed) == -9
        assert await runner.log("app") == ["3", "4"]
        assert await runner.log("app", lines=1) == ["4"]
        assert await runner.running() == []

    asyncio.run(story())


CRASHING_PARENT = """
import asyncio, json, sys, time
from pathlib import Path
from everyhop.drivers.runners.local import LocalRunner
from everyhop.ports import ProcessSpec

async def main():
    runner = LocalRunner(Path(sys.argv[1]), sys.argv[2])
    one = await runner.start(ProcessSpec("one", ("sleep", "600")))
    two = await runner.start(ProcessSpec("two", ("sh", "-c", "sleep 601 & sleep 602; exit 1")))
    print(json.dumps([one.pid, two.pid]), flush=True)
    time.sleep(600)

asyncio.run(main())
"""


def test_after_kill_9_of_everyhop_its_processes_live_on_and_are_found(tmp_path: Path, instance: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", CRASHING_PARENT, str(tmp_path), instance],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert parent.stdout is not None
    with parent.stdout:
        one, two = json.loads(parent.stdout.readline())
    parent.kill()
    assert parent.wait() == -9

    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        found = await runner.running()
        assert [(process.name, process.pid, process.adopted) for process in found] == [
            ("one", one, True),
            ("two", two, True),
        ]
        assert found[0].digest == ProcessSpec("one", ("sleep", "600")).digest()
        waiting = asyncio.create_task(runner.wait(found[0]))
        await runner.stop(found[0])
        assert await waiting is None, "the status of an adopted process is its new parent's to know"
        assert [process.name for process in await runner.running()] == ["two"]
        await runner.stop(found[1])
        assert await runner.running() == []
        assert processes.hold_marked(Mark(instance, "two", found[1].digest)) == []

    asyncio.run(story())


def test_only_its_own_instance_is_seen_and_stopped(tmp_path: Path, instance: str) -> None:
    async def story() -> None:
        mine, theirs = LocalRunner(tmp_path, instance), LocalRunner(tmp_path / "theirs", f"x-{instance}"[:64])
        (tmp_path / "theirs").mkdir()
        spec = ProcessSpec("app", ("sleep", "600"))
        own, other = await mine.start(spec), await theirs.start(spec)
        try:
            assert await mine.running() == [own]
            await mine.stop(replace(other))
            assert alive(other.pid), "a process of another instance was stopped"
            await mine.stop(own)
            assert not alive(own.pid)
            assert await theirs.running() == [other]
        finally:
            await theirs.stop(other)

    asyncio.run(story())


def test_stubborn_processes_and_children_in_other_sessions_are_killed(tmp_path: Path, instance: str) -> None:
    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        process = await runner.start(STUBBORN)
        pids = {int(line.split()[1]) for line in await logged(runner, "stubborn", 2)}
        assert process.pid in pids
        assert len(pids) == 2
        later_life = LocalRunner(tmp_path, instance)
        assert [found.pid for found in await later_life.running()] == [process.pid], (
            "a child is not a process of its own"
        )
        await runner.stop(process, grace=0.2)
        assert not any(alive(pid) for pid in pids)
        assert await runner.wait(process) == -9

    asyncio.run(story())


def test_a_child_that_erased_its_environment_in_a_session_of_its_own_is_killed(tmp_path: Path, instance: str) -> None:
    program = """
    import ctypes, os, re, signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        fields = open("/proc/self/stat").read().rpartition(")")[2].split()
        start, end = int(fields[47]), int(fields[48])    # env_start, env_end: proc(5)
        ctypes.memset(start, 0, end - start)             # what setproctitle does to make room for a title
    print("ready", os.getpid(), "EVERYHOP" in open("/proc/self/environ").read(), flush=True)
    time.sleep(600)
    """

    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        process = await runner.start(python("eraser", program))
        lines = [line.split() for line in await logged(runner, "eraser", 2)]
        assert {marked for _, _, marked in lines} == {"True", "False"}
        await runner.stop(process, grace=0.1)
        assert not any(alive(int(pid)) for _, pid, _ in lines)

    asyncio.run(story())


def test_those_a_dead_leader_left_behind_are_ended_too(tmp_path: Path, instance: str) -> None:
    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        process = await runner.start(ProcessSpec("leader", ("sh", "-c", "sleep 600 & echo $!; exit 7")))
        assert await runner.wait(process) == 7
        (orphan,) = await logged(runner, "leader", 1)
        assert alive(int(orphan))
        assert await runner.running() == []
        await runner.stop(process)
        assert not alive(int(orphan))

    asyncio.run(story())


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_number_that_was_given_to_another_process_is_never_signalled(
    tmp_path: Path, instance: str, seen_before: bool
) -> None:
    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        stranger = subprocess.Popen(("sleep", "600"))
        try:
            process = RunningProcess("app", stranger.pid, "0123456789abcdef", adopted=True)
            if seen_before:
                # What the runner noted when it saw its own process under this number, started earlier.
                runner._births[process] = 1  # pyright: ignore[reportPrivateUsage] -- pids cannot be reused at will
            await runner.stop(process, grace=0.1)
            assert await runner.wait(process) is None
            assert stranger.poll() is None, "a stranger was signalled"
        finally:
            stranger.kill()
            stranger.wait()

    asyncio.run(story())


def test_no_secret_of_everyhop_reaches_a_process(
    tmp_path: Path, instance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EVERYHOP_PASSPHRASE", "EVERYHOP_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY", "PYTHONPATH", "AWS_KEY"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("PATH", os.environ["PATH"])

    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        spec = ProcessSpec("app", ("env",), {"GREETING": "hello"})
        process = await runner.start(spec)
        await runner.wait(process)
        seen = dict(line.split("=", 1) for line in await runner.log("app"))
        assert "s3cret" not in seen.values()
        assert seen["GREETING"] == "hello"
        assert seen["EVERYHOP_PROCESS"] == f"{instance}:app:{spec.digest()}"
        assert set(seen) <= {"PATH", "HOME", "LANG", "LC_ALL", "LOGNAME", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"} | {
            "GREETING",
            "EVERYHOP_PROCESS",
        }

    asyncio.run(story())


@pytest.mark.parametrize("name", ["EVERYHOP_PASSPHRASE", "EVERYHOP_PROCESS", "CREDENTIALS_DIRECTORY"])
def test_a_specification_may_not_set_everyhops_own_variables(tmp_path: Path, instance: str, name: str) -> None:
    with pytest.raises(EveryhopError, match=name) as caught:
        asyncio.run(LocalRunner(tmp_path, instance).start(ProcessSpec("app", ("true",), {name: "s3cret"})))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ProcessSpec("app", ("no-such-command-here", "s3cret"), {"TOKEN": "s3cret"}), "no such file"),
        (ProcessSpec("app", ("/etc", "s3cret"), {"TOKEN": "s3cret"}), "permission denied"),
        (ProcessSpec("app", ("sh", "s3cret"), {"PATH": "/nowhere"}), "expected to execute 'sh' as app"),
        (ProcessSpec("app", ("sh",), {"TOKEN": "s3cret"}, "/no/such/directory"), "/no/such/directory"),
        (ProcessSpec("app", ("sh", "s3cret\0"), {"TOKEN": "s3cret"}), "without NUL bytes"),
        (ProcessSpec("../app", ("sh",)), "expected a name"),
    ],
)
def test_what_cannot_be_executed_is_said_without_values(
    tmp_path: Path, instance: str, spec: ProcessSpec, expected: str
) -> None:
    with pytest.raises(EveryhopError) as caught:
        asyncio.run(LocalRunner(tmp_path, instance).start(spec))
    assert caught.value.code.name == "process-failed"
    assert expected in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert not list(tmp_path.glob("*.log")), "a log outside of its directory"


def test_the_childs_path_finds_the_command(tmp_path: Path, instance: str) -> None:
    tool = tmp_path / "bin" / "a-tool-of-its-own"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)

    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        process = await runner.start(ProcessSpec("app", (tool.name,), {"PATH": f"{tool.parent}:/usr/bin:/bin"}))
        assert await runner.wait(process) == 0
        assert await runner.log("app") == ["found"]

    asyncio.run(story())


def test_a_log_that_outgrew_its_limit_is_cut_while_the_process_writes_on(tmp_path: Path, instance: str) -> None:
    async def story() -> None:
        runner = LocalRunner(tmp_path, instance)
        go = tmp_path / "go"
        script = f"seq 1 5000; while [ ! -e {shlex.quote(str(go))} ]; do sleep 0.05; done; echo after; exec sleep 600"
        process = await runner.start(ProcessSpec("app", ("sh", "-c", script)))
        log = tmp_path / "logs" / "app.log"
        assert (await until_last(runner, "5000"))[-1] == "5000"
        assert await runner.trim_logs(limit=1 << 20) == []
        assert await runner.trim_logs(limit=10_000) == ["app"]
        assert log.stat().st_size == 0
        assert logs.older(log).stat().st_size == 10_000
        assert stat.S_IMODE(logs.older(log).stat().st_mode) == 0o600
        go.touch()
        assert await until_last(runner, "after") == [*map(str, range(4902, 5001)), "after"]
        assert log.read_text() == "after\n", "the process must write at the new end, not leave a hole"
        await runner.stop(process)

    async def until_last(runner: LocalRunner, line: str) -> list[str]:
        async def there() -> bool:
            return (await runner.log("app", lines=1)) == [line]

        await until(there)
        return list(await runner.log("app"))

    asyncio.run(story())


def test_the_tail_of_a_large_log_is_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "large.log"
    path.write_bytes(b"".join(b"%07d " % number + b"x" * 100 + b"\n" for number in range(50_000)) + b"\xff unfinished")
    lines = logs.tail(path, 1000)
    assert len(lines) == 1000
    assert [int(line.split()[0]) for line in lines[:-1]] == list(range(49_001, 50_000))
    assert lines[-1] == "� unfinished"
    assert logs.tail(path, 0) == []
    assert logs.tail(tmp_path / "none.log", 5) == []


def test_a_log_is_never_written_through_a_symbolic_link(tmp_path: Path, instance: str) -> None:
    (tmp_path / "logs").mkdir()
    victim = tmp_path / "victim"
    (tmp_path / "logs" / "app.log").symlink_to(victim)
    with pytest.raises(EveryhopError):
        asyncio.run(LocalRunner(tmp_path, instance).start(ProcessSpec("app", ("true",))))
    assert not victim.exists()


def test_an_instance_name_that_would_break_the_mark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected an instance"):
        LocalRunner(tmp_path, "a:b")
    assert Mark.parse("a:b") is None
    assert Mark.parse("a:b:c") == Mark("a", "b", "c")
