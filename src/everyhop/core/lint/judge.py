"""From a file to its findings: the rules of its kind, the rules for every file, and the excuses in it.

Rules: only what falls short, or cannot be told, is a finding; a file without one is clean. Nothing raises, whatever a
file holds.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from everyhop.core.finding import Finding
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.excuses import EXPIRED, INVALID, UNUSED, apply_excuses, line_of, read_excuses
from everyhop.core.lint.languages import RULES, SECRETS, language_of
from everyhop.core.lint.rule import UNREADABLE, File

KNOWN = frozenset((*RULES, UNREADABLE, INVALID, EXPIRED, UNUSED))
"""Every code that a finding of ours may have."""


def judge_file(file: File, guideline: Guideline, *, today: date, only: Collection[str] = ()) -> tuple[Finding, ...]:
    """Every finding about a file, in file order; with ``only``, of these rules and about their excuses."""
    language = language_of(file)
    found = [*(language.look(file, guideline) if language else ()), *SECRETS.look(file, guideline)]
    if language is None and not found:
        return ()  # prose: it may speak about excuses
    excuses, faults = read_excuses(file.path, file.text, RULES.__contains__)
    if only:
        found = [one for one in found if one.rule in only or one.rule == UNREADABLE]
        excuses = [one for one in excuses if one.rule in only]
        faults = [one for one in faults if one.rule in only]
    return tuple(sorted((*apply_excuses(file.path, found, excuses, today), *faults), key=line_of))
