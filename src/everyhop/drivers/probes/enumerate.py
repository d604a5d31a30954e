"""Everything an endpoint accepts: versions, suites, groups, signature schemes, protocols, and how it takes names.

Rules: by exclusion. Every answer names one thing that is accepted; it is left out of the next hello; one refusal
certifies that nothing else of what was offered is accepted. So *n* accepted suites and groups take n + 2 hellos a
version: one for the refusal, and one that offers the refused suites again with the accepted ones behind them, in
reverse. It must be accepted: a server that does not read so far has refused nothing. What it chooses tells whose order
decides. A server that chokes on long hellos is asked in parts.

One refusal with the alert ``protocol_version`` speaks for every older version too, because a hello offers them all.
A reset or silence is asked for once more. What TLS 1.3 encrypts is not seen here: its signatures, ALPN and the request
for a certificate; those facts are of TLS 1.2 and older. SSLv2 is not asked for.

An end or a reset without an alert is also what a rate limiter gives. Where one came, something that was accepted is
offered once more at the end; if it is not accepted any longer, nothing of that kind has refused anything, and the lists
are not finished.

Below TLS 1.3 a certificate of a curve serves only clients that offer this curve (RFC 8422, 5.1): it stays in the list,
as the last choice. When it is chosen, no client of that certificate gets any of the others; then it is left out once,
for the sake of a second certificate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from everyhop.core.endpoint.accepted import doubted, is_wordless
from everyhop.core.endpoint.facts import Answer, Asked, Reply, TlsFacts, VersionFacts
from everyhop.core.tls.alerts import PROTOCOL_VERSION
from everyhop.core.tls.groups import TLS12_GROUPS, TLS13_GROUPS
from everyhop.core.tls.signatures import SIGNATURES
from everyhop.core.tls.suites import TLS12_SUITES, TLS13_SUITES, suite
from everyhop.core.tls.versions import NEWEST_FIRST, TLS12, TLS13
from everyhop.drivers.probes.hello.ask import Interview
from everyhop.drivers.probes.hello.encode import Hello, legacy, tls13
from everyhop.drivers.probes.leaf import leaf_group

PART = 100
"""Suites in a part: some old servers read no more than 128."""
PROTOCOLS = (
    "h2",
    "http/1.1",
    "http/1.0",
    "grpc-exp",
    "postgresql",
    "mqtt",
    "imap",
    "pop3",
    "ftp",
    "xmpp-client",
    "dot",
)
"""What is asked for in ALPN. Not ``acme-tls/1``: it would start another handshake (RFC 8737)."""
UNKNOWN_NAME = "nobody.invalid"
"""A name that no server can have (RFC 6761, 6.4)."""

_COMMON_TLS13 = frozenset((0x1301, 0x1302, 0x1303))
_HOPELESS = (Reply.UNREACHABLE, Reply.NOT_TLS, Reply.SILENT, Reply.GARBLED)
_UNCLEAR = (Reply.RESET, Reply.SILENT, Reply.UNREACHABLE)
_UNFINISHED = (Reply.SILENT, Reply.UNREACHABLE)
_SIGNED = ("RSA", "ECDSA", "DSS")


async def enumerate_tls(interview: Interview, now: datetime) -> TlsFacts:
    """Ask for everything. Never raises for what the endpoint does."""
    return await _Enumeration(interview).run(now)


@dataclass(slots=True)
class _Found:
    """What is known of one version so far."""

    version: int
    first: Answer
    in_parts: bool = False
    suites: list[int] = field(default_factory=list[int])
    groups: list[int] = field(default_factory=list[int])
    refusal: Answer | None = None
    server_order: bool | None = None

    def facts(self) -> VersionFacts:
        refusal = None if self.refusal and self.refusal.reply in _UNFINISHED else self.refusal
        return VersionFacts(self.version, tuple(self.suites), tuple(self.groups), refusal, self.server_order)


class _Enumeration:
    """One run through everything."""

    def __init__(self, interview: Interview) -> None:
        self._interview = interview
        self._name = interview.server_name
        self._refused: list[tuple[int, Answer]] = []
        self._requested: bool | None = None
        self._curve: int | None = None

    async def run(self, now: datetime) -> TlsFacts:
        """Both families of versions side by side, then what needs to know what they accept."""
        clock = asyncio.get_running_loop().time
        began = clock()
        newest, older = await asyncio.gather(self._ask(tls13()), self._ask(legacy(TLS12), whole=True))
        facts = TlsFacts(target=self._interview.target, at=now, mode="enumerate")
        if newest.reply in _HOPELESS and older.reply in _HOPELESS:
            facts = replace(facts, fault=newest.evidence)
        else:
            found = [*await self._newest(newest), *await self._older(older)]
            await asyncio.gather(*(self._everything(one) for one in found))
            facts = await self._more(replace(facts, versions=tuple(one.facts() for one in found)), found)
            unfinished = [one.refusal for one in found if one.refusal and one.refusal.reply in _UNFINISHED]
            fault = f"a list could not be finished: {unfinished[0].evidence}" if unfinished else ""
            facts = self._doubted(replace(facts, fault=fault), await self._interview.exhausted())
        return replace(
            facts,
            refused_versions=tuple(self._refused),
            certificate_requested=self._requested,
            hellos=self._interview.hellos,
            seconds=clock() - began,
        )

    async def _ask(self, hello: Hello, *, whole: bool = False, named: bool = True) -> Answer:
        """One question, once more if the answer was no answer."""
        hello = hello.named(self._name) if named and not hello.server_name else hello
        answer = await self._interview.ask(hello, whole=whole)
        if answer.reply in _UNCLEAR and self._interview.reached:
            answer = await self._interview.ask(hello, whole=whole)
        if answer.certificate_requested is not None:
            self._requested = bool(self._requested) or answer.certificate_requested
        if answer.chain and self._curve is None:
            self._curve = leaf_group(answer.chain[0])
        return answer

    def _doubted(self, facts: TlsFacts, why: str) -> TlsFacts:
        """What is left of the proofs if the endpoint has stopped answering."""
        if not why:
            return facts
        self._refused = [(version, doubted(answer, why)) for version, answer in self._refused]
        versions = tuple(
            replace(one, refusal=None) if one.refusal and is_wordless(one.refusal) else one for one in facts.versions
        )
        return replace(facts, versions=versions, fault=facts.fault or f"the endpoint stopped answering; {why}")

    # --- versions -------------------------------------------------------------------------------------------------

    async def _newest(self, first: Answer) -> list[_Found]:
        if first.reply is Reply.ACCEPTED:
            return [_Found(TLS13, first)]
        self._refused.append((TLS13, first))
        return []

    async def _older(self, first: Answer) -> list[_Found]:
        """Which of the older versions are accepted, each with its first answer."""
        found: list[_Found] = []
        versions = list(NEWEST_FIRST[1:])
        answer: Answer | None = first
        while versions:
            version = versions.pop(0)
            answer = answer or await self._ask(legacy(version), whole=True)
            in_parts = False
            if (
                answer.reply is not Reply.ACCEPTED
                and answer.alert != PROTOCOL_VERSION
                and answer.reply not in _HOPELESS
            ):
                answer, in_parts = await self._in_parts(version, answer), True
            if answer.reply is Reply.ACCEPTED:
                chosen = answer.version or version
                passed = [version, *versions] if chosen != version else []
                self._refused += [(one, answer) for one in passed if one > chosen]
                versions = [one for one in versions if one < chosen]
                found.append(_Found(chosen, answer, in_parts))
            else:
                self._refused.append((version, answer))
                if answer.alert == PROTOCOL_VERSION:
                    self._refused += [(one, answer) for one in versions]
                    break
            answer = None
        return found

    async def _in_parts(self, version: int, refusal: Answer) -> Answer:
        """The first part's answer that accepts, or the last refusal."""
        answer = refusal
        for part in _parts(TLS12_SUITES):
            answer = await self._ask(legacy(version, part), whole=True)
            if answer.reply is Reply.ACCEPTED:
                break
        return answer

    # --- suites and groups ----------------------------------------------------------------------------------------

    async def _everything(self, found: _Found) -> None:
        if found.version == TLS13:
            await self._everything_tls13(found)
            return
        await self._suites(found)
        await self._groups(found)

    async def _everything_tls13(self, found: _Found) -> None:
        """An answer names both a suite and a group, so both lists shrink together."""
        answer = found.first
        while answer.reply is Reply.ACCEPTED and _took(found, answer) and not set(found.suites) >= _COMMON_TLS13:
            rest = _without(TLS13_SUITES, found.suites), _without(TLS13_GROUPS, found.groups)
            if not all(rest):
                break
            answer = await self._ask(tls13(*rest))
        while groups := _without(TLS13_GROUPS, found.groups):
            answer = await self._ask(tls13(found.suites, groups))
            if answer.reply is not Reply.ACCEPTED or not _took(found, answer):
                break
        while suites := _without(TLS13_SUITES, found.suites):
            found.refusal = answer = await self._ask(tls13(suites, found.groups))
            if answer.reply is not Reply.ACCEPTED or not _took(found, answer):
                break
        if len(found.suites) > 1:
            answer = await self._ask(tls13(found.suites[::-1], found.groups))
            found.server_order = _order(found.suites, answer)

    async def _suites(self, found: _Found) -> None:
        """The suites of an older version."""
        if not found.in_parts:
            await self._exclude(found, TLS12_SUITES, found.first)
            rest = _without(TLS12_SUITES, found.suites)
            answer = await self._ask(legacy(found.version, (*rest, *found.suites[::-1])), whole=True)
            if answer.reply is Reply.ACCEPTED:
                found.server_order = _order(found.suites, answer)
                return
        for part in _parts(_without(TLS12_SUITES, found.suites)):
            await self._exclude(found, part, await self._ask(legacy(found.version, part)))
        if len(found.suites) > 1:
            answer = await self._ask(legacy(found.version, found.suites[:PART][::-1]))
            found.server_order = _order(found.suites[:PART], answer)

    async def _exclude(self, found: _Found, offered: Sequence[int], answer: Answer) -> None:
        """Leave out what is accepted until the rest is refused."""
        rest = list(offered)
        while answer.reply is Reply.ACCEPTED and answer.version == found.version and answer.suite in rest:
            rest.remove(answer.suite)
            found.suites.append(answer.suite)
            if not rest:
                return
            answer = await self._ask(legacy(found.version, rest))
        found.refusal = answer

    async def _groups(self, found: _Found) -> None:
        """The groups of an older version; the certificate's own curve goes last, see above."""
        suites = [code for code in found.suites if suite(code).exchange == "ECDHE"][:PART]
        if not suites:
            return
        answer = found.first
        for curve in dict.fromkeys((self._curve, None)):
            while True:
                if answer.reply is Reply.ACCEPTED and answer.group in TLS12_GROUPS and answer.group not in found.groups:
                    found.groups.append(answer.group)
                rest = [code for code in _without(TLS12_GROUPS, found.groups) if code != curve]
                offered = [*rest, curve] if curve else rest
                answer = await self._ask(legacy(found.version, suites, offered), whole=True)
                if answer.reply is not Reply.ACCEPTED or answer.group not in rest:
                    break
            if answer.reply is Reply.ACCEPTED and answer.group == curve and curve not in found.groups and curve:
                found.groups.append(curve)

    # --- what needs to know what is accepted ----------------------------------------------------------------------

    async def _more(self, facts: TlsFacts, found: Sequence[_Found]) -> TlsFacts:
        if not found:
            return facts
        old = next((one for one in found if one.version < TLS13), None)
        with_tls12 = next((one for one in found if one.version == TLS12), None)
        hello = legacy(old.version, old.suites[:PART]) if old else tls13()
        return replace(
            facts,
            asked=await self._finite_field(old) if old else (),
            signatures=await self._signatures(with_tls12) if with_tls12 else (),
            alpn=await self._protocols(hello) if old and old.version > NEWEST_FIRST[-1] else (),
            unknown_name=await self._ask(hello.named(UNKNOWN_NAME), whole=True),
            no_name=await self._ask(hello, whole=True, named=False),
        )

    async def _finite_field(self, found: _Found) -> tuple[Asked, ...]:
        """How large the prime is: an answer with its ``key_bits``."""
        suites = [code for code in found.suites if suite(code).exchange == "DHE"][:PART]
        if not suites:
            return ()
        return (Asked("dh-size", await self._ask(legacy(found.version, suites), whole=True)),)

    async def _signatures(self, found: _Found) -> tuple[int, ...]:
        suites = [
            code
            for code in found.suites
            if suite(code).exchange in ("ECDHE", "DHE") and suite(code).authentication in _SIGNED
        ][:PART]
        used: list[int] = []
        while suites and (rest := _without(SIGNATURES, used)):
            answer = await self._ask(replace(legacy(TLS12, suites), signatures=rest), whole=True)
            if answer.signature not in rest:
                break
            used.append(answer.signature)
        return tuple(used)

    async def _protocols(self, hello: Hello) -> tuple[str, ...]:
        chosen: list[str] = []
        while rest := tuple(name for name in PROTOCOLS if name not in chosen):
            answer = await self._ask(replace(hello, alpn=rest))
            if answer.alpn not in rest:
                break
            chosen.append(answer.alpn)
        return tuple(chosen)


def _took(found: _Found, answer: Answer) -> bool:
    """Keep what a TLS 1.3 server chose; False if it brought nothing new."""
    before = len(found.suites) + len(found.groups)
    if answer.suite is not None and answer.suite not in found.suites:
        found.suites.append(answer.suite)
    if answer.group is not None and answer.group not in found.groups:
        found.groups.append(answer.group)
    return len(found.suites) + len(found.groups) > before


def _order(chosen: Sequence[int], answer: Answer) -> bool | None:
    """Whose order decides: ``answer`` is to a hello with the chosen suites in reverse."""
    if len(chosen) < 2 or answer.reply is not Reply.ACCEPTED:
        return None
    return {chosen[0]: True, chosen[-1]: False}.get(answer.suite or 0)


def _without(every: Sequence[int], taken: Sequence[int]) -> tuple[int, ...]:
    return tuple(code for code in every if code not in taken)


def _parts(suites: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(suites[begin : begin + PART]) for begin in range(0, len(suites), PART)]
