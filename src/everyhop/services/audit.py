"""Audit: hold everything that is stored against the seals over it, and say where it first differs.

Rules: nothing that the store says about itself is believed: leaves and roots are computed from the observations, seals
are read from their signed notes, and the columns beside them are compared with both. Reading goes on after a fault,
so that one changed observation does not hide another. What retention forgot is checked by chain and signature alone,
and said to be so. What has no seal yet is counted: it proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from everyhop.core.evidence.chain import EvidenceFault, SealChain, changed_field
from everyhop.core.evidence.note import SealText
from everyhop.core.evidence.signer import EvidenceSigner, fingerprint
from everyhop.core.ledger import leaf, root
from everyhop.core.observation import Observation, Stream
from everyhop.ports import Seal, Store
from everyhop.services.prove import EVIDENCE_KEYS, SEAL_INTENTS

MOST_FAULTS = 100
"""Faults told per stream: who sees a hundred knows enough."""
_PAGE = 1_000
_NEAR = 500
"""How far a row is looked for from where it should be."""
_DAMAGE = (ValueError, TypeError, KeyError, OverflowError, AttributeError, RecursionError)
"""What reading or hashing a row may raise once somebody has written into it."""
_ENUM = re.compile(r"is not a valid (Kind|Source|Verdict)")


@dataclass(frozen=True, slots=True)
class StreamAudit:
    """What was found in one stream."""

    stream: str
    seals: int = 0
    sealed: int = 0
    """Observations that are there and were held against their seal."""
    forgotten: int = 0
    """Seals whose observations retention removed: checked by chain and signature only."""
    unsealed: int = 0
    unsealed_since: datetime | None = None
    head: str = ""
    """SHA-256 of the newest seal's note: what a witness would keep."""
    root: str = ""
    """SHA-256 of the root certificate that the newest seal leads to."""
    faults: tuple[EvidenceFault, ...] = ()
    """In order; the first is where it first differs."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The verdict on a whole store."""

    at: datetime
    streams: tuple[StreamAudit, ...]

    @property
    def faults(self) -> tuple[EvidenceFault, ...]:
        """Every fault, stream by stream."""
        return tuple(fault for one in self.streams for fault in one.faults)

    @property
    def ok(self) -> bool:
        """True if nothing differs."""
        return not self.faults


async def audit(
    store: Store,
    trust_domain: str,
    environment: str,
    now: datetime,
    *,
    roots: Sequence[str] = (),
    kept: Mapping[Stream, timedelta] | None = None,
) -> Audit:
    """Hold the whole store against its seals.

    ``roots`` are SHA-256 fingerprints of root certificates, one of which the newest seal must lead to (older seals
    are vouched for by the chain); none: any root does. ``kept`` is how long each stream is kept: what was forgotten
    earlier than that is a fault.
    """
    signers = [EvidenceSigner.read(one.value.chain) for one in await EVIDENCE_KEYS.all(store) if one.value.chain]
    streams: list[StreamAudit] = []
    for stream in Stream:
        chain = SealChain(stream, trust_domain, environment, signers)
        streams.append(await _Audit(store, stream, chain, now, tuple(roots), (kept or {}).get(stream)).run())
    return Audit(now, tuple(streams))


