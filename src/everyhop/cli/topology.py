"""Commands on a topology file: check it, show what it would change, print its schema."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from everyhop.app import now
from everyhop.cli.context import DEFAULT_FILE, Context, pass_context, read_file, wait_for
from everyhop.core.change import Change, changes
from everyhop.core.report.document import json_schema as scan_schema
from everyhop.core.schema import json_schema
from everyhop.core.topology import Topology
from everyhop.core.validation import read
from everyhop.services.apply import plan_of, planned, remembered

FILE = click.argument("file", type=click.Path(path_type=Path), default=DEFAULT_FILE)
_STYLE = {"+": "green", "-": "red", "~": "yellow"}


@click.command()
@FILE
@pass_context
def validate(context: Context, file: Path) -> None:
    """Check FILE and list every fault with its line. Exits with 1 if there are any."""
    topology = read(read_file(file), file=str(file), today=now().date())
    context.show(
        {
            "file": str(file),
            "valid": True,
            "services": list(topology.services),
            "hops": [str(h) for h in topology.hops()],
        },
        lambda out: out.print(
            f"[green]ok[/] {escape(str(file))}: {len(topology.services)} services, {len(topology.hops())} hops"
        ),
    )


@click.command()
@FILE
@pass_context
def plan(context: Context, file: Path) -> None:
    """Show what applying FILE would change: proxies, apps, hops, listeners, certificates. Changes nothing."""
    topology = read(read_file(file), file=str(file), today=now().date())
    found = wait_for(_difference(context, topology, str(file.absolute().parent)))
    context.show({"file": str(file), "changes": found}, lambda out: _print(out, found, file))


async def _difference(context: Context, topology: Topology, file_dir: str) -> tuple[Change, ...]:
    data = str(context.workspace.data)
    if not context.workspace.exists:
        return changes(None, plan_of(topology, {}, data=data, file_dir=file_dir))
    async with context.workspace.store() as store:
        before = await planned(store, data)
        after = plan_of(topology, await remembered(store), data=data, file_dir=file_dir)
    return changes(before[1] if before else None, after)


def _print(out: Console, found: tuple[Change, ...], file: Path) -> None:
    if not found:
        out.print(f"[green]no change[/]: {escape(str(file))} is what is applied")
        return
    for change in found:
        out.print(
            f"[{_STYLE[change.sign]}]{change.sign}[/] {change.kind:<12} [bold]{escape(change.name)}[/]"
            f"  {escape(change.detail)}"
        )
    counts = {sign: sum(change.sign == sign for change in found) for sign in "+~-"}
    out.print(f"\n{counts['+']} to add, {counts['~']} to change, {counts['-']} to remove; nothing was changed")


@click.command()
@click.argument("form", type=click.Choice(["topology", "scan"]), default="topology", metavar="[topology|scan]")
def schema(form: str) -> None:
    """Print the JSON Schema of topology files, for editors, or of what `everyhop scan --json` prints.

    \b
    For editors with yaml-language-server:  everyhop schema > everyhop.schema.json
    and the first line of the file:  # yaml-language-server: $schema=everyhop.schema.json
    """
    import json

    made = scan_schema() if form == "scan" else json_schema()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
