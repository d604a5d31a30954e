"""Verify an evidence pack: believe nothing, and say where it is not what was signed.

Rules: the signature over the exact bytes comes first, but reading goes on after it failed, to say what differs. Then
every certificate chain, every seal's signature, the chain of seals, every observation's way to its seal, the gapless
record, and at last every claim, which is derived anew. Needs neither network nor data directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from everyhop.core.evidence.chain import EvidenceFault, SealChain
from everyhop.core.evidence.claims import Claims
from everyhop.core.evidence.note import SealText
from everyhop.core.evidence.pack import Pack, Proven, claims_of, decode
from everyhop.core.evidence.signer import EvidenceSigner, fingerprint
from everyhop.core.ledger import leaf, root_from_path
from everyhop.core.observation import Stream

_CLAIMS: TypeAdapter[Claims] = TypeAdapter(Claims)
_FILE = "evidence.json"
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What deriving may raise from bodies that no service ever wrote."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found."""

    faults: tuple[EvidenceFault, ...]
    """Empty: everything is as it was signed."""
    pack: Pack | None = None
    """What the bytes say, if they say anything."""
    root: str = ""
    """SHA-256 of the root certificate that the signature leads to."""
    own_root: bool = True
    """No root was given, so that the pack's own was believed: it proves that nothing changed, not who signed."""
    observations: int = 0
    seals: int = 0
    claims: int = 0

    @property
    def ok(self) -> bool:
        """True if nothing differs."""
        return not self.faults


