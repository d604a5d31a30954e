"""What the other side says in TLS alerts, and whether it asks for a certificate: by OpenSSL's own account.

Rules: OpenSSL's words for its errors are no interface (some alerts have no "alert" in them), and a request for a
certificate is encrypted in TLS 1.3. Both are told by callbacks as they happen, whatever the version; so nobody else in
the probes reads either from a text.
"""

from __future__ import annotations

from OpenSSL import SSL

from everyhop.core.tls.alerts import FATAL, alert_name
from everyhop.drivers.probes import native


class Alerts:
    """Alerts that came on one connection."""

    def __init__(self, tls: SSL.Connection) -> None:
        """Listens from now on, so make it before the handshake. A connection has one at a time."""
        self.fatal = ""
        """``alert <name>``, once a fatal one has come."""
        self.came = False
        """Any alert has come, a warning too."""
        tls.set_info_callback(self._heard)

    def _heard(self, _: SSL.Connection, where: int, value: int) -> None:
        """OpenSSL's news: of an alert its level and description."""
        if where & SSL.SSL_CB_READ_ALERT == SSL.SSL_CB_READ_ALERT:
            self.came = True
            if value >> 8 == FATAL:
                self.fatal = f"alert {alert_name(value & 0xFF)}"


class Request:
    """Whether a client certificate was asked for (CertificateRequest: RFC 8446, 4.3.2; RFC 5246, 7.4.4)."""

    def __init__(self, tls: SSL.Connection) -> None:
        """Listens from now on, so make it before the handshake."""
        self.came = False
        native.on_certificate_request(tls, self._asked)

    def _asked(self) -> None:
        self.came = True
