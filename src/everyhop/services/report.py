"""Report: gather what was observed in a period, prove it by its seals, and sign it.

Rules: everything is sealed before it is reported. Of the record every observation of the period is taken, of older ones
only the newest of each kind and subject, because what they say still holds; of the detail only connections that no
hour has summed up. What a pack says is derived from what is in it (core/evidence), here and by whoever verifies it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from everyhop.core.evidence.claims import Declared, DeclaredException, DeclaredHop, Period
from everyhop.core.evidence.note import read_note
from everyhop.core.evidence.pack import FORMAT, Pack, PackedSeal, Proven, Range, claims_of, encode
from everyhop.core.evidence.signer import EvidenceSigner
from everyhop.core.layout import issuance_policy
from everyhop.core.ledger import leaf, paths
from everyhop.core.observation import Kind, Observation, Stream
from everyhop.core.plan import Plan
from everyhop.core.policy import IssuancePolicy
from everyhop.core.topology import Topology
from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry, Clock, Seal, Store
from everyhop.services.apply import WISH_KEY, WISHES, planned
from everyhop.services.keep import SUMMED
from everyhop.services.prove import EVIDENCE_KEYS, Prover

MOST = 200_000
"""Observations in one pack: some 200 MB of JSON; a longer period of a large fleet needs several packs."""
HOUR = timedelta(hours=1)
_PAGE = 5_000
_LASTING = (Kind.CERTIFICATE, Kind.FINDING, Kind.ALERT, Kind.FLOW, Kind.LISTENER)
"""What holds until it is said otherwise."""
_LOOK_BACK = 20_000
"""How many older observations of each lasting kind are looked through."""


@dataclass(frozen=True, slots=True)
class Report:
    """A signed pack, in the bytes of its files."""

    pack: Pack
    content: bytes
    """``evidence.json``."""
    signature: bytes
    """``evidence.json.sig``: ECDSA with SHA-256, DER."""
    chain: str
    """``evidence.pem``: the signer's certificate, intermediate and root."""


