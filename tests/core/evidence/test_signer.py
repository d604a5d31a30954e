"""Who may sign evidence: exactly the certificate of the profile, in its time, under its authorities."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from everyhop.core.certificate import CertificateRequest, Issuer, NameScope, assemble, draft, signature_algorithm
from everyhop.core.evidence.signer import EvidenceSigner
from everyhop.core.identity import SpiffeId
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.core.rules import lint
from everyhop.drivers.keys.algorithms import PrivateKey, make, public_bytes, signer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCOPE = NameScope(("shop.internal",), ("shop.internal",))
ME = SpiffeId.parse("spiffe://shop.internal/test/everyhop-evidence")
DAY = timedelta(days=1)


@cache
def key(which: str, algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> PrivateKey:
    return make(algorithm)


def issued(
    profile: str,
    which: str,
    under: tuple[str, x509.Certificate] | None,
    *,
    algorithm: KeyAlgorithm = KeyAlgorithm.P256,
    identity: SpiffeId | None = None,
    life: timedelta = 10 * DAY,
) -> x509.Certificate:
    issuer = Issuer(under[0], under[0], algorithm, under[1]) if under else Issuer(which, which, algorithm)
    shape = PROFILES[profile]
    own = algorithm if shape.is_ca else KeyAlgorithm.P256
    request = CertificateRequest(
        request_id=which,
        profile=shape,
        public_key=public_bytes(key(which, own)),
        lifetime=life,
        owner="o",
        actor="a",
        common_name=which if shape.is_ca else "",
        identity=identity,
        scope=SCOPE if shape.is_ca else None,
    )
    throw_away = key("throw away", algorithm)
    made = draft(request, issuer, serial=1 << 100, now=NOW, backdate=timedelta(0), throw_away_key=throw_away)
    lint(made)
    signed = signer(key(issuer.key_id, algorithm))(made.tbs)
    return x509.load_der_x509_certificate(assemble(made.tbs, signature_algorithm(made.copy), signed))


def chain(
    algorithm: KeyAlgorithm = KeyAlgorithm.P256, profile: str = "evidence", identity: SpiffeId = ME
) -> EvidenceSigner:
    root = issued("root", "root", None, algorithm=algorithm, life=100 * DAY)
    intermediate = issued("intermediate", "intermediate", ("root", root), algorithm=algorithm, life=50 * DAY)
    leaf = issued(profile, "leaf", ("intermediate", intermediate), algorithm=algorithm, identity=identity)
    return EvidenceSigner((leaf, intermediate, root))


@pytest.mark.parametrize(
    "algorithm",
    [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.ED25519, KeyAlgorithm.RSA2048, KeyAlgorithm.MLDSA65],
)
def test_every_kind_of_authority_can_certify_a_signer(algorithm: KeyAlgorithm) -> None:
    found = chain(algorithm)
    assert found.fault("shop.internal", "test", NOW) == ""
    assert EvidenceSigner.read(found.pem()) == found


def test_it_signs_in_its_time_only() -> None:
    found = chain()
    assert found.lives(NOW)
    assert "leaf certificate" in found.fault("shop.internal", "test", NOW - DAY)
    assert "leaf certificate" in found.fault("shop.internal", "test", NOW + 11 * DAY)


@pytest.mark.parametrize(("domain", "environment"), [("other.internal", "test"), ("shop.internal", "live")])
def test_it_signs_for_its_own_trust_domain_and_environment_only(domain: str, environment: str) -> None:
    assert "expected a certificate for" in chain().fault(domain, environment, NOW)


def test_a_services_certificate_signs_no_evidence() -> None:
    assert "documents alone" in chain(profile="service").fault("shop.internal", "test", NOW)


def test_another_identity_signs_no_evidence() -> None:
    other = chain(identity=SpiffeId.parse("spiffe://shop.internal/test/web"))
    assert "expected a certificate for" in other.fault("shop.internal", "test", NOW)


def test_a_broken_chain_is_found() -> None:
    leaf, intermediate, root = chain().chain
    stranger = issued("root", "stranger", None, life=100 * DAY)
    for links in ((leaf, intermediate, stranger), (leaf, root, root), (leaf, leaf, root), (leaf, intermediate, leaf)):
        assert EvidenceSigner(links).fault("shop.internal", "test", NOW)


def test_a_chain_has_three_links() -> None:
    leaf, intermediate, _ = chain().chain
    for links in ((), (leaf,), (leaf, intermediate)):
        with pytest.raises(ValueError, match="chain of three"):
            EvidenceSigner(links)
    with pytest.raises(ValueError):
        EvidenceSigner.read("no certificate")


def test_a_signature_is_over_exactly_these_bytes_by_this_key() -> None:
    found = chain()
    private = key("leaf", KeyAlgorithm.P256)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    signature = private.sign(b"message", ec.ECDSA(hashes.SHA256()))
    assert found.signed(b"message", signature)
    assert not found.signed(b"massage", signature)
    assert not found.signed(b"message", signature[:-1])
    assert not found.signed(b"message", private.sign(b"message", ec.ECDSA(hashes.SHA384())))
    assert not replace(found, chain=(found.chain[1], found.chain[1], found.chain[2])).signed(b"message", signature)
