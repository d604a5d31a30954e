"""Crashes at every port call, and what must be true after each.

Rules: a :class:`Fuse` counts the calls of all ports it is fitted to and blows at the k-th, before or after the call
took effect; from then on the process is dead. The :class:`Ledger` is the memory of the outside world: what was signed
in any life, and that it had been journaled before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from tests.fakes.keys import HeldKey, MemoryKeys
from tests.fakes.store import Disk

from everyhop.ports import IssuanceState, KeyPurpose

P = TypeVar("P")


class Crash(BaseException):
    """kill -9: nobody catches it, nothing runs after it."""


@dataclass
class Fuse:
    """Blows at call number ``at`` (0: never), before or after it takes effect."""

    at: int = 0
    after: bool = False
    calls: list[str] = field(default_factory=list[str])
    """What was called, in order."""
    yields: bool = False
    """Let other tasks run around every call, as a real port would."""

    @property
    def blown(self) -> bool:
        return bool(self.at) and len(self.calls) >= self.at

    def fit(self, port: P) -> P:
        """The same port, with this fuse in front."""
        return cast("P", _Fused(port, self))


class _Fused:
    def __init__(self, port: object, fuse: Fuse) -> None:
        self._port = port
        self._fuse = fuse

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method: Callable[..., Awaitable[Any]] = getattr(self._port, name)
        fuse = self._fuse

        async def call(*args: Any, **options: Any) -> Any:
            if fuse.blown:
                raise Crash
            fuse.calls.append(name)
            if fuse.blown and not fuse.after:
                raise Crash
            if fuse.yields:
                await asyncio.sleep(0)
            result = await method(*args, **options)
            if fuse.yields:
                await asyncio.sleep(0)
            if fuse.blown:
                raise Crash
            return result

        return call


@dataclass
class Ledger:
    """Everything that was ever signed: request id -> the different to-be-signed bytes."""

    signed: dict[str, set[bytes]] = field(default_factory=dict[str, set[bytes]])


class WatchedKeys(MemoryKeys):
    """Keys that refuse to sign what was not journaled first."""

    def __init__(self, held: dict[str, HeldKey], disk: Disk, ledger: Ledger) -> None:
        super().__init__(held)
        self._disk = disk
        self._ledger = ledger

    async def sign(self, key_id: str, message: bytes) -> bytes:
        if key_id in self.held and self.held[key_id].purpose is KeyPurpose.EVIDENCE:
            return await super().sign(key_id, message)  # no certificate: tests of the seals see to it
        journaled = [line for line in self._disk.journal.values() if line.tbs == message]
        assert journaled, "signed before it was journaled"
        assert journaled[0].issuer == key_id, "signed with another authority's key than the journal says"
        self._ledger.signed.setdefault(journaled[0].request_id, set()).add(message)
        return await super().sign(key_id, message)


def check_journal(disk: Disk, ledger: Ledger) -> None:
    """What must be true of issuance whenever the work is done, whatever crashed on the way."""
    issued: dict[str, list[int]] = {}
    for serial, line in disk.journal.items():
        assert line.state is not IssuanceState.INTENDED, f"the intent of {line.request_id} stays open"
        if line.state is IssuanceState.ISSUED:
            issued.setdefault(line.request_id, []).append(serial)
    twice = {request: serials for request, serials in issued.items() if len(serials) != 1}
    assert not twice, f"more than one living certificate: {twice}"
    again = {request: len(tbs) for request, tbs in ledger.signed.items() if len(tbs) != 1}
    assert not again, f"signed more than one certificate for a request: {again}"
    assert set(ledger.signed) <= set(issued), "what was signed is lost"
