"""Counters as differences: what was added since they were read last.

Rules: a proxy that started anew counts from zero, and whoever reads says so by giving no earlier reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from everyhop.ports import EndCounters


def since(before: EndCounters | None, now: EndCounters) -> EndCounters:
    """What was added to counters."""
    if before is None:
        return now
    return replace(
        now,
        connections=now.connections - before.connections,
        handshakes=now.handshakes - before.handshakes,
        resumed=now.resumed - before.resumed,
        errors=now.errors - before.errors,
        unverified=now.unverified - before.unverified,
        not_tls=now.not_tls - before.not_tls,
        versions=_more(before.versions, now.versions),
        ciphers=_more(before.ciphers, now.ciphers),
        groups=_more(before.groups, now.groups),
    )


def _more(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)}


def most(counts: Mapping[str, int]) -> str:
    """What was counted most often; several at once are named together, so that nothing is hidden."""
    return ", ".join(sorted(counts, key=lambda name: -counts[name]))
