"""Issue a certificate: the one gate that every protocol goes through.

The order is fixed, and each step needs the token of the one before: draft -> lint -> authorise the final bytes ->
journal the intent -> sign -> record. The journal line is durable before the key is touched. A crash in between loses
nothing and issues nothing twice: the same request id finds the same line, the same bytes are signed again, and since
signatures are deterministic (RFC 6979 for ECDSA) the certificate is the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from everyhop.core import policy as policies
from everyhop.core.certificate import (
    Authorised,
    CertificateRequest,
    Draft,
    Issuer,
    assemble,
    draft,
    public_key_bytes,
    signature_algorithm,
)
from everyhop.core.policy import IssuancePolicy
from everyhop.core.profile import KeyAlgorithm
from everyhop.core.rules import lint
from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry, Clock, Issuance, IssuanceState, Keys, Random, Store

ThrowAwayKey = Callable[[KeyAlgorithm], CertificateIssuerPrivateKeyTypes]
"""Gives a key of a type that is used for lint copies only and never leaves memory."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a restart found in the journal."""

    completed: tuple[str, ...]
    abandoned: tuple[str, ...]


class Gate:
    """The only way to a signature."""

    def __init__(self, store: Store, keys: Keys, clock: Clock, random: Random, throw_away_key: ThrowAwayKey) -> None:
        """All effects come through these ports; the throw-away keys are made once per type."""
        self._store = store
        self._keys = keys
        self._clock = clock
        self._random = random
        self._make_throw_away_key = throw_away_key
        self._throw_away_keys: dict[KeyAlgorithm, CertificateIssuerPrivateKeyTypes] = {}
        self._signature_algorithms: dict[KeyAlgorithm, bytes] = {}

    async def issue(self, request: CertificateRequest, issuer: Issuer, policy: IssuancePolicy) -> Issuance:
        """Issue what ``request`` asks for, or return what this request id was issued before.

        Raises ``lint-refused`` or ``policy-refused`` (nothing remains but an audit entry), ``authority-unavailable``
        if the issuer is out of its life, ``store-conflict`` if the request id stands for another key, or was begun by
        another authority and is not finished.
        """
        authorised = await self._authorise(request, issuer, policy)
        line = await self._journal(authorised)
        if line.serial != authorised.draft.copy.serial_number:
            _refuse_other_key(line, request)
        if line.state is IssuanceState.ISSUED:
            return line
        _refuse_other_issuer(line, issuer)
        return await self._sign(line, issuer.key_id)

    async def recover(self, key_ids: dict[str, str]) -> Recovery:
        """Finish what a crash left open. ``key_ids`` maps authorities to their keys; an intent whose authority is gone
        or whose life is over is abandoned, every other is signed from its journaled bytes."""
        completed: list[str] = []
        abandoned: list[str] = []
        while lines := await self._store.issuances(state=IssuanceState.INTENDED):
            for line in lines:
                key_id = key_ids.get(line.issuer)
                if key_id is None or line.not_after <= self._clock.now():
                    reason = "its authority is unknown here" if key_id is None else "its life was over before a restart"
                    await self._store.abandon(line.serial, reason, self._clock.now())
                    abandoned.append(line.request_id)
                else:
                    await self._sign(line, key_id)
                    completed.append(line.request_id)
        return Recovery(tuple(completed), tuple(abandoned))

    async def _authorise(self, request: CertificateRequest, issuer: Issuer, policy: IssuancePolicy) -> Authorised:
        now = self._clock.now()
        try:
            _refuse_dead(issuer, now)
            drafted = draft(
                request,
                issuer,
                serial=self._random.serial(),
                now=now,
                backdate=policy.backdate,
                throw_away_key=self._throw_away_key(issuer.algorithm),
            )
            return policies.authorise(lint(drafted), policy)
        except EveryhopError as error:
            await self._audit(request, "refused", {"code": error.code.name, "why": error.message})
            raise
        except (ValueError, TypeError) as error:
            await self._audit(request, "refused", {"code": "lint-refused", "why": str(error)})
            raise EveryhopError(
                "lint-refused", f"the request cannot be put into a certificate: {error}", hint="check its names and key"
            ) from error

    async def _journal(self, authorised: Authorised) -> Issuance:
        drafted, request = authorised.draft, authorised.draft.request
        intent = Issuance(
            request_id=request.request_id,
            serial=drafted.copy.serial_number,
            issuer=drafted.issuer.authority,
            profile=request.profile.name,
            profile_digest=request.profile.digest,
            subject=str(request.identity or request.common_name or request.dns_names[0]),
            owner=request.owner,
            names=drafted.facts.names,
            tbs=drafted.tbs,
            algorithm=self._signature_algorithm(drafted),
            decision=authorised.decision,
            not_before=drafted.facts.not_before,
            not_after=drafted.facts.not_after,
            intended_at=self._clock.now(),
        )
        return await self._store.intend(intent)

    async def _sign(self, line: Issuance, key_id: str) -> Issuance:
        certificate = assemble(line.tbs, line.algorithm, await self._keys.sign(key_id, line.tbs))
        try:
            return await self._store.complete(line.serial, certificate, self._clock.now())
        except EveryhopError as error:
            # Somebody signed the same bytes at the same time. ML-DSA signatures differ (FIPS 204, 3.4): theirs stands.
            finished = await self._store.issuance(serial=line.serial) if error.code.name == "store-conflict" else None
            if finished is None or finished.state is not IssuanceState.ISSUED:
                raise
            return finished

    def _throw_away_key(self, algorithm: KeyAlgorithm) -> CertificateIssuerPrivateKeyTypes:
        if algorithm not in self._throw_away_keys:
            self._throw_away_keys[algorithm] = self._make_throw_away_key(algorithm)
        return self._throw_away_keys[algorithm]

    def _signature_algorithm(self, drafted: Draft) -> bytes:
        """The draft's AlgorithmIdentifier: it follows from the issuer's type of key alone, so one parse is enough."""
        algorithm = drafted.issuer.algorithm
        if algorithm not in self._signature_algorithms:
            self._signature_algorithms[algorithm] = signature_algorithm(drafted.copy)
        return self._signature_algorithms[algorithm]

    async def _audit(self, request: CertificateRequest, outcome: str, details: dict[str, str]) -> None:
        await self._store.audit(
            AuditEntry(
                at=self._clock.now(),
                actor=request.actor,
                action=f"issue {request.profile.name}",
                subject=str(request.identity or request.common_name or ", ".join(request.dns_names)),
                outcome=outcome,
                details={"request": request.request_id, **details},
            )
        )


