"""Doctor: read the books, and put them before the examinations together with what was found on the premises.

Rules: nothing is changed, and nothing that is missing keeps the rest from being examined. The newest seals are held
against the observations below them; the whole of it is verified by `everyhop report verify`.
"""

from __future__ import annotations

from datetime import datetime

from everyhop.core.evidence.chain import SealChain
from everyhop.core.evidence.note import SealText
from everyhop.core.evidence.signer import EvidenceSigner
from everyhop.core.health import Diagnosis, examine
from everyhop.core.health.facts import Books, Patient, Premises, ProcessFacts, StreamFacts
from everyhop.core.ledger import leaf, root
from everyhop.core.observation import Stream
from everyhop.core.plan import Plan
from everyhop.core.topology import Topology
from everyhop.errors import EveryhopError
from everyhop.ports import Store
from everyhop.services.apply import planned
from everyhop.services.flows import DETECTOR_KEY, DETECTORS
from everyhop.services.operate import BEAT_KEY, BEATS
from everyhop.services.prove import EVIDENCE_KEYS
from everyhop.services.records import AUTHORITIES, ROTATIONS, SLOTS, TRUST, TRUST_KEY
from everyhop.services.supervise import PROCESSES

SEALS_LOOKED_AT = 10
"""Of each stream, the newest."""
_MOST = 20_000
"""Observations under one seal that are read."""


async def diagnose(premises: Premises, store: Store | None, why: str, now: datetime) -> tuple[Diagnosis, ...]:
    """Every examination's answer. ``store`` is None where it could not be opened; ``why`` says so."""
    books: Books | None = None
    if store is not None:
        try:
            books = await _books(store, premises.directory.path)
        except EveryhopError as error:
            why = error.message
        except ValueError:  # of the models: it would quote the record
            why = "a record in it is not as this everyhop writes it"
    return examine(Patient(now, premises, books, why))


async def _books(store: Store, data: str) -> Books:
    found = await _planned(store, data)
    topology, plan = found if found else (None, None)
    wanted = {f"{node.name}/{one.name}" for node in plan.nodes for one in node.credentials} if plan else set[str]()
    beat = await BEATS.get(store, BEAT_KEY)
    trust = await TRUST.get(store, TRUST_KEY)
    detector = await DETECTORS.get(store, DETECTOR_KEY)
    processes = [one.value for one in await PROCESSES.all(store)]
    return Books(
        topology=topology,
        authorities=tuple(one.value for one in await AUTHORITIES.all(store)),
        trust=trust.value if trust else None,
        slots=tuple(one.value for one in await SLOTS.all(store) if one.value.key in wanted),
        rotations=tuple(one.value for one in await ROTATIONS.all(store)),
        processes=tuple(ProcessFacts(one.name, one.state, one.detail) for one in processes),
        beat_at=beat.value.at if beat else None,
        beat_state=beat.value.state if beat else "",
        beat_fault=beat.value.fault if beat else "",
        detector_at=detector.value.last_run_at if detector else None,
        detector_fault=detector.value.fault if detector else "",
        streams=tuple([await _stream(store, stream, topology) for stream in Stream]) if topology else (),
    )


async def _planned(store: Store, data: str) -> tuple[Topology, Plan] | None:
    """The topology and its plan; None if there is none, or the stored one has faults now."""
    try:
        return await planned(store, data)
    except EveryhopError as error:
        if error.code.name == "topology-invalid":
            return None
        raise


# --- seals --------------------------------------------------------------------------------------------------------


async def _stream(store: Store, stream: Stream, topology: Topology) -> StreamFacts:
    """The newest seals of a stream, held against what they seal; and what waits for one."""
    signers = [EvidenceSigner.read(one.value.chain) for one in await EVIDENCE_KEYS.all(store) if one.value.chain]
    chain = SealChain(stream, topology.trust_domain.name, topology.environment, signers, whole=False)
    faults: list[str] = []
    seals = list(reversed(await store.seals(stream, newest_first=True, limit=SEALS_LOOKED_AT)))
    for seal in seals:
        said, wrong = chain.take(seal.note, seal.number)
        faults += map(str, wrong)
        if said is not None and seal.forgotten_at is None and not await _holds(store, stream, said):
            faults.append(f"seal {seal.number}: observations {said.first} to {said.last} are not what was sealed")
    last = seals[-1].last if seals else 0
    unsealed = await store.observations(stream=stream, after=last, limit=1)
    return StreamFacts(stream.value, unsealed[0].at if unsealed else None, len(seals), tuple(faults))


async def _holds(store: Store, stream: Stream, seal: SealText) -> bool:
    """Whether the observations are those under a seal; one that cannot be read is not."""
    try:
        found = await store.observations(
            stream=stream, after=seal.first - 1, limit=min(seal.last - seal.first + 1, _MOST)
        )
        return root([leaf(one) for one in found]) == seal.root
    except (
        ValueError,
        TypeError,
        KeyError,
        OverflowError,
        AttributeError,
        RecursionError,
    ):  # somebody wrote into a row
        return False
