"""What is a span: the traces of rotations and of renewals, from what was stored about them.

Rules: a rotation is one trace, and a renewal is one. Their ids follow from what they are about, so that whoever tells
them twice tells the same spans, and a backend that keeps spans by id keeps one. A step begins where the one before it
ended; a clock that went back makes a step of no length, never one that ends before it begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from everyhop.core.lifecycle import Rotation, RotationState

_TRACE_BYTES, _SPAN_BYTES = 16, 8
"""The lengths of ids (W3C Trace Context, 3.2.2)."""


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work with its beginning and its end."""

    trace: str
    """32 hexadecimal digits."""
    span: str
    """16 hexadecimal digits."""
    parent: str
    """The span it is a part of; empty: the trace's root."""
    name: str
    began_at: datetime
    ended_at: datetime
    attributes: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    fault: str = ""
    """Why it failed; empty: it did not."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is known of one renewal that came to its end."""

    slot: str
    request: str
    serial: str
    issuer: str
    owner: str
    began_at: datetime
    intended_at: datetime | None
    """When what was going to be signed was in the journal."""
    signed_at: datetime | None
    acknowledged_at: datetime | None
    """When the proxy had taken what was pushed to it."""
    ended_at: datetime
    """When it was seen on the wire, or failed."""
    fault: str = ""
    """Why it failed; empty: it was seen on the wire."""


def renewal_spans(renewal: Renewal, source: str) -> tuple[Span, ...]:
    """The trace of a renewal: the whole, then its steps as far as they came. ``source`` is who renews: the same for
    ever, and different from every other everyhop."""
    trace = _id(_TRACE_BYTES, source, "renewal", renewal.request)
    whole = _id(_SPAN_BYTES, trace, "renewal")
    steps = (
        ("intend", renewal.intended_at),
        ("sign", renewal.signed_at),
        ("push and acknowledge", renewal.acknowledged_at),
        ("see on the wire", None if renewal.fault else renewal.ended_at),
    )
    spans: list[Span] = []
    at = renewal.began_at
    for name, end in steps:
        if end is not None:
            spans.append(Span(trace, _id(_SPAN_BYTES, trace, name), whole, name, at, max(at, end)))
            at = spans[-1].ended_at
    attributes: dict[str, str | int] = {
        "everyhop.slot": renewal.slot,
        "everyhop.request": renewal.request,
        "everyhop.serial": renewal.serial,
        "everyhop.issuer": renewal.issuer,
        "everyhop.owner": renewal.owner,
    }
    end = max(at, renewal.ended_at)
    return Span(trace, whole, "", "renewal", renewal.began_at, end, attributes, renewal.fault), *spans


def rotation_spans(rotation: Rotation, state: str, source: str) -> tuple[Span, ...]:
    """What is over once a rotation has left ``state``: that state, and the whole rotation if it was the last one.

    Raises ``ValueError`` if the rotation never left such a state.
    """
    states = [left for left, _ in rotation.history]
    number = states.index(state)
    trace = _id(_TRACE_BYTES, source, "rotation", str(rotation.number), rotation.requested_at.isoformat())
    whole = _id(_SPAN_BYTES, trace, "rotation")
    moments = [rotation.requested_at]
    for _, left in rotation.history:
        moments.append(max(moments[-1], datetime.fromisoformat(left.partition(" ")[0])))
    proof = rotation.history[number][1].partition(" ")[2]
    gone, attributes = _id(_SPAN_BYTES, trace, state), {"everyhop.proof": proof}
    step = Span(trace, gone, whole, state, moments[number], moments[number + 1], attributes)
    if not rotation.finished or number + 1 < len(states):
        return (step,)
    given_up = rotation.state is RotationState.GIVEN_UP
    about: dict[str, str | int] = {
        "everyhop.rotation.kind": rotation.kind,
        "everyhop.rotation.number": rotation.number,
        "everyhop.rotation.reason": rotation.reason,
        "everyhop.intermediate": rotation.new_intermediate,
        "everyhop.root": rotation.new_root,
    }
    name, fault = f"rotation of the {rotation.kind}", proof if given_up else ""
    return Span(trace, whole, "", name, moments[0], moments[-1], about, fault), step


def _id(length: int, *words: str) -> str:
    """An id of so many bytes that follows from words."""
    return hashlib.sha256("\0".join(words).encode()).digest()[:length].hex()
