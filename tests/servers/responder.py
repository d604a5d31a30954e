"""An OCSP responder and a CRL distribution point, as good or as bad as a test wants them."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from tests.fakes.pki import CA

from everyhop.drivers.host.machine import SystemClock


@dataclass
class Authority:
    """What an authority says of its certificates."""

    ca: CA
    revoked: set[int] = field(default_factory=set[int])
    fresh: timedelta = timedelta(days=1)
    """How long a word holds; a negative one ended before it was asked for."""
    url: str = ""

    def crl(self) -> bytes:
        """A complete list, DER."""
        now = SystemClock().now()
        begin = min(now, now + self.fresh) - timedelta(hours=1)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.ca.certificate.subject)
        builder = builder.last_update(begin).next_update(now + self.fresh)
        for serial in self.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.ca.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def answer(self, certificate: x509.Certificate, *, signer: CA | None = None) -> bytes:
        """An OCSP response about a certificate, DER; by another signer it is a forgery."""
        signer, now = signer or self.ca, SystemClock().now()
        bad = certificate.serial_number in self.revoked
        begin = min(now, now + self.fresh) - timedelta(hours=1)
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=certificate,
            issuer=self.ca.certificate,
            algorithm=hashes.SHA1(),  # names the issuer, as everywhere
            cert_status=ocsp.OCSPCertStatus.REVOKED if bad else ocsp.OCSPCertStatus.GOOD,
            this_update=begin,
            next_update=now + self.fresh,
            revocation_time=begin if bad else None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


@contextmanager
def responder(authority: Authority, certificates: dict[int, x509.Certificate]) -> Generator[Authority]:
    """Serve ``/ocsp`` and ``/crl`` for an authority, at ``authority.url``. It answers about ``certificates`` (by
    serial number), which may grow meanwhile; of others it says ``unauthorized``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = ocsp.load_der_ocsp_request(self.rfile.read(int(self.headers["Content-Length"])))
            asked = certificates.get(question.serial_number)
            refusal = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
            self._send(authority.answer(asked) if asked else refusal.public_bytes(Encoding.DER))

        def do_GET(self) -> None:
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/crl")
                self.end_headers()
            else:
                self._send(authority.crl())

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    authority.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
