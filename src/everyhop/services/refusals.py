"""Refusals: who was turned away at a port, how often and why, joined from both ends.

Rules: one record for one cause, so that a scanner fills nothing; what tells a peer apart (addresses, serials) is kept
of the last one only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from everyhop.core.hop import End
from everyhop.core.observation import Kind, Observation, Plain, Source
from everyhop.core.refusal import Explained, explain_call, explain_failure, failed_call
from everyhop.core.verdict import Verdict
from everyhop.services.records import Records


@dataclass(frozen=True, slots=True)
class RefusalSeen:
    """Somebody who was refused at a port, how often, and why."""

    node: str
    listener: str
    peer_identity: str
    failure: str
    count: int
    first_at: datetime
    last_at: datetime
    last_peer: str
    end: End = End.SERVER
    """The end that tells: the serving one refuses, the calling one has failed."""
    joined: str = ""
    """The other end's reason for the same connection, where its address was found on both sides."""
    written: int = 0


REFUSALS_SEEN = Records("refusal-seen", RefusalSeen)


def merged(before: RefusalSeen, after: RefusalSeen) -> RefusalSeen:
    """Two records of one cause as one: counted together, told of as it was last."""
    return replace(
        after,
        count=before.count + after.count,
        first_at=before.first_at,
        joined=after.joined or before.joined,
        written=before.written,
    )


def explained(seen: RefusalSeen, callers: Sequence[str]) -> Explained:
    """A refusal in words. A caller learns nothing from a refusal in TLS 1.3: where both ends of a connection were
    joined, the serving one's reason is told."""
    if seen.end is End.SERVER or seen.joined:
        return explain_failure(seen.joined or seen.failure, seen.peer_identity, callers)
    return explain_call(seen.failure) if failed_call(seen.failure) else explain_failure(seen.failure, "", callers)


def refusal_key(seen: RefusalSeen) -> str:
    """One record for one cause: addresses and serials of a peer are not part of it, so that a scanner fills nothing."""
    parts = [seen.node, seen.listener, seen.peer_identity[:200], seen.failure[:200]]
    if seen.failure and explain_failure(seen.failure, "", ()).code == "plaintext":
        # Who speaks plaintext proves no identity: the host is all there is to tell whom strictness would hurt.
        parts.append(seen.last_peer.rpartition(":")[0])
    return "|".join(parts if seen.end is End.SERVER else [*parts, "client"])


def told(seen: RefusalSeen) -> Observation:
    """A new cause as an observation."""
    source = Source.SERVER if seen.end is End.SERVER else Source.CLIENT
    body: dict[str, Plain] = {
        "listener": seen.listener,
        "peer": seen.peer_identity[:200],
        "reason": seen.failure[:200],
        "from": seen.last_peer,
        "joined": seen.joined[:200],
    }
    return Observation(seen.last_at, Kind.REFUSAL, source, f"? -> {seen.node}", f"envoy of {seen.node}", _REFUSED, body)


_REFUSED = Verdict.PASS
"""A refusal is what the port is there for."""
