"""The templates, and the words they know.

Rules: everything is escaped, whatever it is and wherever it came from; a name that is not there is an error, not an
empty place. A template decides how something looks, never what it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

from everyhop.doors.web import words
from everyhop.doors.web.map import hop_href
from everyhop.services.overview import Protection, flow_protection

MOST_ROWS = 500
"""A table shows no more; the command line has the rest."""

_PAGE = re.compile(r"runbooks/[A-Za-z0-9-]+\.md\Z")
_FOLDER = Path(__file__).parent / "templates"


def templates(asset: Callable[[str], str], runbooks: str) -> jinja2.Environment:
    """Every page's template. ``asset`` gives the address of a file of ours, ``runbooks`` is where the documentation
    is, as an address that ends with a slash (``/``: we serve them ourselves; empty: only paths are shown)."""
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def runbook(page: str) -> str:
        """Where a runbook can be read; empty if only its path is known."""
        if not runbooks or not _PAGE.match(page):
            return ""
        target = runbooks + page.removesuffix(".md") + ".html"
        return target if runbooks == "/" else words.web_link(target)

    filters: dict[str, Any] = {
        "ago": words.ago,
        "span": words.span,
        "clock": words.clock,
        "day": words.day,
        "percent": words.percent,
        "share": words.share,
        "indicator": words.indicator,
        "measured": words.measured,
        "version": words.short_version,
        "identity": words.short_identity,
        "wanted": words.wanted,
        "arrows": words.arrows,
        "passages": words.passages,
        "facts": words.facts,
        "link": words.web_link,
        "runbook": runbook,
    }
    known: dict[str, Any] = {
        "asset": asset,
        "many": words.many,
        "sentence": words.sentence,
        "title_of": words.title,
        "flow_protection": flow_protection,
        "flow_words": words.flow_words,
        "hop_href": hop_href,
        "protections": tuple(Protection),
        "dash": words.NONE,
        "most_rows": MOST_ROWS,
    }
    pages.filters.update(filters)
    pages.globals.update(known)
    return pages
