"""Put together what looks at files: `everyhop lint`.

Rules: as for the whole package. Nothing is contacted and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from everyhop.core.finding import Finding
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.imported import read_sarif
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.host.tree import files_below
from everyhop.services.lint import LintOrder, LintReport, lint


def lint_paths(
    paths: Iterable[Path], guideline: Guideline, *, only: Collection[str] = (), reports: Sequence[tuple[str, str]] = ()
) -> LintReport:
    """Look at every file at or below some paths; ``reports`` are SARIF logs of other tools, by their file's name.

    Raises ``sarif-invalid``.
    """
    imported: list[Finding] = []
    for file, text in reports:
        imported += read_sarif(text, file=file)
    order = LintOrder(guideline=guideline, today=SystemClock().now().date(), only=only)
    return lint(files_below(paths), order, imported=imported)
