"""The questions of a design review, answered from what was observed.

Rules: one question, one function. An answer has four values and cites what it rests on; where nothing was observed it
is unknown, and says what is missing. *Not applicable* is said with its reason. No answer is better than its worst part.
That something did *not* happen passes only if somebody watched in every hour of the period; one that was seen fails,
whatever else was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from everyhop.core.endpoint.rules.enforcement import RULES as ENFORCEMENT
from everyhop.core.evidence.claims import Answer, Cites, Claims, Counts, Declared, EndClaim, HopClaim, Period
from everyhop.core.evidence.derive import Facts, hours_in, hours_of
from everyhop.core.hop import Posture
from everyhop.core.observation import Kind, Observation
from everyhop.core.policy import SYSTEM
from everyhop.core.sli.m05_cipher_strength import SUITES, post_quantum
from everyhop.core.verdict import Verdict

_MODERN = frozenset({"TLSv1.2", "TLSv1.3"})
_STRONG = frozenset(name for names in SUITES.values() for name in names)
_ENFORCEMENT = frozenset(rule.code for rule in ENFORCEMENT)
_LEAVES = ("service", "edge")
NOTHING = Cites()


@dataclass(frozen=True, slots=True)
class Case:
    """What the questions are asked of."""

    declared: Declared
    period: Period
    facts: Facts
    claims: Claims
    """Everything but the checklist."""

    @property
    def encrypted(self) -> list[HopClaim]:
        """Hops that should be encrypted by everyhop."""
        return [hop for hop in self.claims.hops if hop.wanted in (Posture.MTLS, Posture.TLS)]

    @property
    def mutual(self) -> list[HopClaim]:
        """Hops between services."""
        return [hop for hop in self.claims.hops if hop.wanted == Posture.MTLS]

    @property
    def looks(self) -> list[Observation]:
        """Signs of life of the flow detector: without it, M10 has no value."""
        everywhere = [one for one in self.measured if one.body.get("sli") == "M10" and one.subject == "all"]
        return [one for one in everywhere if one.body.get("value") is not None]

    @property
    def measured(self) -> list[Observation]:
        """Signs of life of everyhop: it judges every indicator in every hour, and alerts with them."""
        return [one for one in self.facts.get(Kind.INDICATOR, ()) if self.period.begin < one.at <= self.period.end]

    def unwatched(self, signs: Iterable[Observation]) -> str:
        """What part of the period has no such sign, in words; empty: none."""
        told, of = len(hours_in(signs)), hours_of(self.period)
        return f"in {of - told} of {of} hours nobody looked" if told < of else ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a question came to."""

    verdict: Verdict
    statement: str
    cites: Cites = NOTHING


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the review."""

    code: str
    text: str
    answer: Callable[[Case], Found]


def checklist(case: Case) -> tuple[Answer, ...]:
    """Every question with its answer."""
    answers: list[Answer] = []
    for question in QUESTIONS:
        found = question.answer(case)
        if found.verdict in (Verdict.PASS, Verdict.FAIL) and not found.cites:
            found = Found(Verdict.UNKNOWN, f"{found.statement}; no observation in this pack says so")
        answers.append(Answer(question.code, question.text, found.verdict, found.statement, found.cites))
    return tuple(answers)


def _all_cites(parts: Iterable[Cites]) -> Cites:
    found = list(parts)
    record = {sequence for one in found for sequence in one.record}
    detail = {sequence for one in found for sequence in one.detail}
    return Cites(tuple(sorted(record)), tuple(sorted(detail)))


def _ends(hops: Iterable[HopClaim]) -> list[EndClaim]:
    return [end for hop in hops for end in hop.ends]


def _names(parts: Iterable[str]) -> str:
    return ", ".join(sorted(set(parts)))


# --- encryption -------------------------------------------------------------------------------------------------


def _every_hop(case: Case) -> Found:
    hops = case.encrypted
    failed = [hop.hop for hop in hops if hop.verdict is Verdict.FAIL]
    unknown = [hop.hop for hop in hops if hop.verdict is Verdict.UNKNOWN]
    cites = _all_cites(hop.cites for hop in hops)
    if failed:
        return Found(Verdict.FAIL, f"not as it should be: {_names(failed)}", cites)
    if unknown or not hops:
        return Found(Verdict.UNKNOWN, f"not seen in this period: {_names(unknown) or 'any hop'}", cites)
    others = len(case.claims.hops) - len(hops)
    beside = f"; {others} are exempt or only passed through" if others else ""
    return Found(Verdict.PASS, f"all {len(hops)} hops that should be encrypted were seen so{beside}", cites)


def _versions(case: Case) -> Found:
    return _permitted(case, "version", lambda end: end.versions, _MODERN.__contains__, "TLS 1.2 and 1.3")


def _ciphers(case: Case) -> Found:
    return _permitted(
        case, "suite", lambda end: end.ciphers, _STRONG.__contains__, "forward secrecy and authenticated encryption"
    )


def _permitted(
    case: Case,
    what: str,
    counts: Callable[[EndClaim], Counts],
    good: Callable[[str], bool],
    meaning: str,
) -> Found:
    """Whether all connections agreed on something permitted. An end that counts several at once names them together."""
    found: dict[str, int] = {}
    ends = _ends(case.encrypted)
    for end in ends:
        for names, count in counts(end).items():
            for name in names.split(", "):
                found[name] = found.get(name, 0) + count
    cites = _all_cites(end.cites for end in ends)
    if not found:
        return Found(Verdict.UNKNOWN, f"no connection told its {what}", cites)
    bad = [name for name in found if not good(name)]
    if bad:
        return Found(Verdict.FAIL, f"seen and not permitted: {_names(bad)}", cites)
    return Found(Verdict.PASS, f"only {_names(found)} ({meaning})", cites)


def _quantum(case: Case) -> Found:
    """Judged between services, where both sides are ours; what clients of the edge speak is theirs to choose."""
    ours = [end for end in _ends(case.mutual) if end.groups]
    beside = [end for end in _ends(case.encrypted) if end.groups and end not in ours]
    if not ours:
        return Found(Verdict.UNKNOWN, "no connection between services told its key exchange")
    hybrid, total = _hybrid(ours)
    clients, of = _hybrid(beside)
    said = f"{hybrid} of {total} connections between services used a hybrid with ML-KEM"
    said += f", and {clients} of {of} of the edge's clients" if beside else ""
    verdict = Verdict.PASS if hybrid == total else Verdict.FAIL
    return Found(verdict, said, _cited([*ours, *beside]))


def _hybrid(ends: Iterable[EndClaim]) -> tuple[int, int]:
    """How many connections used a post-quantum group, and how many there were."""
    counts = [(group, count) for end in ends for group, count in end.groups.items()]
    hybrid = sum(count for group, count in counts if all(map(post_quantum, group.split(", "))))
    return hybrid, sum(count for _, count in counts)


def _plaintext_accepted(case: Case) -> Found:
    ends = _ends(case.encrypted)
    bare = sum(end.unencrypted for end in ends)
    cites = _all_cites(end.cites for end in ends)
    if bare:
        return Found(Verdict.FAIL, f"{bare} connections came to be without TLS", cites)
    served = [end for end in ends if end.end == "server"]
    if not served:
        return Found(Verdict.UNKNOWN, "no serving end told anything", cites)
    refused = sum(one.plaintext for one in case.claims.refusals)
    cites = _all_cites([cites, *(one.cites for one in case.claims.refusals)])
    said = f"no connection without TLS came to be; attempts refused: {refused}"
    if unseen := max(hop.unknown_hours for hop in case.encrypted):
        said += f"; but a hop told nothing in {unseen} of {hours_of(case.period)} hours"
        return Found(Verdict.UNKNOWN, said, cites)
    return Found(Verdict.PASS, said, cites)


# --- identity ---------------------------------------------------------------------------------------------------


def _identities(case: Case) -> Found:
    wanted = {hop.hop: hop for hop in case.declared.hops}
    cites = _all_cites(hop.cites for hop in case.mutual)
    if not case.mutual:
        return Found(Verdict.NOT_APPLICABLE, "the topology has no hop between services")
    proved: list[str] = []
    for hop in case.mutual:
        for end in hop.ends:
            expected = wanted[hop.hop].caller if end.end == "server" else wanted[hop.hop].callee
            if set(end.peers) - {expected}:
                return Found(Verdict.FAIL, f"{hop.hop} has seen {_names(end.peers)}", hop.cites)
            if end.end == "server" and end.peers:
                proved.append(hop.hop)
    silent = [hop.hop for hop in case.mutual if hop.hop not in proved]
    if silent:
        return Found(Verdict.UNKNOWN, f"no identity was seen on {_names(silent)}", cites)
    return Found(Verdict.PASS, "every caller proved exactly the identity that the topology names", cites)


def _both_ends(case: Case) -> Found:
    if not case.mutual:
        return Found(Verdict.NOT_APPLICABLE, "the topology has no hop between services")
    cites = _all_cites(hop.cites for hop in case.mutual)
    one_sided = [hop.hop for hop in case.mutual if {end.end for end in hop.ends} != {"server", "client"}]
    if one_sided:
        return Found(Verdict.UNKNOWN, f"only one end, or none, told of {_names(one_sided)}", cites)
    return Found(Verdict.PASS, f"both ends told of all {len(case.mutual)} hops between services", cites)


def _enforced(case: Case) -> Found:
    """Refused attempts, or a probe's tries to get in."""
    if not case.mutual:
        return Found(Verdict.NOT_APPLICABLE, "the topology has no hop between services")
    tried = [one for one in case.claims.findings if one.rule in _ENFORCEMENT]
    let_in = [one for one in tried if one.verdict is Verdict.FAIL and not one.excused]
    if let_in:
        return Found(Verdict.FAIL, f"somebody got in: {_names(one.subject for one in let_in)}", _cited(let_in))
    refused = [one for one in case.claims.refusals if one.refused]
    passed = [one for one in tried if one.verdict is Verdict.PASS]
    cites = _all_cites([_cited(refused), _cited(passed)])
    if not cites:
        return Found(Verdict.UNKNOWN, "nobody without the right certificate tried to get in")
    callees = {hop.hop.partition(" -> ")[2] for hop in case.mutual}
    shown = {one.service for one in refused if sum(one.refused.values())}
    addresses = {hop.hop.partition(" -> ")[2]: hop.address for hop in case.declared.hops}
    shown |= {callee for callee in callees if any(_is_at(one.subject, addresses[callee]) for one in passed)}
    missing = callees - shown
    if missing:
        return Found(Verdict.UNKNOWN, f"nobody tried at {_names(missing)}", cites)
    return Found(Verdict.PASS, f"strangers were refused at each of {_names(callees)}", cites)


