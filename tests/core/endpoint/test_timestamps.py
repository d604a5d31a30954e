"""Embedded timestamps: made by a log of our own, and verified as any client would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.fakes.pki import CA, NOT_AFTER, NOT_BEFORE

from everyhop.core.endpoint.facts import CertificateFacts, EndpointFacts
from everyhop.core.endpoint.judge import judge
from everyhop.core.endpoint.target import Target
from everyhop.core.endpoint.timestamps import Log, check
from everyhop.core.finding import Finding, Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.verdict import Verdict

AT = datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
LOG = Log("test log", KEY.public_key())
ROOT = CA("root")


def _sha256(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize()


def _leaf(extra: x509.ExtensionType | None) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ROOT.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(4711)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("web.test")]), critical=True)
    )
    if extra:
        builder = builder.add_extension(extra, critical=False)
    return builder.sign(ROOT.key, hashes.SHA256())


def _logged(log_id: bytes = LOG.log_id, *, at: datetime = AT, issuer: CA = ROOT) -> x509.Certificate:
    """A certificate with one timestamp, written byte by byte from RFC 6962, 3.2 and 3.3."""
    tbs = _leaf(None).tbs_certificate_bytes
    spki = issuer.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    moment = ((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)).to_bytes(8, "big")
    entry = b"\0\1" + _sha256(spki) + len(tbs).to_bytes(3, "big") + tbs
    signature = KEY.sign(b"\0\0" + moment + entry + b"\0\0", ec.ECDSA(hashes.SHA256()))
    timestamp = b"\0" + log_id + moment + b"\0\0" + b"\4\3" + len(signature).to_bytes(2, "big") + signature
    listed = len(timestamp).to_bytes(2, "big") + timestamp
    body = len(listed).to_bytes(2, "big") + listed
    octets = b"\x04" + (bytes([len(body)]) if len(body) < 128 else b"\x81" + bytes([len(body)])) + body
    return _leaf(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), octets))


def test_a_logs_own_timestamp_is_verified() -> None:
    (found,) = check(_logged(), ROOT.certificate, [LOG])
    assert (found.log, found.at, found.verdict) == ("test log", AT, Verdict.PASS)


def test_an_unknown_log_can_neither_be_believed_nor_refuted() -> None:
    (found,) = check(_logged(), ROOT.certificate, [])
    assert found.verdict is Verdict.UNKNOWN


def test_a_timestamp_for_another_issuer_or_by_another_key_is_refuted() -> None:
    (found,) = check(_logged(issuer=CA("other")), ROOT.certificate, [LOG])
    assert found.verdict is Verdict.FAIL
    forger = Log("forged", ec.generate_private_key(ec.SECP256R1()).public_key())
    (found,) = check(_logged(forger.log_id), ROOT.certificate, [forger])
    assert found.verdict is Verdict.FAIL


# --- as a rule ---------------------------------------------------------------------------------------------------


def _judged(*logs: Log, leaf: x509.Certificate | None = None) -> Finding:
    """What the rule says of a certificate with one timestamp, held against these logs."""
    target = Target("web.test", 443)
    chain = ((leaf or _logged()).public_bytes(Encoding.DER),)
    facts = EndpointFacts(target, AT, certificate=CertificateFacts(target, AT, usable=True, chain=chain))
    guideline = Guideline("test", "1", None, "here", (0x0304,), (), (), ())
    now = AT + timedelta(days=1)
    found = judge(facts, guideline, now=now, stores={"own": [ROOT.certificate]}, logs=logs)
    return next(each for each in found if each.rule == "timestamps-invalid")


def test_without_a_list_of_logs_nothing_is_said() -> None:
    """Every public certificate has timestamps, so an unknown here would be one for every public site."""
    found = _judged()
    assert found.verdict is Verdict.NOT_APPLICABLE
    assert "no log list was given" in found.statement


def test_a_log_that_the_list_does_not_know_is_no_more_than_advice() -> None:
    stranger = Log("another", ec.generate_private_key(ec.SECP256R1()).public_key())
    found = _judged(stranger)
    assert (found.verdict, found.severity) == (Verdict.UNKNOWN, Severity.LOW)


def test_a_known_log_decides() -> None:
    assert _judged(LOG).verdict is Verdict.PASS
    wrong = _judged(LOG, leaf=_logged(issuer=CA("other")))
    assert (wrong.verdict, wrong.severity) == (Verdict.FAIL, Severity.HIGH)
