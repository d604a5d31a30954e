"""Discover: what listens on this machine and is in no topology, as proposed entries.

Rules: nothing is changed and nothing is needed: no running mesh, no topology, no privilege. Everybody is asked once and
politely; everyhop's own sockets, and those of what it runs, are left out. Whom a process calls is proposed only where
it was seen to.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from everyhop.core.endpoint.facts import Encryption, PlainFacts
from everyhop.core.endpoint.target import PORTS, Target
from everyhop.core.hop import Address
from everyhop.core.places import Place, Places, Role, marks_of, places_of
from everyhop.core.plan import Plan
from everyhop.core.proposal import Candidate, fragment, loopback_for, merged, name_for, whole
from everyhop.core.topology import Topology
from everyhop.core.validation import read
from everyhop.errors import EveryhopError
from everyhop.ports import Socket, Sockets
from everyhop.services.connections import Identities, SocketTable, sort
from everyhop.services.listeners import REACHED_BY, Asks
from everyhop.services.observe import PROBE_SOURCE

_AT_ONCE = 8
_SECONDS_EACH = 4.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is in a topology already."""

    topology: Topology
    plan: Plan
    text: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found, and the topology that would hold it."""

    candidates: tuple[Candidate, ...]
    skipped: tuple[str, ...]
    """What listens and is not proposed, each with the reason."""
    text: str = ""
    """A topology, or entries to be put in by hand; empty if there is nothing to propose."""
    complete: bool = False
    """The text is a whole topology file, and is read without a fault."""


async def discover(sockets: Sockets, prober: Asks, known: Known | None, *, today: date) -> Discovery:
    """Look at this machine and propose what is missing. Raises ``probe-failed`` if the socket table cannot be read."""
    table = sort(await sockets.snapshot(), ignored=(PROBE_SOURCE,))
    places = places_of(known.topology, known.plan) if known else Places(())
    strangers = _strangers(table, places)
    answers = await _answers(prober, strangers)
    reasons = {port: _reason(port, held, answers[port], known) for port, held in strangers.items()}
    wanted = {port: held for port, held in strangers.items() if not reasons[port]}
    skipped = [f"{_process(held)} on port {port}: {reasons[port]}" for port, held in strangers.items() if reasons[port]]
    named = _named(wanted, known)
    calls = _calls(table, places, named, known)
    candidates = [_candidate(place, wanted[port], answers[port], calls) for port, place in named.items()]
    if not candidates:
        return Discovery((), tuple(skipped))
    text, complete = _written(candidates, known, today)
    return Discovery(tuple(candidates), tuple(skipped), text, complete)


_Held = Mapping[Address, Sequence[Socket]]
"""Who listens on one port, by address."""


def _strangers(table: SocketTable, places: Places) -> dict[int, _Held]:
    """Listeners that are not in the topology, nor everyhop's or its apps' own, by port."""
    found: dict[int, dict[Address, Sequence[Socket]]] = defaultdict(dict)
    for address, held in sorted(table.listeners.items()):
        if places.at(address) is None and not any(one.mark for one in held):
            found[address.port][address] = held
    return dict(sorted(found.items()))


async def _answers(prober: Asks, strangers: Mapping[int, _Held]) -> dict[int, PlainFacts]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def ask(held: _Held) -> PlainFacts:
        async with turns:
            return await _ask(prober, next(iter(held)))

    return dict(zip(strangers, await asyncio.gather(*map(ask, strangers.values())), strict=True))


async def _ask(prober: Asks, address: Address) -> PlainFacts:
    registered = PORTS.get(address.port)
    target = Target(address.host, address.port, wire=registered.wire if registered else None)
    *others, last = REACHED_BY.get(address.host, (address.host,))
    for host in others:
        facts = await prober.plain(replace(target, host=host), timeout=_SECONDS_EACH)
        if facts.encryption is not Encryption.CLOSED:
            return facts
    return await prober.plain(replace(target, host=last), timeout=_SECONDS_EACH)


def _reason(port: int, held: _Held, answer: PlainFacts, known: Known | None) -> str:
    """Why something is not proposed; empty: it is."""
    services = known.topology.services.items() if known else ()
    same = next((name for name, service in services if service.listen.port == port), "")
    if same and not any(address.is_loopback for address in held):
        return f"the topology has {same} at this port on loopback: let it listen there and nowhere else"
    if answer.encryption is Encryption.OWN:
        return "encrypted by its own protocol"
    return "it did not answer" if answer.encryption is Encryption.CLOSED else ""


def _process(held: _Held) -> str:
    return next(iter(held.values()))[0].process or "service"


def _named(wanted: Mapping[int, _Held], known: Known | None) -> dict[int, Place]:
    """A name and a place on loopback for each, none of them taken."""
    names = set(known.topology.services) if known else set[str]()
    taken = set(_claimed(known)) if known else set[Address]()
    found: dict[int, Place] = {}
    for port, held in wanted.items():
        name = name_for(_process(held), port, names)
        found[port] = Place(loopback_for(list(held), taken), name, Role.APP, "")
        names.add(name)
        taken.add(found[port].address)
    return found


def _claimed(known: Known) -> Iterable[Address]:
    for service in known.topology.services.values():
        yield service.listen
    for node in known.plan.nodes:
        for listener in node.listeners:
            yield listener.address


def _calls(table: SocketTable, places: Places, named: Mapping[int, Place], known: Known | None) -> set[tuple[str, str]]:
    """Who was seen to call whom: candidates and services of the topology, by name."""

    def place_at(listener: Address) -> Place | None:
        found = places.at(listener)
        return found if found is not None else named.get(listener.port) if listener in table.listeners else None

    everything = Places([place for one in table.listeners if (place := _moved(place_at(one), one)) is not None])
    identities = Identities(table, everything, marks_of(known.plan, known.topology) if known else {})
    found: set[tuple[str, str]] = set()
    for link in table.links:
        caller, callee = identities.of(link.calling).service, place_at(link.listener)
        if caller and callee is not None and callee.role is Role.APP and callee.service != caller:
            found.add((caller, callee.service))
    return found


def _moved(place: Place | None, address: Address) -> Place | None:
    """A place where it listens now."""
    return None if place is None else replace(place, address=address)


def _candidate(place: Place, held: _Held, answer: PlainFacts, calls: Collection[tuple[str, str]]) -> Candidate:
    first = next(iter(held.values()))[0]
    return Candidate(
        name=place.service,
        listen=place.address,
        addresses=tuple(held),
        user=first.user,
        process=first.process,
        encryption=answer.encryption,
        wire=answer.wire,
        evidence=answer.evidence,
        calls=tuple(sorted(callee for caller, callee in calls if caller == place.service)),
        called_by=tuple(sorted(caller for caller, callee in calls if callee == place.service)),
    )


def _written(candidates: Sequence[Candidate], known: Known | None, today: date) -> tuple[str, bool]:
    """The proposal, as a whole file if it is read as one."""
    text = merged(known.text, candidates) if known else whole(candidates)
    if text is not None:
        try:
            read(text, file="the proposal", today=today)
        except EveryhopError:
            pass  # an exception that ended, say: what is there already is not ours to mend
        else:
            return text, True
    return fragment(candidates), False