class Reporter:
    """Makes evidence packs."""

    def __init__(self, store: Store, prover: Prover, clock: Clock, *, made_by: str) -> None:
        """``made_by`` is the program and its version."""
        self._store = store
        self._prover = prover
        self._clock = clock
        self._made_by = made_by

    async def report(self, data: str, begin: datetime, end: datetime, *, actor: str) -> Report:
        """Make the pack of a period: from the hour of ``begin`` to ``end`` (a whole hour, or less than an hour ago).

        Raises ``not-running`` if nothing was ever applied, ``evidence-invalid`` if stored observations cannot be
        read or there are too many for one pack, ``unknown-name`` for a period without any.
        """
        found = await planned(self._store, data)
        if found is None:
            raise EveryhopError("not-running", "nothing was applied yet", hint="`everyhop up FILE` begins")
        topology, plan = found
        policy = issuance_policy(topology)
        for stream in Stream:
            await self._prover.seal(stream, policy)
        now = self._clock.now()
        period = await self._period(begin, min(end, now))
        pack = await self._pack(period, await self._declared(topology, plan), now)
        return await self._signed(pack, policy, actor)

    async def _signed(self, pack: Pack, policy: IssuancePolicy, actor: str) -> Report:
        content = encode(pack)
        chain, signature = await self._prover.sign(content, policy)
        digest = hashlib.sha256(content).hexdigest()
        told = f"{pack.period.begin.isoformat()} to {pack.period.end.isoformat()}"
        await self._store.audit(AuditEntry(pack.made_at, actor, "sign evidence", told, "signed", {"sha256": digest}))
        return Report(pack, content, signature, chain)

    async def _period(self, begin: datetime, end: datetime) -> Period:
        """Whole hours, because minutes are summed up to hours and then forgotten; the newest one may be open."""
        summed = await SUMMED.get(self._store, "current")
        if summed is not None and end < summed.value.through:
            end = _whole_hour(end + HOUR - timedelta(microseconds=1))
        return Period(_whole_hour(begin), end.astimezone(UTC))

    async def _declared(self, topology: Topology, plan: Plan) -> Declared:
        wish = await WISHES.get(self._store, WISH_KEY)
        text, applied_at = (wish.value.text, wish.value.applied_at) if wish else ("", self._clock.now())
        return Declared(
            trust_domain=str(topology.trust_domain),
            environment=topology.environment,
            topology_sha256=hashlib.sha256(text.encode()).hexdigest(),
            applied_at=applied_at,
            leaf_lifetime_seconds=int(topology.policy.leaf_lifetime.total_seconds()),
            key_exchange=tuple(one.value for one in topology.policy.key_exchange),
            hops=tuple(
                DeclaredHop(
                    hop=str(one.hop),
                    wanted=one.posture.value,
                    owner=one.owner,
                    criticality=str(one.criticality),
                    address=str(one.address),
                    caller=str(one.caller) if one.caller else "",
                    callee=str(one.callee) if one.callee else "",
                )
                for one in plan.hops
            ),
            exceptions=tuple(
                DeclaredException(str(one.hop), one.reason, one.owner, one.until) for one in topology.exceptions
            ),
        )

    # --- observations ---------------------------------------------------------------------------------------------

    async def _pack(self, period: Period, declared: Declared, now: datetime) -> Pack:
        record = await self._record(period)
        lasting = await self._lasting(period, record)
        minutes = await self._minutes(period)
        chosen = [*lasting, *record, *minutes]
        if not record and not minutes:
            raise EveryhopError(
                "unknown-name",
                f"nothing was observed from {period.begin} to {period.end}",
                hint="choose another period with --from and --to",
            )
        proven, seals = await self._proven(chosen, record)
        key_ids = {read_note(seal.note).key_id for seal in seals}
        chains = [one.value.chain for one in await EVIDENCE_KEYS.all(self._store) if one.value.chain]
        return Pack(
            format=FORMAT,
            made_at=now,
            made_by=self._made_by,
            period=period,
            declared=declared,
            claims=claims_of(chosen, declared, period),
            record=Range(record[0].sequence, record[-1].sequence) if record else Range(0, 0),
            observations=tuple(proven),
            seals=tuple(
                PackedSeal(seal.stream, seal.number, seal.note.decode(), seal.forgotten_at is not None)
                for seal in seals
            ),
            signers=tuple(chain for chain in chains if EvidenceSigner.read(chain).key_id in key_ids),
        )

    async def _record(self, period: Period) -> list[Observation]:
        """Every observation of the record from the period's first to its last, whatever its date."""
        after_begin = period.begin + timedelta(microseconds=1)
        after_end = period.end + timedelta(microseconds=1)
        bounds = [
            await self._store.observations(since=after_begin, until=after_end, newest_first=newest, limit=1)
            for newest in (False, True)
        ]
        if not bounds[0]:
            return []
        first, last = bounds[0][0].sequence, bounds[1][0].sequence
        return await self._read(Stream.RECORD, first, last)

    async def _read(self, stream: Stream, first: int, last: int) -> list[Observation]:
        if last - first >= MOST:
            raise EveryhopError(
                "evidence-invalid",
                f"expected at most {MOST} observations in a pack, this period has {last - first + 1}",
                hint="make several packs of shorter periods",
            )
        found: list[Observation] = []
        while len(found) <= last - first:
            page = await self._store.observations(stream=stream, after=first + len(found) - 1, limit=_PAGE)
            found += [one for one in page if one.sequence <= last]
            if len(page) < _PAGE:
                break
        return found

    async def _lasting(self, period: Period, record: Sequence[Observation]) -> list[Observation]:
        """The newest older observation of each subject, where nothing newer took its place."""
        first = record[0].sequence if record else None
        found: dict[tuple[str, ...], Observation] = {}
        for kind in _LASTING:
            until = period.begin + timedelta(microseconds=1)
            older = await self._store.observations(kind=kind, until=until, newest_first=True, limit=_LOOK_BACK)
            for one in older:
                if first is None or one.sequence < first:
                    event = str(one.body.get("event", one.body.get("rule", one.body.get("alert", ""))))
                    found.setdefault((kind.value, one.subject, one.by, event), one)
        return sorted(found.values(), key=lambda one: one.sequence)

    async def _minutes(self, period: Period) -> list[Observation]:
        """Connections of the period that no hour has summed up yet."""
        summed = await SUMMED.get(self._store, "current")
        since = max(period.begin, summed.value.through) if summed else period.begin
        found: list[Observation] = []
        while len(found) < MOST:
            page = await self._store.observations(
                stream=Stream.DETAIL,
                kind=Kind.CONNECTIONS,
                since=since,
                until=period.end + timedelta(microseconds=1),
                after=found[-1].sequence if found else 0,
                limit=_PAGE,
            )
            found += page
            if len(page) < _PAGE:
                break
        return found

    # --- proofs ---------------------------------------------------------------------------------------------------

    async def _proven(
        self, chosen: Sequence[Observation], record: Sequence[Observation]
    ) -> tuple[list[Proven], list[Seal]]:
        """Observations with their paths, and the seals: those that are cited, and all over the record and after."""
        proven: list[Proven] = []
        needed: list[Seal] = []
        for stream in (Stream.RECORD, Stream.DETAIL):
            wanted = {one.sequence: one for one in chosen if one.stream is stream}
            since = record[0].sequence if record and stream is Stream.RECORD else None
            for seal in await self._seals(stream):
                cited = [wanted[sequence] for sequence in range(seal.first, seal.last + 1) if sequence in wanted]
                if not cited and (since is None or seal.last < since):
                    continue
                needed.append(seal)
                if cited:
                    proven += await self._paths(seal, cited)
        return proven, needed

    async def _paths(self, seal: Seal, cited: Sequence[Observation]) -> list[Proven]:
        hashes = [leaf(one) for one in await self._read(seal.stream, seal.first, seal.last)]
        ways = paths(hashes, [one.sequence - seal.first for one in cited])
        return [Proven.of(one, seal.number, way) for one, way in zip(cited, ways, strict=True)]

    async def _seals(self, stream: Stream) -> list[Seal]:
        found: list[Seal] = []
        while page := await self._store.seals(stream, after=found[-1].number if found else 0, limit=_PAGE):
            found += page
        return found


def _whole_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
