"""The four answers that everything here gives: pass, fail, unknown, not applicable.

Rules: what was not measured is *unknown*, never a pass; an unknown stays in every denominator. *Not applicable* is a
statement too, and says why. Nothing is ever reduced to two answers on the way to a person or to an exit status.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """The four answers."""

    PASS = "pass"  # noqa: S105  # a verdict
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"


_WORST_FIRST = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS, Verdict.NOT_APPLICABLE)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The answer for a whole: one failure fails it, else one unknown leaves it unknown. Nothing asked: unknown."""
    found = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.UNKNOWN)
