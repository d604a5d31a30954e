"""Commands that run: up, down, apply, logs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
from rich.console import Console

from everyhop.app import instance_of, now
from everyhop.app.checking import checks
from everyhop.app.running import Running, end, run
from everyhop.cli.context import Context, console, pass_context, read_file, wait_for
from everyhop.cli.look import passed, print_checks
from everyhop.cli.progress import Progress
from everyhop.cli.topology import FILE
from everyhop.core.hop import Posture
from everyhop.core.validation import read
from everyhop.errors import EveryhopError, ExitStatus
from everyhop.services.apply import apply as apply_topology
from everyhop.services.check import Check
from everyhop.services.inventory import status as status_of


@click.command()
@FILE
@click.option("--check", "check_only", is_flag=True, help="Bring it up, prove every hop on the wire, end, and say so.")
@click.option("--timeout", type=float, default=180.0, show_default=True, help="Seconds that --check may take.")
@pass_context
def up(context: Context, file: Path, check_only: bool, timeout: float) -> None:
    """Encrypt every hop of FILE, in the foreground, until Ctrl-C; then end what was started.

    Starts the authority, one Envoy a service, and the apps that FILE says how to run. Everything that must survive is
    in the data directory: after a crash, start it again, and traffic never stopped.
    """
    text = read_file(file)
    workspace = context.workspace
    if not workspace.exists:
        read(text, file=str(file), today=now().date())  # a file with faults makes no directory
    found: list[Check] = []
    fault: list[EveryhopError] = []
    progress = Progress(console(), workspace.data / "everyhop.log", as_json=context.as_json)

    async def watch(running: Running) -> None:
        try:
            async with asyncio.timeout(timeout if check_only else None):
                await running.mesh.ready.wait()
                await _all_seen(context, running)
                await progress.ready(running, context.data)
                if check_only:
                    found.extend([one async for one in checks(workspace, running.store)])
        except TimeoutError:
            fault.append(EveryhopError("check-failed", f"not every hop was seen encrypted within {timeout:.0f} s"))
        except EveryhopError as error:
            fault.append(error)
        finally:
            if check_only or fault:
                running.stop.set()

    def beside(running: Running) -> asyncio.Future[None]:
        return asyncio.ensure_future(watch(running))

    wait_for(
        run(
            workspace,
            text,
            file=str(file),
            file_dir=str(file.absolute().parent),
            report=progress,
            beside=beside,
        )
    )
    if fault:
        raise fault[0]
    if check_only and not found:
        raise EveryhopError("check-failed", "it was ended before every hop was seen encrypted", hint="try again")
    if check_only:
        context.show(found, lambda out: print_checks(out, found))
        if not passed(found):
            sys.exit(ExitStatus.SHORTFALL)


async def _all_seen(context: Context, running: Running) -> None:
    """Wait until every hop was seen as it should be."""
    while True:
        found = await status_of(running.store, str(context.workspace.data), now())
        if all(hop.ok for hop in found.hops if hop.wanted is not Posture.EXEMPT) or running.stop.is_set():
            return
        await asyncio.sleep(0.25)


@click.command()
@pass_context
def down(context: Context) -> None:
    """End the everyhop that runs on this data directory, with all that it started and nothing else.

    After a crash, ends the proxies and apps that went on running without it.
    """
    pid, left = wait_for(end(context.existing, patience=60.0))

    def people(out: Console) -> None:
        if pid is None and not left:
            out.print("nothing was running")
        if pid is not None:
            out.print(f"[green]ended[/] everyhop (process {pid}) and all that it had started")
        if left:
            out.print(f"[green]ended[/] what an earlier life had left: {', '.join(left)}")

    context.show({"pid": pid, "left_over": list(left)}, people)


@click.command("apply")
@FILE
@pass_context
def apply_command(context: Context, file: Path) -> None:
    """Make FILE what should be. A running everyhop makes it true at once; otherwise the next `up` does."""

    text, file_dir = read_file(file), str(file.absolute().parent)

    async def work() -> bool:
        async with context.existing.store() as store:
            return await apply_topology(
                store,
                text,
                file=str(file),
                file_dir=file_dir,
                actor="cli",
                now=now(),
            )

    changed = wait_for(work())
    context.show(
        {"file": str(file), "changed": changed},
        lambda out: out.print("[green]applied[/]" if changed else "no change: it was applied before"),
    )


@click.command()
@click.argument("name", required=False)
@click.option("--lines", "-n", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many lines.")
@pass_context
def logs(context: Context, name: str | None, lines: int) -> None:
    """Show the log of a process NAME (an app, or envoy-SERVICE), or everyhop's own."""

    async def work() -> list[str]:
        workspace = context.existing
        if name is None:
            path = workspace.data / "everyhop.log"
            return path.read_text().splitlines()[-lines:] if path.exists() else []
        known = sorted(one.stem for one in (workspace.data / "logs").glob("*.log"))
        if name not in known:
            raise EveryhopError(
                "unknown-name", f"no process is called {name}", hint=f"there are: {', '.join(known) or 'none'}"
            )
        async with workspace.store() as store:
            runner = workspace.runner(await instance_of(store))
            return list(await runner.log(name, lines=lines))

    found = wait_for(work())

    def people(out: Console) -> None:
        for line in found:
            click.echo(line)

    context.show({"name": name or "everyhop", "lines": found}, people)
