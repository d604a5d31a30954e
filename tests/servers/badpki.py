"""Certificates with exactly one thing wrong, minted from a few words."""

from __future__ import annotations

import ipaddress
import subprocess
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from tests.fakes.pki import CA
from tests.servers import need

from everyhop.drivers.host.machine import SystemClock

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_KEYS = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa-2048": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "rsa-1024": lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@dataclass(frozen=True)
class Wish:
    """What a leaf shall be like. The defaults are good."""

    names: tuple[str, ...] = ("bad.test",)
    addresses: tuple[str, ...] = ()
    uri: str = ""
    common_name: str = ""
    key: Literal["p256", "rsa-2048", "rsa-1024", "ed25519"] = "p256"
    digest: Literal["sha256", "sha1"] = "sha256"
    days: tuple[float, float] = (-10, 50)
    """Its first and last day, counted from now."""
    must_staple: bool = False
    ocsp: str = ""
    crl: str = ""
    authority: bool = False
    """Basic constraints say that it is one, which no leaf should."""


@dataclass(frozen=True)
class Minted:
    """A leaf, with its key."""

    certificate: x509.Certificate
    key: Key = field(repr=False)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """PKCS#8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def mint(wish: Wish, issuer: CA | None) -> Minted:
    """A leaf by this issuer; by None it signs itself."""
    key: Key = _KEYS[wish.key]()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wish.common_name)] if wish.common_name else [])
    signer: Key = issuer.key if issuer else key
    now = SystemClock().now().replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=wish.days[0]))
        .not_valid_after(now + timedelta(days=wish.days[1]))
    )
    for extension, critical in _extensions(wish, key, signer):
        builder = builder.add_extension(extension, critical)
    if wish.digest == "sha1":
        assert issuer is not None
        return Minted(_signed_with_sha1(builder, issuer), key)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Minted(builder.sign(signer, digest), key)


def _extensions(wish: Wish, key: Key, signer: Key) -> list[tuple[x509.ExtensionType, bool]]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in wish.names]
    names += [x509.IPAddress(ipaddress.ip_address(each)) for each in wish.addresses]
    names += [x509.UniformResourceIdentifier(wish.uri)] if wish.uri else []
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=isinstance(key, rsa.RSAPrivateKey),
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=wish.authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
        (x509.BasicConstraints(ca=wish.authority, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    ]
    if names:
        found.append((x509.SubjectAlternativeName(names), not wish.common_name))
    if wish.must_staple:
        found.append((x509.TLSFeature([x509.TLSFeatureType.status_request]), False))
    if wish.ocsp:
        location = x509.UniformResourceIdentifier(wish.ocsp)
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, location)
        found.append((x509.AuthorityInformationAccess([access]), False))
    if wish.crl:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(wish.crl)], None, None, None)
        found.append((x509.CRLDistributionPoints([point]), False))
    return found


def _signed_with_sha1(builder: x509.CertificateBuilder, issuer: CA) -> x509.Certificate:
    """The library does not sign with SHA-1 any more; ``openssl`` still does. It takes names and extensions from a
    request, but counts days from now."""
    draft = builder.sign(issuer.key, hashes.SHA256())
    asked = x509.CertificateSigningRequestBuilder().subject_name(draft.subject)
    key = ec.generate_private_key(ec.SECP256R1())
    for extension in draft.extensions:
        if not isinstance(extension.value, (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)):
            asked = asked.add_extension(extension.value, extension.critical)
    with TemporaryDirectory() as home:
        folder = Path(home)
        folder.joinpath("key").write_bytes(issuer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        folder.joinpath("ca").write_bytes(issuer.pem)
        folder.joinpath("public").write_bytes(_public(draft))
        folder.joinpath("asked").write_bytes(asked.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        folder.joinpath("extensions").write_text("subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n")
        command = [need("openssl"), "x509", "-req", "-sha1", "-in", "asked", "-CA", "ca", "-CAkey", "key", "-days"]
        command += ["50", "-copy_extensions", "copyall", "-extfile", "extensions", "-force_pubkey", "public"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return x509.load_pem_x509_certificate(done.stdout)


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