def _is_at(subject: str, address: str) -> bool:
    """Whether a finding is about an address: it stands alone, or in brackets behind a name."""
    return subject == address or subject.endswith(f"({address})")


class _Citing(Protocol):
    """Any claim."""

    @property
    def cites(self) -> Cites:
        """What it rests on."""
        ...


def _cited(claims: Iterable[_Citing]) -> Cites:
    return _all_cites(one.cites for one in claims)


# --- beside the mesh --------------------------------------------------------------------------------------------


def _plaintext_flows(case: Case) -> Found:
    seen = [*case.facts.get(Kind.FLOW, ()), *case.facts.get(Kind.LISTENER, ())]
    open_ones = [one for one in case.claims.flows if one.encryption == "plaintext" and not one.excused]
    if open_ones:
        told = _names(f"{one.caller or '?'} -> {one.callee or one.flow} (now {one.now})" for one in open_ones)
        return Found(Verdict.FAIL, f"{len(open_ones)} plaintext flows in this period: {told}", _cited(open_ones))
    if not seen:
        return Found(Verdict.UNKNOWN, "the socket table told of no flow and no listener")
    untold = [one for one in case.claims.flows if one.encryption == "unknown"]
    if untold:
        return Found(Verdict.UNKNOWN, f"{len(untold)} flows of which nobody could tell", _cited(untold))
    said, cites = f"none among {len(seen)} observations of the socket table", Cites.of([*seen, *case.looks])
    if unwatched := case.unwatched(case.looks):
        return Found(Verdict.UNKNOWN, f"{said}; but {unwatched}", cites)
    return Found(Verdict.PASS, said, cites)


