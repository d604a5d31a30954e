"""`everyhop report`: a signed evidence pack of a period, and `everyhop report verify`: whether to believe one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everyhop.app import now
from everyhop.app.proving import JSON, Verified, reported, roots_in, verified, write
from everyhop.cli.context import Context, pass_context, wait_for
from everyhop.core.evidence.chain import EvidenceFault
from everyhop.core.evidence.pack import Pack
from everyhop.core.literals import parse_duration
from everyhop.core.verdict import Verdict
from everyhop.errors import ExitStatus

_COLOURS = {
    Verdict.PASS: "[green]pass[/]",
    Verdict.FAIL: "[bold red]fail[/]",
    Verdict.UNKNOWN: "[yellow]unknown[/]",
    Verdict.NOT_APPLICABLE: "[dim]n/a[/]",
}
_FAULTS_SHOWN = 20


@click.group(invoke_without_command=True)
@click.option("--from", "begin", metavar="TIME", help="Begin, as 2026-11-22 or 2026-11-22T08:00 (UTC).")
@click.option("--to", "end", metavar="TIME", help="End. Default: now.")
@click.option("--last", metavar="DURATION", help="Instead of --from: the time before the end.  [default: 7d]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="A new folder for the pack.")
@click.option("--pdf", is_flag=True, help="Print the page to PDF, too, with the Chromium that is installed.")
@pass_context
@click.pass_context
def report(
    click_context: click.Context,
    context: Context,
    begin: str | None,
    end: str | None,
    last: str | None,
    out: Path | None,
    pdf: bool,
) -> None:
    """Write a signed evidence pack of a period: evidence.json with its signature and certificates, and a page.

    What the pack says is derived from sealed observations, which are in it with their proofs. Print report.html with
    any browser, or use --pdf. Exits with 0 whatever the answers are: this makes the report, `check` checks.
    """
    if click_context.invoked_subcommand is not None:
        return
    until = _moment(end, "--to") if end else now()
    if begin and last:
        raise click.UsageError("expected one of --from and --last, got both")
    since = _moment(begin, "--from") if begin else until - _duration(last or "7d")
    if since >= until:
        raise click.UsageError(f"expected a period that begins before it ends, got {since} to {until}")
    folder = out or Path(f"evidence-{until:%Y-%m-%dT%H%M%SZ}")

    made = wait_for(reported(context.existing, since, until))
    files, pack = write(made, folder, pdf=pdf), made.pack
    told = _Told(
        str(folder),
        [one.name for one in files],
        pack.period.begin,
        pack.period.end,
        len(pack.observations),
        len(pack.seals),
        {one.code: one.verdict for one in pack.claims.checklist},
    )
    context.show(told, lambda console: _print(console, told, pack))


@dataclass(frozen=True, slots=True)
class _Told:
    """What `everyhop report --json` prints."""

    folder: str
    files: Sequence[str]
    begin: datetime
    end: datetime
    observations: int
    seals: int
    checklist: dict[str, Verdict]


@report.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option(
    "--root",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The roots (PEM) that you believe, from somewhere else than the pack. Default: the pack's own.",
)
@click.option(
    "--store", is_flag=True, help="Audit the data directory (--data), too, and look for the pack's seals in it."
)
@pass_context
def verify(context: Context, folder: Path, root: Path | None, store: bool) -> None:
    """Verify the evidence pack in DIR, and say where it is not what was signed. Needs neither network nor data.

    Checks the signature, certificates up to the root, every seal, each observation's way to its seal, and derives
    every claim anew. Exits with 0 if all is as it was signed, 1 if not, 2 if it could not be told.
    """
    try:
        roots = roots_in(root) if root else ()
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"expected certificates (PEM) in {root}, got: {error}") from error
    try:
        found = wait_for(verified(folder, roots, context.existing if store else None))
    except OSError as error:
        raise click.BadParameter(f"expected an evidence pack in {folder}, got: {error}") from error
    context.show(_as_json(found), lambda console: _print_verified(console, found, folder))
    if not found.ok:
        sys.exit(ExitStatus.SHORTFALL)


def _moment(text: str, option: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"expected a time such as 2026-11-22T08:00, got {text!r}", param_hint=option
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, got {text!r}", param_hint="--last") from error


# --- for people -------------------------------------------------------------------------------------------------


def _print(out: Console, told: _Told, pack: Pack) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("Question", "Answer", "Why"):
        table.add_column(name)
    for one in pack.claims.checklist:
        table.add_row(escape(one.question), _COLOURS[one.verdict], escape(one.statement))
    out.print(table)
    out.print(f"\n{told.observations} observations under {told.seals} seals, {told.begin} to {told.end}")
    out.print(f"[bold]{escape(told.folder)}[/]: {', '.join(told.files)}")
    out.print(f"[dim]everyhop report verify {escape(told.folder)} --root root.pem[/]")


def _print_verified(out: Console, found: Verified, folder: Path) -> None:
    pack = found.pack
    if pack.own_root:
        out.print(
            "[yellow]![/] no --root was given: the pack's own root is believed, which shows that nothing was changed, "
            "not who signed it"
        )
    out.print(f"  root SHA-256 {pack.root or 'unknown'}")
    out.print(f"  {pack.observations} observations, {pack.seals} seals, {pack.claims} claims; page: {found.page}")
    for stream in found.store.streams if found.store else ():
        since = f", the oldest of {stream.unsealed_since:%Y-%m-%d %H:%M:%S} UTC" if stream.unsealed_since else ""
        out.print(
            f"  {stream.stream}: {stream.sealed} sealed observations under {stream.seals} seals, {stream.forgotten} "
            f"of which by chain and signature only (forgotten); {stream.unsealed} not sealed yet{since}"
        )
    for fault in found.faults[:_FAULTS_SHOWN]:
        out.print(f"[bold red]✘[/] {escape(str(fault))}")
    if len(found.faults) > _FAULTS_SHOWN:
        out.print(f"  and {len(found.faults) - _FAULTS_SHOWN} more")
    if found.ok:
        out.print(f"[green]✔[/] {escape(str(folder / JSON))} is as it was signed, and every claim follows from it")


def _as_json(found: Verified) -> dict[str, object]:
    def told(fault: EvidenceFault) -> dict[str, object]:
        place = {"stream": fault.stream, "seal": fault.seal, "sequence": fault.sequence, "field": fault.field}
        return {"where": fault.where, "what": fault.what, **place}

    pack = found.pack
    return {
        "ok": found.ok,
        "root_sha256": pack.root,
        "own_root": pack.own_root,
        "observations": pack.observations,
        "seals": pack.seals,
        "claims": pack.claims,
        "page": found.page,
        "store": found.store.streams if found.store else None,
        "faults": [told(one) for one in found.faults],
    }
