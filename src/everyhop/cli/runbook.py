"""The command that shows a runbook."""

from __future__ import annotations

import click
from rich.markdown import Markdown

from everyhop.app.runbooks import runbook, runbooks
from everyhop.cli.context import console
from everyhop.core.fault import did_you_mean
from everyhop.errors import EveryhopError


@click.command("runbook")
@click.argument("name", required=False)
def runbook_command(name: str | None) -> None:
    """Show the runbook of an alert or a rule; without NAME, list them all."""
    if name is None:
        for one in runbooks():
            click.echo(one)
        return
    text = runbook(name)
    if text is None:
        hint = did_you_mean(name, list(runbooks()), otherwise="`everyhop runbook` lists them")
        raise EveryhopError("unknown-name", f"expected the name of an alert or a rule, got {name!r}", hint=hint)
    console().print(Markdown(text))