def verify(content: bytes, signature: bytes, chain: str, roots: Sequence[str] = ()) -> Verification:
    """Verify a pack's bytes with their detached signature and the signer's chain (PEM, root last).

    ``roots`` are SHA-256 fingerprints of root certificates, one of which the signer must lead to; none: the chain's
    own root is believed, and the result says so. Never raises for what the bytes are.
    """
    try:
        signer = EvidenceSigner.read(chain)
    except ValueError as error:
        return Verification((EvidenceFault(f"it cannot be read: {error}", field="evidence.pem"),), own_root=not roots)
    root = fingerprint(signer.root)
    faults: list[EvidenceFault] = []
    if not signer.signed(content, signature):
        what = f"the signature is not that of evidence.pem over {_FILE}"
        faults.append(EvidenceFault(what, field="evidence.json.sig"))
    if roots and root not in roots:
        what = f"expected a signer under the given root, its chain ends in {root}"
        faults.append(EvidenceFault(what, field="evidence.pem"))
    try:
        pack = decode(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or _FILE
        return Verification((*faults, EvidenceFault(first["msg"], field=place)), root=root, own_root=not roots)
    except (ValueError, RecursionError) as error:
        return Verification((*faults, EvidenceFault(str(error), field=_FILE)), root=root, own_root=not roots)
    if why := signer.fault(pack.declared.trust_domain, pack.declared.environment, pack.made_at):
        faults.append(EvidenceFault(why, field="evidence.pem"))
    return Verification(
        (*faults, *_inside(pack)),
        pack,
        root,
        own_root=not roots,
        observations=len(pack.observations),
        seals=len(pack.seals),
        claims=sum(len(getattr(pack.claims, name)) for name in Claims.__dataclass_fields__),
    )


def _inside(pack: Pack) -> Iterator[EvidenceFault]:
    """Everything that can be said of a pack without its signature."""
    signers: list[EvidenceSigner] = []
    for number, pem in enumerate(pack.signers):
        try:
            signers.append(EvidenceSigner.read(pem))
        except ValueError as error:
            yield EvidenceFault(f"it cannot be read: {error}", field=f"signers.{number}")
    sealed: dict[tuple[Stream, int], SealText] = {}
    for stream in Stream:
        yield from _seals(pack, stream, signers, sealed)
    yield from _observations(pack, sealed)
    yield from _complete(pack, sealed)
    yield from _claims(pack)


def _seals(
    pack: Pack, stream: Stream, signers: Sequence[EvidenceSigner], sealed: dict[tuple[Stream, int], SealText]
) -> Iterator[EvidenceFault]:
    """The seals of one stream. Where numbers follow each other, so must what they say; gaps lie before the record."""
    chain: SealChain | None = None
    last = 0
    for one in sorted((one for one in pack.seals if one.stream is stream), key=lambda one: one.number):
        if chain is None or one.number != last + 1:
            declared = pack.declared
            chain = SealChain(stream, declared.trust_domain, declared.environment, signers, whole=one.number == 1)
        said, faults = chain.take(one.note.encode(), one.number)
        yield from faults
        if said is not None:
            sealed[stream, one.number] = said
        last = one.number


def _observations(pack: Pack, sealed: Mapping[tuple[Stream, int], SealText]) -> Iterator[EvidenceFault]:
    """Every observation leads to its seal, and none is there twice."""
    seen: set[tuple[Stream, int]] = set()
    for one in pack.observations:
        key = (one.stream, one.sequence)
        why = "it is there twice" if key in seen else _unproven(one, sealed.get((one.stream, one.seal)))
        if why:
            yield EvidenceFault(why, one.stream.value, one.seal, one.sequence)
        seen.add(key)


def _unproven(one: Proven, seal: SealText | None) -> str:
    """Why an observation does not lead to a seal, or an empty string."""
    if seal is None:
        return "the seal that it names is not in the pack"
    if not seal.first <= one.sequence <= seal.last:
        return f"its seal covers observations {seal.first}-{seal.last}"
    try:
        found = root_from_path(
            leaf(one.observation), one.sequence - seal.first, seal.last - seal.first + 1, one.hashes()
        )
    except (ValueError, TypeError) as error:
        return f"its path cannot be read: {error}"
    return "" if found == seal.root else "it does not lead to the root of its seal: it, or its path, was changed"


def _complete(pack: Pack, sealed: Mapping[tuple[Stream, int], SealText]) -> Iterator[EvidenceFault]:
    """Nothing was left out of the record between its first and its last observation, nor any seal over it."""
    first, last = pack.record.first, pack.record.last
    there = {one.sequence for one in pack.observations if one.stream is Stream.RECORD and first <= one.sequence <= last}
    for before, after in pairwise([first - 1, *sorted(there), last + 1] if first else []):
        if after > before + 1:
            missing = str(before + 1) if after == before + 2 else f"{before + 1} to {after - 1}"
            yield EvidenceFault(f"observation {missing} was left out", Stream.RECORD.value, sequence=before + 1)
    over = sorted(number for (stream, number), seal in sealed.items() if stream is Stream.RECORD and seal.last >= first)
    for before, after in pairwise(over):
        if first and after != before + 1:
            yield EvidenceFault(f"the seals from {before + 1} to {after - 1} were left out", Stream.RECORD.value, after)


def _claims(pack: Pack) -> Iterator[EvidenceFault]:
    """Derive every claim anew, and name what differs."""
    try:
        derived = claims_of([one.observation for one in pack.observations], pack.declared, pack.period)
    except _DAMAGE as error:
        yield EvidenceFault(f"nothing follows from observations as strange as these: {error}", field="claims")
        return
    said, found = _plain(pack.claims), _plain(derived)
    for place, what in _differences(said, found, "claims"):
        yield EvidenceFault(what, field=place)


def _plain(claims: Claims) -> JsonValue:
    return cast("JsonValue", _CLAIMS.dump_python(claims, mode="json"))


def _differences(said: JsonValue, found: JsonValue, place: str) -> Iterator[tuple[str, str]]:
    """Where two JSON values differ, innermost places first told."""
    if isinstance(said, dict) and isinstance(found, dict):
        for name in sorted(said.keys() | found.keys()):
            yield from _differences(said.get(name), found.get(name), f"{place}.{name}")
    elif isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        for number, (one, other) in enumerate(zip(said, found, strict=True)):
            yield from _differences(one, other, f"{place}.{number}")
    elif said != found or type(said) is not type(found):
        yield place, f"the cited observations give {_short(found)}, the pack says {_short(said)}"


def _short(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
