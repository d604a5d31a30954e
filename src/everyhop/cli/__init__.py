"""The command line: thin. It parses, calls one function below, and renders the answer.

Rules: every command answers with ``--json``, too; what is for people goes through rich, what is for programs is plain
JSON on standard output; errors go to standard error with their code and a hint; exit statuses are those of
:class:`everyhop.errors.ExitStatus`, and 1 means that something falls short and nothing else: neither Ctrl-C nor a
reader who hung up is a violation. With ``--json`` errors of usage are JSON, too. A character that the terminal's
encoding does not have is spelled out; no answer fails for it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from everyhop import __version__
from everyhop.cli.context import Context
from everyhop.errors import EveryhopError, ExitStatus

_EPILOG = """
\b
A first look:
  everyhop up everyhop.yaml     encrypt every hop, until Ctrl-C
  everyhop status               what is encrypted, seen when and by whom
  everyhop explain web db       why a call works, or why it is refused

\b
Exit statuses: 0 well, 1 something falls short, 2 wrong usage, 3 not available (not running, locked), 4 a fault of ours,
130 ended by Ctrl-C, 141 whoever read the answer hung up.
"""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _look() -> Iterable[click.Command]:
    from everyhop.cli.look import audit, certs, check, explain, hops, status, trust

    return audit, certs, check, explain, hops, status, trust


def _run() -> Iterable[click.Command]:
    from everyhop.cli.run import apply_command, down, logs, up

    return apply_command, down, logs, up


def _rotate() -> Iterable[click.Command]:
    from everyhop.cli.rotate import rotate

    return (rotate,)


def _topology() -> Iterable[click.Command]:
    from everyhop.cli.topology import plan, schema, validate

    return plan, schema, validate


def _scan() -> Iterable[click.Command]:
    from everyhop.cli.scan import profiles, scan

    return profiles, scan


def _lint() -> Iterable[click.Command]:
    from everyhop.cli.lint import lint

    return (lint,)


def _discover() -> Iterable[click.Command]:
    from everyhop.cli.discover import discover

    return (discover,)


def _doctor() -> Iterable[click.Command]:
    from everyhop.cli.doctor import doctor

    return (doctor,)


def _report() -> Iterable[click.Command]:
    from everyhop.cli.report import report

    return (report,)


def _export() -> Iterable[click.Command]:
    from everyhop.cli.export import export

    return (export,)


def _token() -> Iterable[click.Command]:
    from everyhop.cli.token import token

    return (token,)


def _runbook() -> Iterable[click.Command]:
    from everyhop.cli.runbook import runbook_command

    return (runbook_command,)


_COMMANDS: Mapping[str, Callable[[], Iterable[click.Command]]] = {
    "up": _run,
    "down": _run,
    "status": _look,
    "hops": _look,
    "certs": _look,
    "explain": _look,
    "check": _look,
    "scan": _scan,
    "lint": _lint,
    "profiles": _scan,
    "plan": _topology,
    "apply": _run,
    "validate": _topology,
    "discover": _discover,
    "doctor": _doctor,
    "report": _report,
    "rotate": _rotate,
    "logs": _run,
    "audit": _look,
    "trust": _look,
    "runbook": _runbook,
    "token": _token,
    "export": _export,
    "schema": _topology,
}
"""Every command and what brings it, in the order in which one meets them: a command loads no more than it needs."""


@contextmanager
def _heard() -> Generator[None]:
    """A reader who hung up (`| head`) ends the command, and is no violation."""
    try:
        yield
    except BrokenPipeError:
        _hang_up()
        raise click.exceptions.Exit(ExitStatus.UNHEARD) from None


def _hang_up() -> None:
    """Write nothing more to standard output, not even what Python still holds of it when it ends."""
    with suppress(OSError):  # in tests it is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _end(error: EveryhopError, *, as_json: bool) -> NoReturn:
    """Say what went wrong, and exit with its status."""
    Context.show_error(error, as_json=as_json)
    sys.exit(error.code.exit_status)


class _Group(click.Group):
    """Loads commands when they are asked for, and translates our errors to a message, a hint and an exit status."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        if cmd_name in _COMMANDS and cmd_name not in self.commands:
            for command in _COMMANDS[cmd_name]():
                self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the command line; `--help` answers here already."""
        with _heard():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        with _heard():
            return super().invoke(ctx)

    def main(self, args: Sequence[str] | None = None, *arguments: Any, **options: Any) -> Any:
        """Run a command; never lets a traceback of a known error reach the user."""
        as_json = "--json" in (sys.argv if args is None else args)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportUnknownMemberType] -- of any buffer
        try:
            status = super().main(args, *arguments, **{**options, "standalone_mode": False})
        except EveryhopError as error:
            _end(error, as_json=as_json)
        except click.Abort:
            click.echo("interrupted", err=True)
            sys.exit(ExitStatus.INTERRUPTED)
        except click.ClickException as error:
            if not as_json:
                error.show()
                sys.exit(error.exit_code)
            _end(EveryhopError("usage-invalid", error.format_message()), as_json=True)
        except Exception as error:  # noqa: BLE001  # the last line of defence: say that it is ours, and show all of it
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                _hang_up()
                words = (error.strerror or "").lower()
                _end(EveryhopError("usage-invalid", f"expected room for the answer, got: {words}"), as_json=as_json)
            traceback.print_exc()
            fault = EveryhopError(
                "internal",
                f"a fault of everyhop itself: {type(error).__name__}",
                hint="please report what stands above",
            )
            _end(fault, as_json=as_json)
        sys.exit(status if isinstance(status, int) else ExitStatus.OK)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one meets them, not by the alphabet."""
        return [*_COMMANDS, "completion"]


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="everyhop")
def main() -> None:
    """Encrypt every hop between your services, and prove it."""


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
