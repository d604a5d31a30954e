"""From observations to claims: a pure function, so that whoever doubts a number derives it again.

Rules: nothing but the given observations and the declaration goes in. Counts are sums of cited observations; what
differs between the two ends is left to differ. An hour without a word from a source is unknown. A verdict that needs
something nobody saw is unknown, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from everyhop.core import tally
from everyhop.core.evidence.claims import (
    AlertClaim,
    BlindClaim,
    Cites,
    CoverageClaim,
    Declared,
    DeclaredHop,
    EndClaim,
    EventClaim,
    FindingClaim,
    FlowClaim,
    HopClaim,
    IndicatorClaim,
    Period,
    RefusalClaim,
)
from everyhop.core.flow import FlowClass
from everyhop.core.hop import Posture
from everyhop.core.observation import Kind, Observation, Source
from everyhop.core.tally import Shape, Tally
from everyhop.core.verdict import Verdict

K = TypeVar("K")

HOUR = timedelta(hours=1)
STRANGER = "? -> "
"""How the subject of connections begins that belong to no hop."""
_REFUSED = frozenset({"verify", "no_certificate", "protocol", "plaintext", "refused_by_policy"})
_UNDECIDED = (FlowClass.PLAINTEXT.value, FlowClass.UNKNOWN.value)
_ENDED = "ended"

Facts = Mapping[Kind, Sequence[Observation]]


def by_kind(observations: Iterable[Observation]) -> Facts:
    """Observations by kind, each kind in order of time."""
    return grouped(sorted(observations, key=lambda one: (one.at, one.stream, one.sequence)), lambda one: one.kind)


def grouped(observations: Iterable[Observation], key: Callable[[Observation], K]) -> dict[K, list[Observation]]:
    """Observations by a key, in the order in which they come."""
    found: dict[K, list[Observation]] = {}
    for one in observations:
        found.setdefault(key(one), []).append(one)
    return found


def hours_of(period: Period) -> int:
    """How many hours a period touches."""
    return max(0, (_hour_end(period.end) - _hour_end(period.begin)) // HOUR)


def hours_in(seen: Iterable[Observation]) -> frozenset[datetime]:
    """The hours, by their end, of which observations tell."""
    return frozenset(_hour_end(one.at) for one in seen)


def connections(facts: Facts, period: Period) -> list[Observation]:
    """The hours of a period, and the minutes that no hour has summed up yet: none counts twice."""
    hours = facts.get(Kind.HOUR, ())
    summed = max((one.at for one in hours), default=period.begin)
    minutes = [one for one in facts.get(Kind.CONNECTIONS, ()) if one.at >= summed]
    return [one for one in (*hours, *minutes) if period.begin < one.at <= period.end]


# --- hops -------------------------------------------------------------------------------------------------------


def hops(facts: Facts, declared: Declared, period: Period) -> tuple[HopClaim, ...]:
    """Every declared hop."""
    by_subject = grouped(connections(facts, period), lambda one: one.subject)
    excepted = {one.hop: one for one in declared.exceptions}
    found: list[HopClaim] = []
    for hop in declared.hops:
        seen = by_subject.get(hop.hop, [])
        ends = tuple(
            _end(observations)
            for _, observations in sorted(grouped(seen, lambda one: (one.body.get("end") != "server", one.by)).items())
        )
        exception = excepted.get(hop.hop)
        ended = exception is not None and exception.until < period.end.date()
        verdict, statement = _hop_verdict(hop, ends, ended=ended)
        told = {_hour_end(one.at) for one in seen}
        found.append(
            HopClaim(
                hop=hop.hop,
                wanted=hop.wanted,
                owner=hop.owner,
                criticality=hop.criticality,
                verdict=verdict,
                statement=statement,
                ends=ends,
                unknown_hours=max(0, hours_of(period) - len(told)),
                cites=Cites.of(seen),
            )
        )
    return tuple(found)


def _end(seen: Sequence[Observation]) -> EndClaim:
    read = [tally.read(one) for one in seen]
    good = [(shape, counted) for shape, counted in read if shape.result == "ok"]
    resumed = [counted.resumed for _, counted in good if counted.resumed is not None]
    return EndClaim(
        end=read[0][0].end.value,
        by=read[0][0].by,
        connections=sum(counted.count for _, counted in good),
        resumed=sum(resumed) if resumed else None,
        abandoned=sum(counted.count for shape, counted in read if shape.result == "abandoned"),
        refused=_refused(read),
        versions=_counts(good, lambda shape: shape.version),
        ciphers=_counts(good, lambda shape: shape.cipher),
        groups=_counts(good, lambda shape: shape.group),
        peers=_counts(good, lambda shape: shape.peer),
        unencrypted=sum(counted.count for shape, counted in good if not shape.version),
        hours=len({_hour_end(one.at) for one in seen}),
        first_at=min(one.at for one in seen),
        last_at=max(one.at for one in seen),
        cites=Cites.of(seen),
    )


def _counts(read: Iterable[tuple[Shape, Tally]], name: Callable[[Shape], str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for shape, counted in read:
        if name(shape) and counted.count:
            found[name(shape)] = found.get(name(shape), 0) + counted.count
    return dict(sorted(found.items()))


def _refused(read: Iterable[tuple[Shape, Tally]]) -> dict[str, int]:
    return _counts(
        ((shape, counted) for shape, counted in read if shape.result in _REFUSED),
        lambda shape: f"{shape.result}: {shape.reason}" if shape.reason else shape.result,
    )


def _hop_verdict(hop: DeclaredHop, ends: Sequence[EndClaim], *, ended: bool) -> tuple[Verdict, str]:
    if hop.wanted == Posture.EXEMPT:
        if ended:
            return (Verdict.FAIL if ends else Verdict.UNKNOWN), "its exception has ended"
        return Verdict.NOT_APPLICABLE, "exempt by an exception of the topology"
    if hop.wanted == Posture.PASSTHROUGH:
        return Verdict.NOT_APPLICABLE, "the service's own TLS, which is only passed through here"
    if bare := sum(end.unencrypted for end in ends):
        return Verdict.FAIL, f"{bare} connections without TLS"
    for end in ends:
        wanted = hop.caller if end.end == "server" else hop.callee
        others = sorted(set(end.peers) - {wanted})
        if wanted and others:
            return Verdict.FAIL, f"its {end.end} end has seen another peer than {wanted}: {', '.join(others)}"
    counted = {end.end: end.connections for end in ends if end.connections}
    if not counted:
        return Verdict.UNKNOWN, "no connection was seen in this period"
    told = " and ".join(f"{count} told by its {end} end" for end, count in sorted(counted.items()))
    return Verdict.PASS, f"every connection was encrypted as it should be: {told}"


def refusals(facts: Facts, period: Period) -> tuple[RefusalClaim, ...]:
    """Strangers who were refused, by service."""
    strangers = [one for one in connections(facts, period) if one.subject.startswith(STRANGER)]
    told = [one for one in facts.get(Kind.REFUSAL, ()) if one.source is Source.SERVER]
    found: list[RefusalClaim] = []
    services = grouped([*strangers, *told], lambda one: one.subject.partition(" -> ")[2])
    for service, observations in sorted(services.items()):
        read = [tally.read(one) for one in observations if one.kind is not Kind.REFUSAL]
        peers = {str(one.body.get("peer", "")) for one in observations}
        found.append(
            RefusalClaim(
                service=service,
                refused=_refused(read),
                plaintext=sum(counted.count for shape, counted in read if shape.result == "plaintext"),
                peers=tuple(sorted(peers - {""})),
                cites=Cites.of(observations),
            )
        )
    return tuple(found)


# --- beside the hops --------------------------------------------------------------------------------------------


def flows(facts: Facts) -> tuple[FlowClaim, ...]:
    """Flows that were plaintext or unknown at any moment."""
    found: list[FlowClaim] = []
    for key, seen in sorted(grouped(facts.get(Kind.FLOW, ()), lambda one: one.subject).items()):
        classes = [_text(one, "encryption") for one in seen]
        worst = next((name for name in _UNDECIDED if name in classes), "")
        if not worst:
            continue
        last = seen[-1]
        found.append(
            FlowClaim(
                flow=key,
                caller=_text(last, "caller"),
                callee=_text(last, "callee"),
                encryption=worst,
                now=_ENDED if _text(last, "change") == _ENDED else _text(last, "encryption"),
                owner=_text(last, "owner"),
                excused=_text(last, "excused"),
                excused_until=_text(last, "excused_until"),
                evidence=_text(last, "evidence"),
                cites=Cites.of(seen),
            )
        )
    return tuple(found)


def events(facts: Facts) -> tuple[EventClaim, ...]:
    """What the authority did, in order of time."""
    return tuple(
        EventClaim(one.at, one.subject, _text(one, "event"), _what(one), one.verdict, Cites.of([one]))
        for one in facts.get(Kind.CERTIFICATE, ())
    )


def _what(one: Observation) -> str:
    names = ("action", "profile", "issuer", "serial", "not_after", "from", "to", "proof", "code", "reason")
    return ", ".join(f"{name} {_text(one, name)}" for name in names if _text(one, name))


def findings(facts: Facts) -> tuple[FindingClaim, ...]:
    """Each rule's newest verdict on each subject."""
    latest = {(one.subject, _text(one, "rule")): one for one in facts.get(Kind.FINDING, ())}
    return tuple(
        FindingClaim(
            rule=rule,
            subject=subject,
            verdict=one.verdict,
            severity=_text(one, "severity"),
            owner=_text(one, "owner"),
            statement=_text(one, "statement"),
            excused=_text(one, "excused"),
            at=one.at,
            cites=Cites.of([one]),
        )
        for (subject, rule), one in sorted(latest.items())
    )


