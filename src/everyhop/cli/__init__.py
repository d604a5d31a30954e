"""The command line: thin. It parses, calls one function below, and renders the answer.

Rules: every command answers with ``--json``, too; what is for people goes through rich, what is for programs is plain
JSON on standard output; errors go to standard error with their code and a hint; exit statuses are those of
:class:`everyhop.errors.ExitStatus`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from everyhop import __version__
from everyhop.cli.context import Context
from everyhop.cli.discover import discover
from everyhop.cli.doctor import doctor
from everyhop.cli.export import export
from everyhop.cli.look import audit, certs, check, explain, hops, status, trust
from everyhop.cli.report import report
from everyhop.cli.rotate import rotate
from everyhop.cli.run import apply_command, down, logs, up
from everyhop.cli.scan import profiles, scan
from everyhop.cli.topology import plan, schema, validate
from everyhop.errors import EveryhopError, ExitStatus

_EPILOG = """
\b
A first look:
  everyhop up everyhop.yaml     encrypt every hop, until Ctrl-C
  everyhop status               what is encrypted, seen when and by whom
  everyhop explain web db       why a call works, or why it is refused

\b
Exit statuses: 0 well, 1 something falls short, 2 wrong usage, 3 not available (not running, locked), 4 a fault of ours.
"""


class _Group(click.Group):
    """Translates our errors to a message, a hint and an exit status, once."""

    def main(self, args: Sequence[str] | None = None, *arguments: Any, **options: Any) -> Any:
        """Run a command; never lets a traceback of a known error reach the user."""
        as_json = "--json" in (sys.argv if args is None else args)
        try:
            return super().main(args, *arguments, **options)
        except EveryhopError as error:
            Context.show_error(error, as_json=as_json)
            sys.exit(error.code.exit_status)
        except Exception as error:  # noqa: BLE001  # the last line of defence: say that it is ours, and show all of it
            traceback.print_exc()
            fault = EveryhopError(
                "internal",
                f"a fault of everyhop itself: {type(error).__name__}",
                hint="please report what stands above",
            )
            Context.show_error(fault, as_json=as_json)
            sys.exit(ExitStatus.INTERNAL)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one meets them, not by the alphabet."""
        return list(self.commands)


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="everyhop")
def main() -> None:
    """Encrypt every hop between your services, and prove it."""


for _command in (
    up,
    down,
    status,
    hops,
    certs,
    explain,
    check,
    scan,
    profiles,
    plan,
    apply_command,
    validate,
    discover,
    doctor,
    report,
    rotate,
    logs,
    audit,
    trust,
    export,
    schema,
):
    main.add_command(_command)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print shell completion for bash, zsh or fish.

    \b
    For bash:  everyhop completion bash > ~/.local/share/bash-completion/completions/everyhop
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(main, {}, "everyhop", "_EVERYHOP_COMPLETE").source())


__all__ = ["main"]
