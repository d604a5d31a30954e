"""The command that finds what no topology names yet."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everyhop.app.examining import discovered
from everyhop.cli.context import DEFAULT_FILE, Context, pass_context, read_file, wait_for
from everyhop.errors import EveryhopError
from everyhop.services.discover import Discovery


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the proposal to this new file.")
@pass_context
def discover(context: Context, file: Path | None, write: Path | None) -> None:
    """Find what listens on this machine and is not in the topology FILE, and propose entries for it.

    Without FILE, everyhop.yaml is read if there is one, else the topology that was applied; without either, a whole
    file is proposed. Nothing is changed. Every port that is not known yet is asked politely what it speaks.
    """
    if write is not None and write.exists():
        raise click.UsageError(f"expected a new file to write to, {write} is there already")
    named = file or Path(DEFAULT_FILE)
    text = read_file(named) if file is not None or named.exists() else None
    found = wait_for(discovered(context.workspace, text, file=str(named)))
    if write is not None and found.text:
        _write(write, found.text)
    context.show(found, lambda out: _print(out, found, write))


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise EveryhopError(
            "topology-unreadable", f"expected to write {path}, got {(error.strerror or 'a refusal').lower()}"
        ) from None


def _print(out: Console, found: Discovery, write: Path | None) -> None:
    if not found.candidates:
        out.print("[green]✔[/] everything that listens here is in the topology, or is none of its business")
    else:
        out.print(_table(found))
    for one in found.skipped:
        out.print(f"  [dim]not proposed: {escape(one)}[/]")
    if not found.candidates:
        return
    if write is not None:
        out.print(f"written to {escape(str(write))}: read it, fill in the owners, and `everyhop plan` it")
        return
    if not found.complete:
        out.print("\nPut these into the topology by hand:")
    out.print()
    click.echo(found.text, nl=False)


def _table(found: Discovery) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("proposed name", "listens on", "process", "user", "answered", "calls"):
        table.add_column(name, overflow="fold")
    for one in found.candidates:
        addresses = ", ".join(map(str, one.addresses))
        table.add_row(
            escape(one.name),
            f"[yellow]{escape(addresses)}[/]" if one.exposed else escape(addresses),
            escape(one.process or "-"),
            escape(one.user or "-"),
            escape(f"{one.encryption} {one.wire or ''}".rstrip()),
            escape(", ".join(one.calls) or "-"),
        )
    return table
