"""Scan: look at endpoints from outside and judge what was seen, one endpoint or a fleet.

Rules: works on any endpoint, with no authority and no topology. Each port is first asked what it does with plaintext;
TLS is looked at only where there is some, so that nobody is bothered with questions that have no answer. Looks at one
endpoint go side by side (the prober keeps them polite); endpoints of a fleet go side by side up to a bound, and each
report comes as soon as it is there. One endpoint never costs another its report: a fault of ours is an unknown of the
endpoint at which it happened. Nothing of a report is kept here once it was handed over, so memory depends on the bound
and not on the fleet; whoever collects reports decides in what form (:class:`everyhop.core.report.shelf.Shelf`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar, cast

from everyhop.core.endpoint.excuse import Excuse
from everyhop.core.endpoint.facts import (
    CertificateFacts,
    Encryption,
    EndpointFacts,
    EnforcementFacts,
    HttpFacts,
    PlainFacts,
    RevocationFacts,
    SessionFacts,
    TlsFacts,
)
from everyhop.core.endpoint.fleet import Entry
from everyhop.core.endpoint.judge import judge
from everyhop.core.endpoint.rules import Stores
from everyhop.core.endpoint.rules.fault import fault_of
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.endpoint.timestamps import Log
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.report.endpoint import EndpointReport
from everyhop.errors import EveryhopError
from everyhop.ports import ClientCredential, Clock, EndpointProber

T = TypeVar("T")

HTTPS, HTTP = 443, 80
"""Beside the registered HTTPS port stands the registered HTTP port, whose redirect is looked at, too."""

_LOCKOUT = (
    "not asked: every handshake that we abandon counts towards max_connect_errors, and at the limit the server locks "
    "this host out; --accept-lockout asks all the same"
)
_NO_TLS = (Encryption.PLAINTEXT, Encryption.OWN, Encryption.CLOSED)


class Mode(StrEnum):
    """How much is asked."""

    VERIFY = "verify"
    """About seven ClientHellos: is everything refused that must be?"""
    ENUMERATE = "enumerate"
    """Every version, suite and group, and what sessions do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a scan should find out, and by what it judges."""

    guideline: Guideline
    """What an endpoint is held to unless its own entry says otherwise."""
    guidelines: Mapping[str, Guideline] = field(default_factory=dict[str, Guideline])
    """Guidelines by the name under which entries ask for them."""
    mode: Mode = Mode.VERIFY
    enforcement: bool = False
    """Try to get in without a certificate, and with each of ``credentials``."""
    credentials: Mapping[str, ClientCredential] = field(default_factory=dict[str, ClientCredential])
    """By the value of ``Entrance``; in memory only."""
    identity: str = ""
    """The SPIFFE ID that endpoints should show, or empty: their names count."""
    excuses: Sequence[Excuse] = ()
    accept_lockout: bool = False
    """Send abandoned handshakes to MySQL and MariaDB, too, whose ``max_connect_errors`` counts them (default: 100) and
    then locks the whole client host out."""
    at_once: int = 32
    """Endpoints of a fleet at the same time."""
    timeout: float = 5.0
    """Seconds for one question."""


class Scanner:
    """Looks at endpoints and judges them."""

    def __init__(self, prober: EndpointProber, clock: Clock, stores: Stores, *, logs: Sequence[Log] = ()) -> None:
        """``stores`` are the trusted roots by name; ``logs`` the transparency logs whose keys are known."""
        self._prober = prober
        self._clock = clock
        self._stores = stores
        self._logs = logs

    async def scan(self, entry: Entry, order: Order) -> EndpointReport:
        """Look at one endpoint and judge it. Never raises for what the endpoint does, nor for what we do wrong."""
        began = self._clock.now()
        guideline = order.guidelines.get(entry.profile, order.guideline) if entry.profile else order.guideline
        try:
            facts = await self.look(entry.target, guideline, order)
        except Exception as error:  # noqa: BLE001 -- the last line of defence: this endpoint is unknown, no other is
            facts = EndpointFacts(entry.target, began, fault=_first(error))
        now = self._clock.now()
        findings = judge(
            facts,
            guideline,
            now=now,
            stores=self._stores,
            expected_identity=order.identity,
            exceptions=order.excuses,
            logs=self._logs,
        )
        return EndpointReport(
            target=entry.target,
            at=began,
            guideline=guideline,
            mode=order.mode.value,
            facts=facts,
            findings=findings,
            file=entry.file,
            line=entry.line,
            seconds=(now - began).total_seconds(),
        )

    async def fleet(self, entries: Iterable[Entry], order: Order) -> AsyncGenerator[EndpointReport]:
        """Scan many endpoints, at most ``order.at_once`` side by side; reports come as they are ready."""
        waiting = iter(entries)
        running = {asyncio.ensure_future(self.scan(entry, order)) for entry in _next(waiting, order.at_once)}
        done = set[asyncio.Task[EndpointReport]]()
        try:
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running |= {asyncio.ensure_future(self.scan(entry, order)) for entry in _next(waiting, len(done))}
                while done:
                    yield done.pop().result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, *done, return_exceptions=True)

    async def look(self, target: Target, guideline: Guideline, order: Order) -> EndpointFacts:
        """Everything that the order asks for, of one endpoint."""
        at = self._clock.now()
        plain = await self._prober.plain(target, timeout=order.timeout)
        if plain.encryption in _NO_TLS or plain.evidence.startswith("unreachable"):
            return EndpointFacts(target, at, plain=plain, http=await self._redirect(target, plain, order))
        known = _with_wire(target, plain)
        async with asyncio.TaskGroup() as group:
            tls = group.create_task(self._tls(known, guideline, order))
            certificate = group.create_task(self._certificate(known, order))
            http = _start(group, self._http, known, order, when=known.wire is Wire.HTTP)
            spared = _may_lock_out(known, order)
            enforcement = _start(group, self._enforcement, known, order, when=order.enforcement and not spared)
            session = _start(group, self._session, known, order, when=order.mode is Mode.ENUMERATE and not spared)
        served, revocation = certificate.result()
        return EndpointFacts(
            target=target,
            at=at,
            plain=plain,
            tls=tls.result(),
            certificate=served,
            revocation=revocation,
            enforcement=enforcement.result() if enforcement else None,
            session=session.result() if session else None,
            http=http.result() if http else None,
        )

    # --- single looks -------------------------------------------------------------------------------------------------

    async def _tls(self, target: Target, guideline: Guideline, order: Order) -> TlsFacts:
        if _may_lock_out(target, order):
            return TlsFacts(target, self._clock.now(), order.mode.value, fault=_LOCKOUT)
        if order.mode is Mode.ENUMERATE:
            return await self._prober.enumerate(target, timeout=order.timeout)
        return await self._prober.verify(target, guideline, timeout=order.timeout)

    async def _certificate(self, target: Target, order: Order) -> tuple[CertificateFacts, RevocationFacts | None]:
        try:
            served = await self._prober.certificate(target, timeout=order.timeout)
        except EveryhopError as error:  # a name that no client can send: one endpoint's trouble, not the fleet's
            served = CertificateFacts(target, self._clock.now(), usable=False, refused=error.message)
        if not served.chain:
            return served, None
        return served, await self._prober.revocation(target, served.chain, served.staple, timeout=order.timeout)

    async def _http(self, target: Target, order: Order) -> HttpFacts:
        beside = HTTP if target.port == HTTPS else None
        return await self._prober.http(target, plain_port=beside, timeout=order.timeout)

    async def _redirect(self, target: Target, plain: PlainFacts, order: Order) -> HttpFacts | None:
        """A plaintext HTTP port may do nothing but send its visitors to https: that is worth a second look."""
        if plain.wire is not Wire.HTTP or plain.encryption is not Encryption.PLAINTEXT:
            return None
        return await self._prober.http(target, plain_port=target.port, timeout=order.timeout)

    async def _enforcement(self, target: Target, order: Order) -> EnforcementFacts:
        return await self._prober.enforcement(target, order.credentials, timeout=order.timeout)

    async def _session(self, target: Target, order: Order) -> SessionFacts:
        return await self._prober.session(target, timeout=order.timeout)


def _may_lock_out(target: Target, order: Order) -> bool:
    """True if looking closely could lock this host out of the server."""
    return target.wire is Wire.MYSQL and not order.accept_lockout


def _first(error: Exception) -> str:
    """The fault of which a group of looks broke off: looks go side by side, and the others were only cancelled."""
    if isinstance(error, ExceptionGroup):
        return _first(cast("ExceptionGroup[Exception]", error).exceptions[0])
    return fault_of(error)


def _start(
    group: asyncio.TaskGroup,
    look: Callable[[Target, Order], Coroutine[Any, Any, T]],
    target: Target,
    order: Order,
    *,
    when: bool,
) -> asyncio.Task[T] | None:
    return group.create_task(look(target, order)) if when else None


def _next(waiting: Iterator[Entry], count: int) -> list[Entry]:
    return [entry for _, entry in zip(range(count), waiting, strict=False)]


def _with_wire(target: Target, plain: PlainFacts) -> Target:
    """The target with what the first look has taught: what is spoken there, and whether TLS comes first."""
    first = True if plain.encryption is Encryption.TLS else target.tls_first
    return replace(target, wire=target.wire or plain.wire, tls_first=first)
