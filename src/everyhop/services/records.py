"""Typed records in the store: core's frozen dataclasses as JSON documents, and back.

Rules: a record is a document of a fixed kind; every write names the version it saw (compare-and-swap), and work done
under a lease passes it as the fence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from pydantic import TypeAdapter

from everyhop.core.chain import Authority, Trust
from everyhop.core.lifecycle import Rotation, Slot
from everyhop.ports import Json, Lease, Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A record and the version it has in the store."""

    value: T
    version: int


class Records(Generic[T]):
    """All records of one kind."""

    def __init__(self, kind: str, record: type[T]) -> None:
        """``kind`` names the documents; ``record`` is a frozen dataclass."""
        self.kind = kind
        self._adapter: TypeAdapter[T] = TypeAdapter(record)

    async def get(self, store: Store, key: str) -> Stored[T] | None:
        """The record, or None."""
        document = await store.get(self.kind, key)
        return Stored(self._adapter.validate_python(document.value), document.version) if document else None

    async def all(self, store: Store) -> Sequence[Stored[T]]:
        """Every record of this kind, by key."""
        return [
            Stored(self._adapter.validate_python(document.value), document.version)
            for document in await store.all(self.kind)
        ]

    async def put(
        self, store: Store, key: str, value: T, *, expect: int | None = None, fence: Lease | None = None
    ) -> Stored[T]:
        """Write a record; raises as ``Store.put``."""
        document = await store.put(self.kind, key, self.encode(value), expect=expect, fence=fence)
        return Stored(value, document.version)

    def encode(self, value: T) -> dict[str, Json]:
        """The record as a document's value, for writes beside observations."""
        return cast("dict[str, Json]", self._adapter.dump_python(value, mode="json"))


AUTHORITIES = Records("authority", Authority)
TRUST = Records("trust", Trust)
SLOTS = Records("slot", Slot)
ROTATIONS = Records("rotation", Rotation)
TRUST_KEY = "current"