def _detector(case: Case) -> Found:
    blind = [one for one in case.claims.blind if one.source == "socket table"]
    if blind:
        told = "; ".join(f"{one.since} to {one.until or 'the end'}: {one.reason}" for one in blind)
        return Found(Verdict.FAIL, f"it was blind: {told}", _cited(blind))
    if unwatched := case.unwatched(case.looks):
        return Found(Verdict.UNKNOWN, f"it told of no blindness; but {unwatched}", Cites.of(case.looks))
    return Found(Verdict.PASS, "it looked in every hour, and told of no blindness", Cites.of(case.looks))


def _exceptions(case: Case) -> Found:
    declared = case.declared.exceptions
    if not declared:
        return Found(Verdict.NOT_APPLICABLE, "the topology has no exceptions")
    names = {one.hop for one in declared}
    cites = _all_cites(hop.cites for hop in case.claims.hops if hop.hop in names)
    ended = [one.hop for one in declared if one.until < case.period.end.date()]
    if ended:
        return Found(Verdict.FAIL, f"ended and still there: {_names(ended)}", cites)
    told = "; ".join(f"{one.hop}: {one.owner}, until {one.until}" for one in declared)
    return Found(Verdict.PASS, f"each has a reason, an owner and an end: {told}", cites)


# --- keys and certificates --------------------------------------------------------------------------------------


