"""Questions about what runs: the control loop, its processes, the proxies' socket, the flow detector."""

from __future__ import annotations

from datetime import timedelta

from everyhop.core.health.examination import Answer, Examination, few, of_running
from everyhop.core.health.facts import Books, Patient
from everyhop.core.verdict import Verdict

_BEAT = timedelta(seconds=15)
_DETECTOR = timedelta(minutes=5)


def _loop(patient: Patient, books: Books) -> Answer:
    if books.beat_at is None:
        return Verdict.UNKNOWN, "it has not said anything yet", "look again in a moment"
    silent = patient.at - books.beat_at
    if silent > _BEAT:
        sentence = (
            f"process {patient.premises.holder} holds the lock and was silent for {int(silent.total_seconds())} s"
        )
        return Verdict.FAIL, sentence, "its output says why; end it with `everyhop down` and begin again"
    if books.beat_fault:
        return (
            Verdict.FAIL,
            f"a proxy refused its configuration: {books.beat_fault}",
            "report this: the plan is at fault",
        )
    return Verdict.PASS, f"process {patient.premises.holder} is {books.beat_state}"


def _processes(patient: Patient, books: Books) -> Answer:
    down = [f"{one.name} is {one.state} {one.detail}".rstrip() for one in books.processes if one.state != "up"]
    if down:
        return Verdict.FAIL, few(down), "`everyhop logs NAME` shows what it said"
    if not books.processes:
        return Verdict.UNKNOWN, "no process was started yet"
    return Verdict.PASS, f"all {len(books.processes)} processes are up"


def _xds(patient: Patient, books: Books) -> Answer:
    if not patient.premises.xds:
        hint = "the proxies go on with what they have, and get nothing new: end everyhop and begin again"
        return Verdict.FAIL, "the proxies' configuration socket takes no connection", hint
    return Verdict.PASS, "the proxies' configuration socket takes connections"


def _detector(patient: Patient, books: Books) -> Answer:
    if books.detector_fault:
        return (
            Verdict.FAIL,
            f"flows cannot be seen: {books.detector_fault}",
            "that no plaintext is found means nothing now",
        )
    if books.detector_at is None:
        return Verdict.UNKNOWN, "flows were not looked for yet"
    if patient.at - books.detector_at > _DETECTOR:
        return Verdict.FAIL, f"flows were last looked for at {books.detector_at:%Y-%m-%d %H:%M} UTC", "see control-loop"
    return Verdict.PASS, "flows are looked for"


RUNNING = (
    Examination("control-loop", "Is the control loop alive?", of_running(_loop)),
    Examination("processes", "Is every process up?", of_running(_processes)),
    Examination("xds-socket", "Can the proxies fetch their configuration?", of_running(_xds)),
    Examination("flow-detector", "Does somebody look for plaintext flows?", of_running(_detector)),
)
