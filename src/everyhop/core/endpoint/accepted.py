"""What an endpoint accepted and what it provably refused, read alike from both modes of the TLS probe.

Rules: verify mode offers what is forbidden and demands a refusal; enumerate mode lists everything and proves the end of
each list. A refusal counts if the server said so (an alert, an end, a reset) while it accepted something else; silence
and garbage are not refusals. An end or a reset is what a rate limiter gives, too: it counts only where the endpoint
still accepted something afterwards, and the probes make sure of that. What was accepted in a version that is not
permitted is a matter of that version alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from everyhop.core.endpoint.facts import Answer, Reply, TlsFacts, VersionFacts
from everyhop.core.tls.versions import version_name

REFUSALS = (Reply.REFUSED, Reply.RESET)


def is_wordless(answer: Answer) -> bool:
    """True for a refusal without an alert: whoever has had enough of us answers so, too."""
    return answer.reply in REFUSALS and answer.alert is None


def doubted(answer: Answer, why: str) -> Answer:
    """The answer as it counts once the endpoint has stopped answering: a wordless refusal is a silence."""
    if not is_wordless(answer):
        return answer
    return replace(answer, reply=Reply.SILENT, evidence=f"{answer.evidence or answer.reply.value}; {why}")


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that the endpoint accepted."""

    version: int
    suite: int | None
    group: int | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of one concern (versions, suites, groups): what was accepted, and whether the rest was refused."""

    choices: tuple[Choice, ...]
    refused: tuple[str, ...] = ()
    """The server's own words, for each question that it refused."""
    untold: tuple[str, ...] = ()
    """Why a question stayed open."""


def speaks_tls(tls: TlsFacts) -> bool | None:
    """True if anything was accepted, False if all answers were no TLS at all, None if it cannot be told."""
    if tls.versions or any(asked.answer.reply is Reply.ACCEPTED for asked in tls.asked):
        return True
    answers = [*(asked.answer for asked in tls.asked), *(answer for _, answer in tls.refused_versions)]
    return False if answers and all(answer.reply is Reply.NOT_TLS for answer in answers) else None


def versions(tls: TlsFacts, permitted: Sequence[int]) -> Proof:
    """Which versions were accepted, and whether every one that is not permitted was refused."""
    if tls.mode == "verify":
        return _asked(tls, "forbidden-version")
    choices = tuple(
        Choice(one.version, next(iter(one.suites), None), next(iter(one.groups), None), _many(one, len(one.suites)))
        for one in tls.versions
    )
    refused, untold = _sorted(answer for version, answer in tls.refused_versions if version not in permitted)
    return Proof(choices, refused, (*untold, *_fault(tls)))


def suites(tls: TlsFacts, permitted: Sequence[int]) -> Proof:
    """Which suites were accepted in permitted versions, and whether all others were refused."""
    if tls.mode == "verify":
        return _asked(tls, "forbidden-suites-", permitted)
    judged = [one for one in tls.versions if one.version in permitted]
    choices = tuple(
        Choice(one.version, suite, None, _many(one, len(one.suites))) for one in judged for suite in one.suites
    )
    refused, untold = _sorted(one.refusal for one in judged)
    return Proof(choices, refused, (*untold, *_fault(tls)))


def groups(tls: TlsFacts, permitted: Sequence[int]) -> Proof:
    """Which groups were accepted in permitted versions, and whether all others were refused."""
    if tls.mode == "verify":
        return _asked(tls, "forbidden-groups-", permitted)
    judged = [one for one in tls.versions if one.version in permitted]
    choices = tuple(
        Choice(one.version, None, group, _many(one, len(one.groups), "group")) for one in judged for group in one.groups
    )
    refused, untold = _sorted(one.refusal for one in judged)
    hidden = tuple("the certificate's own curve hides further groups" for one in judged if one.unsure_groups)
    return Proof(choices, refused, (*untold, *hidden, *_fault(tls)))


def answers(tls: TlsFacts, question: str) -> tuple[Answer, ...]:
    """Verify mode: the answers to the questions whose names begin so."""
    return tuple(asked.answer for asked in tls.asked if asked.question.startswith(question))


def _fault(tls: TlsFacts) -> tuple[str, ...]:
    return (tls.fault,) if tls.fault else ()


def _many(one: VersionFacts, count: int, thing: str = "suite") -> str:
    return f"accepts {count} {thing}{'s' if count != 1 else ''} in {version_name(one.version)}"


def _asked(tls: TlsFacts, question: str, permitted: Sequence[int] | None = None) -> Proof:
    found = answers(tls, question)
    choices = tuple(
        Choice(answer.version or 0, answer.suite, answer.group, answer.evidence)
        for answer in found
        if answer.reply is Reply.ACCEPTED and (permitted is None or answer.version in permitted)
    )
    refused, untold = _sorted(answer for answer in found if answer.reply is not Reply.ACCEPTED)
    return Proof(choices, refused, untold)


def _sorted(found: Iterator[Answer | None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Answers as refusals and open questions, each in words, once each."""
    refused: dict[str, None] = {}
    untold: dict[str, None] = {}
    for answer in found:
        if answer is None:
            untold["the list could not be finished"] = None
        elif answer.reply in REFUSALS:
            refused[answer.evidence or answer.reply.value] = None
        else:
            untold[f"{answer.reply}: {answer.evidence}" if answer.evidence else answer.reply.value] = None
    return tuple(refused), tuple(untold)
