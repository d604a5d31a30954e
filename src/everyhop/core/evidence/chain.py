"""The chain of seals, and what is wrong with it.

Rules: a fault says where (stream, seal, observation, field) before it says what. Each seal must be the next one, begin
where the last one ended, name the digest of its note, and be signed by a key that could sign at that moment. Nothing
is skipped after a fault: the next seal is compared with what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain as joined

from everyhop.core.evidence.note import SealText, digest_of, origin_of, read_note
from everyhop.core.evidence.signer import EvidenceSigner
from everyhop.core.ledger import leaf
from everyhop.core.observation import Kind, Observation, Source, Stream
from everyhop.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class EvidenceFault:
    """One place where evidence is not what was signed."""

    what: str
    """One sentence: expected and got."""
    stream: str = ""
    seal: int | None = None
    sequence: int | None = None
    """Of the observation."""
    field: str = ""
    """Of the observation, the seal or the pack; empty where it cannot be told."""

    @property
    def where(self) -> str:
        """The place, for people."""
        parts = [
            self.stream,
            f"seal {self.seal}" if self.seal is not None else "",
            f"observation {self.sequence}" if self.sequence is not None else "",
            self.field,
        ]
        return ", ".join(part for part in parts if part) or "the pack"

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(slots=True)
class SealChain:
    """Seals of one stream, looked at one after the other."""

    stream: Stream
    trust_domain: str
    environment: str
    signers: Sequence[EvidenceSigner]
    whole: bool = True
    """It begins with seal 1; a pack's chain begins anywhere."""
    last: SealText | None = None
    signer: EvidenceSigner | None = None
    """Who signed the last seal."""
    head: bytes = b""
    """SHA-256 of the last note."""
    _unfit: dict[bytes, str] = field(default_factory=dict[bytes, str])

    def take(self, note: bytes, number: int) -> tuple[SealText | None, list[EvidenceFault]]:
        """Look at the next seal, stored under ``number``. Returns what it says, unless it says nothing."""
        try:
            signed = read_note(note)
        except ValueError as error:
            self.last, self.head = None, digest_of(note)
            return None, [EvidenceFault(str(error), self.stream, number, field="note")]
        seal = signed.seal
        found = [*self._position(seal, number), *self._signature(seal, signed.key_id, signed.signature)]
        self.last, self.head = seal, digest_of(note)
        return seal, found

    def _position(self, seal: SealText, number: int) -> list[EvidenceFault]:
        wrong: list[tuple[str, str]] = []
        origin = origin_of(self.trust_domain, self.environment, self.stream)
        if seal.origin != origin:
            wrong.append(("origin", f"expected a seal of {origin}, got one of {seal.origin}"))
        if seal.number != number:
            wrong.append(("number", f"expected seal {number}, its note says {seal.number}"))
        if seal.last < seal.first:
            wrong.append(("observations", f"expected at least one observation, got {seal.first}-{seal.last}"))
        if self.last is not None:
            wrong += self._continuity(seal, self.last)
        elif self.whole and not self.head and (seal.number, seal.first, seal.previous) != (1, 1, b""):
            wrong.append(("number", f"expected seal 1 from observation 1, got seal {seal.number} from {seal.first}"))
        return [EvidenceFault(what, self.stream, number, field=name) for name, what in wrong]

    def _continuity(self, seal: SealText, last: SealText) -> list[tuple[str, str]]:
        wrong: list[tuple[str, str]] = []
        if seal.number != last.number + 1:
            wrong.append(("number", f"expected seal {last.number + 1} next, got {seal.number}"))
        elif seal.first != last.last + 1:
            wrong.append(("observations", f"expected it to begin with observation {last.last + 1}, got {seal.first}"))
        if seal.previous != self.head:
            wrong.append(("previous", f"the digest that it names is not that of seal {last.number}"))
        return wrong

    def _signature(self, seal: SealText, key_id: bytes, signature: bytes) -> list[EvidenceFault]:
        def fault(what: str) -> list[EvidenceFault]:
            return [EvidenceFault(what, self.stream, seal.number, field="signature")]

        signer = next((one for one in self.signers if one.key_id == key_id), None)
        if signer is None:
            return fault(f"no certificate is known for its key {key_id.hex()}")
        if not signer.signed(seal.text().encode(), signature):
            return fault("its signature is not over this text")
        self.signer = signer
        if signer.key_id not in self._unfit:
            self._unfit[signer.key_id] = signer.unfit(self.trust_domain, self.environment)
        why = self._unfit[signer.key_id] or signer.dead(seal.at)
        return fault(why) if why else []


def changed_field(found: Observation, former: bytes, near: Iterable[int]) -> tuple[str, str]:
    """Which field of an observation differs from the one with the leaf hash ``former``, and what it said.

    Fields with few values are tried through; ``near`` are sequence numbers that it may have had. Two empty strings:
    it is one of those with many values (date, subject, source's name, body), or several.
    """
    candidates = joined(
        (("verdict", one.value, replace(found, verdict=one)) for one in Verdict),
        (("kind", one.value, replace(found, kind=one)) for one in Kind),
        (("source", one.value, replace(found, source=one)) for one in Source),
        (("sequence", str(one), replace(found, sequence=one)) for one in near),
    )
    return next(((name, value) for name, value, one in candidates if leaf(one) == former), ("", ""))