def alerts(facts: Facts) -> tuple[AlertClaim, ...]:
    """Each alert on each subject."""
    found: list[AlertClaim] = []
    groups = grouped(facts.get(Kind.ALERT, ()), lambda one: (_text(one, "alert") or one.by, one.subject))
    for (name, subject), seen in sorted(groups.items()):
        last = seen[-1]
        found.append(
            AlertClaim(
                alert=name,
                subject=subject,
                severity=_text(last, "severity"),
                owner=_text(last, "owner"),
                summary=_text(last, "summary"),
                firing=last.verdict is Verdict.FAIL,
                times=sum(one.verdict is Verdict.FAIL for one in seen),
                at=last.at,
                cites=Cites.of(seen),
            )
        )
    return tuple(found)


def indicators(facts: Facts) -> tuple[IndicatorClaim, ...]:
    """Each indicator for each scope."""
    found: list[IndicatorClaim] = []
    groups = grouped(facts.get(Kind.INDICATOR, ()), lambda one: (_text(one, "sli"), _text(one, "name"), one.subject))
    for (sli, name, scope), seen in sorted(groups.items()):
        last, counted = seen[-1], dict[str, int]()
        for one in seen:
            counted[one.verdict.value] = counted.get(one.verdict.value, 0) + 1
        found.append(
            IndicatorClaim(
                sli=sli,
                name=name,
                scope=scope,
                unit=_text(last, "unit"),
                value=_number(last, "value"),
                objective=_number(last, "objective"),
                verdict=last.verdict,
                hours=dict(sorted(counted.items())),
                cites=Cites.of(seen),
            )
        )
    return tuple(found)


