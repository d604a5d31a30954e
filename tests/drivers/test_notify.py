"""Notifiers against real receivers on loopback: an HTTP server, an HTTPS server, and a mail server with STARTTLS."""

from __future__ import annotations

import asyncio
import contextlib
import email
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.fakes.clock import START, MovedClock

from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.notify.secret import read_secret
from everyhop.drivers.notify.smtp import MailNotifier, compose
from everyhop.drivers.notify.webhook import DELIVERY, SIGNATURE, WebhookNotifier, delivery_id
from everyhop.errors import EveryhopError
from everyhop.ports import Notice

NOTICE = Notice(
    fingerprint="917a00f191a715fe",
    alert="HopNotSeen",
    firing=True,
    severity="high",
    owner="shop",
    contact="shop@shop.example",
    summary="web -> api: not seen",
    labels={"hop": "web -> api", "alertname": "HopNotSeen"},
    runbook="runbooks/HopNotSeen.md",
    began_at=START,
)
OVER = replace(NOTICE, firing=False, ended_at=START + timedelta(hours=1))


# --- a certificate for loopback -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """A self-signed certificate of localhost; whoever trusts it trusts the server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = Identity(tmp_path / "server.pem", tmp_path / "server.key")
    paths.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths.key.write_bytes(key.private_bytes(*encoding))
    return paths


# --- webhooks -------------------------------------------------------------------------------------------------


@dataclass
class Hooks:
    """What a receiver of webhooks got."""

    port: int = 0
    status: int = 200
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list[tuple[str, dict[str, str], bytes]])


