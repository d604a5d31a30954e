"""An endpoint prober without sockets: each endpoint behaves as a test describes it; others are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from everyhop.core.endpoint.facts import (
    Answer,
    Asked,
    CertificateFacts,
    Encryption,
    EnforcementFacts,
    Entrance,
    Entry,
    HttpFacts,
    PlainFacts,
    Reply,
    RevocationFacts,
    SessionFacts,
    TlsFacts,
    VersionFacts,
)
from everyhop.core.endpoint.target import Target, Wire
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.tls.groups import group_code
from everyhop.core.tls.versions import NEWEST_FIRST, TLS12, TLS13, version_name
from everyhop.ports import ClientCredential, Clock

REFUSED = Answer(Reply.REFUSED, alert=40, evidence="alert handshake failure")
OLD = Answer(Reply.REFUSED, alert=70, evidence="alert protocol version")
HYBRID = group_code("X25519MLKEM768") or 0


def chose(version: int, suite: int, group: int | None = 29, *, key_bits: int | None = None) -> Answer:
    """A ServerHello."""
    return Answer(
        Reply.ACCEPTED,
        version=version,
        suite=suite,
        group=group,
        key_bits=key_bits,
        evidence=f"chose {version_name(version)} 0x{suite:04X}",
    )


def verified(target: Target, at: datetime, **answers: Answer) -> TlsFacts:
    """Verify facts of an endpoint that keeps Mozilla's intermediate guideline, with these answers instead; ``_`` in
    the names of questions stands for ``-``."""
    good = {
        "permitted_tls13": chose(TLS13, 0x1301, HYBRID),
        "permitted_tls12": chose(TLS12, 0xC02F),
        "forbidden_suites_tls13": REFUSED,
        "forbidden_groups_tls13": REFUSED,
        "forbidden_suites_tls12": REFUSED,
        "forbidden_groups_tls12": REFUSED,
        "forbidden_versions": OLD,
    }
    asked = tuple(Asked(name.replace("_", "-"), answer) for name, answer in (good | answers).items())
    return TlsFacts(target, at, "verify", asked, hellos=len(asked))


def enumerated(target: Target, at: datetime, *versions: VersionFacts) -> TlsFacts:
    """Enumerate facts: these versions are accepted, all others are refused."""
    known = [one.version for one in versions]
    refused = tuple((version, OLD) for version in NEWEST_FIRST if version not in known)
    return TlsFacts(target, at, "enumerate", versions=versions, refused_versions=refused, hellos=20)


@dataclass(frozen=True)
class Behaviour:
    """How one endpoint behaves."""

    encryption: Encryption = Encryption.TLS
    wire: Wire | None = Wire.TLS
    evidence: str = "as described"
    tls: Mapping[str, Answer] = field(default_factory=dict[str, Answer])
    chain: tuple[bytes, ...] = ()
    http: HttpFacts | None = None
    lets_in: tuple[Entrance, ...] = ()


class FakeEndpointProber:
    """Implements ``ports.EndpointProber`` by description. ``asked`` tells which looks were made, in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._behaviours: dict[str, Behaviour] = {}
        self.asked: list[tuple[str, str]] = []
        self.busy = 0
        self.busiest = 0

    def serve(self, address: str, behaviour: Behaviour | None = None) -> None:
        """The endpoint ``host:port`` behaves so from now on."""
        self._behaviours[address] = behaviour or Behaviour()

    async def plain(self, target: Target, *, timeout: float = 5.0) -> PlainFacts:
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        await asyncio.sleep(0)
        self.busy -= 1
        known = self._see("plain", target)
        if known is None:
            return PlainFacts(target, self._clock.now(), Encryption.CLOSED, evidence="unreachable: connection refused")
        return PlainFacts(target, self._clock.now(), known.encryption, known.wire, known.evidence, 1)

    async def verify(self, target: Target, guideline: Guideline, *, timeout: float = 5.0) -> TlsFacts:
        known = self._see("verify", target)
        return verified(target, self._clock.now(), **(known.tls if known else {}))

    async def enumerate(self, target: Target, *, timeout: float = 5.0) -> TlsFacts:
        self._see("enumerate", target)
        found = VersionFacts(TLS13, (0x1301, 0x1302), (HYBRID, 29), REFUSED)
        return enumerated(target, self._clock.now(), found)

    async def certificate(
        self, target: Target, *, credential: ClientCredential | None = None, timeout: float = 5.0
    ) -> CertificateFacts:
        known = self._see("certificate", target)
        return CertificateFacts(target, self._clock.now(), usable=True, chain=known.chain if known else ())

    async def revocation(
        self, target: Target, chain: Sequence[bytes], staple: bytes | None, *, timeout: float = 5.0
    ) -> RevocationFacts:
        self._see("revocation", target)
        return RevocationFacts(target, self._clock.now())

    async def enforcement(
        self, target: Target, credentials: Mapping[str, ClientCredential], *, timeout: float = 5.0
    ) -> EnforcementFacts:
        known = self._see("enforcement", target)
        tried = [Entrance.NO_CERTIFICATE, *map(Entrance, credentials)]
        entries = tuple(
            Entry(one, one in (known.lets_in if known else ()), "after handshake", "alert certificate required")
            for one in tried
        )
        return EnforcementFacts(target, self._clock.now(), entries)

    async def session(
        self, target: Target, *, credential: ClientCredential | None = None, timeout: float = 5.0
    ) -> SessionFacts:
        self._see("session", target)
        return SessionFacts(
            target,
            self._clock.now(),
            resumes_by_ticket=False,
            resumes_by_psk=False,
            accepts_early_data=False,
            secure_renegotiation=True,
            client_renegotiation=False,
            compression=False,
            fallback_scsv=True,
        )

    async def http(self, target: Target, *, plain_port: int | None = None, timeout: float = 5.0) -> HttpFacts:
        known = self._see("http", target)
        found = known.http if known and known.http else HttpFacts(target, self._clock.now(), 200)
        return replace(found, plain_port=plain_port)

    def _see(self, what: str, target: Target) -> Behaviour | None:
        self.asked.append((what, str(target)))
        return self._behaviours.get(str(target))
