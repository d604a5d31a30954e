"""Counting connections: many of one shape become one observation a minute, and sixty of those one an hour.

Rules: what tells connections apart for a reader (result, version, cipher, group, peer, reason) is their shape; what
does not (ports, times, serials) is dropped. A tally only adds up: adding minutes gives the hour exactly. Handshake
times are cumulative buckets in microseconds, as Prometheus wants them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from everyhop.core.hop import End
from everyhop.core.observation import Kind, Observation, Plain, Source, Stream
from everyhop.core.refusal import explain_failure, is_refusal
from everyhop.core.verdict import Verdict

BUCKETS_US = (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000)
"""Upper bounds of handshake times; a local handshake takes 1 to 3 ms, one across an ocean 100 to 300."""
LONGEST_REASON = 120


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tally's connections have in common."""

    subject: str
    """The hop, or ``? -> api`` for strangers who never were a hop."""
    end: End
    by: str
    """Whose proxy counted."""
    result: str
    """``ok``, ``verify``, ``no_certificate``, ``protocol``, ``plaintext``, ``abandoned``, ``refused_by_policy``."""
    version: str = ""
    cipher: str = ""
    group: str = ""
    peer: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many connections of one shape there were."""

    count: int = 0
    resumed: int | None = None
    """None: this source cannot tell."""
    timed: int = 0
    """How many have a handshake time."""
    sum_us: int = 0
    buckets: tuple[int, ...] = (0,) * len(BUCKETS_US)
    """Cumulative: handshakes of at most that many microseconds."""

    def __add__(self, other: Tally) -> Tally:
        resumed = None
        if self.resumed is not None or other.resumed is not None:
            resumed = (self.resumed or 0) + (other.resumed or 0)
        return Tally(
            self.count + other.count,
            resumed,
            self.timed + other.timed,
            self.sum_us + other.sum_us,
            tuple(one + two for one, two in zip(self.buckets, other.buckets, strict=True)),
        )


def one(handshake_us: int | None) -> Tally:
    """The tally of one connection; a negative time (a clock that was set) counts as none."""
    if handshake_us is None or handshake_us < 0:
        return Tally(1)
    return Tally(1, None, 1, handshake_us, tuple(int(handshake_us <= bound) for bound in BUCKETS_US))


_RESULTS = {
    "plaintext": "plaintext",
    "no-certificate": "no_certificate",
    "wrong-identity": "refused_by_policy",
    "expired": "refused_by_policy",
    "foreign-authority": "verify",
    "old-protocol": "refused_by_policy",
    "no-common-group": "refused_by_policy",
    "other": "protocol",
}


def result_of(failure: str, *, finished: bool) -> str:
    """The result label of a connection at its serving end; ``finished``: its handshake came to a good end, or it was
    carried through to a handshake behind the proxy.

    An expired, revoked or wrong identity is a *correct* refusal and not an error of the hop, so that it is told apart;
    so is who offers no version or key exchange that policy permits.
    A connection that ended before its handshake, and one whose peer hung up in it, was abandoned.
    """
    if is_refusal(failure):
        return _RESULTS[explain_failure(failure, "", ()).code]
    return "ok" if finished else "abandoned"


def observed(shape: Shape, tally: Tally, at: datetime) -> Observation:
    """One minute's tally as an observation."""
    good = shape.result == "ok"
    body: dict[str, Plain] = {"count": tally.count, "end": shape.end.value, "result": shape.result}
    said = {
        "version": shape.version,
        "cipher": shape.cipher,
        "group": shape.group,
        "peer": shape.peer,
        "reason": shape.reason[:LONGEST_REASON],
    }
    body |= {name: text for name, text in said.items() if text}  # there are millions of these: nothing empty is kept
    if tally.resumed is not None:
        body |= {"resumed": tally.resumed}
    if tally.timed:
        body |= {
            "handshakes_timed": tally.timed,
            "handshake_us": list(tally.buckets),
            "handshake_us_sum": tally.sum_us,
        }
    source = Source.SERVER if shape.end is End.SERVER else Source.CLIENT
    verdict = Verdict.PASS if good else Verdict.UNKNOWN if shape.result == "abandoned" else Verdict.FAIL
    return Observation(at, Kind.CONNECTIONS, source, shape.subject, shape.by, verdict, body, Stream.DETAIL)


def read(observation: Observation) -> tuple[Shape, Tally]:
    """The shape and tally of an observation that :func:`observed` or :func:`hours` made."""
    body = observation.body
    times = cast("list[int]", body.get("handshake_us") or [0] * len(BUCKETS_US))
    resumed = body.get("resumed")
    shape = Shape(
        observation.subject,
        End(str(body["end"])),
        observation.by,
        *(str(body.get(name, "")) for name in ("result", "version", "cipher", "group", "peer", "reason")),
    )
    tally = Tally(
        cast("int", body["count"]),
        resumed if isinstance(resumed, int) else None,
        cast("int", body.get("handshakes_timed", 0)),
        cast("int", body.get("handshake_us_sum", 0)),
        tuple(times),
    )
    return shape, tally


def summed(tallies: Iterable[tuple[Shape, Tally]]) -> dict[Shape, Tally]:
    """Tallies added up by shape."""
    total: dict[Shape, Tally] = {}
    for shape, tally in tallies:
        total[shape] = total[shape] + tally if shape in total else tally
    return total


def hours(minutes: Iterable[Observation], at: datetime) -> tuple[Observation, ...]:
    """What the minutes of one hour sum up to, as records dated ``at``, the end of the hour."""
    total = summed(read(one) for one in minutes)
    return tuple(
        replace(observed(shape, tally, at), kind=Kind.HOUR, stream=Stream.RECORD) for shape, tally in total.items()
    )