class _Audit:
    """One stream."""

    def __init__(
        self,
        store: Store,
        stream: Stream,
        chain: SealChain,
        now: datetime,
        roots: tuple[str, ...],
        kept: timedelta | None,
    ) -> None:
        self._store = store
        self._stream = stream
        self._chain = chain
        self._now = now
        self._roots = roots
        self._kept = kept
        self._faults: list[EvidenceFault] = []
        self._unreadable: set[int] = set()
        self._found = StreamAudit(stream.value)

    async def run(self) -> StreamAudit:
        number, last = 0, 0
        async for seal in self._seals():
            if seal.number != number + 1:
                self._tell(f"expected seal {number + 1}, it is not there", seal=number + 1)
            try:
                await self._seal(seal)
            except _DAMAGE as error:
                self._tell(f"it cannot be read: {error}", seal=seal.number)
            number, last = seal.number, max(last, seal.last)
        await self._tail(last)
        await self._begun(number)
        self._root()
        return replace(self._found, faults=tuple(self._faults))

    def _tell(self, what: str, *, seal: int | None = None, sequence: int | None = None, field: str = "") -> None:
        if len(self._faults) < MOST_FAULTS:
            self._faults.append(EvidenceFault(what, self._stream.value, seal, sequence, field))

    async def _seals(self) -> AsyncIterator[Seal]:
        """Every seal that can be read; the others are told."""
        number, step = 0, _PAGE
        while True:
            try:
                page = await self._store.seals(self._stream, after=number, limit=step)
            except _DAMAGE as error:
                if step == 1:
                    self._tell(f"it cannot be read: {error}", seal=number + 1)
                    number += 1
                step = 1  # from here on one by one, to tell which
                continue
            if not page:
                return
            for seal in page:
                yield seal
            number = page[-1].number

    # --- a seal ---------------------------------------------------------------------------------------------------

    async def _seal(self, seal: Seal) -> None:
        said, faults = self._chain.take(seal.note, seal.number)
        for one in faults:
            self._tell(one.what, seal=one.seal, field=one.field)
        self._found = replace(self._found, seals=self._found.seals + 1)
        if said is None:
            return
        for name, stored, signed in _columns(seal, said):
            if stored != signed:
                self._tell(f"the store says {stored}, the signed note says {signed}", seal=seal.number, field=name)
        if seal.forgotten_at is not None:
            self._forgotten(seal, seal.forgotten_at)
        else:
            await self._segment(said)

    def _forgotten(self, seal: Seal, at: datetime) -> None:
        before = self._found.seals - 1
        if before != self._found.forgotten:
            self._tell("it is marked as forgotten, and one before it is not", seal=seal.number, field="forgotten_at")
        if at > self._now or (self._kept is not None and at < seal.at + self._kept):
            kept = f"{self._kept.days} days" if self._kept else "its time"
            self._tell(
                f"it was forgotten at {at:%Y-%m-%d %H:%M:%S} UTC; what was sealed at {seal.at:%Y-%m-%d %H:%M:%S} UTC "
                f"is kept for {kept}",
                seal=seal.number,
                field="forgotten_at",
            )
        self._found = replace(self._found, forgotten=self._found.forgotten + 1)

    async def _segment(self, seal: SealText) -> None:
        """The observations under one seal."""
        rows = await self._rows(seal.first, seal.last, seal.number)
        stored = await self._stored_leaves(seal.first, seal.last)
        self._found = replace(self._found, sealed=self._found.sealed + len(rows))
        sequences = range(seal.first, seal.last + 1)
        computed = {sequence: _leaf(one) for sequence, one in rows.items()}
        if root([computed.get(sequence) or b"" for sequence in sequences]) == seal.root:
            for sequence in sequences:
                if stored.get(sequence) != computed[sequence]:
                    what = "the leaf hash beside it was changed; the observation itself is what was sealed"
                    self._tell(what, seal=seal.number, sequence=sequence, field="leaf")
            return
        known = len(stored) == len(sequences) and root([stored[sequence] for sequence in sequences]) == seal.root
        changed = [one for sequence, one in rows.items() if computed[sequence] != stored.get(sequence)]
        for one in changed[:MOST_FAULTS]:
            field = _field(one, stored.get(one.sequence, b""), seal, known=known)
            self._tell("it is not what was sealed", seal=seal.number, sequence=one.sequence, field=field)
        if not changed and len(rows) == len(sequences):
            what = (
                f"the root over observations {seal.first}-{seal.last} is not the signed one: "
                "one of them was changed together with its leaf hash"
            )
            self._tell(what, seal=seal.number)

    async def _rows(self, first: int, last: int, seal: int | None) -> dict[int, Observation]:
        """Observations by sequence; what is missing or cannot be read is told."""
        found: dict[int, Observation] = {}
        after = first - 1
        while after < last:
            limit = min(_PAGE, last - after)
            try:
                page = await self._store.observations(stream=self._stream, after=after, limit=limit)
                page = [one for one in page if one.sequence <= last]
                for one in page:
                    _leaf(one)
            except _DAMAGE:
                page = await self._one_by_one(after, min(after + limit, last), seal)
            found |= {one.sequence: one for one in page}
            after += limit
        for sequence in range(first, last + 1):
            if sequence not in found and sequence not in self._unreadable:
                self._tell("it is not there any more", seal=seal, sequence=sequence)
        return found

    async def _one_by_one(self, after: int, last: int, seal: int | None) -> list[Observation]:
        found: list[Observation] = []
        for sequence in range(after + 1, last + 1):
            try:
                page = await self._store.observations(stream=self._stream, after=sequence - 1, limit=1)
                one = next((one for one in page if one.sequence == sequence), None)
                if one is not None:
                    _leaf(one)
                    found.append(one)
            except _DAMAGE as error:
                if await self._is_there(sequence):
                    self._unreadable.add(sequence)
                    self._tell(f"it cannot be read: {error}", seal=seal, sequence=sequence, field=_field_of(error))
        return found

    async def _is_there(self, sequence: int) -> bool:
        return bool(await self._store.leaves(self._stream, first=sequence, last=sequence))

    async def _stored_leaves(self, first: int, last: int) -> dict[int, bytes]:
        """The leaf column by sequence; where rows are missing, each is asked for."""
        leaves = await self._store.leaves(self._stream, first=first, last=last)
        if len(leaves) == last - first + 1:
            return dict(zip(range(first, last + 1), leaves, strict=True))
        found: dict[int, bytes] = {}
        for sequence in range(first, last + 1):
            for one in await self._store.leaves(self._stream, first=sequence, last=sequence):
                found[sequence] = one
        return found

    # --- after the last seal --------------------------------------------------------------------------------------

    async def _tail(self, last: int) -> None:
        """What has no seal yet: it must be read, follow on, and match the leaf beside it."""
        while True:
            try:
                page = await self._store.observations(stream=self._stream, after=last, limit=_PAGE)
                computed = [_leaf(one) for one in page]
            except _DAMAGE as error:
                self._tell(f"an observation after {last}, not sealed yet, cannot be read: {error}")
                return
            if not page:
                return
            if self._found.unsealed_since is None:
                self._found = replace(self._found, unsealed_since=page[0].at)
            stored = await self._stored_leaves(page[0].sequence, page[-1].sequence)
            for one, hashed in zip(page, computed, strict=True):
                if one.sequence != last + 1:
                    self._tell("it is not there any more", sequence=last + 1)
                if stored.get(one.sequence) != hashed:
                    self._tell("it is not sealed yet, and differs from the leaf hash beside it", sequence=one.sequence)
                last = one.sequence
            self._found = replace(self._found, unsealed=self._found.unsealed + len(page))

    async def _begun(self, number: int) -> None:
        """Seals that were once begun must be there, the last one begun excepted."""
        begun = await SEAL_INTENTS.get(self._store, self._stream.value)
        if begun is not None and begun.value.number > number + 1:
            last = begun.value.number - 1
            self._tell(f"seals up to {last} were made, those after {number} are not there", seal=number + 1)

    def _root(self) -> None:
        """The newest seal's root: it vouches for all before it."""
        signer, last = self._chain.signer, self._chain.last
        if last is None or signer is None:
            return
        found = fingerprint(signer.root)
        self._found = replace(self._found, root=found, head=self._chain.head.hex())
        if self._roots and found not in self._roots:
            self._tell("it does not lead to a root that was given", seal=last.number, field="certificate")


