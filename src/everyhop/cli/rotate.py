"""Commands that rotate: a leaf, the intermediate, the root; with progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import click
from rich.markup import escape

from everyhop.app import now
from everyhop.cli.context import Context, console, pass_context, wait_for
from everyhop.core.lifecycle import CredentialState, Rotation, RotationState
from everyhop.errors import EveryhopError
from everyhop.ports import Store
from everyhop.services.apply import planned
from everyhop.services.records import ROTATIONS, SLOTS
from everyhop.services.rotate import request_renewal, request_rotation

WAIT = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait and show progress until it is done."
)
TIMEOUT = click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds to wait.")
REASON = click.option("--reason", default="asked for on the command line", help="Why; kept in the audit log.")


@click.group()
def rotate() -> None:
    """Renew certificates now, or change the intermediate or the root without a failed request."""


@rotate.command()
@click.argument("names", nargs=-1)
@WAIT
@TIMEOUT
@pass_context
def leaf(context: Context, names: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Renew the certificates NAMES (as `everyhop certs` lists them), or all of them."""

    async def work() -> None:
        async with context.existing.store() as store:
            _needs_running(context, wait)
            before = await request_renewal(store, list(names), actor="cli", now=now())
            wanted = {slot.key: slot.generation for slot in before}
            if wait:
                async for line in _leaf_progress(store, wanted, timeout):
                    _say(context, line)
            context.show(
                {"renewed": sorted(wanted), "waited": wait},
                lambda out: out.print("[green]done[/]" if wait else "asked"),
            )

    wait_for(work())


@rotate.command()
@WAIT
@TIMEOUT
@REASON
@pass_context
def intermediate(context: Context, wait: bool, timeout: float, reason: str) -> None:
    """Change the issuing authority: make a new one under the same root, renew every certificate with it."""
    _rotate(context, "intermediate", timedelta(0), wait, timeout, reason)


@rotate.command()
@click.option(
    "--overlap",
    type=click.FloatRange(0, 366 * 86400),
    help="Seconds for which both roots are trusted before the new one signs. Default: `policy.rotation_overlap`.",
)
@WAIT
@TIMEOUT
@REASON
@pass_context
def root(context: Context, overlap: float | None, wait: bool, timeout: float, reason: str) -> None:
    """Change the root: trust old and new everywhere, sign with the new, drop the old with proof.

    Clients outside the mesh must fetch the new root (`everyhop trust`) before the overlap is over.
    """
    _rotate(context, "root", None if overlap is None else timedelta(seconds=overlap), wait, timeout, reason)


def _rotate(context: Context, kind: str, overlap: timedelta | None, wait: bool, timeout: float, reason: str) -> None:
    async def work() -> None:
        async with context.existing.store() as store:
            _needs_running(context, wait)
            found = await planned(store, str(context.workspace.data))
            default = found[0].policy.rotation_overlap if found else timedelta(0)
            rotation = await request_rotation(
                store,
                kind,
                reason=reason,
                actor="cli",
                overlap=default if overlap is None else overlap,
                now=now(),
            )
            if wait:
                rotation = await _rotation_progress(context, store, rotation, timeout)
            if rotation.state is RotationState.GIVEN_UP:
                why = rotation.history[-1][1]
                raise EveryhopError("check-failed", f"the rotation was given up: {why}", hint="another one takes over")
            context.show(rotation, lambda out: out.print(f"[green]{rotation.state}[/]" if wait else "asked"))

    wait_for(work())


def _needs_running(context: Context, wait: bool) -> None:
    if wait and context.workspace.holder() is None:
        raise EveryhopError(
            "not-running",
            f"no everyhop runs on {context.data}, so nobody would rotate",
            hint="start it with `everyhop up`, or ask now and wait for nobody with --no-wait",
        )


async def _leaf_progress(store: Store, wanted: dict[str, int], timeout: float) -> AsyncIterator[str]:
    deadline = time.monotonic() + timeout
    waiting = set(wanted)
    while waiting:
        for stored in await SLOTS.all(store):
            slot = stored.value
            if slot.key in waiting and slot.generation > wanted[slot.key] and slot.state is CredentialState.SERVED:
                waiting.discard(slot.key)
                yield f"{slot.key}: serial {slot.current.serial if slot.current else '?'} seen on the wire"
        if waiting and time.monotonic() > deadline:
            raise _late(f"{', '.join(sorted(waiting))} to be seen", timeout)
        await asyncio.sleep(0.1)


async def _rotation_progress(context: Context, store: Store, rotation: Rotation, timeout: float) -> Rotation:
    deadline, told = time.monotonic() + timeout, 0
    while True:
        stored = await ROTATIONS.get(store, f"{rotation.number:06d}")
        rotation = stored.value if stored else rotation
        for state, proof in rotation.history[told:]:
            _say(context, f"{state}: {proof}")
        told = len(rotation.history)
        if rotation.finished:
            return rotation
        if time.monotonic() > deadline:
            raise _late(f"the rotation to go on ({rotation.state}: {rotation.progress})", timeout)
        await asyncio.sleep(0.1)


def _late(what: str, timeout: float) -> EveryhopError:
    return EveryhopError(
        "check-failed", f"waited {timeout:.0f} s for {what}", hint="it goes on by itself; `everyhop status` shows it"
    )


def _say(context: Context, line: str) -> None:
    if not context.as_json:
        console().print(f"  {escape(line)}")
