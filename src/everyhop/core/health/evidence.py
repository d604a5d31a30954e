"""Questions about the evidence: is it sealed in time, and does it still match its seals?"""

from __future__ import annotations

from datetime import timedelta

from everyhop.core.health.examination import Answer, Examination, few, of_books, of_running
from everyhop.core.health.facts import Books, Patient
from everyhop.core.verdict import Verdict

_BACKLOG = timedelta(minutes=30)


def _backlog(patient: Patient, books: Books) -> Answer:
    late = [
        f"{one.name} since {one.unsealed_since:%Y-%m-%d %H:%M} UTC"
        for one in books.streams
        if one.unsealed_since is not None and patient.at - one.unsealed_since > _BACKLOG
    ]
    if late:
        return Verdict.FAIL, f"observations wait for their seal: {few(late)}", "until then they could be changed unseen"
    return Verdict.PASS, "observations are sealed in time"


def _seals(patient: Patient, books: Books) -> Answer:
    faults = [f"{one.name}: {fault}" for one in books.streams for fault in one.faults]
    if faults:
        return Verdict.FAIL, few(faults, most=3), "somebody changed what was observed: keep a copy before anything else"
    seals = sum(one.seals for one in books.streams)
    if not seals:
        return Verdict.NOT_APPLICABLE, "nothing was sealed yet"
    return Verdict.PASS, f"the newest {seals} seals match what is stored; `report verify --store` looks at every one"


EVIDENCE = (
    Examination("sealing", "Are observations sealed in time?", of_running(_backlog)),
    Examination("seals", "Do stored observations match their seals?", of_books(_seals)),
)
