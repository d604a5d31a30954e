"""What an authority says of one certificate: OCSP answers and CRLs, read and believed only if properly signed.

Rules: an answer counts only if it is about this certificate and signed by its issuer, or by somebody whom the issuer
made an OCSP signer (RFC 6960, 4.2.2.2). Freshness is reported, not judged. Everything that is wrong is a ``ValueError``
with a sentence. Source: RFC 6960; RFC 5280, 5 and 6.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from everyhop.core.endpoint.served import tolerating
from everyhop.core.endpoint.signatures import UNREADABLE, issued, signed_by

MOST_SIGNERS = 4
"""Certificates in an OCSP answer that are looked at."""


class Disbelieved(ValueError):  # noqa: N818 -- not an error of ours: why a word does not count
    """The answer can be read, and proves nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Word:
    """An authority's word on one certificate."""

    status: str
    """``good``, ``revoked`` or ``unknown``."""
    this_update: datetime
    next_update: datetime | None
    revoked_at: datetime | None = None

    def stale(self, now: datetime) -> bool:
        """True if a newer word should have come by now; without a next update it never is."""
        return self.next_update is not None and now > self.next_update

    def current(self, now: datetime) -> bool:
        """True if it is neither stale nor from the future."""
        return not self.stale(now) and self.this_update <= now


def read_ocsp(der: bytes, certificate: x509.Certificate, issuer: x509.Certificate) -> Word:
    """Read an OCSP response about ``certificate``. Raises ``ValueError`` if it says nothing that can be believed."""
    try:
        with tolerating("error"):
            return _ocsp_word(der, certificate, issuer)
    except Disbelieved:
        raise
    except UNREADABLE as error:
        raise ValueError(f"expected an OCSP response, got one that cannot be read: {error}") from None


def _ocsp_word(der: bytes, certificate: x509.Certificate, issuer: x509.Certificate) -> Word:
    response = ocsp.load_der_ocsp_response(der)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise Disbelieved(f"expected an answer, got the responder's {response.response_status.name.lower()}")
    single = next((each for each in response.responses if _is_about(each, certificate, issuer)), None)
    if single is None:
        raise Disbelieved("expected an answer about the served certificate, got one about another")
    if not _believable(response, issuer):
        raise Disbelieved("expected an answer signed by the issuer or its OCSP signer, got another signature")
    return Word(
        single.certificate_status.name.lower(),
        single.this_update_utc,
        single.next_update_utc,
        single.revocation_time_utc,
    )


def _is_about(single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if single.serial_number != certificate.serial_number:
        return False
    wanted = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, single.hash_algorithm).build()
    return (wanted.issuer_name_hash, wanted.issuer_key_hash) == (single.issuer_name_hash, single.issuer_key_hash)


def _believable(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> bool:
    signers = [issuer, *(each for each in response.certificates[:MOST_SIGNERS] if _may_sign(each, issuer))]
    return any(
        signed_by(
            signer.public_key(), response.signature, response.tbs_response_bytes, response.signature_hash_algorithm
        )
        for signer in signers
    )


def _may_sign(signer: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True if the issuer made this one its OCSP signer."""
    try:
        usages = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usages and issued(signer, issuer)


def read_crl(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate) -> Word:
    """Read a CRL (DER or PEM) of ``issuer`` about ``certificate``. Raises ``ValueError`` if it cannot be believed."""
    try:
        with tolerating("error"):
            return _crl_word(data, certificate, issuer)
    except Disbelieved:
        raise
    except UNREADABLE as error:
        raise ValueError(f"expected a CRL, got one that cannot be read: {error}") from None


def _crl_word(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate) -> Word:
    pem = data.lstrip().startswith(b"-----BEGIN")
    crl = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
    if crl.issuer != certificate.issuer or not _signed(crl, issuer):
        raise Disbelieved("expected a CRL of the certificate's issuer, got another's or a wrong signature")
    if _partial(crl):
        raise Disbelieved("expected a complete CRL, got one that covers only some certificates or changes")
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    return Word(
        "revoked" if entry else "good",
        crl.last_update_utc,
        crl.next_update_utc,
        entry.revocation_date_utc if entry else None,
    )


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    return signed_by(
        issuer.public_key(),
        crl.signature,
        crl.tbs_certlist_bytes,
        crl.signature_hash_algorithm,
        crl.signature_algorithm_parameters,
    )


def _partial(crl: x509.CertificateRevocationList) -> bool:
    """True for an indirect or delta CRL, or one for some reasons only (RFC 5280, 5.2.4 and 5.2.5)."""
    for extension in crl.extensions:
        if isinstance(extension.value, x509.DeltaCRLIndicator):
            return True
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            scope = extension.value
            if scope.indirect_crl or scope.only_some_reasons or scope.only_contains_attribute_certs:
                return True
    return False
