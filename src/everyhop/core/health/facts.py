"""What a doctor has to look at: the premises (files, disk, processes) and the books (what the store says).

Rules: facts only, gathered elsewhere. What could not be learned is None or empty and never a good answer; no field
holds a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from everyhop.core.chain import Authority, Trust
from everyhop.core.lifecycle import Rotation, Slot
from everyhop.core.topology import Topology


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file or directory as it lies there."""

    path: str
    mode: int
    """Permission bits."""
    ours: bool
    """It belongs to the user who asks."""


@dataclass(frozen=True, slots=True)
class SealFacts:
    """Where the secret that seals the private keys is kept."""

    origin: str
    """``key file``, ``passphrase`` or ``systemd credential``."""
    path: str = ""
    file: FileFacts | None = None
    """None: there is no such file, or somebody else guards it."""
    beside_keys: bool = False
    """It lies in the data directory, with what it seals."""


@dataclass(frozen=True, slots=True)
class Premises:
    """What was found on the disk and among the processes of this machine."""

    directory: FileFacts
    open_files: tuple[FileFacts, ...]
    """Files of the data directory that others may read or that belong to others, though they are private."""
    clear_keys: tuple[str, ...]
    """Files that hold a private key in the clear."""
    keys: int
    """Sealed private keys."""
    seal: SealFacts
    free_bytes: int
    total_bytes: int
    store_check: str | None
    """What SQLite says of its own file: ``ok``, or what is wrong; None: it could not be asked."""
    logs: Mapping[str, int]
    """Bytes of each process's log, by name."""
    envoy: str | None
    """Envoy's version; None: there is no Envoy that runs."""
    holder: int | None
    """The process that runs everyhop on this directory."""
    xds: bool | None
    """The proxies' configuration socket takes connections; None: nothing runs, so nobody should."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """A process that everyhop keeps."""

    name: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One stream of observations and its seals."""

    name: str
    unsealed_since: datetime | None
    """The oldest observation without a seal."""
    seals: int
    faults: tuple[str, ...]
    """Where observations and seals differ."""


@dataclass(frozen=True, slots=True)
class Books:
    """What the store says."""

    topology: Topology | None
    authorities: tuple[Authority, ...]
    trust: Trust | None
    slots: tuple[Slot, ...]
    """Of credentials that the plan has."""
    rotations: tuple[Rotation, ...]
    """The newest last."""
    processes: tuple[ProcessFacts, ...]
    beat_at: datetime | None
    """The control loop's last sign of life."""
    beat_state: str
    beat_fault: str
    detector_at: datetime | None
    """When flows were last looked for."""
    detector_fault: str
    streams: tuple[StreamFacts, ...]


@dataclass(frozen=True, slots=True)
class Patient:
    """Everything there is to look at."""

    at: datetime
    premises: Premises
    books: Books | None
    """None: the store could not be read."""
    no_books: str = ""
    """Why not."""

    @property
    def runs(self) -> bool:
        """True if a process holds the right to run on this directory."""
        return self.premises.holder is not None
