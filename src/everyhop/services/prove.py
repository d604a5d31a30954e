"""Prove: sign heads over what was observed, so that later edits show.

Rules: a seal covers consecutive observations of one stream and names the seal before it; its root is computed from the
observations themselves, never from the leaf column beside them. What will be signed is stored before it is signed, so
that a crash, or a second process, finishes the same text and never signs two for one number; only its date may move.
The key is made here, certified through the one gate, renewed at half of its life, and destroyed once its successor is
certified: what it sealed cannot be sealed again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from everyhop.core.certificate import CertificateRequest
from everyhop.core.chain import pem
from everyhop.core.evidence.note import SealText, SignedNote, digest_of, origin_of
from everyhop.core.evidence.signer import EvidenceSigner
from everyhop.core.ledger import leaf, root
from everyhop.core.observation import Observation, Stream
from everyhop.core.policy import SYSTEM, IssuancePolicy
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, KeyPurpose, Keys, Lease, Seal, Store
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate
from everyhop.services.records import Records, Stored

T = TypeVar("T")

MOST = 20_000
"""Observations under one seal: a tree of 15 levels, and a second of work; more make more seals."""
_PAGE = 1_000
_TRIES = 5
_ALGORITHM = KeyAlgorithm.P256
"""What every tool verifies, OpenSSL's command line included; its signatures here are deterministic (RFC 6979)."""


@dataclass(frozen=True, slots=True)
class EvidenceKey:
    """One key that signs evidence; its certificate is empty until it was issued."""

    number: int
    request_id: str
    made_at: datetime
    signer: str = ""
    """The authority that certified it."""
    chain: str = ""
    """PEM: leaf, intermediate, root."""
    retired_at: datetime | None = None
    """When its successor was certified and the private key destroyed."""

    @property
    def key_id(self) -> str:
        """Its name among the private keys."""
        return f"evidence/{self.number}"


@dataclass(frozen=True, slots=True)
class SealIntent:
    """What is about to be signed, or was signed last: all that a seal says."""

    origin: str
    number: int
    first: int
    last: int
    root: str
    """Hexadecimal."""
    previous: str
    """Hexadecimal; empty for the first."""
    at: datetime

    def text(self) -> SealText:
        """The seal's text."""
        hashes = bytes.fromhex(self.root), bytes.fromhex(self.previous)
        return SealText(self.origin, self.number, self.first, self.last, *hashes, self.at)


EVIDENCE_KEYS = Records("evidence-key", EvidenceKey)
SEAL_INTENTS = Records("seal-intent", SealIntent)


@dataclass(frozen=True, slots=True)
class SealTimes:
    """How long observations of each stream may wait for their seal."""

    record: timedelta
    detail: timedelta

    def of(self, stream: Stream) -> timedelta:
        """The longest wait in a stream."""
        return self.record if stream is Stream.RECORD else self.detail


