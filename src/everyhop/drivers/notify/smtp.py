"""Notices by mail: one message for all that one owner has to hear.

Rules: nothing is sent in the clear. With ``starttls`` the upgrade is demanded (a server that does not offer it gets
neither login nor message), and the server's certificate is verified. One thread, one connection, one message; messages
about the same trouble have the same thread of references, so that mail readers keep begin and end together.
"""

from __future__ import annotations

import asyncio
import hashlib
import smtplib
import ssl
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from everyhop.core.hop import Address
from everyhop.core.literals import is_email
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Notice

_SECONDS = 15.0
_LONGEST_SUBJECT = 150


class MailNotifier:
    """``ports.Notifier`` by SMTP."""

    def __init__(
        self,
        name: str,
        server: str,
        clock: Clock,
        *,
        sender: str,
        to: str,
        security: str = "starttls",
        login: Callable[[], tuple[str, str]] | None = None,
        roots: Path | None = None,
    ) -> None:
        """``to`` gets what is for owners whose contact is no mail address. ``login`` gives user and password."""
        self.name = name
        self._server = Address.parse(server)
        self._clock = clock
        self._sender = sender
        self._to = to
        self._security = security
        self._login = login
        self._roots = roots

    async def notify(self, notices: Sequence[Notice]) -> None:
        """Send; raises ``notify-failed`` if the server did not take the message."""
        message = compose(notices, sender=self._sender, to=self._to, at=format_datetime(self._clock.now()))
        login = self._login() if self._login else None
        try:
            await asyncio.to_thread(self._send, message, login)
        except (OSError, smtplib.SMTPException) as error:
            raise EveryhopError(
                "notify-failed",
                f"expected {self.name} at {self._server} to take a message, got {_reason(error)}",
                hint="does the server offer STARTTLS, and a certificate that we trust?",
            ) from None  # what a server answers to a login may repeat it

    def _send(self, message: EmailMessage, login: tuple[str, str] | None) -> None:
        context = ssl.create_default_context(cafile=str(self._roots) if self._roots else None)
        host, port = self._server.host, self._server.port
        if self._security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=context)
        else:
            connection = smtplib.SMTP(host, port, timeout=_SECONDS)
        with connection:
            if self._security != "tls":
                connection.starttls(context=context)
            if login is not None:
                connection.login(*login)
            connection.send_message(message)


def compose(notices: Sequence[Notice], *, sender: str, to: str, at: str) -> EmailMessage:
    """The message for notices of one owner."""
    first = notices[0]
    message = EmailMessage()
    message["From"] = sender
    message["To"] = first.contact if is_email(first.contact) else to
    message["Subject"] = _subject(notices)
    message["Date"] = at
    domain = sender.rpartition("@")[2]
    thread = hashlib.sha256("\n".join(sorted(one.fingerprint for one in notices)).encode()).hexdigest()[:24]
    begun = max(one.began_at for one in notices)
    phase = "begin" if any(one.firing for one in notices) else "end"
    message["Message-ID"] = f"<{thread}.{int(begun.timestamp())}.{phase}@{domain}>"
    message["References"] = f"<{thread}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies
    message.set_content("\n\n".join(_paragraph(one) for one in notices) + f"\n\n-- \neveryhop, for {_whom(first)}\n")
    return message


def _subject(notices: Sequence[Notice]) -> str:
    firing = [one for one in notices if one.firing]
    told = firing or notices
    word = "firing" if firing else "over"
    more = f" and {len(told) - 1} more" if len(told) > 1 else ""
    return " ".join(f"[everyhop] {word}: {told[0].alert}{more}: {told[0].summary}".split())[:_LONGEST_SUBJECT]


def _paragraph(notice: Notice) -> str:
    state = "firing since" if notice.firing else "over; it fired from"
    until = f" to {notice.ended_at:%Y-%m-%d %H:%M:%S} UTC" if notice.ended_at else ""
    return (
        f"{notice.alert} ({notice.severity})\n{notice.summary}\n"
        f"{state} {notice.began_at:%Y-%m-%d %H:%M:%S} UTC{until}\nwhat to do: {notice.runbook}"
    )


def _whom(notice: Notice) -> str:
    return f"{notice.owner} ({notice.contact})" if notice.owner else "everybody"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"a certificate that does not verify ({error.verify_message})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    return type(error).__name__
