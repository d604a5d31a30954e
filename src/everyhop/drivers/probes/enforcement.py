"""The enforcement probe: trying to get in, without a certificate and with each wrong one.

Rules: each attempt connects, shakes hands, says the protocol's first words and reads the answer, because in TLS 1.3 the
refusal comes when the client believes itself done. Attempts go one after the other, each on its own connection.

* Whoever was never asked for a certificate (no CertificateRequest came) cannot have been refused for one: once the
  handshake is over, he is in as far as certificates go, whatever is said then. A handshake that failed before anybody
  asked tells nothing.
* Asked, he is refused by an alert, or by words about the certificate. A request alone proves nothing.
* A closed door without such words (a 403, an end, a reset) may have any reason. It counts as a refusal only if the same
  words with the given certificate get in. A server that slams the door may have cut off its own alert (unread data
  makes a reset), so then it is asked once more in silence.
* Everything else, a silence too, is "could not be told".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from everyhop.core.endpoint.facts import EnforcementFacts, Entrance, Entry
from everyhop.core.endpoint.target import Target
from everyhop.drivers.probes.client import Client, Offer, Way, client, talk
from everyhop.drivers.probes.hello.ask import Upgrade
from everyhop.drivers.probes.manners import Manners
from everyhop.drivers.probes.secured import Secured
from everyhop.drivers.probes.wire import Ended, Wire
from everyhop.drivers.probes.words import FIRST, Heard, Words
from everyhop.ports import ClientCredential, Clock

LONGEST_ANSWER = 8 << 10

_AFTERWARDS = "after handshake"


@dataclass(frozen=True, slots=True)
class _Tried:
    """One attempt, and whether it ended at a closed door: a refusal if somebody else gets in."""

    entry: Entry
    closed_door: bool = False


class EnforcementProbe:
    """Tries doors."""

    def __init__(self, clock: Clock, *, manners: Manners | None = None, source: str = "") -> None:
        """``source`` is the loopback address that probes of this machine come from (see :func:`.wire.connect`)."""
        self._clock = clock
        self._way = Way(manners=manners, source=source)

    async def look(
        self,
        target: Target,
        credentials: Mapping[str, ClientCredential],
        *,
        upgrade: Upgrade | None = None,
        timeout: float = 5.0,
    ) -> EnforcementFacts:
        """Try without a certificate and with each credential (keys: values of ``Entrance``; others are a
        ``ValueError``). ``timeout`` (seconds) bounds each attempt."""
        at, way = self._clock.now(), replace(self._way, upgrade=upgrade, timeout=timeout)
        attempts: list[tuple[Entrance, ClientCredential | None]] = [(Entrance.NO_CERTIFICATE, None)]
        attempts += [(Entrance(name), credential) for name, credential in credentials.items()]
        tried = [await _try(target, entrance, credential, way) for entrance, credential in attempts]
        return EnforcementFacts(target, at, _compared(tried))


def _compared(tried: Sequence[_Tried]) -> tuple[Entry, ...]:
    """Closed doors are refusals where the given certificate opens them."""
    opened = any(each.entry.entrance is Entrance.GIVEN and each.entry.accepted for each in tried)
    return tuple(_refused(each.entry) if each.closed_door and opened else each.entry for each in tried)


def _refused(entry: Entry) -> Entry:
    return replace(entry, accepted=False, evidence=f"{entry.evidence}; the given certificate gets in")


async def _try(target: Target, entrance: Entrance, credential: ClientCredential | None, way: Way) -> _Tried:
    words = FIRST.get(target.wire) if target.wire else None
    alpn = (b"http/1.1",) if target.wire == "http" else ()
    offer = Offer(credential=credential, alpn=alpn)
    tried = await _attempt(target, entrance, client(target, offer), way, words)
    if words is not None and tried.closed_door and tried.entry.stage == _AFTERWARDS:
        silent = await _attempt(target, entrance, client(target, offer), way, None)
        if silent.entry.accepted is False:
            return silent
    return tried


async def _attempt(target: Target, entrance: Entrance, asking: Client, way: Way, words: Words | None) -> _Tried:
    """One connection, to its end."""
    try:
        async with talk(target, asking, way) as (secured, wire):
            await asking.shake(secured)
            if words is None:
                return await _goodbye(entrance, asking, secured, wire)
            await secured.send(words.say(target))
            heard = await _answer(secured, words)
            await secured.bye()
            return _heard(entrance, asking, heard)
    except TimeoutError:
        return _ended(entrance, asking, "timeout")
    except Ended as ended:
        return _ended(entrance, asking, ended.reason)


async def _goodbye(entrance: Entrance, asking: Client, secured: Secured, wire: Wire) -> _Tried:
    """The handshake is over on our side: is it on theirs?"""
    proven = await asking.farewell(secured, wire)
    if asking.alert or not proven:
        return _ended(entrance, asking, "closed")
    if not asking.asked:
        return _unasked(entrance, f"{asking.version} established")
    return _Tried(Entry(entrance, True, "", f"{asking.version} established"))


async def _answer(secured: Secured, words: Words) -> Heard:
    """Read until the answer says something. Raises :class:`Ended` if nothing came."""
    data = b""
    while len(data) < LONGEST_ANSWER:
        try:
            data += await secured.receive()
        except Ended:
            heard = words.read(data, True) if data else None
            if heard is None:
                raise
            return heard
        if heard := words.read(data, False):
            return heard
    return Heard(None, "", "an answer without an end")


def _heard(entrance: Entrance, asking: Client, heard: Heard) -> _Tried:
    """What an answer means, once it is known whether anybody asked for a certificate."""
    if not asking.asked:
        return _unasked(entrance, heard.evidence)
    entry = Entry(entrance, heard.accepted, heard.stage, heard.evidence)
    return _Tried(entry, closed_door=heard.accepted is None and bool(heard.stage))


def _ended(entrance: Entrance, asking: Client, reason: str) -> _Tried:
    """What an end means. An alert refuses whoever was asked for a certificate; without one it is a closed door."""
    if asking.alert:
        return _Tried(Entry(entrance, False if asking.asked else None, _stage(asking), asking.alert))
    if asking.shaken and not asking.asked:
        return _unasked(entrance, reason)
    closed_door = asking.asked and reason in ("closed", "reset")
    evidence = f"{reason} without an answer" if closed_door else reason
    return _Tried(Entry(entrance, None, _stage(asking), evidence), closed_door)


def _unasked(entrance: Entrance, evidence: str) -> _Tried:
    return _Tried(Entry(entrance, True, "", f"no certificate was asked for; {evidence}"))


def _stage(asking: Client) -> str:
    return _AFTERWARDS if asking.shaken else "handshake"
