"""The revocation probe: what the responders and lists named in a served chain say of it.

Rules: a staple that can be believed and is fresh answers for the leaf, and nobody is asked; an old one may be what the
thief of a key keeps showing. Else the leaf's OCSP responder, then its CRL; for the authorities above it their CRLs.
Only what the certificates name is asked (at most two addresses each, of at most four certificates), in the clear as
these things are, bounded in size and time. The worst word counts. What could not be learned is a fault beside it, and
no certificate naming anything is no fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from everyhop.core.endpoint.facts import RevocationFacts
from everyhop.core.endpoint.revocation import Word, read_crl, read_ocsp
from everyhop.core.endpoint.served import Certificate
from everyhop.core.endpoint.signatures import issued
from everyhop.core.endpoint.target import Target
from everyhop.drivers.probes.fetch import Unfetched, fetch
from everyhop.ports import Clock

LARGEST_OCSP = 64 << 10
LARGEST_CRL = 8 << 20
"""Bytes. A large public authority's list has some millions."""

_MOST_CERTIFICATES = 4
_MOST_ADDRESSES = 2


@dataclass(slots=True)
class _Learned:
    """Words so far, with where they came from; and what went wrong."""

    words: list[tuple[str, Word]] = field(default_factory=list[tuple[str, Word]])
    faults: list[str] = field(default_factory=list[str])

    def facts(self, target: Target, at: datetime) -> RevocationFacts:
        """The worst word, and the one that ends first."""
        rank = {"revoked": 0, "unknown": 1, "good": 2}
        words = sorted(self.words, key=lambda pair: rank[pair[1].status])
        if not words:
            return RevocationFacts(target, at, fault="; ".join(self.faults))
        source, word = words[0]
        ends = sorted((each.next_update, kind) for kind, each in words if each.next_update is not None)
        if word.status == "good" and ends:
            source = ends[0][1]
        return RevocationFacts(
            target=target,
            at=at,
            status=word.status,
            source=source,
            this_update=word.this_update,
            next_update=ends[0][0] if ends else None,
            fault="; ".join(self.faults),
        )


class RevocationProbe:
    """Asks OCSP responders and fetches CRLs."""

    def __init__(
        self, clock: Clock, *, roots: Mapping[str, Sequence[x509.Certificate]] | None = None, source: str = ""
    ) -> None:
        """``roots`` are the trusted ones: a root that was not sent may be the issuer of what was."""
        self._clock = clock
        self._roots = [root for store in (roots or {}).values() for root in store]
        self._source = source

    async def look(
        self,
        target: Target,
        chain: Sequence[bytes],
        staple: bytes | None = None,
        *,
        timeout: float = 5.0,
    ) -> RevocationFacts:
        """What is said of ``chain`` (DER, leaf first). ``timeout`` (seconds) bounds the whole call. Never raises."""
        at, learned = self._clock.now(), _Learned()
        try:
            certificates = [Certificate.read(der) for der in chain[:_MOST_CERTIFICATES]]
        except ValueError as error:
            return RevocationFacts(target, at, fault=str(error))
        try:
            async with asyncio.timeout(timeout):
                for number, certificate in enumerate(certificates):
                    issuer = self._issuer(certificate, certificates)
                    await self._learn(target, certificate, issuer, staple if number == 0 else None, at, learned)
        except TimeoutError:
            learned.faults.append(f"nothing more came within {timeout:g} seconds")
        return learned.facts(target, at)

    def _issuer(self, certificate: Certificate, chain: Sequence[Certificate]) -> x509.Certificate | None:
        candidates = (*(each.x509 for each in chain), *self._roots)
        return next((each for each in candidates if issued(certificate.x509, each)), None)

    async def _learn(
        self,
        target: Target,
        certificate: Certificate,
        issuer: x509.Certificate | None,
        staple: bytes | None,
        at: datetime,
        learned: _Learned,
    ) -> None:
        """One certificate: the staple, else OCSP, else CRL. A root is nobody's to revoke."""
        if certificate.self_issued or not (staple or certificate.responders or certificate.distribution_points):
            return
        if issuer is None:
            learned.faults.append(f"the issuer of {certificate.title} is not known, so nobody can vouch for it")
            return
        faults: list[str] = []
        if staple:
            try:
                word = read_ocsp(staple, certificate.x509, issuer)
            except ValueError as error:
                learned.faults.append(f"staple: {error}")
            else:
                if word.status == "revoked" or word.current(at):
                    learned.words.append(("staple", word))
                    return
                faults.append("staple: expected one that is valid now, got another")
        for kind, url in (
            *(("ocsp", url) for url in certificate.responders[:_MOST_ADDRESSES]),
            *(("crl", url) for url in certificate.distribution_points[:_MOST_ADDRESSES]),
        ):
            try:
                learned.words.append((kind, await self._ask(kind, url, target, certificate.x509, issuer)))
            except (Unfetched, ValueError) as error:
                faults.append(f"{kind}: {error}")
            else:
                return
        learned.faults += faults

    async def _ask(
        self, kind: str, url: str, target: Target, certificate: x509.Certificate, issuer: x509.Certificate
    ) -> Word:
        """One question. Raises :class:`Unfetched`, or ``ValueError`` for an answer that cannot be believed."""
        if kind == "crl":
            data = await fetch(url, beside=target.host, limit=LARGEST_CRL, source=self._source)
            return await asyncio.to_thread(read_crl, data, certificate, issuer)
        # SHA-1 names the issuer here and protects nothing: it is what every responder understands (RFC 5019, 2.1.1).
        request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1()).build()  # noqa: S303
        answer = await fetch(
            url,
            beside=target.host,
            body=request.public_bytes(Encoding.DER),
            content_type="application/ocsp-request",
            limit=LARGEST_OCSP,
            source=self._source,
        )
        return read_ocsp(answer, certificate, issuer)
