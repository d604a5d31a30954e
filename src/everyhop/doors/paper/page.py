"""The printable page of an evidence pack.

Rules: a pure function of the signed bytes, so that whoever verifies the pack can make the same page and compare.
Everything is escaped. The page decides how something looks, never what it means; it says where it rests on nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from everyhop.core.evidence.claims import Cites
from everyhop.core.evidence.pack import Pack
from everyhop.core.verdict import Verdict

MOST_EVENTS = 300
"""Rows of a table on paper; the signed JSON has all."""
_MOST_CITED = 12


def page(pack: Pack, content: bytes) -> str:
    """The page of a pack; ``content`` are its signed bytes."""
    shelf = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shelf.filters.update(moment=_moment, cited=_cited, counted=_counted, mark=_mark)
    return shelf.get_template("page.html.j2").render(
        pack=pack,
        claims=pack.claims,
        sha256=hashlib.sha256(content).hexdigest(),
        most=MOST_EVENTS,
        verdicts={verdict: sum(one.verdict is verdict for one in pack.claims.checklist) for verdict in Verdict},
    )


def _moment(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else "never"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} × {count}" for name, count in counts.items()) or "–"


def _cited(cites: Cites) -> str:
    """The cited observations in short: runs of numbers as ranges."""
    parts = [f"{name} {_runs(found)}" for name, found in (("record", cites.record), ("detail", cites.detail)) if found]
    return "; ".join(parts) or "nothing"


def _runs(sequences: tuple[int, ...]) -> str:
    runs: list[list[int]] = []
    for one in sequences:
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    told = [str(first) if first == last else f"{first}–{last}" for first, last in runs[:_MOST_CITED]]
    return ", ".join(told) + (f" and {len(runs) - _MOST_CITED} more" if len(runs) > _MOST_CITED else "")


def _mark(verdict: Verdict) -> str:
    return {Verdict.PASS: "✔", Verdict.FAIL: "✘", Verdict.UNKNOWN: "?", Verdict.NOT_APPLICABLE: "–"}[verdict]
