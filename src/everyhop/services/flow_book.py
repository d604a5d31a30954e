"""The book of flows: what is known of each, what changed, and when it is written, ended and forgotten.

Rules: a flow's document is written when what it says changes, and once a minute while it lives. A flow that was not
seen for a minute has ended, stays listed for a quarter of an hour, and then goes; only then its end is told, so that
one that comes and goes does not fill the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from everyhop.core.flow import Flow, FlowClass, verdict_of
from everyhop.core.observation import Kind, Observation, Source
from everyhop.ports import Json, Store
from everyhop.services.listeners import TABLE
from everyhop.services.records import Records

FLOWS = Records("flow", Flow)

ENDED_AFTER = timedelta(minutes=1)
FORGOTTEN_AFTER = timedelta(minutes=15)
WRITE_EVERY = timedelta(minutes=1)


@dataclass(slots=True)
class _Kept:
    """A flow between two looks."""

    flow: Flow
    written: Flow | None = None


class FlowBook:
    """Every flow that is known now, by key."""

    def __init__(self) -> None:
        """Empty; see :meth:`load`."""
        self._flows: dict[str, _Kept] = {}
        self.gone: list[str] = []
        """Keys of documents to delete once the observations of their end are written."""

    def __len__(self) -> int:
        return len(self._flows)

    def __contains__(self, key: str) -> bool:
        return key in self._flows

    async def load(self, store: Store) -> None:
        """Go on with what an earlier life knew."""
        self._flows = {one.value.key: _Kept(one.value, one.value) for one in await FLOWS.all(store)}

    def get(self, key: str) -> Flow | None:
        """A flow as it was last seen, or None."""
        kept = self._flows.get(key)
        return kept.flow if kept else None

    def servers_of_living_callers(self) -> frozenset[str]:
        """Where callers were caught alive lately, and have not gone."""
        flows = (kept.flow for kept in self._flows.values())
        return frozenset(flow.server for flow in flows if flow.caller_user and flow.ended_at is None)

    def keep(self, flow: Flow, fresh: int, now: datetime) -> Observation | None:
        """Take in what this look says of one flow; what changed, if anything did."""
        kept = self._flows.get(flow.key)
        if kept is None:
            flow = replace(flow, connections=fresh)
            self._flows[flow.key] = _Kept(flow)
            return _observation(flow, now, "appeared")
        before = kept.flow
        count = before.connections + fresh
        kept.flow = replace(flow, first_at=before.first_at, last_at=now, connections=count, ended_at=None)
        if (before.encryption, before.excused) == (flow.encryption, flow.excused):
            return None
        return _observation(kept.flow, now, "changed", before=before.encryption)

    def end(self, now: datetime) -> list[Observation]:
        """Mark what was not seen for a while, and forget what was not seen for longer."""
        for kept in self._flows.values():
            if kept.flow.ended_at is None and now - kept.flow.last_at >= ENDED_AFTER:
                kept.flow = replace(kept.flow, ended_at=kept.flow.last_at)
        gone = [one.flow for one in self._flows.values() if now - one.flow.last_at >= FORGOTTEN_AFTER]
        for flow in gone:
            del self._flows[flow.key]
            self.gone.append(flow.key)
        return [_observation(flow, now, "ended") for flow in gone]

    def documents(self, now: datetime) -> dict[tuple[str, str], Mapping[str, Json]]:
        """What is to be written; it counts as written from now on, unless :meth:`unwritten` takes that back."""
        due = [kept for kept in self._flows.values() if _is_due(kept, now)]
        for kept in due:
            kept.written = kept.flow
        return {(FLOWS.kind, kept.flow.key): FLOWS.encode(kept.flow) for kept in due}

    def unwritten(self) -> None:
        """What was to be written was not: it is to be written again."""
        for kept in self._flows.values():
            kept.written = None


def _is_due(kept: _Kept, now: datetime) -> bool:
    """True if a flow's document says something that changed, or is a minute old."""
    before, flow = kept.written, kept.flow
    if before is None:
        return True
    if replace(before, last_at=flow.last_at, connections=flow.connections) != flow:
        return True
    return before != flow and now - before.last_at >= WRITE_EVERY


def _observation(flow: Flow, at: datetime, change: str, *, before: FlowClass | None = None) -> Observation:
    return Observation(
        at=at,
        kind=Kind.FLOW,
        source=Source.SOCKETS,
        subject=flow.key,
        by=TABLE,
        verdict=verdict_of(flow.encryption),
        body={
            "change": change,
            "caller": flow.caller,
            "callee": flow.callee,
            "server": flow.server,
            "encryption": flow.encryption.value,
            **({"before": before.value} if before else {}),
            "owner": flow.owner,
            "process": flow.caller_process,
            "user": flow.caller_user,
            "connections": flow.connections,
            "first_at": flow.first_at.isoformat(),
            "last_at": flow.last_at.isoformat(),
            "excused": flow.excused,
            "excused_until": flow.excused_until.isoformat() if flow.excused_until else "",
            "evidence": flow.evidence,
        },
    )