def _certificates(case: Case, event: str) -> list[Observation]:
    return [one for one in case.facts.get(Kind.CERTIFICATE, ()) if one.body.get("event") == event]


def _expiry(case: Case) -> Found:
    served = {one.subject: one for one in _certificates(case, "seen on the wire")}
    if not served:
        return Found(Verdict.UNKNOWN, "no certificate was seen on the wire")
    dead = [name for name, one in served.items() if _moment(one, "not_after") <= case.period.end]
    least = min((_moment(one, "not_after") - case.period.end, name) for name, one in served.items())
    cites = Cites.of(served.values())
    if dead:
        return Found(Verdict.FAIL, f"the newest one seen of {_names(dead)} has expired", cites)
    lead = timedelta(seconds=int(least[0].total_seconds()))
    return Found(Verdict.PASS, f"{len(served)} credentials, the shortest has {lead} left ({least[1]})", cites)


def _renewed(case: Case) -> Found:
    issued = [one for one in _certificates(case, "issued") if one.body.get("profile") in _LEAVES]
    inside = [one for one in issued if case.period.begin < one.at <= case.period.end]
    if not inside:
        return Found(Verdict.UNKNOWN, "no certificate of a service or host was issued in this period")
    steps = _certificates(case, "rotation")
    done = [one for one in steps if one.body.get("to") == "done"]
    keys = f"{len(inside)} certificates, each with a key of its own; {len(done)} authorities rotated to the end"
    return Found(Verdict.PASS, keys, Cites.of([*inside, *steps]))


