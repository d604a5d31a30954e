"""Evidence: the dated observations behind what an overview says, and how it went over time.

Rules: read-only, bounded, and from the store alone. What is shown is what was stored, with its source and its number
in the stream, so that anybody can look it up again. A value that was not measured leaves a gap, never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from everyhop.core.observation import Kind, Observation, Plain, Stream
from everyhop.core.sli import INDICATORS
from everyhop.ports import Seal, Store
from everyhop.services.overview import HopView

ALL = "all"
"""The scope of an indicator for everything."""

_RECENT = timedelta(hours=2)
_POINTS = 4_000
"""More than two hours of every indicator by the minute, and a week of every one by the hour."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a moment; None where there was none."""

    at: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """One indicator over time, oldest first."""

    name: str
    points: tuple[Point, ...]
    objective: float | None = None


@dataclass(frozen=True, slots=True)
class HopEvidence:
    """What is stored about one hop, newest first."""

    observations: tuple[Observation, ...]
    """About the hop itself, from both ends: changes, hours, refusals, the newest minutes."""
    probes: tuple[Observation, ...]
    """About the endpoint it leads to."""
    certificate: tuple[Observation, ...]
    """About the credential that its callee serves."""
    hours: tuple[Point, ...]
    """Connections, by the hour, oldest first."""


async def hop_evidence(store: Store, hop: HopView, now: datetime, *, limit: int = 40) -> HopEvidence:
    """Everything stored about one hop, at most ``limit`` observations of each sort."""
    name = hop.status.hop
    since = now - timedelta(days=1)
    record = await store.observations(subject=name, newest_first=True, limit=limit)
    detail = await store.observations(stream=Stream.DETAIL, subject=name, newest_first=True, limit=limit)
    hours = await store.observations(kind=Kind.HOUR, subject=name, since=since, limit=200)
    probes: list[Observation] = []
    for stream in Stream:
        probes += await store.observations(
            stream=stream, subject=hop.status.address, newest_first=True, limit=limit // 2
        )
    certificate = await store.observations(
        kind=Kind.CERTIFICATE, subject=f"{hop.callee}/identity", newest_first=True, limit=limit // 2
    )
    return HopEvidence(
        observations=_newest_first([*record, *detail])[:limit],
        probes=_newest_first(probes)[:limit],
        certificate=tuple(certificate),
        hours=_by_hour(hours),
    )


async def trends(store: Store, now: datetime, *, hours: int = 24) -> Mapping[str, Series]:
    """The indicators for everything (scope ``all``) over the last ``hours``, by name (``M1``): hour by hour, and the
    newest two hours by the minute."""
    recent = now - _RECENT
    hourly = await store.observations(
        kind=Kind.INDICATOR, subject=ALL, since=now - timedelta(hours=hours), until=recent, limit=_POINTS
    )
    minutes = await store.observations(
        stream=Stream.DETAIL, kind=Kind.INDICATOR, subject=ALL, since=recent, newest_first=True, limit=_POINTS
    )
    if not minutes:
        hourly = [
            *hourly,
            *await store.observations(kind=Kind.INDICATOR, subject=ALL, since=recent, limit=_POINTS),
        ]
    points: dict[str, list[Point]] = {}
    objectives: dict[str, float | None] = {}
    for one in sorted([*hourly, *minutes], key=lambda one: one.at):
        name = str(one.body.get("sli"))
        if name in INDICATORS and one.body.get("name") == INDICATORS[name].name:  # not its companions
            points.setdefault(name, []).append(Point(one.at, _number(one.body.get("value"))))
            objectives[name] = _number(one.body.get("objective"))
    return {name: Series(name, tuple(found), objectives[name]) for name, found in sorted(points.items())}


async def latest(store: Store, *, limit: int = 100) -> tuple[Observation, ...]:
    """The newest observations of both streams."""
    found: list[Observation] = []
    for stream in Stream:
        found += await store.observations(stream=stream, newest_first=True, limit=limit)
    return _newest_first(found)[:limit]


async def seals(store: Store, *, limit: int = 12) -> tuple[Seal, ...]:
    """The newest seals of both streams."""
    found = [seal for stream in Stream for seal in await store.seals(stream, newest_first=True, limit=limit)]
    return tuple(sorted(found, key=lambda seal: seal.at, reverse=True)[:limit])


def _newest_first(observations: Sequence[Observation]) -> tuple[Observation, ...]:
    return tuple(sorted(observations, key=lambda one: (one.at, one.sequence), reverse=True))


def _by_hour(hours: Sequence[Observation]) -> tuple[Point, ...]:
    """Encrypted connections in each hour. Both ends tell of the same ones: the larger count stands."""
    counted: dict[datetime, dict[str, float]] = {}
    for one in hours:
        ends = counted.setdefault(one.at, {})
        if one.body.get("result") == "ok":
            ends[one.source] = ends.get(one.source, 0.0) + (_number(one.body.get("count")) or 0.0)
    return tuple(Point(at, max(ends.values(), default=0.0)) for at, ends in sorted(counted.items()))


def _number(value: Plain) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