def _columns(seal: Seal, said: SealText) -> list[tuple[str, str, str]]:
    """What the store and the signed note say of a seal."""
    return [
        ("number", str(seal.number), str(said.number)),
        ("first", str(seal.first), str(said.first)),
        ("last", str(seal.last), str(said.last)),
        ("root", seal.root.hex(), said.root.hex()),
        ("previous", seal.previous.hex(), said.previous.hex()),
        ("at", seal.at.isoformat(), said.at.isoformat()),
    ]


def _field(one: Observation, former: bytes, seal: SealText, *, known: bool) -> str:
    """The field that was changed, and what it said, as far as the leaf hash beside it tells. ``known``: the sealed
    root vouches for that leaf hash."""
    near = range(max(seal.first, one.sequence - _NEAR), min(seal.last, one.sequence + _NEAR) + 1)
    name, value = changed_field(one, former, near)
    if not name:
        return "at, subject, seen_by or body" if known else ""
    return f"{name} ({'sealed as' if known else 'its leaf hash says'} {value!r})"


def _leaf(observation: Observation) -> bytes:
    """The leaf of an observation as it was read; raises one of ``_DAMAGE`` if nobody could have observed it."""
    for value in (observation.subject, observation.by):
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # SQLite keeps what it is given
            raise TypeError(f"expected a text, got {type(value).__name__}")
    return leaf(observation)


def _field_of(error: Exception) -> str:
    found = _ENUM.search(str(error))
    if found:
        return found[1].lower()
    return "body" if isinstance(error, ValueError) and "char" in str(error) else ""
