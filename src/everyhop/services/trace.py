"""Trace: rotations and renewals as spans, from what was stored, exactly as far as a collector took them.

Rules: what is told follows the order of the record of observations, and how far it was told is one number, written once
the collector has taken everything before it. So a restart, or a collector that was away for days, loses nothing. A
crash between the two sends the same spans with the same ids again. What is older than a week is left out: hardly a
backend takes it, and the record has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from everyhop.core.observation import Kind, Observation
from everyhop.core.spans import Renewal, Span, renewal_spans, rotation_spans
from everyhop.ports import Clock, Lease, Store, Telemetry
from everyhop.services.records import ROTATIONS, Records


@dataclass(frozen=True, slots=True)
class Traced:
    """How far everything was sent."""

    sequence: int = 0
    """The last observation of the record whose spans a collector has taken."""


TRACED = Records("traced", Traced)
TRACED_KEY = "current"
_PAGE = 100
"""Observations whose spans are sent at once: each has at most five."""
_BACK = timedelta(days=7)


class Tracer:
    """Turns observations of certificates and rotations into spans."""

    def __init__(self, store: Store, clock: Clock, source: str) -> None:
        """``source`` is whose rotations and renewals these are: the instance."""
        self._store = store
        self._clock = clock
        self._source = source

    async def tick(self, telemetry: Telemetry, fence: Lease | None) -> int:
        """Send what came since the last time; returns how many spans the collector refused for good.

        Raises ``telemetry-failed`` if it took no more; what it took before is not sent again.
        """
        refused = 0
        while True:
            known = await TRACED.get(self._store, TRACED_KEY)
            page = await self._store.observations(
                kind=Kind.CERTIFICATE,
                after=known.value.sequence if known else 0,
                since=self._clock.now() - _BACK,
                limit=_PAGE,
            )
            if not page:
                return refused
            spans = [span for one in page for span in await self._spans(one)]
            if spans:
                refused += await telemetry.spans(spans)
            await TRACED.put(self._store, TRACED_KEY, Traced(page[-1].sequence), fence=fence)

    async def _spans(self, one: Observation) -> Sequence[Span]:
        """What an observation ends."""
        event = one.body.get("event")
        if event == "rotation":
            stored = await ROTATIONS.get(self._store, f"{one.body['number']:06d}")
            return rotation_spans(stored.value, str(one.body["from"]), self._source) if stored else ()
        if event in ("seen on the wire", "failed") and one.body.get("request"):
            return renewal_spans(await self._renewal(one), self._source)
        return ()

    async def _renewal(self, one: Observation) -> Renewal:
        request = str(one.body["request"])
        line = await self._store.issuance(request_id=request)
        failed = one.body["event"] == "failed"
        intended = line.intended_at if line else None
        return Renewal(
            slot=one.subject,
            request=request,
            serial="" if failed else str(one.body["serial"]),
            issuer=line.issuer if line else "",
            owner=line.owner if line else "",
            began_at=_moment(one.body.get("began_at")) or intended or one.at,
            intended_at=intended,
            signed_at=line.finished_at if line and line.certificate else None,
            acknowledged_at=_moment(one.body.get("acknowledged_at")),
            ended_at=one.at,
            fault=str(one.body["reason"]) or "failed" if failed else "",
        )


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None
