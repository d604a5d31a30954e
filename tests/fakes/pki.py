"""A tiny PKI for tests: ``CA()`` and ``ca.issue("db.test")``. Valid from 2020 to 2049 unless a test says otherwise."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from everyhop.ports import ClientCredential

NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2049, 12, 31, tzinfo=UTC)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and its issuers up to, but without, the root."""

    certificate: x509.Certificate
    key: Key = field(repr=False)
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def chain_pem(self) -> bytes:
        """Leaf first, without the root."""
        return b"".join(each.public_bytes(Encoding.PEM) for each in (self.certificate, *self.issuers))

    @property
    def key_pem(self) -> bytes:
        """PKCS#8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def credential(self) -> ClientCredential:
        """As a probe shows it."""
        return ClientCredential(self.chain_pem, self.key_pem)

    @contextmanager
    def files(self) -> Generator[tuple[Path, Path], None, None]:
        """Chain and key as files, for what can only read files."""
        with tempfile.TemporaryDirectory() as folder:
            chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
            chain.write_bytes(self.chain_pem)
            key.touch(mode=0o600)
            key.write_bytes(self.key_pem)
            yield chain, key

    def server_context(self, *, clients: CA | None = None) -> ssl.SSLContext:
        """A server of Python's ``ssl``: with ``clients`` it requires a certificate of that CA, and gives no tickets."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with self.files() as (chain, key):
            context.load_cert_chain(chain, key)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients.pem.decode())
            context.num_tickets = 0
        return context

    def pyopenssl_context(self, *, clients: CA | None = None) -> SSL.Context:
        """A server of pyOpenSSL (post-quantum groups): with ``clients`` it requires a certificate of that CA."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(self.certificate)
        for issuer in self.issuers:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(self.key)
        if clients:
            context.set_options(SSL.OP_NO_TICKET)
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
            store = context.get_cert_store()
            assert store is not None
            store.add_cert(crypto.X509.from_cryptography(clients.certificate))
        return context


class CA:
    """A root, or with ``parent`` an intermediate."""

    def __init__(self, name: str = "test root", *, parent: CA | None = None, key: Key | None = None) -> None:
        self.key: Key = key or ec.generate_private_key(ec.SECP256R1())
        self.parent = parent
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer_name, signer = (parent.certificate.subject, parent.key) if parent else (subject, self.key)
        builder = _builder(subject, self.key, signer_name, signer, NOT_BEFORE, NOT_AFTER)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(certificates=True), critical=True)
        self.certificate = builder.sign(signer, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def issuers(self) -> tuple[x509.Certificate, ...]:
        """What stands between a leaf and the root."""
        return (self.certificate, *self.parent.issuers) if self.parent else ()

    def issue(
        self,
        *dns: str,
        uri: str = "",
        ip: str = "",
        key: Key | None = None,
        not_before: datetime = NOT_BEFORE,
        not_after: datetime = NOT_AFTER,
        extra: x509.ExtensionType | None = None,
    ) -> Issued:
        """A leaf for client and server with these subject alternative names."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
        names += [x509.UniformResourceIdentifier(uri)] if uri else []
        names += [x509.IPAddress(ipaddress.ip_address(ip))] if ip else []
        builder = _builder(x509.Name([]), key, self.certificate.subject, self.key, not_before, not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(certificates=False), critical=True)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        if extra:
            builder = builder.add_extension(extra, critical=False)
        return Issued(builder.sign(self.key, hashes.SHA256()), key, self.issuers)


def _builder(
    subject: x509.Name, key: Key, issuer: x509.Name, signer: Key, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