# --- how much was seen ------------------------------------------------------------------------------------------


def coverage(facts: Facts, period: Period) -> tuple[CoverageClaim, ...]:
    """In how many hours of the period each source told anything."""
    everything = [one for seen in facts.values() for one in seen if one.kind is not Kind.BLIND]
    inside = [one for one in everything if period.begin < one.at <= period.end]
    by_source = grouped(inside, lambda one: one.source)
    return tuple(
        CoverageClaim(
            source=source.value,
            hours=len({_hour_end(one.at) for one in by_source.get(source, ())}),
            of=hours_of(period),
            cites=Cites.of(by_source.get(source, ())),
        )
        for source in Source
    )


def blind(facts: Facts) -> tuple[BlindClaim, ...]:
    """Intervals in which a source could not look."""
    return tuple(
        BlindClaim(
            source=one.source.value,
            subject=one.subject,
            since=_text(one, "since"),
            until=_text(one, "until"),
            reason=_text(one, "reason"),
            cites=Cites.of([one]),
        )
        for one in facts.get(Kind.BLIND, ())
    )


def _hour_end(at: datetime) -> datetime:
    """The end of the hour that a moment belongs to: 13:00:00 belongs to the hour that it ends."""
    whole = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return whole if whole == at else whole + HOUR


def _text(one: Observation, name: str) -> str:
    value = one.body.get(name, "")
    return "" if value is None else str(value)


def _number(one: Observation, name: str) -> float | None:
    value = one.body.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
