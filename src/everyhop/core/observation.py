"""Observations: dated facts with a source. What everything that everyhop claims is made of.

Rules: an observation is never changed; a later one says more. It has one subject, one kind and one source, and its
body is small, flat and without secrets. Its canonical bytes are fixed for ever, because hashes of them are signed.
Two streams are kept: ``detail`` (per minute, for days) and ``record`` (state changes, hours, findings, certificate
events, for years). What an old detail said is summed up in the record before it is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from everyhop.core.verdict import Verdict

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


class Stream(StrEnum):
    """How long an observation is kept."""

    DETAIL = "detail"
    RECORD = "record"


class Source(StrEnum):
    """Who saw it."""

    PROBE = "probe"
    """everyhop's own connection from outside."""
    SERVER = "envoy, serving end"
    CLIENT = "envoy, calling end"
    SOCKETS = "socket table"
    AUTHORITY = "authority"
    RULES = "rules"
    """A finding: a rule's verdict on other observations."""


class Kind(StrEnum):
    """What kind of fact it is; the body's fields depend on it (docs/reference/observations.md)."""

    CONNECTIONS = "connections"
    """Connections over a hop in one minute, alike in everything that matters (detail)."""
    HOUR = "hour"
    """What the minutes of one hour summed up to (record)."""
    POSTURE = "posture"
    """A hop's seen posture changed (record)."""
    REFUSAL = "refusal"
    """Somebody was refused for the first time in an hour, and why (record)."""
    FLOW = "flow"
    """A flow beside the mesh appeared, changed its class or ended (record)."""
    LISTENER = "listener"
    """A listening socket appeared, was asked, or went (record)."""
    ENDPOINT = "endpoint"
    """A probe's look at an endpoint (detail), or a change in what it saw (record)."""
    CERTIFICATE = "certificate"
    """Issued, acknowledged, seen on the wire, renewed, expired (record)."""
    FINDING = "finding"
    """A rule's verdict changed (record)."""
    INDICATOR = "indicator"
    """The value of a service level indicator (detail; hourly ones: record)."""
    ALERT = "alert"
    """An alert began or ended (record)."""
    BLIND = "blind"
    """A source could not look: an interval of not knowing (record)."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One dated fact."""

    at: datetime
    """When it was seen, or the end of the interval it covers."""
    kind: Kind
    source: Source
    subject: str
    """A hop ``web -> api``, an endpoint ``127.0.0.1:443``, a credential ``web/identity``, a flow."""
    by: str
    """Which proxy, probe or table exactly."""
    verdict: Verdict
    body: Mapping[str, Plain] = field(default_factory=dict[str, Plain])
    stream: Stream = Stream.RECORD
    sequence: int = 0
    """Given by the store: 1, 2, 3 ... per stream, without gaps."""


def canonical(observation: Observation) -> bytes:
    """The bytes that are hashed: every field but the sequence's neighbours, sorted, compact, UTF-8 (as RFC 8785
    does for the types used here: no float is ever written with more than 15 digits by those who make them)."""
    value = {
        "at": observation.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "body": dict(observation.body),
        "by": observation.by,
        "kind": observation.kind.value,
        "sequence": observation.sequence,
        "source": observation.source.value,
        "stream": observation.stream.value,
        "subject": observation.subject,
        "verdict": observation.verdict.value,
    }
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()
