"""The evidence pack: claims, the observations they rest on with proofs, the seals, and who signed them.

Rules: one pack has one spelling in bytes: what is read back and written again is the same, or it is refused. Each
observation carries its audit path to a seal in the pack. Of the record every observation from ``first`` to ``last`` is
there, so that nothing could be left out in between; what is older is there because a claim needs it. The format has a
version and a published JSON Schema (docs/reference/evidence.schema.json).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

from pydantic import JsonValue, TypeAdapter

from everyhop.core.evidence import derive
from everyhop.core.evidence.checklist import Case, checklist
from everyhop.core.evidence.claims import Claims, Declared, Period
from everyhop.core.observation import Kind, Observation, Plain, Source, Stream
from everyhop.core.verdict import Verdict

FORMAT = "everyhop evidence 1"


@dataclass(frozen=True, slots=True)
class Proven:
    """An observation, and the way from it to a seal (RFC 6962, 2.1.1)."""

    stream: Stream
    sequence: int
    at: datetime
    kind: Kind
    source: Source
    subject: str
    by: str
    verdict: Verdict
    body: Mapping[str, JsonValue]
    seal: int
    """The seal's number in its stream."""
    path: tuple[str, ...]
    """Hashes beside the way up, lowest first, base64."""

    @classmethod
    def of(cls, observation: Observation, seal: int, path: Sequence[bytes]) -> Proven:
        """An observation with its proof."""
        return cls(
            stream=observation.stream,
            sequence=observation.sequence,
            at=observation.at,
            kind=observation.kind,
            source=observation.source,
            subject=observation.subject,
            by=observation.by,
            verdict=observation.verdict,
            body=cast("Mapping[str, JsonValue]", dict(observation.body)),
            seal=seal,
            path=tuple(base64.b64encode(one).decode() for one in path),
        )

    @property
    def observation(self) -> Observation:
        """The observation itself."""
        body = cast("Mapping[str, Plain]", self.body)
        return Observation(
            self.at, self.kind, self.source, self.subject, self.by, self.verdict, body, self.stream, self.sequence
        )

    def hashes(self) -> list[bytes]:
        """The path in bytes; raises ``ValueError`` if it is not base64."""
        return [base64.b64decode(one, validate=True) for one in self.path]


@dataclass(frozen=True, slots=True)
class PackedSeal:
    """A seal's note, as it was signed."""

    stream: Stream
    number: int
    note: str
    forgotten: bool = False
    """Retention has removed its observations since."""


@dataclass(frozen=True, slots=True)
class Range:
    """A part of the record that is there as a whole; 0 to 0: nothing was recorded."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Pack:
    """Everything that is signed."""

    format: Literal["everyhop evidence 1"]
    made_at: datetime
    made_by: str
    """The program and its version."""
    period: Period
    declared: Declared
    claims: Claims
    record: Range
    """Which observations of the record are all there."""
    observations: tuple[Proven, ...]
    seals: tuple[PackedSeal, ...]
    signers: tuple[str, ...]
    """Certificate chains (PEM: leaf, intermediate, root) of the keys that signed the seals."""


_PACK: TypeAdapter[Pack] = TypeAdapter(Pack)


def claims_of(observations: Sequence[Observation], declared: Declared, period: Period) -> Claims:
    """Everything that follows from observations. Pure: the same observations give the same claims."""
    facts = derive.by_kind(observations)
    claims = Claims(
        hops=derive.hops(facts, declared, period),
        refusals=derive.refusals(facts, period),
        flows=derive.flows(facts),
        events=derive.events(facts),
        findings=derive.findings(facts),
        alerts=derive.alerts(facts),
        indicators=derive.indicators(facts),
        coverage=derive.coverage(facts, period),
        blind=derive.blind(facts),
    )
    return replace(claims, checklist=checklist(Case(declared, period, facts, claims)))


def encode(pack: Pack) -> bytes:
    """The pack's only spelling: compact JSON in UTF-8, keys in order, one newline at the end."""
    text = json.dumps(as_json(pack), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def as_json(pack: Pack) -> dict[str, Any]:
    """The pack as JSON values."""
    return cast("dict[str, Any]", _PACK.dump_python(pack, mode="json"))


def decode(content: bytes) -> Pack:
    """Read a pack; raises ``ValueError`` that names the place if it is none, or is spelled differently."""
    pack = _PACK.validate_json(content)
    if encode(pack) != content:
        raise ValueError("expected a pack as everyhop spells it, got unknown fields or another spelling")
    return pack


def json_schema() -> dict[str, Any]:
    """The published schema of packs."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "evidence.schema.json"}
    return head | _PACK.json_schema(mode="serialization")
