"""The certificate probe: one real handshake, for the chain and what comes with it.

Rules: the chain is reported as it came, also from a handshake that failed after it. When the first handshake shows a
leaf, a second asks for the other kind of key (RSA beside ECDSA): many servers have both, and the forgotten one is the
one that expires. A server that only knows finite fields, or something older than OpenSSL speaks, shows its chain in
the clear: it is read from its answer to a raw hello, and no key is exchanged. Each connection has the time limit to
itself. Timestamps in the TLS extension (RFC 6962, 3.3.1) are not asked for: pyOpenSSL cannot, and nearly all come
embedded.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from everyhop.core.endpoint.facts import CertificateFacts
from everyhop.core.endpoint.served import Certificate
from everyhop.core.endpoint.target import Target
from everyhop.core.tls.versions import SSL3, TLS12
from everyhop.drivers.probes.client import Client, Offer, Way, alpn_of, client, talk
from everyhop.drivers.probes.hello.ask import Interview, Upgrade
from everyhop.drivers.probes.hello.encode import legacy
from everyhop.drivers.probes.manners import Manners
from everyhop.drivers.probes.wire import Ended
from everyhop.ports import ClientCredential, Clock

_RSA = "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512:RSA+SHA1"
_ECDSA = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ECDSA+SHA1"
_KEYS_OF = "{}:!aNULL:!PSK:!SRP:!DHE@SECLEVEL=0"
_OTHER = {"rsa": (_ECDSA, _KEYS_OF.format("aECDSA")), "ecdsa": (_RSA, _KEYS_OF.format("aRSA"))}
"""For a kind of key the other kind: signature schemes, which decide in TLS 1.3, and suites, which do below."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What became of one handshake."""

    client: Client
    refused: str
    usable: bool
    seconds: float


class CertificateProbe:
    """Looks at certificates over real sockets."""

    def __init__(self, clock: Clock, *, manners: Manners | None = None, source: str = "") -> None:
        """``source`` is the loopback address that probes of this machine come from (see :func:`.wire.connect`)."""
        self._clock = clock
        self._way = Way(manners=manners, source=source)

    async def look(
        self,
        target: Target,
        *,
        credential: ClientCredential | None = None,
        upgrade: Upgrade | None = None,
        timeout: float = 5.0,
    ) -> CertificateFacts:
        """The chain that ``target`` serves, and how the handshake went. ``timeout`` (seconds) bounds each of at most
        three connections. Raises ``('probe-failed')`` only for a credential that cannot be used."""
        at, way = self._clock.now(), replace(self._way, upgrade=upgrade, timeout=timeout)
        offer = Offer(credential=credential, alpn=alpn_of(target), staple=True)
        seen = await _shake(target, offer, way)
        chain, tls = seen.client.chain, seen.client.tls
        if not chain and seen.client.alert:
            chain = await _in_the_clear(target, way)
        return CertificateFacts(
            target=target,
            at=at,
            usable=seen.usable,
            refused=seen.refused,
            version=seen.client.version,
            cipher=(tls.get_cipher_name() or "") if seen.client.shaken else "",
            group=seen.client.group,
            alpn=tls.get_alpn_proto_negotiated().decode("ascii", "replace") if seen.client.shaken else "",
            chain=chain,
            staple=seen.client.staple,
            handshake_seconds=seen.seconds,
            more_leaves=await _other_leaves(target, offer, chain, way) if seen.client.shaken else (),
        )


async def _shake(target: Target, offer: Offer, way: Way) -> _Seen:
    """One connection, to its end."""
    asking, refused, proven, seconds = client(target, offer), "", False, 0.0
    clock = asyncio.get_running_loop().time
    try:
        async with talk(target, asking, way) as (secured, wire):
            start = clock()
            await asking.shake(secured)
            seconds = clock() - start
            proven = await asking.farewell(secured, wire)
    except TimeoutError:
        refused = "timeout"
    except Ended as ended:
        refused = ended.reason
    usable = proven and not asking.alert
    return _Seen(asking, "" if usable else asking.alert or refused or "closed", usable, seconds)


async def _other_leaves(target: Target, offer: Offer, chain: tuple[bytes, ...], way: Way) -> tuple[bytes, ...]:
    """The leaf that clients get who take the other kind of key, if it is another."""
    try:
        kind = Certificate.read(chain[0]).key.kind if chain else ""
    except ValueError:
        return ()
    if kind not in _OTHER:
        return ()
    signatures, ciphers = _OTHER[kind]
    other = replace(offer, signatures=signatures, ciphers=ciphers, staple=False)
    found = (await _shake(target, other, way)).client.chain
    return found[:1] if found and found[0] != chain[0] else ()


async def _in_the_clear(target: Target, way: Way) -> tuple[bytes, ...]:
    """The chain of a server that found nothing to agree on: with a raw hello that offers everything, below TLS 1.3."""
    interview = Interview(target, way.manners or Manners(), upgrade=way.upgrade, timeout=way.timeout, source=way.source)
    for version in (TLS12, SSL3):
        answer = await interview.ask(legacy(version, server_name=interview.server_name), whole=True)
        if answer.chain:
            return answer.chain
    return ()
