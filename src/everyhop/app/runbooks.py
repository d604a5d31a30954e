"""The runbooks: one page for each alert and each rule, shipped with the package.

Rules: names are those of alerts and rules, never a path. In a checkout they are read where they are written.
"""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).resolve()
_FOLDERS = (_HERE.parents[1] / "runbooks", _HERE.parents[3] / "docs" / "runbooks")
"""In an installed package, and in a checkout."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,80}\Z")


def runbook(name: str) -> str | None:
    """A page as Markdown; None if there is none of this name."""
    for folder in _FOLDERS:
        path = folder / f"{name}.md"
        if _NAME.match(name) and path.is_file():
            return path.read_text(encoding="utf-8")
    return None


def runbooks() -> tuple[str, ...]:
    """The names of all pages."""
    folder = next((one for one in _FOLDERS if one.is_dir()), None)
    pages = folder.glob("*.md") if folder else ()
    return tuple(sorted(page.stem for page in pages if page.stem != "index"))
