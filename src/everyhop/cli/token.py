"""Commands for tokens: who else may read the dashboard and the metrics."""

from __future__ import annotations

from datetime import timedelta

import click
from rich.markup import escape

from everyhop.app import now
from everyhop.app.admitting import granted, tokens, withdrawn
from everyhop.cli.context import Context, duration_text, pass_context, wait_for
from everyhop.core.literals import parse_duration


@click.group()
def token() -> None:
    """Let others read the dashboard and the metrics, from other machines or as other users."""


@token.command("grant")
@click.argument("name")
@click.option("--for", "lifetime", default="30d", show_default=True, help="How long it lives: 8h, 30d, at most 366d.")
@pass_context
def grant_command(context: Context, name: str, lifetime: str) -> None:
    """Make a token called NAME and print it, this once: only its hash is kept.

    It goes into the header of a request (Authorization: Bearer ...), or once into the dashboard's login.
    """
    secret = wait_for(granted(context.existing, name, _duration(lifetime)))
    context.show({"name": name, "token": secret}, lambda _: click.echo(secret))


@token.command("withdraw")
@click.argument("name")
@pass_context
def withdraw_command(context: Context, name: str) -> None:
    """End the token called NAME, and every session that came from it."""
    wait_for(withdrawn(context.existing, name))
    context.show({"withdrawn": name}, lambda out: out.print(f"[green]✔[/] {escape(name)} is withdrawn"))


@token.command("list")
@pass_context
def list_command(context: Context) -> None:
    """List the tokens: what for, since when, until when."""
    found, at = wait_for(tokens(context.existing)), now()
    shown = [{"name": one.name, "created_at": one.created_at, "expires_at": one.expires_at} for one in found]

    def people(out: object) -> None:
        for one in found:
            left = one.expires_at - at
            click.echo(f"{one.name}: {'has ended' if left <= timedelta(0) else f'ends in {duration_text(left)}'}")

    context.show(shown, people)


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, got {text!r}", param_hint="--for") from error
