"""The rule about ourselves: an endpoint at which we failed is not well, and is not left out either.

Rules: a fault of ours never costs more than the answers that it touched: the other rules, and the other endpoints of a
fleet, keep theirs. It is told with its kind and its place, because whoever reads it should be able to report it.
"""

from __future__ import annotations

import traceback

from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, unknown
from everyhop.core.finding import Severity

_HINT = "expected an answer, got a fault of everyhop itself: please report it"
_LONGEST = 200
"""Characters of an exception's words that are told."""


def fault_of(error: BaseException) -> str:
    """An unforeseen exception in one line: its kind, its words and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    words = " ".join(str(error).split())[:_LONGEST]
    return ": ".join(filter(None, (type(error).__name__, words))) + place


def unanswered(error: BaseException) -> Outcome:
    """What a rule that failed says of its case."""
    return unknown(_HINT, fault_of(error))


def _failed_scan(case: Case) -> Outcome | None:
    return unknown(_HINT, case.facts.fault) if case.facts.fault else None


RULES = (
    Rule(
        "scan-failed",
        Severity.HIGH,
        "everyhop, Looking at an endpoint from outside",
        "an endpoint that could not be looked at for a fault of everyhop must not pass for one that is well",
        _failed_scan,
    ),
)
