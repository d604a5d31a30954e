"""The walk from a leaf to a root: what it finds, and how it ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.pki import CA
from tests.servers.badpki import Wish, mint

from everyhop.core.endpoint.facts import CertificateFacts
from everyhop.core.endpoint.path import Ending, strict_fault, walk
from everyhop.core.endpoint.served import MOST_CERTIFICATES, Certificate, Served
from everyhop.core.endpoint.target import Target

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def _read(*certificates: x509.Certificate) -> tuple[Certificate, ...]:
    return tuple(Certificate.read(each.public_bytes(Encoding.DER)) for each in certificates)


@pytest.fixture(scope="module")
def root() -> CA:
    return CA("root")


def test_every_store_that_trusts_is_named(root: CA) -> None:
    middle = CA("middle", parent=root)
    leaf = middle.issue("web.test").certificate
    stores = {"own": [root.certificate], "system": [CA("other").certificate, root.certificate], "mozilla": []}
    path = walk(_read(leaf, middle.certificate), stores)
    assert path.ending is Ending.TRUSTED
    assert set(path.anchors) == {"own", "system"}
    assert [each.x509 for each in path.links] == [leaf, middle.certificate]


def test_an_intermediate_may_be_an_anchor_and_another_store_may_go_further(root: CA) -> None:
    middle = CA("middle", parent=root)
    leaf = middle.issue("web.test").certificate
    path = walk(_read(leaf, middle.certificate), {"own": [middle.certificate], "system": [root.certificate]})
    assert set(path.anchors) == {"own", "system"}
    assert len(path.links) == 1, "the own store needs no more than the leaf"


def test_a_leaf_may_be_trusted_as_it_is() -> None:
    leaf = mint(Wish(common_name="bad.test"), None).certificate
    assert walk(_read(leaf), {"own": [leaf]}).trusted
    assert walk(_read(leaf), {"own": []}).ending is Ending.SELF_SIGNED


def test_the_walk_finds_its_way_through_disorder(root: CA) -> None:
    upper = CA("upper", parent=root)
    lower = CA("lower", parent=upper)
    leaf = lower.issue("web.test").certificate
    path = walk(
        _read(leaf, upper.certificate, CA("stranger").certificate, lower.certificate), {"own": [root.certificate]}
    )
    assert [each.x509 for each in path.links] == [leaf, lower.certificate, upper.certificate]


def test_of_two_issuers_with_one_name_the_one_that_signed_is_taken() -> None:
    real, copy = CA("same name"), CA("same name")
    leaf = real.issue("web.test").certificate
    path = walk(_read(leaf, copy.certificate, real.certificate), {"own": [real.certificate]})
    assert path.trusted
    assert walk(_read(leaf), {"own": [copy.certificate, real.certificate]}).trusted


def test_a_trusted_name_with_another_key_is_an_impostor() -> None:
    real, copy = CA("same name"), CA("same name")
    path = walk(_read(copy.issue("web.test").certificate), {"own": [real.certificate]})
    assert path.ending is Ending.GAP
    assert path.impostor == "CN=same name"


def test_each_ending(root: CA) -> None:
    middle = CA("middle", parent=root)
    leaf = middle.issue("web.test").certificate
    assert walk(_read(leaf), {}).ending is Ending.GAP
    assert walk(_read(leaf, middle.certificate), {}).ending is Ending.UNKNOWN_ISSUER
    assert walk(_read(leaf, middle.certificate, root.certificate), {}).ending is Ending.UNTRUSTED_ROOT


def test_cross_signing_in_a_circle_ends() -> None:
    """Two authorities that signed each other: the walk takes every certificate at most once."""
    one, two = CA("one"), CA("two")
    by_two = _cross(one, two)
    by_one = _cross(two, one)
    leaf = one.issue("web.test").certificate
    path = walk(_read(leaf, by_two, by_one), {"own": [CA("other").certificate]})
    assert len(path.links) == 3
    assert not path.trusted


def _cross(subject: CA, signer: CA) -> x509.Certificate:
    old = subject.certificate
    builder = x509.CertificateBuilder(
        signer.certificate.subject,
        old.subject,
        old.public_key(),
        x509.random_serial_number(),
        old.not_valid_before_utc,
        old.not_valid_after_utc,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(signer.key, hashes.SHA256())


def test_the_strict_validator_has_the_last_word_on_structure(root: CA) -> None:
    good = walk(_read(root.issue("web.test").certificate), {"own": [root.certificate]})
    assert not strict_fault(good, NOW)
    assert not strict_fault(good, datetime(2099, 1, 1, tzinfo=UTC)), "dates have a rule of their own"
    wild = walk(_read(root.issue("*.web.test").certificate), {"own": [root.certificate]})
    assert not strict_fault(wild, NOW)
    spiffe = walk(_read(root.issue(uri="spiffe://a/b").certificate), {"own": [root.certificate]})
    assert not strict_fault(spiffe, NOW)
    authority = walk(_read(mint(Wish(authority=True), root).certificate), {"own": [root.certificate]})
    assert "cA" in strict_fault(authority, NOW)


def test_what_the_strict_validator_cannot_judge_it_does_not_judge(root: CA) -> None:
    path = walk(_read(mint(Wish(key="ed25519"), root).certificate), {"own": [root.certificate]})
    assert path.trusted
    with pytest.raises(ValueError, match="Ed25519"):
        strict_fault(path, NOW)


def test_a_chain_without_end_is_read_to_a_bound(root: CA) -> None:
    leaf = root.issue("web.test").der
    served = Served.of(_facts(leaf, *[root.certificate.public_bytes(Encoding.DER)] * 500))
    assert len(served.chain) == MOST_CERTIFICATES
    assert "at most" in served.fault
    assert walk(served.chain, {"own": [root.certificate]}).trusted


def test_a_giant_certificate_is_not_read() -> None:
    assert "at most" in Served.of(_facts(b"\x30" * (1 << 20))).fault


@given(st.binary(max_size=400))
def test_garbage_is_a_fault_and_never_an_exception(der: bytes) -> None:
    served = Served.of(_facts(der))
    assert served.fault
    assert served.leaf is None


_GOOD = CA("good").issue("web.test").der


@given(st.integers(0, len(_GOOD) - 1), st.integers(1, 255))
def test_a_certificate_with_one_wrong_byte_is_read_or_a_fault(place: int, difference: int) -> None:
    """Reading and walking never raise, whatever has become of it."""
    spoilt = bytearray(_GOOD)
    spoilt[place] ^= difference
    served = Served.of(_facts(bytes(spoilt)))
    if served.chain:
        walk(served.chain, {"own": [CA("good").certificate]})
    else:
        assert served.fault


def test_keys_are_called_as_guidelines_call_them(root: CA) -> None:
    names = {
        kind: Certificate.read(mint(Wish(key=kind), root).certificate.public_bytes(Encoding.DER)).key.name
        for kind in ("p256", "rsa-2048", "rsa-1024", "ed25519")
    }
    assert names == {"p256": "ecdsa-p256", "rsa-2048": "rsa-2048", "rsa-1024": "rsa-1024", "ed25519": "ed25519"}


def test_rsa_roots_work_as_well() -> None:
    authority = CA("rsa root", key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    assert walk(_read(authority.issue("web.test").certificate), {"own": [authority.certificate]}).trusted


def _facts(*chain: bytes) -> CertificateFacts:
    return CertificateFacts(Target("web.test", 443), NOW, usable=True, chain=chain)
