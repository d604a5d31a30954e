"""A socket table and ports that answer, in a test's hand.

Rules: a test says who listens and who is connected, one end or both; the table is what it says, nothing more. A port
answers as it was told to; one that was not told is closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count

from everyhop.core.endpoint.facts import Encryption, PlainFacts
from everyhop.core.endpoint.target import Target
from everyhop.core.hop import Address
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Socket


@dataclass(frozen=True)
class Process:
    """Somebody who holds sockets; ``seen`` is False where the kernel would not tell whose they are."""

    name: str = "python"
    pid: int = 100
    uid: int = 1000
    user: str = "shop"
    mark: str = ""
    seen: bool = True


class FakeSockets:
    """Implements ``ports.Sockets``."""

    def __init__(self) -> None:
        self._inodes = count(1)
        self.table: list[Socket] = []
        self.fault = ""
        """If set, the kernel does not tell."""

    async def snapshot(self) -> list[Socket]:
        if self.fault:
            raise EveryhopError("probe-failed", self.fault)
        return list(self.table)

    def listen(self, address: str, process: Process) -> Socket:
        """Somebody listens."""
        return self._add(Socket(Address.parse(address), None, "listen", 0), process)

    def connect(
        self, client: str, server: str, *, calling: Process | None = None, serving: Process | None = None
    ) -> None:
        """An established connection, as far as its ends are on this machine."""
        near, far = Address.parse(client), Address.parse(server)
        if calling is not None:
            self._add(Socket(near, far, "established", 0), calling)
        if serving is not None:
            self._add(Socket(far, near, "established", 0), serving)

    def over(self, near: str, far: str) -> None:
        """A connection that has ended; the kernel remembers one of its ends for a minute."""
        self.table.append(Socket(Address.parse(near), Address.parse(far), "time-wait", 0))

    def drop(self, address: str) -> None:
        """Whatever listens at an address or comes from it is gone."""
        self.table = [one for one in self.table if one.local != Address.parse(address)]

    def clear(self) -> None:
        """Nobody is connected any more."""
        self.table = [one for one in self.table if one.remote is None]

    def _add(self, one: Socket, process: Process) -> Socket:
        one = replace(one, inode=next(self._inodes), uid=process.uid, user=process.user)
        if process.seen:
            one = replace(one, pid=process.pid, process=process.name, mark=process.mark)
        self.table.append(one)
        return one


@dataclass
class FakePorts:
    """The one method of ``ports.EndpointProber`` that the flow detector needs; ``asked`` tells what it asked."""

    clock: Clock
    answers: dict[str, Encryption] = field(default_factory=dict[str, Encryption])
    asked: list[Target] = field(default_factory=list[Target])

    async def plain(self, target: Target, *, timeout: float = 5.0) -> PlainFacts:
        self.asked.append(target)
        answer = self.answers.get(str(target), Encryption.CLOSED)
        return PlainFacts(target, self.clock.now(), answer, target.wire, f"said {answer}", connections=1)
