"""The enforcement probe: trying to get in, without a certificate and with each wrong one.

Rules: a request for a certificate proves nothing, and in TLS 1.3 the refusal comes when the client believes itself
done: so each attempt connects, shakes hands, says the protocol's first words and reads the answer. Refused is what was
refused in the server's words (an alert, a status, an error), or got no answer to words that always get one. A silence
is "could not be told". Attempts go one after the other, each on its own connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from everyhop.core.endpoint.facts import EnforcementFacts, Entrance, Entry
from everyhop.core.endpoint.target import Target
from everyhop.drivers.probes.client import Client, Offer, Way, client, talk
from everyhop.drivers.probes.hello.ask import Upgrade
from everyhop.drivers.probes.manners import Manners
from everyhop.drivers.probes.secured import Secured
from everyhop.drivers.probes.wire import Ended, Wire
from everyhop.drivers.probes.words import FIRST, Words
from everyhop.ports import ClientCredential, Clock

LONGEST_ANSWER = 8 << 10


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
        entries = [await _try(target, entrance, credential, way) for entrance, credential in attempts]
        return EnforcementFacts(target, at, tuple(entries))


async def _try(target: Target, entrance: Entrance, credential: ClientCredential | None, way: Way) -> Entry:
    alpn = (b"http/1.1",) if target.wire == "http" else ()
    asking = client(target, Offer(credential=credential, alpn=alpn))
    try:
        async with talk(target, asking, way) as (secured, wire):
            await asking.shake(secured)
            return await _enter(target, entrance, asking, secured, wire)
    except TimeoutError:
        return Entry(entrance, None, _stage(asking), "timeout")
    except Ended as ended:
        return _ended(entrance, asking, ended, told=target.wire in FIRST)


async def _enter(target: Target, entrance: Entrance, asking: Client, secured: Secured, wire: Wire) -> Entry:
    """The handshake is over on our side: is it on theirs?"""
    words = FIRST.get(target.wire) if target.wire else None
    if words is None:
        proven = await asking.farewell(secured, wire)
        if asking.alert:
            return Entry(entrance, False, _stage(asking), asking.alert)
        evidence = f"{asking.version} established" if proven else "closed without a word"
        return Entry(entrance, True if proven else None, "", evidence)
    await secured.send(words.say(target))
    accepted, stage, evidence = await _answer(secured, words)
    await secured.bye()
    return Entry(entrance, accepted, stage, evidence)


async def _answer(secured: Secured, words: Words) -> tuple[bool | None, str, str]:
    """Read until the answer says something. Raises :class:`Ended`."""
    data = b""
    while len(data) < LONGEST_ANSWER:
        data += await secured.receive()
        verdict = words.read(data)
        if verdict is not None:
            return verdict.accepted, verdict.stage, verdict.evidence
    return None, "", "an answer without an end"


def _ended(entrance: Entrance, asking: Client, ended: Ended, *, told: bool) -> Entry:
    """What an end means: an alert refuses; without one, only a server that was asked something refuses by silence."""
    if asking.alert:
        return Entry(entrance, False, _stage(asking), asking.alert)
    if ended.reason in ("closed", "reset") and asking.shaken and told:
        return Entry(entrance, False, _stage(asking), f"{ended.reason} without an answer")
    return Entry(entrance, None, _stage(asking), ended.reason)


def _stage(asking: Client) -> str:
    return "after handshake" if asking.shaken else "handshake"
