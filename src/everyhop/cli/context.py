"""What all commands share: which data directory, JSON or not, and how an answer is shown."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape

from everyhop.app import Workspace
from everyhop.core.fault import Fault, FileFaults
from everyhop.errors import EveryhopError

T = TypeVar("T")
DEFAULT_FILE = "everyhop.yaml"
DEFAULT_DATA = ".everyhop"


@dataclass(frozen=True, slots=True)
class Context:
    """How this call was made."""

    data: Path
    as_json: bool
    seal_file: Path | None

    @property
    def workspace(self) -> Workspace:
        """The data directory of this call."""
        return Workspace(self.data.absolute(), self.seal_file)

    @property
    def existing(self) -> Workspace:
        """The data directory, which must be one of ours already; raises ``not-running``."""
        workspace = self.workspace
        if not workspace.exists:
            raise EveryhopError(
                "not-running",
                f"expected an everyhop data directory, found none at {self.data}",
                hint="run this where `everyhop up` ran, or name its directory with --data",
            )
        return workspace

    def show(self, value: Any, people: Callable[[Console], None]) -> None:
        """Print an answer: ``value`` as JSON, or whatever ``people`` prints."""
        if self.as_json:
            click.echo(json.dumps(plain(value), indent=2))  # ASCII: the same in every locale, harmless on a terminal
        else:
            people(console())

    @staticmethod
    def show_error(error: EveryhopError, *, as_json: bool) -> None:
        """Print an error to standard error."""
        if as_json:
            click.echo(json.dumps(error.as_json(), indent=2), err=True)
            return
        out = Terminal(stderr=True, highlight=False, soft_wrap=True)
        if isinstance(error, FileFaults):
            for fault in error.faults:
                out.print(_fault_text(fault))
        out.print(f"[bold red]error[/] [dim]{error.code.name}[/]: {escape(error.message)}")
        if error.hint:
            out.print(f"  [bold]hint:[/] {escape(error.hint)}")


def _fault_text(fault: Fault) -> str:
    where = f"[bold]{escape(fault.file)}:{fault.line}:{fault.column}[/]"
    path = f"{escape(fault.path)}: " if fault.path else ""
    text = f"{where}: {path}expected {escape(fault.expected)}, got {escape(fault.got)}"
    return f"{text}\n  [bold]hint:[/] {escape(fault.hint)}" if fault.hint else text


class Terminal(Console):
    """A console that leaves it to the command line what it means when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Say so; rich would end with the status of a violation."""
        raise BrokenPipeError


def console() -> Console:
    """Where people read. Not wrapped when it is not a terminal, so that it can be searched."""
    return Terminal(highlight=False, soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 200)


def pass_context(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options that all have, as its first argument ``context``."""

    def wrapped(*arguments: Any, data: Path, as_json: bool, seal_file: Path | None, **options: Any) -> T:
        return command(Context(data, as_json, seal_file), *arguments, **options)

    wrapped.__doc__ = command.__doc__
    wrapped.__name__ = command.__name__
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
        click.option(
            "--seal-file",
            type=click.Path(dir_okay=False, path_type=Path),
            envvar="EVERYHOP_SEAL_FILE",
            help="The file that unseals the private keys. Default: one below ~/.config/everyhop.",
        ),
        click.option(
            "--data",
            type=click.Path(file_okay=False, path_type=Path),
            envvar="EVERYHOP_DATA",
            default=DEFAULT_DATA,
            show_default=True,
            help="The data directory.",
        ),
    ):
        wrapped = option(wrapped)
    params: list[Any] = getattr(wrapped, "__click_params__", [])
    params.extend(getattr(command, "__click_params__", []))
    return wrapped


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses as objects, times as ISO 8601, durations as seconds."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in asdict(value).items()}
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    return value


def read_file(path: Path) -> str:
    """A topology file's text; raises ``topology-unreadable``."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise EveryhopError(
            "topology-unreadable",
            f"expected a topology at {path}, found nothing",
            hint="name the file, or begin with examples/shop/everyhop.yaml",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise EveryhopError(
            "topology-unreadable", f"expected a readable UTF-8 file at {path}, got: {error}", hint="check the file"
        ) from error


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return asyncio.run(work)


def duration_text(duration: timedelta | None) -> str:
    """A duration as people say it: the two largest units."""
    if duration is None:
        return "-"
    seconds = int(duration.total_seconds())
    if seconds < 0:
        return f"-{duration_text(timedelta(seconds=-seconds))}"
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    shown = [f"{count}{unit}" for count, unit in parts if count]
    return " ".join(shown[:2]) or "0s"
