"""Notices by webhook: one POST of JSON for all that one owner has to hear.

Rules: TLS is verified, redirects are not followed, the answer is bounded and only its status counts. With a secret the
body is signed (HMAC-SHA256 over ``timestamp.body``, as most receivers know it), and the same notices always have the
same delivery id, so that a receiver can drop what comes twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Notice

SIGNATURE, DELIVERY = "Everyhop-Signature", "Everyhop-Delivery"
_SECONDS = 10.0


class WebhookNotifier:
    """``ports.Notifier`` over HTTPS."""

    def __init__(
        self, name: str, url: str, clock: Clock, *, secret: Callable[[], str] | None = None, roots: Path | None = None
    ) -> None:
        """``secret`` is asked at each delivery; ``roots`` (PEM) replace those of the system."""
        self.name = name
        self._url = urlsplit(url)
        self._clock = clock
        self._secret = secret
        self._roots = roots

    async def notify(self, notices: Sequence[Notice]) -> None:
        """Post; raises ``notify-failed`` unless the receiver answers with a status from 200 to 299."""
        body = json.dumps(payload(notices), sort_keys=True, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "everyhop", DELIVERY: delivery_id(notices)}
        if self._secret is not None:
            headers[SIGNATURE] = sign(self._secret(), int(self._clock.now().timestamp()), body)
        try:
            status = await asyncio.to_thread(self._post, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EveryhopError(
                "notify-failed",
                f"expected {self.name} at {self._url.hostname} to take a notice, got {_reason(error)}",
                hint="is the receiver up, and its certificate one that we trust?",
            ) from error
        if not 200 <= status < 300:
            raise EveryhopError(
                "notify-failed",
                f"expected {self.name} at {self._url.hostname} to take a notice, got status {status}",
                hint="the receiver's log says why; check its URL and secret",
            )

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        host = self._url.hostname or ""
        if self._url.scheme == "https":
            context = ssl.create_default_context(cafile=str(self._roots) if self._roots else None)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, self._url.port, timeout=_SECONDS, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, self._url.port, timeout=_SECONDS)
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        try:
            connection.request("POST", path, body=body, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()


def payload(notices: Sequence[Notice]) -> dict[str, object]:
    """What is posted: like Alertmanager's webhook where both have the same (``alerts``, ``labels``, ``status``), so
    that receivers for it can be used."""
    return {
        "version": "everyhop/1",
        "status": "firing" if any(one.firing for one in notices) else "resolved",
        "owner": notices[0].owner,
        "contact": notices[0].contact,
        "alerts": [
            {
                "status": "firing" if one.firing else "resolved",
                "fingerprint": one.fingerprint,
                "labels": {**one.labels, "severity": one.severity, "owner": one.owner},
                "annotations": {"summary": one.summary, "runbook": one.runbook},
                "startsAt": one.began_at.isoformat(),
                "endsAt": one.ended_at.isoformat() if one.ended_at else None,
            }
            for one in notices
        ],
    }


def delivery_id(notices: Sequence[Notice]) -> str:
    """The same for the same notices."""
    text = "\n".join(sorted(f"{one.fingerprint} {one.began_at.isoformat()} {one.firing}" for one in notices))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The signature header: ``t=<seconds>,v1=<hex>``."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"a certificate that does not verify ({error.verify_message})"
    return f"{type(error).__name__}: {error}"[:200]
