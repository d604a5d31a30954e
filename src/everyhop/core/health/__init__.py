"""The health of everyhop itself and of its authority: what `everyhop doctor` asks, one small object a question."""

from __future__ import annotations

from everyhop.core.health.authority import AUTHORITY
from everyhop.core.health.evidence import EVIDENCE
from everyhop.core.health.examination import Diagnosis, Examination
from everyhop.core.health.facts import Patient
from everyhop.core.health.premises import PREMISES
from everyhop.core.health.running import RUNNING

EXAMINATIONS: dict[str, Examination] = {one.code: one for one in (*PREMISES, *AUTHORITY, *RUNNING, *EVIDENCE)}
"""By code, in the order in which a person would look: the ground first, then the authority, then what runs on it."""


def examine(patient: Patient) -> tuple[Diagnosis, ...]:
    """Every examination's answer, in order."""
    return tuple(one.examine(patient) for one in EXAMINATIONS.values())
