"""The command that looks after everyhop itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.markup import escape

from everyhop.app.examining import diagnosed
from everyhop.cli.context import Context, pass_context, wait_for
from everyhop.core.health import Diagnosis
from everyhop.core.verdict import Verdict, worst

_EXIT = {Verdict.PASS: 0, Verdict.NOT_APPLICABLE: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}
_MARKS = {
    Verdict.PASS: "[green]✔[/]",
    Verdict.FAIL: "[bold red]✘[/]",
    Verdict.UNKNOWN: "[yellow]?[/]",
    Verdict.NOT_APPLICABLE: "[dim]-[/]",
}


@click.command()
@pass_context
def doctor(context: Context) -> None:
    """Examine everyhop itself: its files, its authority, what runs, and its evidence. Changes nothing.

    Exits with 0 if all is well, 1 if something is wrong, 2 if something could not be told.
    """
    found = wait_for(diagnosed(context.existing))
    context.show(found, lambda out: _print(out, found))
    sys.exit(_EXIT[worst(one.verdict for one in found)])


def _print(out: Console, found: Sequence[Diagnosis]) -> None:
    width = max(len(one.code) for one in found)
    for one in found:
        out.print(f"{_MARKS[one.verdict]} {one.code:<{width}}  {escape(one.sentence)}")
        if one.hint:
            out.print(f"  {'':<{width}}  [bold]hint:[/] {escape(one.hint)}")
    counts = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    out.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
