"""Whether it can be told that an alert about a hop is over."""

from __future__ import annotations

from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import AlertState
from everyhop.core.hop import Posture


def unseen(snapshot: Snapshot, state: AlertState) -> str:
    """Why nobody can tell of a hop: it was not seen lately. A hop that the topology has no more is no doubt."""
    hop = snapshot.hop(state.subject)
    if hop is None or hop.seen is not Posture.UNKNOWN:
        return ""
    since = f" since {hop.seen_at:%Y-%m-%d %H:%M:%S} UTC" if hop.seen_at else ""
    return f"nobody has seen this hop{since}"
