"""The form of an examination: a stable code, a question, and an answer with a sentence and a way out.

Rules: one examination, one question, one of four verdicts. Not applicable says why; unknown says what was missing. A
sentence names what was seen, a hint what to do; neither holds a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from everyhop.core.health.facts import Books, Patient
from everyhop.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The answer to one question."""

    code: str
    verdict: Verdict
    sentence: str
    hint: str = ""


Answer = tuple[Verdict, str] | tuple[Verdict, str, str]
"""Verdict, sentence and perhaps a hint."""


@dataclass(frozen=True, slots=True)
class Examination:
    """One question about everyhop's health."""

    code: str
    question: str
    look: Callable[[Patient], Answer]

    def examine(self, patient: Patient) -> Diagnosis:
        """The answer for this patient."""
        verdict, sentence, *hint = self.look(patient)
        return Diagnosis(self.code, verdict, sentence, *hint)


def of_books(look: Callable[[Patient, Books], Answer]) -> Callable[[Patient], Answer]:
    """A look at the store, unknown where it could not be read."""

    def looked(patient: Patient) -> Answer:
        if patient.books is None:
            return Verdict.UNKNOWN, f"the store could not be read: {patient.no_books}"
        return look(patient, patient.books)

    return looked


def of_running(look: Callable[[Patient, Books], Answer]) -> Callable[[Patient], Answer]:
    """A look at the store that says something only while everyhop runs."""

    def looked(patient: Patient) -> Answer:
        if not patient.runs:
            return Verdict.NOT_APPLICABLE, "no everyhop runs on this data directory"
        return of_books(look)(patient)

    return looked


def few(names: list[str], most: int = 5) -> str:
    """Some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
