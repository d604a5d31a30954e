"""Check: prove on the wire that every hop is as the topology asks.

Rules: a check has four answers (pass, fail, unknown, not applicable) and cites what was seen. Refusals are proved by
trying: plaintext, no certificate, a valid certificate of the wrong identity. The stranger's certificate is minted by
the gate like any other, lives for minutes and its key never leaves memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from itertools import pairwise

from cryptography import x509

from everyhop.core.certificate import CertificateRequest, names_of
from everyhop.core.chain import pem
from everyhop.core.hop import Posture
from everyhop.core.plan import CLIENT, EdgeRedirect, EdgeTls, HopPlan, Plan
from everyhop.core.policy import SYSTEM, IssuancePolicy
from everyhop.core.profile import PROFILES
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError
from everyhop.ports import ClientCredential, Handshake, Listen, Prober, Random, Sleep, Visitor, Wiretap
from everyhop.services.establish import Authorities
from everyhop.services.issue import Gate

MintKey = Callable[[], tuple[bytes, bytes]]
"""Makes a key in memory: (SubjectPublicKeyInfo DER, PKCS#8 PEM)."""

_PATIENCE = 150
"""Tenths of a second to wait for bytes on every port: an idle hop speaks at its heartbeat."""
_HTTP = b"GET / HTTP/1.1\r\nHost: everyhop\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Check:
    """One answer about one hop, and what it rests on."""

    hop: str
    name: str
    verdict: Verdict
    evidence: str


class Checker:
    """Tries every hop of a plan."""

    def __init__(
        self,
        prober: Prober,
        gate: Gate,
        authorities: Authorities,
        random: Random,
        mint_key: MintKey,
        listen: Listen,
        visitor: Visitor,
        sleep: Sleep,
    ) -> None:
        """``mint_key`` makes the stranger's key; ``listen`` captures ports; ``visitor`` comes in at the edge."""
        self._prober = prober
        self._gate = gate
        self._authorities = authorities
        self._random = random
        self._mint_key = mint_key
        self._listen = listen
        self._visitor = visitor
        self._sleep = sleep

    async def check(self, plan: Plan, policy: IssuancePolicy) -> AsyncIterator[Check]:
        """Check every hop, one after the other, yielding answers as they come."""
        for check in await self._overheard(plan):
            yield check
        stranger = await self._stranger(policy)
        for hop in plan.hops:
            if hop.posture is Posture.MTLS:
                async for check in self._mtls(hop, policy, stranger):
                    yield check
            elif hop.hop.caller == CLIENT:
                async for check in self._edge(plan, hop):
                    yield check
            else:
                yield Check(str(hop.hop), str(hop.posture), Verdict.NOT_APPLICABLE, hop.reason or "carried as it comes")

    # --- what goes over the wire ----------------------------------------------------------------------------------

    async def _overheard(self, plan: Plan) -> list[Check]:
        """Send a marked request through the edge, and listen to every mTLS port meanwhile."""
        hops = [hop for hop in plan.hops if hop.posture is Posture.MTLS]
        marker = f"everyhop-check-{self._random.token()}"
        if not hops:  # nothing of ours to listen to
            return await self._visits(plan, marker)
        checks: list[Check] = []
        try:
            async with self._listen({hop.address.port for hop in hops}) as tap:
                checks += await self._visits(plan, marker)
                for _ in range(_PATIENCE):
                    if all(tap.port(hop.address.port).bytes_seen for hop in hops):
                        break
                    await self._sleep(0.1)
        except EveryhopError as error:
            return [*await self._visits(plan, marker), *(_unheard(hop, error) for hop in hops)]
        return [*checks, *(_heard(hop, tap, marker) for hop in hops)]

    async def _visits(self, plan: Plan, marker: str) -> list[Check]:
        roots = await self._authorities.bundle((await self._authorities.trust()).value)
        return [
            await self._visit(hop, listener, host.host.replace("*", "any", 1), roots, marker)
            for hop in plan.hops
            if hop.hop.caller == CLIENT
            for listener in plan.node(hop.node).listeners
            if isinstance(listener, EdgeTls)
            for host in listener.hosts
            if host.credential
        ]

    async def _visit(self, hop: HopPlan, listener: EdgeTls, host: str, roots: str, marker: str) -> Check:
        answer = await self._visitor.get(
            listener.address, host, f"/?{marker}", roots=roots, headers={"x-everyhop-check": marker}
        )
        name = "a client that trusts the root is answered"
        if not answer.status:
            return Check(f"{hop.hop} ({host})", name, Verdict.FAIL, answer.fault)
        good = answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
        verdict = Verdict.PASS if good else Verdict.FAIL
        return Check(f"{hop.hop} ({host})", name, verdict, f"{answer.version}, HTTP status {answer.status}")

    # --- mTLS hops ------------------------------------------------------------------------------------------------

    async def _mtls(self, hop: HopPlan, policy: IssuancePolicy, stranger: ClientCredential) -> AsyncIterator[Check]:
        name = str(hop.hop)
        bare = await self._prober.handshake(hop.address, server_name=hop.server_name)
        yield _version(name, bare)
        yield _group(name, bare)
        yield await self._identity(hop, bare)
        yield _refused(name, "no certificate is refused", bare)
        wrong = await self._prober.handshake(hop.address, server_name=hop.server_name, credential=stranger)
        yield _refused(name, f"{policy.probe_identity} is refused", wrong)
        yield await self._plaintext(hop)

    async def _plaintext(self, hop: HopPlan) -> Check:
        answer = await self._prober.plaintext(hop.address, _HTTP)
        if not answer.connected:
            return Check(str(hop.hop), "plaintext is refused", Verdict.UNKNOWN, f"nobody listens at {hop.address}")
        if answer.answer.startswith(b"\x15\x03") or (answer.closed and not answer.answer):
            evidence = "answered with a TLS alert" if answer.answer else "the connection was ended without an answer"
            return Check(str(hop.hop), "plaintext is refused", Verdict.PASS, evidence)
        evidence = f"answered {answer.answer[:40]!r}" if answer.answer else "was kept open"
        return Check(str(hop.hop), "plaintext is refused", Verdict.FAIL, evidence)

    async def _identity(self, hop: HopPlan, answer: Handshake) -> Check:
        name = "the callee proves its identity"
        if not answer.chain:
            return Check(str(hop.hop), name, Verdict.UNKNOWN, answer.refused or "no certificate was seen")
        fault = await self._chain_fault(answer.chain)
        names = names_of(x509.load_der_x509_certificate(answer.chain[0]))
        if not fault and f"uri:{hop.callee}" not in names:
            fault = f"expected {hop.callee}, saw {', '.join(names)}"
        evidence = fault or f"{hop.callee}, serial {answer.serial:x}, under {await self._issuer(answer.chain)}"
        return Check(str(hop.hop), name, Verdict.FAIL if fault else Verdict.PASS, evidence)

    async def _chain_fault(self, chain: tuple[bytes, ...]) -> str:
        """What is wrong with a served chain, or nothing. Every link's signature is checked up to a trusted root."""
        trust = (await self._authorities.trust()).value
        roots = [(await self._authorities.get(name)).x509 for name in trust.bundle]
        links = [x509.load_der_x509_certificate(der) for der in chain]
        for child, parent in pairwise(links):
            try:
                child.verify_directly_issued_by(parent)
            except Exception as error:  # noqa: BLE001  # any failure of a foreign certificate is the finding
                return f"the chain breaks: {type(error).__name__}"
        for root in roots:
            try:
                links[-1].verify_directly_issued_by(root)
                return ""
            except Exception:  # noqa: BLE001, S112  # try the next root
                continue
        return "no trusted root has signed the chain"

    async def _issuer(self, chain: tuple[bytes, ...]) -> str:
        served = x509.load_der_x509_certificate(chain[-1]).serial_number
        return next((one.name for one in await self._authorities.all() if one.x509.serial_number == served), "?")

    # --- the edge -------------------------------------------------------------------------------------------------

    async def _edge(self, plan: Plan, hop: HopPlan) -> AsyncIterator[Check]:
        for listener in plan.node(hop.node).listeners:
            if isinstance(listener, EdgeTls):
                for host in listener.hosts:
                    if host.credential:
                        async for check in self._host(hop, listener, host.host):
                            yield check
            elif isinstance(listener, EdgeRedirect):
                yield await self._redirect(hop, listener)

    async def _host(self, hop: HopPlan, listener: EdgeTls, host: str) -> AsyncIterator[Check]:
        name = f"{hop.hop} ({host})"
        asked = host.replace("*", "any", 1)
        answer = await self._prober.handshake(listener.address, server_name=asked, alpn=("h2", "http/1.1"))
        yield _version(name, answer)
        yield _group(name, answer)
        fault = await self._chain_fault(answer.chain) if answer.chain else answer.refused or "no certificate was seen"
        served = names_of(x509.load_der_x509_certificate(answer.chain[0])) if answer.chain else ()
        if not fault and f"dns:{host}" not in served:
            fault = f"expected {host}, saw {', '.join(served)}"
        yield Check(
            name,
            "the host proves its name",
            Verdict.FAIL if fault else Verdict.PASS,
            fault or f"{host}, serial {answer.serial:x}, ALPN {answer.alpn}",
        )

    async def _redirect(self, hop: HopPlan, listener: EdgeRedirect) -> Check:
        host = listener.hosts[0].replace("*", "any", 1)
        request = f"GET /x?y=1 HTTP/1.1\r\nHost: {host}:{listener.address.port}\r\nConnection: close\r\n\r\n"
        answer = await self._prober.plaintext(listener.address, request.encode())
        head = answer.answer.decode("latin-1").lower()
        good = head.startswith("http/1.1 308") and f"location: https://{host}:{listener.https_port}/x?y=1" in head
        return Check(
            str(hop.hop),
            "http is redirected to https",
            Verdict.PASS if good else Verdict.FAIL,
            "308, path and query kept" if good else f"answered {answer.answer[:60]!r}",
        )

    # --- the stranger ---------------------------------------------------------------------------------------------

    async def _stranger(self, policy: IssuancePolicy) -> ClientCredential:
        """A valid certificate of this very trust domain, with an identity that nobody lets in."""
        public_key, key = self._mint_key()
        signer = await self._authorities.get((await self._authorities.trust()).value.signer)
        request = CertificateRequest(
            request_id=f"probe/{self._random.token()}",
            profile=PROFILES["probe"],
            public_key=public_key,
            lifetime=min(policy.max_lifetimes["probe"], timedelta(minutes=10)),
            owner=SYSTEM,
            actor=SYSTEM,
            identity=policy.probe_identity,
        )
        line = await self._gate.issue(request, signer.issuer(), policy)
        return ClientCredential((pem(line.certificate or b"") + signer.certificate).encode(), key)


def _heard(hop: HopPlan, tap: Wiretap, marker: str) -> Check:
    traffic = tap.port(hop.address.port)
    name = "only TLS records on the wire"
    if not traffic.bytes_seen or not tap.complete:
        return Check(
            str(hop.hop), name, Verdict.UNKNOWN, "nothing was captured" if tap.complete else "packets were lost"
        )
    if not traffic.is_tls or tap.contains(marker.encode()):
        return Check(str(hop.hop), name, Verdict.FAIL, f"plaintext among {traffic.bytes_seen} bytes")
    return Check(
        str(hop.hop),
        name,
        Verdict.PASS,
        f"{traffic.bytes_seen} bytes captured, all in TLS records, the request not among",
    )


def _unheard(hop: HopPlan, error: EveryhopError) -> Check:
    """Capturing needs a privilege; the other checks of the port stand without it."""
    return Check(str(hop.hop), "only TLS records on the wire", Verdict.NOT_APPLICABLE, error.message)


def _version(hop: str, answer: Handshake) -> Check:
    if not answer.version:
        return Check(hop, "TLS 1.3", Verdict.UNKNOWN, answer.refused or "no handshake")
    good = answer.version == "TLSv1.3"
    return Check(hop, "TLS 1.3", Verdict.PASS if good else Verdict.FAIL, f"{answer.version} {answer.cipher}")


def _group(hop: str, answer: Handshake) -> Check:
    name = "hybrid post-quantum key exchange"
    if not answer.group:
        return Check(hop, name, Verdict.UNKNOWN, answer.refused or "no handshake")
    return Check(hop, name, Verdict.PASS if "MLKEM" in answer.group else Verdict.FAIL, answer.group)


def _refused(hop: str, name: str, answer: Handshake) -> Check:
    if answer.usable:
        return Check(hop, name, Verdict.FAIL, f"the connection was accepted ({answer.version})")
    if answer.refused.startswith(("alert", "closed", "reset")):
        return Check(hop, name, Verdict.PASS, answer.refused)
    return Check(hop, name, Verdict.UNKNOWN, answer.refused)
