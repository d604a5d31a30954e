"""SMTP by aiosmtpd, in a thread of the test: STARTTLS absent, offered or required, before or instead of a login.

aiosmtpd sends an answer line by line; most servers send it whole, which some clients rely on.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP, AuthResult
from tests.servers.certificates import certificates
from tests.stories.ports import free_port


def _nobody(*_: object) -> AuthResult:
    return AuthResult(success=False)


def _context() -> ssl.SSLContext:
    """What it accepts does not depend on the OpenSSL of this Python."""
    context = certificates().rsa.server_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_ecdh_curve("prime256v1")
    return context


class _Whole(SMTP):
    """Keeps the lines of an answer until its last one."""

    _begun = b""

    async def push(self, status: str | bytes) -> None:
        line = status.encode() if isinstance(status, str) else status
        if line[3:4] == b"-":
            self._begun += line + b"\r\n"
            return
        answer, self._begun = self._begun + line, b""
        await super().push(answer)


@contextmanager
def smtp(
    *, tls: bool, required: bool = False, login: bool = False, login_needs_tls: bool = True, whole: bool = False
) -> Generator[int]:
    """Its port. ``login``: MAIL needs one, as on a submission port. ``whole``: an answer is sent in one piece."""
    context = _context() if tls else None
    kind = _Whole if whole else SMTP

    class Server(Controller):
        def factory(self) -> SMTP:
            return kind(
                self.handler,
                tls_context=context,
                require_starttls=required,
                auth_required=login,
                auth_require_tls=login_needs_tls,
                authenticator=_nobody if login else None,
                hostname="mail.test",
            )

    server = Server(Sink(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        yield server.port
    finally:
        server.stop()