@contextlib.contextmanager
def hooks(identity: Identity | None = None) -> Generator[Hooks]:
    got = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.requests.append((self.path, dict(self.headers), body))
            self.send_response(got.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name
            pass

    class Quiet(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    if identity is not None:
        server.socket = identity.context().wrap_socket(server.socket, server_side=True)
    got.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(notifier: WebhookNotifier | MailNotifier, *notices: Notice) -> None:
    asyncio.run(notifier.notify(notices or (NOTICE,)))


def refusal(notifier: WebhookNotifier | MailNotifier) -> str:
    with pytest.raises(EveryhopError) as refused:
        send(notifier)
    assert refused.value.code.name == "notify-failed"
    return str(refused.value)


def test_a_webhook_gets_signed_json() -> None:
    with hooks() as got:
        clock = MovedClock()
        send(
            WebhookNotifier("oncall", f"http://127.0.0.1:{got.port}/x?a=1", clock, secret=lambda: "s3cret"),
            NOTICE,
            OVER,
        )
    ((path, headers, body),) = got.requests
    assert path == "/x?a=1"
    stamp, mac = headers[SIGNATURE].removeprefix("t=").split(",v1=")
    assert int(stamp) == int(START.timestamp())
    assert mac == hmac.new(b"s3cret", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    said = json.loads(body)
    assert (said["status"], said["owner"], said["contact"]) == ("firing", "shop", "shop@shop.example")
    assert [one["status"] for one in said["alerts"]] == ["firing", "resolved"]
    assert said["alerts"][0]["labels"] == {**NOTICE.labels, "severity": "high", "owner": "shop"}
    assert said["alerts"][1]["endsAt"] == "2026-03-01T13:00:00+00:00"
    assert headers[DELIVERY] == delivery_id([OVER, NOTICE])
    assert delivery_id([NOTICE]) != delivery_id([OVER])


def test_a_receiver_that_refuses_or_redirects_did_not_take_it() -> None:
    with hooks() as got:
        notifier = WebhookNotifier("oncall", f"http://127.0.0.1:{got.port}/", MovedClock(), secret=lambda: "s3cret")
        for status in (302, 401, 500):
            got.status = status
            assert f"got status {status}" in refusal(notifier)
        assert len(got.requests) == 3
    assert "oncall at 127.0.0.1" in refusal(notifier)
    assert "s3cret" not in refusal(notifier) + repr(notifier)


def test_a_webhook_s_certificate_is_verified(identity: Identity) -> None:
    with hooks(identity) as got:
        url = f"https://localhost:{got.port}/"
        assert "does not verify" in refusal(WebhookNotifier("oncall", url, MovedClock()))
        other = f"https://127.0.0.1:{got.port}/"
        assert "does not verify" in refusal(WebhookNotifier("oncall", other, MovedClock(), roots=identity.certificate))
        assert not got.requests
        send(WebhookNotifier("oncall", url, MovedClock(), roots=identity.certificate))
        assert len(got.requests) == 1


# --- mail -----------------------------------------------------------------------------------------------------


@dataclass
class Post:
    """A mail server's handler: keeps every message."""

    taken: list[tuple[str, list[str], Message]] = field(default_factory=list[tuple[str, list[str], Message]])

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        assert server.transport.get_extra_info("ssl_object") is not None, "mail came in the clear"
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 taken"


@contextlib.asynccontextmanager
async def mail_server(identity: Identity | None, *, implicit: bool = False) -> AsyncGenerator[tuple[Post, int]]:
    def admit(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"everyhop", b"s3cret"), handled=False)

    post = Post()
    context = identity.context() if identity else None
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        upgrade = None if implicit else context
        return SMTP(post, tls_context=upgrade, authenticator=admit, auth_require_tls=not implicit, loop=loop)

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if implicit else None)
    try:
        yield post, server.sockets[0].getsockname()[1]
    finally:
        server.close()


def mailer(port: int, identity: Identity, **given: Any) -> MailNotifier:
    options: dict[str, Any] = {"sender": "everyhop@shop.example", "to": "oncall@shop.example"}
    options |= {"roots": identity.certificate, "login": lambda: ("everyhop", "s3cret")}
    return MailNotifier("mail", f"localhost:{port}", MovedClock(), **(options | given))


def posted(
    identity: Identity, *notices: Notice, offers: Identity | None, implicit: bool = False, **given: Any
) -> tuple[Post, str]:
    """What a mail server took of these notices, one message each, and why it did not take the last one."""

    async def play() -> tuple[Post, str]:
        async with mail_server(offers, implicit=implicit) as (post, port):
            try:
                for notice in notices:
                    await mailer(port, identity, **given).notify([notice])
            except EveryhopError as error:
                return post, f"{error.code.name}: {error}"
            return post, ""

    return asyncio.run(play())


def test_mail_goes_over_starttls_to_the_owner(identity: Identity) -> None:
    post, fault = posted(identity, NOTICE, replace(OVER, contact="room 4"), offers=identity)
    assert not fault
    (first, second) = post.taken
    assert first[:2] == ("everyhop@shop.example", ["shop@shop.example"])
    assert second[1] == ["oncall@shop.example"], "room 4 is no mail address"
    assert first[2]["Subject"] == "[everyhop] firing: HopNotSeen: web -> api: not seen"
    assert second[2]["Subject"].startswith("[everyhop] over: HopNotSeen")
    assert first[2]["References"] == second[2]["References"]
    assert first[2]["Message-ID"] != second[2]["Message-ID"]
    assert "what to do: runbooks/HopNotSeen.md" in str(first[2].get_payload())


def test_mail_goes_over_tls_from_the_first_byte(identity: Identity) -> None:
    post, fault = posted(identity, NOTICE, offers=identity, implicit=True, security="tls", login=None)
    assert (len(post.taken), fault) == (1, "")


def test_nothing_is_sent_to_a_server_without_tls(identity: Identity) -> None:
    post, fault = posted(identity, NOTICE, offers=None)
    assert fault.startswith("notify-failed: ")
    assert "SMTPNotSupportedError" in fault
    assert not post.taken


def test_nothing_is_sent_to_a_server_that_cannot_prove_itself(identity: Identity) -> None:
    post, fault = posted(identity, NOTICE, offers=identity, roots=None)
    assert "does not verify" in fault
    assert not post.taken


def test_a_wrong_password_is_not_repeated(identity: Identity) -> None:
    post, fault = posted(identity, NOTICE, offers=identity, login=lambda: ("everyhop", "wr0ng"))
    assert "SMTPAuthenticationError" in fault
    assert "wr0ng" not in fault
    assert not post.taken


def test_a_subject_is_one_line() -> None:
    notices: Sequence[Notice] = [replace(NOTICE, summary="a\r\nBcc: all@x.example\n" + "b" * 300), NOTICE]
    message = compose(notices, sender="e@shop.example", to="o@shop.example", at="Sun, 01 Mar 2026 12:00:00 +0000")
    assert message["Bcc"] is None
    assert "and 1 more" in message["Subject"]
    assert len(message["Subject"]) <= 150


# --- secrets --------------------------------------------------------------------------------------------------


def test_secrets_are_read_where_only_we_can(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    assert read_secret("secret", base=tmp_path, environment={}) == "s3cret"
    assert read_secret(str(file), base=Path("/"), environment={}) == "s3cret"
    assert (
        read_secret("credential:secret", base=Path("/"), environment={"CREDENTIALS_DIRECTORY": str(tmp_path)})
        == "s3cret"
    )
    file.chmod(0o640)
    for place, environment, word in (
        ("secret", {}, "chmod 600"),
        ("missing", {}, "FileNotFoundError"),
        ("credential:secret", {}, "LoadCredential"),
        ("credential:../secret", {"CREDENTIALS_DIRECTORY": str(tmp_path)}, "LoadCredential"),
    ):
        with pytest.raises(EveryhopError, match=word) as refused:
            read_secret(place, base=tmp_path, environment=environment)
        assert "s3cret" not in str(refused.value)