def _served(case: Case) -> Found:
    """A renewal closes when the endpoint serves it. everyhop's own door is no proxy's, and is not watched so."""
    issued = {
        str(one.body.get("serial")): one
        for one in _certificates(case, "issued")
        if one.body.get("profile") in _LEAVES
        and one.body.get("owner") != SYSTEM
        and case.period.begin < one.at <= case.period.end
    }
    seen = {str(one.body.get("serial")): one for one in _certificates(case, "seen on the wire")}
    if not issued:
        return Found(Verdict.UNKNOWN, "no certificate of a service or host was issued in this period")
    newest = {one.subject: serial for serial, one in issued.items()}
    missing = [subject for subject, serial in newest.items() if serial not in seen]
    cites = Cites.of([*issued.values(), *(one for serial, one in seen.items() if serial in issued)])
    if missing:
        return Found(Verdict.UNKNOWN, f"issued and not seen on the wire (yet): {_names(missing)}", cites)
    return Found(Verdict.PASS, "the newest certificate of each credential was seen served or shown", cites)


def _issuance(case: Case) -> Found:
    every = list(case.facts.get(Kind.CERTIFICATE, ()))
    issued = _certificates(case, "issued")
    refused = [one for one in _certificates(case, "refused") if one.verdict is Verdict.PASS]
    failed = [one for one in every if one.verdict is Verdict.FAIL]
    if failed:
        told = _names(f"{one.subject}: {one.body.get('reason') or one.body.get('code')}" for one in failed)
        return Found(Verdict.FAIL, f"{len(failed)} failed: {told}", Cites.of(failed))
    if not issued:
        return Found(Verdict.UNKNOWN, "the authority issued nothing that this pack tells of")
    said = f"{len(issued)} issued, each linted, allowed by policy and journaled first; {len(refused)} refused"
    return Found(Verdict.PASS, said, Cites.of([*issued, *refused]))


def _revocation(case: Case) -> Found:
    leaves = [one for one in _certificates(case, "issued") if one.body.get("profile") in _LEAVES]
    if not leaves:
        return Found(Verdict.UNKNOWN, "this pack tells of no certificate of a service or host")
    longest = max(_moment(one, "not_after") - one.at for one in leaves)
    limit = timedelta(seconds=case.declared.leaf_lifetime_seconds)
    verdict = Verdict.PASS if longest <= limit else Verdict.FAIL
    said = (
        f"by short life: the longest certificate lives {timedelta(seconds=round(longest.total_seconds()))} of {limit}"
    )
    return Found(verdict, said, Cites.of(leaves))


# --- watching ---------------------------------------------------------------------------------------------------


def _findings(case: Case) -> Found:
    rules = case.claims.findings
    if not rules:
        return Found(Verdict.UNKNOWN, "no rule looked at anything that this pack tells of")
    open_ones = [one for one in rules if one.verdict is Verdict.FAIL and not one.excused]
    if open_ones:
        told = _names(f"{one.rule} at {one.subject} ({one.owner or 'no owner'})" for one in open_ones)
        return Found(Verdict.FAIL, f"{len(open_ones)} open: {told}", _cited(open_ones))
    unknown = [one for one in rules if one.verdict is Verdict.UNKNOWN]
    if unknown:
        return Found(Verdict.UNKNOWN, f"{len(unknown)} rules could not tell", _cited(unknown))
    return Found(Verdict.PASS, f"none open of {len(rules)}", _cited(rules))


def _alerts(case: Case) -> Found:
    firing = [one for one in case.claims.alerts if one.firing]
    if firing:
        told = _names(f"{one.alert} ({one.subject})" for one in firing)
        return Found(Verdict.FAIL, f"still firing at the end: {told}", _cited(firing))
    watched = _cited([*case.claims.alerts, *case.claims.indicators])
    if not watched:
        return Found(Verdict.UNKNOWN, "neither an alert nor an indicator tells that anybody watched")
    ended = sum(one.times for one in case.claims.alerts)
    said = f"none at the end of the period; {ended} fired and ended in it"
    if unwatched := case.unwatched(case.measured):
        return Found(Verdict.UNKNOWN, f"{said}; but {unwatched}", watched)
    return Found(Verdict.PASS, said, watched)


