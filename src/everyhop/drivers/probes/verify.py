"""Does an endpoint refuse what a guideline does not permit? About seven hellos, at most eight, and a ninth in doubt.

Rules: what is forbidden is offered, alone, and has to be refused: the refusal is the proof, and a violation names
itself. What is permitted is offered too, because a server that refuses everything proves nothing. Nothing is judged
here. The questions, by name:

* ``permitted-tls13``, ``permitted-tls12``: what the guideline permits, best first. The second one is made as long as
  ``forbidden-suites-tls12`` by suites that nobody has registered: a server that chokes on long hellos, or reads their
  beginning only, does not accept it, and its refusals are then asked for again in parts.
* ``forbidden-suites-tls13``, ``forbidden-suites-tls12`` (and of the oldest permitted version): every other suite, with
  every group.
* ``forbidden-groups-tls13``, ``forbidden-groups-tls12``: permitted suites with every other group.
* ``forbidden-versions``: everything, in every version older than the oldest permitted one; the hello offers them all.
  ``forbidden-version-tls13`` where a guideline stops at TLS 1.2.
* ``required-tls11`` and the like: a required version that nothing else has asked for.
* ``preferred-groups``: only the preferred ones; asked if ``permitted-tls13`` was answered with another.
* ``permitted-dh``: the permitted suites with a finite field, for the size of its prime.

Below TLS 1.3 a certificate of a curve serves only clients that offer this curve (RFC 8422, 5.1). So where
``forbidden-groups-tls12`` is refused and the leaf has such a key, it is asked once more with the certificate's curve as
the last choice: a forbidden group that is chosen then is the answer; otherwise the refusal stands.

A refusal without an alert (an end, a reset) is also what a rate limiter gives. Where one came, something that was
accepted is offered once more at the end, and if it is not accepted any longer, these refusals are silences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from everyhop.core.endpoint.accepted import doubted
from everyhop.core.endpoint.facts import Answer, Asked, Reply, TlsFacts
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.tls.alerts import PROTOCOL_VERSION
from everyhop.core.tls.groups import TLS12_GROUPS, TLS13_GROUPS
from everyhop.core.tls.suites import TLS12_SUITES, TLS13_SUITES, suite
from everyhop.core.tls.versions import NEWEST_FIRST, TLS12, TLS13, version_slug
from everyhop.drivers.probes.hello.ask import Interview
from everyhop.drivers.probes.hello.encode import FILLERS, Hello, legacy, tls13
from everyhop.drivers.probes.leaf import leaf_group

MOST_HELLOS = 8
"""For every server that accepts something permitted, refuses in alerts, and says ``protocol_version`` to versions that
it does not have. One that refuses without alerts is asked once more at the end, and one that chokes on long hellos is
asked those again in parts, four for each."""
PART = 100
"""Suites in a part: some old servers read no more than 128."""

_FORBIDDEN_SUITES = "forbidden-suites-{}"
_HOPELESS = (Reply.UNREACHABLE, Reply.NOT_TLS, Reply.SILENT, Reply.GARBLED)


@dataclass(frozen=True, slots=True)
class Question:
    """A question of verify mode."""

    name: str
    hello: Hello
    whole: bool = False
    """Read the whole flight of the server."""


async def verify_tls(interview: Interview, guideline: Guideline, now: datetime) -> TlsFacts:
    """Ask what this guideline needs to know. Never raises for what the endpoint does."""
    return await _Verification(interview, guideline).run(now)


@lru_cache(maxsize=256)
def questions(guideline: Guideline, server_name: str = "") -> tuple[Question, ...]:
    """The questions that every endpoint is asked, those about what is permitted first."""
    found = [*_tls13(guideline), *_legacy(guideline)]
    if len(found) > MOST_HELLOS:  # a suite of old is one of TLS 1.2 too, so this is the one that can be spared
        found = [one for one in found if one.name != _FORBIDDEN_SUITES.format(version_slug(min(guideline.versions)))]
    found.sort(key=lambda one: not one.name.startswith("permitted-tls"))
    return tuple(replace(one, hello=one.hello.named(server_name)) for one in found)


def _tls13(guideline: Guideline) -> Iterator[Question]:
    """Questions in TLS 1.3. What would offer nothing is not asked."""
    if TLS13 not in guideline.versions:
        yield Question("forbidden-version-tls13", tls13())
        return
    suites = guideline.suites_tls13
    groups = _only(TLS13_GROUPS, (*guideline.preferred_groups, *guideline.groups))
    yield Question("permitted-tls13", tls13(suites, groups))
    others = _without(TLS13_SUITES, suites)
    if others:
        yield Question("forbidden-suites-tls13", tls13(others))
    foreign = _without(TLS13_GROUPS, groups)
    if foreign:
        yield Question("forbidden-groups-tls13", tls13(suites, foreign))


def _legacy(guideline: Guideline) -> Iterator[Question]:
    """Questions in TLS 1.2 and older."""
    permitted = sorted((version for version in guideline.versions if version <= TLS12), reverse=True)
    older = [version for version in NEWEST_FIRST if version < min(permitted, default=TLS13)]
    if permitted:
        yield from _permitted_legacy(guideline, permitted)
    if older:
        yield Question("forbidden-versions", legacy(older[0]))


def _permitted_legacy(guideline: Guideline, permitted: Sequence[int]) -> Iterator[Question]:
    newest, oldest = permitted[0], permitted[-1]
    suites, groups = guideline.suites_tls12, _only(TLS12_GROUPS, guideline.groups)
    others, foreign = _without(TLS12_SUITES, suites), _without(TLS12_GROUPS, groups)
    padding = FILLERS[: max(len(others) - len(suites), 0)]
    yield Question(f"permitted-{version_slug(newest)}", legacy(newest, (*padding, *suites), groups), whole=True)
    if others:
        for version in dict.fromkeys((newest, oldest)):
            yield Question(_FORBIDDEN_SUITES.format(version_slug(version)), legacy(version, others))
    on_groups = tuple(code for code in suites if suite(code).exchange == "ECDHE")
    if on_groups and foreign:
        yield Question(f"forbidden-groups-{version_slug(newest)}", legacy(newest, on_groups, foreign), whole=True)
    on_fields = tuple(code for code in suites if suite(code).exchange == "DHE")
    if on_fields:
        yield Question("permitted-dh", legacy(newest, on_fields, groups), whole=True)
    for version in permitted[1:]:
        if version in guideline.required_versions:
            yield Question(f"required-{version_slug(version)}", legacy(version, suites, groups), whole=True)


def _only(order: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """What is wanted, in the wanted order, as far as it exists."""
    return tuple(dict.fromkeys(code for code in wanted if code in order))


def _without(every: Sequence[int], taken: Sequence[int]) -> tuple[int, ...]:
    return tuple(code for code in every if code not in taken)


class _Verification:
    """One run through the questions, and what follows from their answers."""

    def __init__(self, interview: Interview, guideline: Guideline) -> None:
        self._interview = interview
        self._guideline = guideline
        self._name = interview.server_name
        self._questions = {one.name: one for one in questions(guideline, self._name)}
        self._answers: dict[str, Answer] = {}

    async def run(self, now: datetime) -> TlsFacts:
        """Controls first: whoever does not answer them is not asked further."""
        clock = asyncio.get_running_loop().time
        began = clock()
        names = list(self._questions)
        first = [name for name in names if name.startswith("permitted-tls")] or names[:1]
        await self._ask(first)
        fault = self._hopeless()
        if not fault:
            await self._ask([name for name in names if name not in first])
            await self._ask_for_preferred_groups()
            await self._ask_beside_certificate()
            await self._ask_again_in_parts()
            await self._ask_whether_it_still_answers()
        return TlsFacts(
            target=self._interview.target,
            at=now,
            mode="verify",
            asked=tuple(Asked(name, answer) for name, answer in self._answers.items()),
            certificate_requested=_first_known(answer.certificate_requested for answer in self._answers.values()),
            hellos=self._interview.hellos,
            seconds=clock() - began,
            fault=fault,
        )

    async def _ask(self, names: Sequence[str]) -> None:
        asked = [self._questions[name] for name in names]
        answers = await asyncio.gather(*(self._interview.ask(one.hello, whole=one.whole) for one in asked))
        self._answers.update(zip(names, answers, strict=True))

    def _hopeless(self) -> str:
        """Why it is no use to go on, or empty."""
        answers = list(self._answers.values())
        if answers and all(answer.reply in _HOPELESS for answer in answers):
            return answers[0].evidence
        return ""

    async def _ask_again_in_parts(self) -> None:
        """A refusal of a long hello that is not plainly about the version counts only if a hello as long was accepted,
        or if its parts are refused too."""
        control = next(
            (name for name in self._answers if name.startswith("permitted-tls1") and self._is_long(name)), ""
        )
        if control and self._accepted(control):
            return
        long = [name for name, one in self._questions.items() if self._is_long(name) and len(one.hello.suites) > PART]
        unclear = [name for name in long if not self._plain(self._answers[name])]
        if any(self._accepted(name) for name in long) or not unclear:
            return
        for name in unclear:
            await self._in_parts(name)

    async def _ask_whether_it_still_answers(self) -> None:
        """Refusals without an alert prove nothing once the endpoint has stopped answering."""
        if why := await self._interview.exhausted():
            self._answers = {name: doubted(answer, why) for name, answer in self._answers.items()}

    def _is_long(self, name: str) -> bool:
        return self._questions[name].hello.version <= TLS12 and len(self._questions[name].hello.suites) > PART

    def _accepted(self, name: str) -> bool:
        return self._answers[name].reply is Reply.ACCEPTED

    @staticmethod
    def _plain(answer: Answer) -> bool:
        return answer.reply is Reply.ACCEPTED or answer.alert == PROTOCOL_VERSION

    async def _in_parts(self, name: str) -> None:
        """Ask a question again in hellos of at most :data:`PART` suites, without any that nobody has registered."""
        one = self._questions[name]
        suites = tuple(code for code in one.hello.suites if code not in FILLERS)
        answer = self._answers[name]
        parts = range(0, len(suites), PART)
        for begin in parts:
            part = replace(one.hello, suites=suites[begin : begin + PART])
            answer = await self._interview.ask(part, whole=one.whole)
            if answer.reply is Reply.ACCEPTED:
                break
        self._answers[name] = replace(answer, evidence=f"{answer.evidence} (asked in {len(parts)} parts)")

    async def _ask_for_preferred_groups(self) -> None:
        preferred = _only(TLS13_GROUPS, self._guideline.preferred_groups)
        answer = self._answers.get("permitted-tls13")
        chosen = answer is not None and answer.reply is Reply.ACCEPTED and answer.group not in preferred
        if preferred and chosen and self._interview.hellos < MOST_HELLOS:
            hello = tls13(self._guideline.suites_tls13, preferred, server_name=self._name)
            self._answers["preferred-groups"] = await self._interview.ask(hello)

    async def _ask_beside_certificate(self) -> None:
        """Ask for forbidden groups once more, of a server whose certificate needs its own curve."""
        name = next((name for name in self._questions if _is_about_legacy_groups(self._questions[name])), "")
        curve = next((found for one in self._answers.values() if one.chain and (found := leaf_group(one.chain[0]))), 0)
        if not name or not curve or self._accepted(name) or self._interview.hellos >= MOST_HELLOS:
            return
        hello = self._questions[name].hello
        if curve in hello.groups:
            return
        answer = await self._interview.ask(replace(hello, groups=(*hello.groups, curve)), whole=True)
        if answer.reply is Reply.ACCEPTED and answer.group != curve:
            self._answers[name] = answer
        else:
            refused = self._answers[name]
            told = f"{refused.evidence}; beside the certificate's curve: {answer.evidence}"
            self._answers[name] = replace(refused, evidence=told)


def _is_about_legacy_groups(question: Question) -> bool:
    return question.name.startswith("forbidden-groups-") and question.hello.version <= TLS12


def _first_known(values: Iterator[bool | None]) -> bool | None:
    return next((value for value in values if value is not None), None)
