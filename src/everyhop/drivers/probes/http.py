"""What an HTTPS endpoint answers to one GET, and where its plaintext sister sends people.

Rules: one request on a connection, without credentials, and no redirect is followed; a plaintext port that redirects is
asked for a second path, which nobody can know, to see whether all of it does. The server is not
verified (see ``drivers.probes.secured``). Everything that comes is bounded: the head in bytes and lines, the body in
bytes whatever length it claims, chunks in number. Of cookies the values, and of a redirect the query, are never kept.
The page is read by ``html.parser``, which neither loads nor runs anything.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from everyhop.core.endpoint.facts import Cookie, HttpFacts
from everyhop.core.endpoint.redirect import leads_to_tls
from everyhop.core.endpoint.target import Target
from everyhop.core.hop import Address
from everyhop.drivers.probes.dialogue import Channel, Dialogue, Timed
from everyhop.drivers.probes.manners import Manners
from everyhop.drivers.probes.page import insecure_references
from everyhop.drivers.probes.response import Response, read_response
from everyhop.drivers.probes.secured import secure
from everyhop.drivers.probes.wire import Ended, connect
from everyhop.drivers.probes.wires.http import request, unguessable_path
from everyhop.ports import Clock

LIMIT = 1 << 20
"""Bytes that a server may send on one connection, TLS and all."""

_MOST_COOKIES = 50
_LONGEST_NAME = 100
_LONGEST_VALUE = 500
_HTTPS, _HTTP = 443, 80


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one GET brought: an answer, or why there is none."""

    response: Response | None = None
    fault: str = ""


class HttpProbe:
    """Makes one GET over TLS, and one in the clear if a port for it is given."""

    def __init__(self, clock: Clock, *, manners: Manners | None = None, source: str = "") -> None:
        """``manners`` are shared with the other probes of the same endpoints. ``source`` is the loopback address that
        probes of this machine come from (see :func:`.wire.connect`)."""
        self._clock = clock
        self._manners = manners or Manners()
        self._source = source

    async def look(self, target: Target, *, plain_port: int | None = None, timeout: float = 5.0) -> HttpFacts:
        """Ask for ``/``. ``timeout`` (seconds) is for each request. Never raises for what the network or the server
        does: why nothing came stands in ``fault`` and ``plain_fault``."""
        at = self._clock.now()
        asked = await self._get(target, timeout=timeout)
        facts = HttpFacts(target, at, fault=asked.fault)
        if asked.response:
            facts = replace(
                facts,
                status=asked.response.status,
                strict_transport_security=_strict(asked.response),
                cookies=_cookies(asked.response),
                insecure_references=_references(asked.response),
            )
        if plain_port is None:
            return facts
        return await self._beside(replace(target, port=plain_port), facts, timeout)

    async def _beside(self, sister: Target, facts: HttpFacts, timeout: float) -> HttpFacts:
        """What the plaintext port says, added to what is known."""
        asked = await self._get(sister, tls=False, timeout=timeout)
        plain = asked.response
        if plain is None:
            return replace(facts, plain_port=sister.port, plain_fault=asked.fault)
        leads = _leads_to_tls(sister, "/", plain)
        if leads:
            path = unguessable_path()
            second = (await self._get(sister, path=path, tls=False, timeout=timeout)).response
            leads = None if second is None else _leads_to_tls(sister, path, second)
        return replace(
            facts,
            plain_port=sister.port,
            plain_status=plain.status,
            plain_location=_location(plain),
            plain_leads_to_tls=leads,
        )

    async def _get(self, target: Target, *, path: str = "/", tls: bool = True, timeout: float) -> _Asked:
        async with self._manners.turn(target.host, target.port) as turn:
            try:
                async with asyncio.timeout(timeout):
                    wire = await connect(Address(target.host, target.port), limit=LIMIT, source=self._source)
            except TimeoutError:
                turn.rebuffed = True
                return _Asked(fault="unreachable: timeout")
            except Ended as ended:
                turn.rebuffed = True
                return _Asked(fault=ended.reason)
            try:
                channel = Timed(wire, asyncio.get_running_loop().time() + timeout)
                return _Asked(await _exchange(channel, target, path, tls=tls))
            except Ended as ended:
                turn.rebuffed = ended.reason == "reset"
                return _Asked(fault=ended.reason)
            finally:
                wire.close()


async def _exchange(channel: Channel, target: Target, path: str, *, tls: bool) -> Response:
    """One request, one answer. Raises :class:`Ended`."""
    bare = target.port == (_HTTPS if tls else _HTTP)
    question = request(target, path=path, port_in_host=not bare)
    if not tls:
        await channel.send(question)
        return await read_response(Dialogue(channel))
    secured = await secure(channel, server_name=target.name, alpn=(b"http/1.1",))
    await secured.send(question)
    response = await read_response(Dialogue(secured))
    await secured.bye()
    return response


def _location(response: Response) -> str:
    return response.first("location").partition("?")[0][:_LONGEST_VALUE]


def _leads_to_tls(target: Target, path: str, response: Response) -> bool:
    return leads_to_tls(target, path, response.status, _location(response))


def _strict(response: Response) -> str | None:
    """The first Strict-Transport-Security; browsers ignore any other (RFC 6797, 8.1)."""
    values = response.all("strict-transport-security")
    return values[0][:_LONGEST_VALUE] if values else None


def _cookies(response: Response) -> tuple[Cookie, ...]:
    """Names and flags (RFC 6265, 5.2)."""
    return tuple(_cookie(line) for line in response.all("set-cookie")[:_MOST_COOKIES])


def _cookie(line: str) -> Cookie:
    pair, *attributes = line.split(";")
    flags = {name.strip().lower(): value.strip() for name, _, value in (each.partition("=") for each in attributes)}
    # Without "=" the whole pair is a value, and the name is empty: then nothing of it is kept.
    name = pair.partition("=")[0].strip()[:_LONGEST_NAME] if "=" in pair else ""
    return Cookie(name, "secure" in flags, "httponly" in flags, flags.get("samesite", "").capitalize()[:20])


def _references(response: Response) -> tuple[str, ...]:
    kind = response.first("content-type").lower()
    if not kind.startswith(("text/html", "application/xhtml+xml")):
        return ()
    return insecure_references(response.body.decode("utf-8", "replace"))
