"""The socket table read as connections: who calls whom, with both ends where both are on this machine.

Rules: no input or output. A connection is told by its pair of addresses and counted once, however many of its ends the
table holds. Which end serves is known by a listener at its address. Attempts that nobody answered are no connections.
Whose service a process is, is told by everyhop's mark; else because it holds the service's own listener; else by a user
under whom no other service listens and nothing of everyhop runs. Never by a name that anybody could choose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from everyhop.core.flow import ITSELF
from everyhop.core.hop import Address
from everyhop.core.places import EVERYWHERE, Places, Role
from everyhop.core.plan import PROXY_SOURCE
from everyhop.ports import Socket

_ROOT = 0
"""The user of too many programs to stand for one service."""
_NOT_YET = ("listen", "syn-sent", "syn-recv", "new-syn-recv", "close")

Pair = tuple[Address, Address]
"""The calling end's address and the serving end's."""


@dataclass(frozen=True, slots=True)
class Link:
    """One connection."""

    client: Address
    server: Address
    listener: Address
    """What listens for it: the server's address, or one that stands for every address of this machine."""
    here: bool
    """Both ends are on this machine."""
    calling: Socket | None = None
    """The calling end, if it is on this machine and a process still holds it."""
    serving: Socket | None = None
    """The serving end, or the listener if its own end is not in the table any more."""

    @property
    def pair(self) -> Pair:
        """What tells it from all others."""
        return self.client, self.server

    @property
    def held(self) -> bool:
        """True if the end that tells who calls is held by a process."""
        return (self.calling if self.here else self.calling or self.serving) is not None

    @property
    def same_user(self) -> bool:
        """True if one user is known to hold both ends."""
        return self.calling is not None and self.serving is not None and self.calling.uid == self.serving.uid


@dataclass(frozen=True, slots=True)
class SocketTable:
    """A snapshot, sorted."""

    listeners: Mapping[Address, Sequence[Socket]]
    """By address; several sockets may share one (SO_REUSEPORT)."""
    links: Sequence[Link]
    sockets: int
    unseen: int
    """Sockets that are held, but by whom the kernel does not let us see."""


def sort(sockets: Sequence[Socket], *, ignored: Collection[str] = ()) -> SocketTable:
    """Sort a snapshot. Those of everyhop itself are left out, and so are traces (connections
    that are over) from hosts in ``ignored`` and from where proxies call their apps."""
    listeners: dict[Address, list[Socket]] = defaultdict(list)
    hosts: set[str] = set()
    for one in sockets:
        hosts.add(one.local.host)
        if one.remote is None:
            listeners[one.local].append(one)
    links: dict[Pair, Link] = {}
    own: set[Pair] = set()
    for one in sockets:
        link = None if one.state in _NOT_YET else _link(one, listeners, hosts)
        if link is None:
            continue
        if any(listener.mark == ITSELF for listener in listeners.get(link.listener, ())):
            continue  # somebody reads the dashboard
        if link.calling is not None and link.calling.mark == ITSELF:
            own.add(link.pair)
        known = links.get(link.pair)
        links[link.pair] = _joined(known, link, listeners) if known else link
    unseen = sum(1 for one in sockets if one.inode and one.pid is None)
    # A connection that is over is told by where it came from; one that lives by the process that holds it, so that
    # nobody hides behind an address.
    quiet = {*ignored, PROXY_SOURCE}
    foreign = [
        link
        for pair, link in links.items()
        if pair not in own and (link.calling is not None or link.client.host not in quiet)
    ]
    return SocketTable(dict(listeners), foreign, len(sockets), unseen)


def _link(one: Socket, listeners: Mapping[Address, Sequence[Socket]], hosts: Collection[str]) -> Link | None:
    if one.remote is None:
        return None
    held = one if one.inode else None
    if (listener := _listening(one.local, listeners)) is not None:
        return Link(one.remote, one.local, listener, one.remote.host in hosts, serving=held)
    if one.remote.host in hosts and (listener := _listening(one.remote, listeners)) is not None:
        return Link(one.local, one.remote, listener, here=True, calling=held, serving=listeners[listener][0])
    if one.remote.host in hosts:  # the listener has gone; which end served cannot be said from one end alone
        return None
    return Link(one.local, one.remote, one.remote, here=False, calling=held)


def _listening(address: Address, listeners: Mapping[Address, object]) -> Address | None:
    """What listens for connections to an address, or None."""
    every = EVERYWHERE if ":" not in address.host else EVERYWHERE[1:]
    candidates = (address, *(Address(host, address.port) for host in every))
    return next((one for one in candidates if one in listeners), None)


def _joined(one: Link, other: Link, listeners: Mapping[Address, object]) -> Link:
    """Two ends of one connection."""
    listener = one.listener if one.listener in listeners else other.listener
    calling = one.calling or other.calling
    return Link(one.client, one.server, listener, one.here or other.here, calling, one.serving or other.serving)


@dataclass(frozen=True, slots=True)
class Whose:
    """A service of the topology (or ``edge``, or nothing) and which part of it: ``app`` or ``proxy``."""

    service: str = ""
    part: str = ""


NOBODY = Whose()


class Identities:
    """Tells whose a socket is."""

    def __init__(self, table: SocketTable, places: Places, marks: Mapping[str, tuple[str, str]]) -> None:
        """``marks`` say which service and part a mark stands for."""
        self._marks = marks
        self._pids: dict[int, str] = {}
        services: dict[int, set[str]] = defaultdict(set)
        everyhops: set[int] = set()
        for address, sockets in table.listeners.items():
            place = places.at(address)
            for one in sockets:
                if one.mark:
                    everyhops.add(one.uid)
                if place is not None and place.role is Role.APP:
                    services[one.uid].add(place.service)
                    if one.pid is not None:
                        self._pids[one.pid] = place.service
        self._users = {
            uid: next(iter(names))
            for uid, names in services.items()
            if len(names) == 1 and uid not in {_ROOT, *everyhops}
        }

    def of(self, held: Socket | None) -> Whose:
        """The service behind a socket, as far as it can be told."""
        if held is None or held.mark == ITSELF:
            return NOBODY
        if held.mark:
            return Whose(*self._marks.get(held.mark, ("", "")))
        service = self._pids.get(held.pid) if held.pid is not None else None
        service = service or self._users.get(held.uid)
        return Whose(service, "app") if service else NOBODY
