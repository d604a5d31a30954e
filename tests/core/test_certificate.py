"""Certificates before and after their signature: the same bytes, accepted by verifiers that are not ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder
from cryptography.x509.verification import Store as Roots
from hypothesis import given
from hypothesis import strategies as st

from everyhop.core.certificate import (
    CertificateRequest,
    Draft,
    Issuer,
    NameScope,
    algorithm_of,
    assemble,
    draft,
    names_of,
    public_key_bytes,
    scope_of,
    signature_algorithm,
)
from everyhop.core.identity import SpiffeId
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.core.rules import lint
from everyhop.drivers.keys.algorithms import PrivateKey, make, public_bytes, signer

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SCOPE = NameScope(("shop.internal",), ("shop.internal", "shop.localhost"))
DB = SpiffeId.parse("spiffe://shop.internal/test/db")
BACKDATE = timedelta(minutes=5)
ALGORITHMS = [one for one in KeyAlgorithm if one not in (KeyAlgorithm.RSA3072, KeyAlgorithm.RSA4096)]
"""RSA beyond 2048 bits differs in size alone and takes seconds to make."""


@cache
def key(algorithm: KeyAlgorithm, which: str) -> PrivateKey:
    return make(algorithm)


def issued(asked: CertificateRequest, issuer: Issuer, private: PrivateKey, serial: int = 1 << 158) -> x509.Certificate:
    """As the gate does it: draft with a throw-away key, lint, assemble with the real signature."""
    made = draft(
        asked, issuer, serial=serial, now=NOW, backdate=BACKDATE, throw_away_key=key(issuer.algorithm, "throw away")
    )
    lint(made)
    return signed(made, private)


def signed(made: Draft, private: PrivateKey) -> x509.Certificate:
    return x509.load_der_x509_certificate(assemble(made.tbs, signature_algorithm(made.copy), signer(private)(made.tbs)))


@cache
def chain(algorithm: KeyAlgorithm) -> tuple[x509.Certificate, x509.Certificate, Issuer]:
    """Root, intermediate, and the intermediate as an issuer."""
    asked = CertificateRequest(
        "root",
        PROFILES["root"],
        public_bytes(key(algorithm, "root")),
        timedelta(days=30),
        "x",
        "x",
        "everyhop shop.internal root-1",
        scope=SCOPE,
    )
    root = issued(asked, Issuer("root", "root", algorithm), key(algorithm, "root"))
    below = CertificateRequest(
        "i",
        PROFILES["intermediate"],
        public_bytes(key(algorithm, "i")),
        timedelta(days=9),
        "x",
        "x",
        "everyhop shop.internal intermediate-1",
        scope=SCOPE,
    )
    middle = issued(below, Issuer("root", "root", algorithm, root), key(algorithm, "root"))
    return root, middle, Issuer("i", "i", algorithm, middle)


def leaf_request(profile: str = "service") -> CertificateRequest:
    named = DB if PROFILES[profile].needs_identity else None
    hosts = ("shop.localhost", "*.shop.localhost") if profile == "edge" else ()
    hosts = ("db.shop.internal",) if profile == "service" else hosts
    public_key = public_bytes(key(KeyAlgorithm.P256, "leaf"))
    return CertificateRequest(
        "r", PROFILES[profile], public_key, timedelta(hours=1), "data", "test", identity=named, dns_names=hosts
    )


@cache
def leaf(algorithm: KeyAlgorithm, profile: str = "service") -> x509.Certificate:
    return issued(leaf_request(profile), chain(algorithm)[2], key(algorithm, "i"))


# --- signatures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_assembled_certificate_verifies_under_its_issuer(algorithm: KeyAlgorithm) -> None:
    root, middle, _ = chain(algorithm)
    root.verify_directly_issued_by(root)
    middle.verify_directly_issued_by(root)
    for profile in ("service", "edge", "probe"):
        leaf(algorithm, profile).verify_directly_issued_by(middle)
    assert algorithm_of(middle.public_key()) is algorithm


@pytest.mark.parametrize(
    "algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.ED25519, KeyAlgorithm.RSA2048]
)
def test_the_same_bytes_signed_twice_are_the_same_certificate(algorithm: KeyAlgorithm) -> None:
    first, second = (issued(leaf_request(), chain(algorithm)[2], key(algorithm, "i")) for _ in range(2))
    assert first is not second
    assert first.public_bytes(Encoding.DER) == second.public_bytes(Encoding.DER)


def test_the_signed_bytes_are_the_drafted_ones() -> None:
    _, middle, issuer = chain(KeyAlgorithm.P256)
    made = draft(
        leaf_request(), issuer, serial=77, now=NOW, backdate=BACKDATE, throw_away_key=key(KeyAlgorithm.P256, "other")
    )
    real = signed(made, key(KeyAlgorithm.P256, "i"))
    assert real.tbs_certificate_bytes == made.tbs == made.copy.tbs_certificate_bytes
    assert real.signature != made.copy.signature
    with pytest.raises(InvalidSignature):
        made.copy.verify_directly_issued_by(middle)


def test_an_independent_verifier_takes_the_chain() -> None:
    root, middle, _ = chain(KeyAlgorithm.P256)
    builder = PolicyBuilder().store(Roots([root])).time(NOW)
    served = builder.build_server_verifier(x509.DNSName("a.shop.localhost")).verify(
        leaf(KeyAlgorithm.P256, "edge"), [middle]
    )
    assert served == [leaf(KeyAlgorithm.P256, "edge"), middle, root]


# --- what stands in them ------------------------------------------------------------------------------------------


def test_a_life_is_cut_to_the_issuers_and_has_no_fractions_of_seconds() -> None:
    _, middle, issuer = chain(KeyAlgorithm.P256)
    long = draft(
        CertificateRequest(
            "r", PROFILES["service"], leaf_request().public_key, timedelta(days=99), "data", "x", identity=DB
        ),
        issuer,
        serial=1 << 158,
        now=NOW,
        backdate=timedelta(days=99),
        throw_away_key=key(KeyAlgorithm.P256, "leaf"),
    )
    assert long.facts.not_after == middle.not_valid_after_utc
    assert long.facts.not_before == middle.not_valid_before_utc
    assert leaf(KeyAlgorithm.P256).not_valid_before_utc == (NOW - BACKDATE).replace(microsecond=0)
    assert leaf(KeyAlgorithm.P256).not_valid_after_utc == (NOW + timedelta(hours=1)).replace(microsecond=0)


def test_names_and_scope_are_read_back_as_they_were_asked_for() -> None:
    assert names_of(leaf(KeyAlgorithm.P256)) == (f"uri:{DB}", "dns:db.shop.internal")
    assert names_of(chain(KeyAlgorithm.P256)[0]) == ()
    assert scope_of(chain(KeyAlgorithm.P256)[1]) == SCOPE
    assert scope_of(leaf(KeyAlgorithm.P256)) is None
    assert public_key_bytes(leaf(KeyAlgorithm.P256)) == leaf_request().public_key


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_known_by_its_public_and_its_private_half(algorithm: KeyAlgorithm) -> None:
    assert algorithm_of(key(algorithm, "root")) is algorithm
    assert algorithm_of(key(algorithm, "root").public_key()) is algorithm


def test_a_key_that_everyhop_does_not_handle_has_no_name() -> None:
    assert algorithm_of(ec.generate_private_key(ec.SECP521R1())) is None


LABELS = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


@given(st.lists(LABELS, min_size=1, max_size=4), st.lists(LABELS, min_size=1, max_size=3))
def test_a_scope_covers_its_suffixes_and_what_is_below_them_only(below: list[str], suffix: list[str]) -> None:
    scope = NameScope((), (".".join(suffix),))
    name = ".".join([*below, *suffix])
    assert scope.covers_dns(name)
    assert scope.covers_dns(f"*.{name}")
    assert scope.covers_dns(".".join(suffix))
    assert not scope.covers_dns("x" + ".".join(suffix))
    assert not scope.covers_dns(f"{name}.example")
    assert scope.covers(NameScope((), (name,)))
    assert not scope.covers(NameScope(("other.internal",), ()))
    assert not NameScope((), (name,)).covers(scope)
