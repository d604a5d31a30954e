"""OCSP answers and CRLs: who is believed, about what, and for how long."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.pki import CA
from tests.servers.responder import Authority

from everyhop.core.endpoint.revocation import read_crl, read_ocsp
from everyhop.drivers.host.machine import SystemClock

ROOT = CA("root")
LEAF = ROOT.issue("web.test").certificate
OTHER = ROOT.issue("other.test").certificate
NOW = SystemClock().now()


def test_a_good_word() -> None:
    for word in (
        read_ocsp(Authority(ROOT).answer(LEAF), LEAF, ROOT.certificate),
        read_crl(Authority(ROOT).crl(), LEAF, ROOT.certificate),
    ):
        assert word.status == "good"
        assert word.revoked_at is None
        assert not word.stale(NOW)
        assert word.stale(NOW + timedelta(days=2))


def test_a_revoked_certificate() -> None:
    authority = Authority(ROOT, {LEAF.serial_number})
    for word in (
        read_ocsp(authority.answer(LEAF), LEAF, ROOT.certificate),
        read_crl(authority.crl(), LEAF, ROOT.certificate),
    ):
        assert word.status == "revoked"
        assert word.revoked_at is not None
    assert read_crl(authority.crl(), OTHER, ROOT.certificate).status == "good"


def test_a_list_may_come_as_pem() -> None:
    crl = x509.load_der_x509_crl(Authority(ROOT).crl()).public_bytes(Encoding.PEM)
    assert read_crl(crl, LEAF, ROOT.certificate).status == "good"


def test_a_word_about_another_certificate_is_none() -> None:
    with pytest.raises(ValueError, match="about the served certificate"):
        read_ocsp(Authority(ROOT).answer(OTHER), LEAF, ROOT.certificate)


def test_a_word_of_another_authority_is_none() -> None:
    stranger = CA("stranger")
    with pytest.raises(ValueError, match="signed by the issuer"):
        read_ocsp(Authority(ROOT).answer(LEAF, signer=stranger), LEAF, ROOT.certificate)
    with pytest.raises(ValueError, match="CRL of the certificate's issuer"):
        read_crl(Authority(stranger).crl(), LEAF, ROOT.certificate)
    with pytest.raises(ValueError, match="CRL of the certificate's issuer"):
        read_crl(Authority(CA("root")).crl(), LEAF, ROOT.certificate)  # the same name, another key


@pytest.mark.parametrize("appointed", [True, False])
def test_somebody_else_may_sign_if_the_issuer_has_appointed_him(appointed: bool) -> None:
    """RFC 6960, 4.2.2.2: the extended key usage makes the OCSP signer; any other leaf of the issuer is none."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.OCSP_SIGNING if appointed else ExtendedKeyUsageOID.SERVER_AUTH
    signer = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ROOT.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(ROOT.key, hashes.SHA256())
    )
    answer = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            LEAF,
            ROOT.certificate,
            hashes.SHA256(),
            ocsp.OCSPCertStatus.GOOD,
            NOW - timedelta(hours=1),
            NOW + timedelta(hours=1),
            None,
            None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
        .certificates([signer])
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    if appointed:
        assert read_ocsp(answer, LEAF, ROOT.certificate).status == "good"
    else:
        with pytest.raises(ValueError, match="signed by the issuer"):
            read_ocsp(answer, LEAF, ROOT.certificate)


def test_a_responder_that_says_no() -> None:
    no = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)
    with pytest.raises(ValueError, match="try_later"):
        read_ocsp(no, LEAF, ROOT.certificate)


def test_a_list_of_changes_is_not_taken_for_a_whole_one() -> None:
    builder = x509.CertificateRevocationListBuilder().issuer_name(ROOT.certificate.subject)
    builder = builder.last_update(NOW).next_update(NOW + timedelta(days=1))
    delta = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True).sign(ROOT.key, hashes.SHA256())
    with pytest.raises(ValueError, match="complete CRL"):
        read_crl(delta.public_bytes(Encoding.DER), LEAF, ROOT.certificate)


_ANSWER, _LIST = Authority(ROOT).answer(LEAF), Authority(ROOT).crl()


@given(st.binary(max_size=300))
def test_garbage_is_a_value_error(data: bytes) -> None:
    for read in (read_ocsp, read_crl):
        with pytest.raises(ValueError, match=r"\S"):
            read(data, LEAF, ROOT.certificate)


@given(st.integers(0, min(len(_ANSWER), len(_LIST)) - 1), st.integers(1, 255))
def test_one_changed_byte_is_never_believed_to_say_something_else(place: int, difference: int) -> None:
    for read, data in ((read_ocsp, _ANSWER), (read_crl, _LIST)):
        spoilt = bytearray(data)
        spoilt[place] ^= difference
        try:
            assert read(bytes(spoilt), LEAF, ROOT.certificate).status == "good"  # a byte outside of what is signed
        except ValueError:
            pass