class Prover:
    """Seals observations, and signs evidence packs."""

    def __init__(
        self, store: Store, keys: Keys, gate: Gate, authorities: Authorities, clock: Clock, times: SealTimes
    ) -> None:
        """``times`` is how often each stream is sealed when there is something to seal."""
        self._store = store
        self._keys = keys
        self._gate = gate
        self._authorities = authorities
        self._clock = clock
        self._times = times
        self._sealed: dict[Stream, Seal | None] = {}
        """By stream: the newest seal, as far as this process knows."""

    async def tick(self, policy: IssuancePolicy, fence: Lease | None) -> None:
        """Seal every stream whose last seal is old enough, if there is anything new in it.

        Raises ``evidence-invalid`` if a stored observation cannot be read any more, ``authority-unavailable`` while
        no certificate for the key can be had.
        """
        faults: list[EveryhopError] = []
        for stream in Stream:
            try:
                if await self._is_due(stream):
                    await self.seal(stream, policy, fence)
            except EveryhopError as error:  # what is wrong with one stream is no reason to leave the other open
                faults.append(error)
        if faults:
            raise faults[0]

    async def _is_due(self, stream: Stream) -> bool:
        if stream not in self._sealed:
            self._sealed[stream] = await _newest(self._store, stream)
        last, now = self._sealed[stream], self._clock.now()
        return last is None or not last.at <= now < last.at + self._times.of(stream)

    async def seal(self, stream: Stream, policy: IssuancePolicy, fence: Lease | None = None) -> None:
        """Seal everything in a stream that has no seal yet. Beside a running mesh this is safe: both would store the
        same seal, and the store takes one."""

        async def all_of_it() -> None:
            while await self._seal_once(stream, policy, fence):
                pass

        await _patiently(all_of_it)

    async def sign(self, message: bytes, policy: IssuancePolicy, fence: Lease | None = None) -> tuple[str, bytes]:
        """Sign the bytes of an evidence pack; returns the signer's chain (PEM, root last) and the signature (DER)."""
        key = await _patiently(lambda: self._key(policy, fence))
        return key.chain, await self._keys.sign(key.key_id, message)

    # --- one seal -------------------------------------------------------------------------------------------------

    async def _seal_once(self, stream: Stream, policy: IssuancePolicy, fence: Lease | None) -> bool:
        """Store the next seal; True if there may be more to seal."""
        last = self._sealed[stream] = await _newest(self._store, stream)
        begun = await SEAL_INTENTS.get(self._store, stream.value)
        intent = begun.value if begun and begun.value.number == (last.number if last else 0) + 1 else None
        wanted = intent or await self._next(stream, policy, last)
        if wanted is None:
            return False
        key = await self._key(policy, fence)  # without one nothing is begun
        signer = EvidenceSigner.read(key.chain)
        origin = origin_of(str(policy.trust_domain), policy.environment, stream)
        if not signer.lives(wanted.at) or wanted.origin != origin:
            wanted = replace(wanted, at=self._clock.now(), origin=origin)
        if wanted != intent:
            expect = begun.version if begun else 0
            await SEAL_INTENTS.put(self._store, stream.value, wanted, expect=expect, fence=fence)
        text = wanted.text()
        signature = await self._keys.sign(key.key_id, text.text().encode())
        note = SignedNote(text, signer.key_id, signature).to_bytes()
        seal = Seal(stream, text.number, text.first, text.last, text.root, text.previous, text.at, note)
        await self._store.seal(seal, fence=fence)
        self._sealed[stream] = seal
        return intent is not None or seal.last - seal.first + 1 == MOST

    async def _next(self, stream: Stream, policy: IssuancePolicy, last: Seal | None) -> SealIntent | None:
        after = last.last if last else 0
        hashes: list[bytes] = []
        while len(hashes) < MOST:
            page = await self._page(stream, after + len(hashes), min(_PAGE, MOST - len(hashes)))
            hashes += [_leaf(one) for one in page]
            if len(page) < _PAGE:
                break
        if not hashes:
            return None
        return SealIntent(
            origin=origin_of(str(policy.trust_domain), policy.environment, stream),
            number=(last.number if last else 0) + 1,
            first=after + 1,
            last=after + len(hashes),
            root=root(hashes).hex(),
            previous=digest_of(last.note).hex() if last else "",
            at=self._clock.now(),
        )

    async def _page(self, stream: Stream, after: int, limit: int) -> Sequence[Observation]:
        """The next observations, which must follow each other: a gap is never sealed over."""
        try:
            page = await self._store.observations(stream=stream, after=after, limit=limit)
        except (ValueError, TypeError, OverflowError) as error:
            raise _invalid(f"an observation of {stream} after {after} cannot be read: {error}") from error
        for expected, one in enumerate(page, after + 1):
            if one.sequence != expected:
                raise _invalid(f"expected observation {expected} of {stream}, got {one.sequence}")
        return page

    # --- the key --------------------------------------------------------------------------------------------------

    async def _key(self, policy: IssuancePolicy, fence: Lease | None) -> EvidenceKey:
        """The key that signs now, with its certificate; made or renewed if need be. While no authority can certify
        another one, a key that has one goes on for as long as that lives."""
        known = {one.value.number: one for one in await EVIDENCE_KEYS.all(self._store)}
        newest = known[max(known)] if known else None
        if newest is None or (newest.value.chain and await self._due(newest.value, policy)):
            number = max(known, default=0) + 1
            fresh = EvidenceKey(number, f"evidence/{number}", self._clock.now())
            newest = known[number] = await EVIDENCE_KEYS.put(self._store, _name(number), fresh, expect=0, fence=fence)
        if not newest.value.chain:
            try:
                newest = known[newest.value.number] = await self._certify(newest, policy, fence)
            except EveryhopError as error:
                former = known.get(newest.value.number - 1)
                if error.code.name != "authority-unavailable" or former is None or not self._serves(former.value):
                    raise
                return former.value
        await self._retire([one for number, one in known.items() if number < newest.value.number], fence)
        return newest.value

    async def _due(self, key: EvidenceKey, policy: IssuancePolicy) -> bool:
        """True once half of its life is over, if another authority signs now, or if it is of no use (any more)."""
        signer, now = EvidenceSigner.read(key.chain), self._clock.now()
        if signer.fault(str(policy.trust_domain), policy.environment, now):
            return True
        certificate = signer.chain[0]
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if key.signer != (await self._authorities.trust()).value.signer or now >= begin + (end - begin) / 2:
            return True
        return key.key_id not in await self._keys.ids()

    def _serves(self, key: EvidenceKey) -> bool:
        return bool(key.chain) and key.retired_at is None and EvidenceSigner.read(key.chain).lives(self._clock.now())

    async def _retire(self, former: Sequence[Stored[EvidenceKey]], fence: Lease | None) -> None:
        """Destroy the private keys of those that have a successor."""
        for stored in former:
            if stored.value.retired_at is None:
                await self._keys.destroy(stored.value.key_id)
                retired = replace(stored.value, retired_at=self._clock.now())
                await EVIDENCE_KEYS.put(self._store, _name(retired.number), retired, expect=stored.version, fence=fence)

    async def _certify(
        self, stored: Stored[EvidenceKey], policy: IssuancePolicy, fence: Lease | None
    ) -> Stored[EvidenceKey]:
        key = stored.value
        authority = await self._authorities.get((await self._authorities.trust()).value.signer)
        public_key = await self._keys.generate(key.key_id, _ALGORITHM, KeyPurpose.EVIDENCE)
        request = CertificateRequest(
            request_id=key.request_id,
            profile=PROFILES["evidence"],
            public_key=public_key,
            lifetime=policy.max_lifetimes["evidence"],
            owner=SYSTEM,
            actor=SYSTEM,
            identity=policy.evidence_identity,
        )
        line = await self._gate.issue(request, authority.issuer(), policy)
        issuer = await self._authorities.get(line.issuer)
        above = await self._authorities.get(issuer.parent)
        chain = pem(line.certificate or b"") + issuer.certificate + above.certificate
        certified = replace(key, chain=chain, signer=line.issuer)
        return await EVIDENCE_KEYS.put(self._store, _name(key.number), certified, expect=stored.version, fence=fence)


def _name(number: int) -> str:
    return f"{number:06d}"


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do it again while another process changes the same records."""
    for _ in range(_TRIES - 1):
        try:
            return await work()
        except EveryhopError as error:
            if error.code.name != "store-conflict":
                raise
    return await work()


def _leaf(observation: Observation) -> bytes:
    try:
        return leaf(observation)
    except (ValueError, TypeError) as error:
        raise _invalid(f"observation {observation.sequence} of {observation.stream} cannot be read: {error}") from error


def _invalid(message: str) -> EveryhopError:
    return EveryhopError("evidence-invalid", message, hint="`everyhop report verify --store` looks at every one")


async def _newest(store: Store, stream: Stream) -> Seal | None:
    found = await store.seals(stream, newest_first=True, limit=1)
    return found[0] if found else None