def _objectives(case: Case) -> Found:
    judged = [one for one in case.claims.indicators if one.scope == "all" and one.objective is not None]
    if not judged:
        return Found(Verdict.UNKNOWN, "no indicator was measured by the hour")
    missed = [one for one in judged if one.hours.get(Verdict.FAIL.value)]
    if missed:
        told = "; ".join(f"{one.sli} {one.name} in {one.hours[Verdict.FAIL.value]} hours" for one in missed)
        return Found(Verdict.FAIL, f"missed: {told}", _cited(missed))
    unknown = [one for one in judged if one.verdict is Verdict.UNKNOWN]
    if unknown:
        return Found(Verdict.UNKNOWN, f"not known: {_names(one.sli for one in unknown)}", _cited(judged))
    if unwatched := case.unwatched(case.measured):
        return Found(Verdict.UNKNOWN, f"met whenever they were measured; but {unwatched}", _cited(judged))
    return Found(Verdict.PASS, f"met in every hour: {_names(one.sli for one in judged)}", _cited(judged))


def _observed(case: Case) -> Found:
    short = [hop for hop in case.encrypted if hop.unknown_hours]
    cites = _all_cites(hop.cites for hop in case.encrypted)
    if short or not case.encrypted:
        told = "; ".join(f"{hop.hop}: {hop.unknown_hours}" for hop in short)
        return Found(Verdict.UNKNOWN, f"hours in which nobody told anything: {told or 'all'}", cites)
    return Found(Verdict.PASS, "each hop was told of in every hour", cites)


def _moment(one: Observation, name: str) -> datetime:
    """A moment in a body; one that cannot be read counts as long past."""
    try:
        found = datetime.fromisoformat(str(one.body.get(name, "")))
    except ValueError:
        found = None
    return found if found is not None and found.tzinfo is not None else one.at


QUESTIONS: Sequence[Question] = (
    Question("hops-encrypted", "Is every hop encrypted as the design asks?", _every_hop),
    Question("plaintext-accepted", "Did an encrypted hop ever carry a connection without TLS?", _plaintext_accepted),
    Question("tls-versions", "Are only current TLS versions in use?", _versions),
    Question("cipher-suites", "Are only suites with forward secrecy and authenticated encryption in use?", _ciphers),
    Question("post-quantum", "Is recorded traffic safe against a quantum computer?", _quantum),
    Question("identities", "Did each side of a hop between services prove who it is?", _identities),
    Question("both-ends", "Was each hop between services seen from both ends?", _both_ends),
    Question("mtls-enforced", "Is mutual TLS enforced, and was a refusal seen?", _enforced),
    Question("plaintext-flows", "Is there no plaintext beside the mesh?", _plaintext_flows),
    Question("detector-alive", "Was the detector of plaintext flows alive?", _detector),
    Question("exceptions-owned", "Does each exception have a reason, an owner and an end?", _exceptions),
    Question("keys-renewed", "Were keys and certificates renewed?", _renewed),
    Question("renewals-served", "Was what was issued also served?", _served),
    Question("expiry-lead", "Is every certificate far from its end?", _expiry),
    Question("issuance-controlled", "Was everything that was signed allowed and journaled?", _issuance),
    Question("revocation", "Is a lost key worthless soon?", _revocation),
    Question("findings-open", "Are there no open findings?", _findings),
    Question("alerts-firing", "Was somebody watching, and is nothing on fire?", _alerts),
    Question("objectives-met", "Were the objectives met?", _objectives),
    Question("observed-throughout", "Was every hop observed throughout the period?", _observed),
)
