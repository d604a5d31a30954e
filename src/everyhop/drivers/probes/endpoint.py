"""All looks at endpoints behind one port: each question goes to its own probe, and all share the same manners.

Rules: what has to be said before TLS follows from the target, here and nowhere else. Every connection of every probe
takes a turn of the same manners, so that no endpoint has more visitors at once, or in a second, than is polite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography import x509

from everyhop.core.endpoint.facts import (
    CertificateFacts,
    EnforcementFacts,
    HttpFacts,
    PlainFacts,
    RevocationFacts,
    SessionFacts,
    TlsFacts,
)
from everyhop.core.endpoint.target import Target
from everyhop.core.guidelines.guideline import Guideline
from everyhop.drivers.probes.certificate import CertificateProbe
from everyhop.drivers.probes.enforcement import EnforcementProbe
from everyhop.drivers.probes.enumerate import enumerate_tls
from everyhop.drivers.probes.hello.ask import Interview
from everyhop.drivers.probes.http import HttpProbe
from everyhop.drivers.probes.manners import Manners
from everyhop.drivers.probes.plain import PlainProbe
from everyhop.drivers.probes.revocation import RevocationProbe
from everyhop.drivers.probes.session import SessionProbe
from everyhop.drivers.probes.upgrade import upgrade_for
from everyhop.drivers.probes.verify import verify_tls
from everyhop.ports import ClientCredential, Clock


class EndpointLooks:
    """Implements ``ports.EndpointProber`` over real sockets."""

    def __init__(
        self,
        clock: Clock,
        *,
        manners: Manners | None = None,
        roots: Mapping[str, Sequence[x509.Certificate]] | None = None,
        source: str = "",
    ) -> None:
        """``roots`` help to ask responders about a leaf whose issuer was not sent. ``source`` is the loopback address
        that probes of this machine come from (see :func:`.wire.connect`)."""
        self._clock = clock
        self._manners = manners or Manners()
        self._source = source
        self._plain = PlainProbe(clock, manners=self._manners, source=source)
        self._certificate = CertificateProbe(clock, manners=self._manners, source=source)
        self._revocation = RevocationProbe(clock, roots=roots, source=source)
        self._enforcement = EnforcementProbe(clock, manners=self._manners, source=source)
        self._session = SessionProbe(clock, manners=self._manners, source=source)
        self._http = HttpProbe(clock, manners=self._manners, source=source)

    async def plain(self, target: Target, *, timeout: float = 5.0) -> PlainFacts:
        """What the port speaks, and whether it insists on encryption."""
        return await self._plain.look(target, timeout=timeout)

    async def verify(self, target: Target, guideline: Guideline, *, timeout: float = 5.0) -> TlsFacts:
        """Is everything refused that the guideline does not permit?"""
        return await verify_tls(self._interview(target, timeout), guideline, self._clock.now())

    async def enumerate(self, target: Target, *, timeout: float = 5.0) -> TlsFacts:
        """Everything that the endpoint accepts."""
        return await enumerate_tls(self._interview(target, timeout), self._clock.now())

    async def certificate(
        self, target: Target, *, credential: ClientCredential | None = None, timeout: float = 5.0
    ) -> CertificateFacts:
        """The chain and its staple."""
        return await self._certificate.look(target, credential=credential, upgrade=upgrade_for(target), timeout=timeout)

    async def revocation(
        self, target: Target, chain: Sequence[bytes], staple: bytes | None, *, timeout: float = 5.0
    ) -> RevocationFacts:
        """What the responders named in the chain say; they are other hosts, so no turn is taken."""
        return await self._revocation.look(target, chain, staple, timeout=timeout)

    async def enforcement(
        self, target: Target, credentials: Mapping[str, ClientCredential], *, timeout: float = 5.0
    ) -> EnforcementFacts:
        """Who gets in."""
        return await self._enforcement.look(target, credentials, upgrade=upgrade_for(target), timeout=timeout)

    async def session(
        self, target: Target, *, credential: ClientCredential | None = None, timeout: float = 5.0
    ) -> SessionFacts:
        """What sessions allow."""
        return await self._session.look(target, credential=credential, upgrade=upgrade_for(target), timeout=timeout)

    async def http(self, target: Target, *, plain_port: int | None = None, timeout: float = 5.0) -> HttpFacts:
        """What a GET brings, over TLS and beside it."""
        return await self._http.look(target, plain_port=plain_port, timeout=timeout)

    def _interview(self, target: Target, timeout: float) -> Interview:
        return Interview(target, self._manners, upgrade=upgrade_for(target), timeout=timeout, source=self._source)