def certificate_of(line: Issuance) -> x509.Certificate:
    """The certificate of an issued line; raises ``ValueError`` for one that is not issued."""
    if line.certificate is None:
        raise ValueError(f"{line.request_id} is {line.state}, not issued")
    return x509.load_der_x509_certificate(line.certificate)


def _refuse_dead(issuer: Issuer, now: datetime) -> None:
    """Refuse an issuer whose life is over, or has not begun by this machine's clock."""
    if issuer.certificate is None:
        return
    if issuer.certificate.not_valid_after_utc <= now:
        raise EveryhopError(
            "authority-unavailable",
            f"expected a living authority, {issuer.authority} ended at"
            f" {issuer.certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC",
            hint="`everyhop rotate intermediate` (or root) makes a new one",
        )
    if now < issuer.certificate.not_valid_before_utc:
        raise EveryhopError(
            "authority-unavailable",
            f"the clock shows {now:%Y-%m-%d %H:%M:%S} UTC, before the life of {issuer.authority} begins",
            hint="set the clock; if it is right, the authority was made under a wrong one: `everyhop rotate root`",
        )


def _refuse_other_issuer(line: Issuance, issuer: Issuer) -> None:
    """Refuse to finish what another authority began: the journaled bytes name their signer."""
    if line.issuer != issuer.authority:
        raise EveryhopError(
            "store-conflict",
            f"the request {line.request_id} was begun under {line.issuer}, and {issuer.authority} signs now",
            hint="it is finished at the next start; or use another request id",
        )


def _refuse_other_key(line: Issuance, request: CertificateRequest) -> None:
    """Refuse a request id that already stands for another public key: two parties must not share a certificate."""
    signed = line.certificate or assemble(line.tbs, line.algorithm, b"\0")
    if public_key_bytes(x509.load_der_x509_certificate(signed)) != request.public_key:
        raise EveryhopError(
            "store-conflict",
            f"the request {line.request_id} was made before with another key",
            hint="a request id names one certificate; choose another id for another key",
        )
