"""Evidence for commands: make a signed pack, write it, verify one, and audit a data directory.

Rules: verifying reads files and nothing else. A pack is written into a folder of its own, for its owner only; the
signed file is written last, so that a folder with it is whole.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from everyhop import __version__
from everyhop.app import Workspace, instance_of
from everyhop.core.evidence.chain import EvidenceFault
from everyhop.core.evidence.pack import Pack
from everyhop.core.evidence.signer import EvidenceSigner, fingerprint
from everyhop.core.evidence.verify import Verification, verify
from everyhop.core.observation import Stream
from everyhop.doors.paper.page import page
from everyhop.drivers.host.machine import SystemClock, SystemRandom
from everyhop.drivers.host.printer import print_pdf
from everyhop.drivers.keys.algorithms import make
from everyhop.errors import EveryhopError
from everyhop.ports import Store
from everyhop.services.apply import wished
from everyhop.services.audit import Audit, audit
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate
from everyhop.services.prove import Prover, SealTimes
from everyhop.services.report import Report, Reporter

JSON, SIGNATURE, CHAIN, ROOT, PAGE, PDF = (
    "evidence.json",
    "evidence.json.sig",
    "evidence.pem",
    "root.pem",
    "report.html",
    "report.pdf",
)
_MOST_BYTES = 1 << 30
_CHANGED = "changed"
_BY = f"everyhop {__version__}"


@asynccontextmanager
async def _prover(workspace: Workspace) -> AsyncGenerator[tuple[Prover, Store]]:
    """A prover on a data directory; a mesh that runs there does not mind."""
    async with workspace.store() as store:
        clock, settings = SystemClock(), workspace.settings
        keys = await workspace.keys(await instance_of(store))
        gate = Gate(store, keys, clock, SystemRandom(), make)
        times = SealTimes(
            timedelta(seconds=settings.seal_record_seconds), timedelta(seconds=settings.seal_detail_seconds)
        )
        yield Prover(store, keys, gate, Authorities(store, keys, gate), clock, times), store


async def reported(workspace: Workspace, begin: datetime, end: datetime) -> Report:
    """A signed pack of a period; raises as :meth:`everyhop.services.report.Reporter.report`."""
    async with _prover(workspace) as (prover, store):
        reporter = Reporter(store, prover, SystemClock(), made_by=_BY)
        return await reporter.report(str(workspace.data), begin, end, actor="cli")


def write(report: Report, folder: Path, *, pdf: bool) -> Sequence[Path]:
    """Write a pack's files; returns them. Raises ``store-unavailable`` if the folder cannot be used or is not empty,
    ``process-failed`` if it cannot be printed (the pack is whole without)."""
    files = {
        PAGE: page(report.pack, report.content).encode(),
        ROOT: EvidenceSigner.read(report.chain).root.public_bytes(Encoding.PEM),
        CHAIN: report.chain.encode(),
        SIGNATURE: report.signature,
        JSON: report.content,
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise EveryhopError(
                "store-unavailable", f"expected an empty folder, {folder} has files", hint="name another one with --out"
            )
        for name, content in files.items():
            _write(folder / name, content)
    except OSError as error:
        raise EveryhopError(
            "store-unavailable",
            f"expected to write to {folder}, got: {error.strerror}",
            hint="name another folder with --out",
        ) from error
    if pdf:
        print_pdf(folder / PAGE, folder / PDF)
    return [folder / name for name in (*files, *((PDF,) if pdf else ()))]


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


# --- verify -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in a pack, and in the data directory beside it."""

    pack: Verification
    page: str
    """``same``, ``changed``, ``not there``, or why it was not compared."""
    store: Audit | None = None
    faults: tuple[EvidenceFault, ...] = ()
    """Everything that is wrong, the pack's first."""

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.faults


async def verified(folder: Path, roots: Sequence[str], workspace: Workspace | None) -> Verified:
    """Verify the pack in a folder, and with ``workspace`` also what that data directory holds.

    ``roots`` are fingerprints that are believed; none: the pack's own root. Raises ``OSError`` if a file of the pack
    cannot be read.
    """
    content, signature, chain = (_read(folder / name) for name in (JSON, SIGNATURE, CHAIN))
    found = verify(content, signature, chain.decode(errors="replace"), roots)
    compared = _compared(folder / PAGE, found.pack, content)
    faults = list(found.faults)
    if compared == _CHANGED:
        faults.append(EvidenceFault("it is not the page that follows from evidence.json", field=PAGE))
    if workspace is None:
        return Verified(found, compared, None, tuple(faults))
    store, own = await _audited(workspace, found.pack, roots)
    return Verified(found, compared, store, (*faults, *store.faults, *own))


async def _audited(
    workspace: Workspace, pack: Pack | None, roots: Sequence[str]
) -> tuple[Audit, Sequence[EvidenceFault]]:
    """The audit of a data directory, and what of the pack is not in it."""
    settings = workspace.settings
    kept = {
        Stream.DETAIL: timedelta(days=settings.detail_days),
        Stream.RECORD: timedelta(days=settings.record_days),
    }
    async with workspace.store() as store:
        found = await wished(store)
        if found is None:
            raise EveryhopError("not-running", "nothing was ever applied there", hint="name its directory with --data")
        topology = found[0]
        trust_domain, now = str(topology.trust_domain), SystemClock().now()
        result = await audit(store, trust_domain, topology.environment, now, roots=roots, kept=kept)
        return result, await _missing(store, pack)


async def _missing(store: Store, pack: Pack | None) -> Sequence[EvidenceFault]:
    """Seals of a pack that a store does not have (any more): it is another one, or its end was cut off."""
    faults: list[EvidenceFault] = []
    for one in pack.seals if pack else ():
        there = await store.seals(one.stream, after=one.number - 1, limit=1)
        if not there or there[0].note != one.note.encode():
            what = "the data directory does not have the seal that the pack has"
            faults.append(EvidenceFault(what, one.stream.value, one.number))
    return faults


def _compared(path: Path, pack: Pack | None, content: bytes) -> str:
    """Whether the page is the one that follows from the signed bytes."""
    if not path.exists():
        return "not there"
    if pack is None:
        return "not compared: evidence.json cannot be read"
    if pack.made_by != _BY:
        return f"not compared: it was made by {pack.made_by}, this is {_BY}"
    return "same" if _read(path) == page(pack, content).encode() else _CHANGED


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(f"expected at most {_MOST_BYTES} bytes in {path}")
    return content


def roots_in(path: Path) -> tuple[str, ...]:
    """The fingerprints of the certificates in a PEM file; raises ``ValueError`` if there are none, or ``OSError``."""
    return tuple(fingerprint(one) for one in x509.load_pem_x509_certificates(_read(path)))
