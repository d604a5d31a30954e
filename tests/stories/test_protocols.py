"""Everything that travels: HTTP with a proved caller, bytes of any protocol, HTTP/2 and gRPC, TLS of the app's own."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Generator, Iterator
from datetime import timedelta

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, TrailersReceived
from tests.fakes.pki import CA
from tests.stories.client import callers, handshake, plaintext, request
from tests.stories.harness import Everyhop, filled
from tests.stories.minting import mint
from tests.stories.ports import free_port

from everyhop import app
from everyhop.core.hop import Address

pytestmark = pytest.mark.story

HOST = "small.localhost"
TOPOLOGY = """\
everyhop: 1
trust_domain: small.internal
environment: test
owners:
  us: {contact: us@small.example}
services:
  web:
    owner: us
    listen: 127.0.0.1:$web
    calls: [{service: api, at: "127.0.0.1:$to_api"}, mail, {service: rpc, at: "127.0.0.1:$to_rpc"}, metrics]
    run:
      command: ["$python", "$apps/echo.py"]
      environment: {NAME: web, LISTEN: "{listen}", CALLEE: "{calls.api}"}
      health: {http: /healthz}
  api:
    owner: us
    listen: 127.0.0.1:$api
    calls: [{service: mail, at: "127.0.0.1:$to_mail"}]
    run:
      command: ["$python", "$apps/echo.py"]
      environment: {NAME: api, LISTEN: "{listen}"}
      health: {http: /healthz}
  mail:
    owner: us
    listen: 127.0.0.1:$mail
    protocol: tcp
    run:
      command: ["$python", "$apps/banner.py"]
      environment: {LISTEN: "{listen}"}
  rpc:
    owner: us
    listen: 127.0.0.1:$rpc
    protocol: grpc
    run:
      command: ["$python", "$apps/h2_echo.py"]
      environment: {LISTEN: "{listen}"}
  metrics:
    owner: us
    listen: 127.0.0.1:$metrics
    run:
      command: ["$python", "$apps/echo.py"]
      environment: {NAME: metrics, LISTEN: "{listen}"}
      health: {http: /healthz}
  legacy:
    owner: us
    listen: 127.0.0.1:$legacy
    protocol: tcp
edge:
  https: 127.0.0.1:$https
  hosts:
    small.localhost: {to: web}
    legacy.localhost: {passthrough: legacy}
policy:
  heartbeat: 200ms
exceptions:
  - {hop: web -> metrics, posture: exempt, reason: the metrics agent speaks no TLS, owner: us, until: $until}
"""
NAMES = ("https", "to_api", "to_rpc", "to_mail", "legacy", "metrics")


class Mixed(Everyhop):
    """A mesh with one service of every kind."""

    def __init__(self) -> None:
        self.ports = {name: free_port() for name in NAMES}
        until = app.now().date() + timedelta(days=30)
        super().__init__(filled(TOPOLOGY, until=until, **self.ports))

    def at(self, name: str) -> Address:
        return Address("127.0.0.1", self.ports[name])


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mixed]:
    with Mixed() as running:
        yield running.up().ready()


# --- HTTP: who calls ----------------------------------------------------------------------------------------------

FORGED = "By=spiffe://small.internal/test/web;URI=spiffe://small.internal/test/root-of-all"


def test_an_app_learns_who_calls_it_and_a_client_cannot_lie(mesh: Mixed) -> None:
    """A client sends a forged x-forwarded-client-cert. web sees the edge as its caller, and nothing of the forgery."""
    answer = request(
        mesh.ports["https"], HOST, "/hello", roots=mesh.roots, headers={"x-forwarded-client-cert": FORGED}
    ).json
    assert callers(answer["headers"]) == ["spiffe://small.internal/test/edge"]
    assert "root-of-all" not in str(answer["headers"])


def test_an_app_cannot_lie_about_its_own_caller(mesh: Mixed) -> None:
    """web's app itself sends a forged header through its own proxy. api sees web, and nothing of the forgery."""
    answer = request(
        mesh.ports["https"],
        HOST,
        "/ask/hello",
        roots=mesh.roots,
        headers={"x-pass-x-forwarded-client-cert": FORGED, "x-pass-x-kept": "as it is"},
    ).json["callee"]
    assert answer["headers"]["x-kept"] == ["as it is"]
    assert callers(answer["headers"]) == ["spiffe://small.internal/test/web"]
    assert "root-of-all" not in str(answer["headers"])


def test_a_caller_with_a_right_certificate_cannot_lie_either(mesh: Mixed) -> None:
    """Whoever has web's certificate speaks as web: the header it forges on the mTLS connection itself is replaced."""
    door = mesh.mesh_address("api")
    stolen = mint(mesh, "web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    chain, key = mesh.home / "chain.pem", mesh.home / "key.pem"
    chain.write_bytes(stolen.chain)
    key.touch(0o600)
    key.write_bytes(stolen.key)
    context.load_cert_chain(chain, key)
    with socket.create_connection((door.host, door.port), 10) as raw, context.wrap_socket(raw) as tls:
        connection = http.client.HTTPConnection("api")
        connection.sock = tls
        connection.request("GET", "/x", headers={"X-Forwarded-Client-Cert": FORGED})
        answer = json.loads(connection.getresponse().read())
    assert callers(answer["headers"]) == ["spiffe://small.internal/test/web"]
    assert "root-of-all" not in str(answer)


# --- bytes of any protocol ----------------------------------------------------------------------------------------


def test_a_server_that_speaks_first_is_heard_through_two_proxies(mesh: Mixed) -> None:
    """A mail server greets before the client has said a word. Its greeting and the answers come through."""
    at = mesh.at("to_mail")
    with socket.create_connection((at.host, at.port), 10) as connection, connection.makefile("rwb") as lines:
        assert lines.readline() == b"220 ready\n"
        for word in (b"helo\n", b"x" * 100_000 + b"\n"):
            lines.write(word)
            lines.flush()
            assert lines.readline() == word.upper()
    hops = {one.hop: one for one in mesh.status().hops}
    assert hops["web -> mail"].ok
    assert hops["api -> mail"].ok
    # Heartbeats hang up on the greeting: that is no refusal.
    assert not mesh.json("explain", "web", "mail")["refused"]
    answer = plaintext(mesh.mesh_address("mail"), b"helo\n")
    assert (answer.closed, b"ready" in answer.answer) == (True, False)


# --- HTTP/2 and gRPC ------------------------------------------------------------------------------------------------


def test_grpc_travels_with_its_trailers(mesh: Mixed) -> None:
    """A client speaks HTTP/2 in the clear to its own proxy. The server gets HTTP/2, knows the caller, and its trailer
    arrives."""
    at = mesh.at("to_rpc")
    connection = H2Connection(H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    headers = [(":method", "POST"), (":path", "/echo.Echo/Say"), (":scheme", "http"), (":authority", "rpc")]
    connection.send_headers(1, [*headers, ("content-type", "application/grpc"), ("te", "trailers")])
    connection.send_data(1, b"\0\0\0\0\5hello", end_stream=True)
    got: dict[str, str] = {}
    body = b""
    with socket.create_connection((at.host, at.port), 10) as raw:
        over = False
        while not over:
            raw.sendall(connection.data_to_send())
            data = raw.recv(65536)
            assert data, "the connection ended"
            for event in connection.receive_data(data):
                if isinstance(event, ResponseReceived | TrailersReceived):
                    got |= {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, DataReceived):
                    body += event.data
                over = over or isinstance(event, StreamEnded)
    assert (got[":status"], got["grpc-status"], body) == ("200", "0", b"\0\0\0\0\5hello")
    assert "URI=spiffe://small.internal/test/web" in got["caller"]


# --- TLS of the app's own, and an exempt hop ------------------------------------------------------------------------


@contextlib.contextmanager
def tls_server(at: Address, context: ssl.SSLContext, words: bytes) -> Generator[None]:
    """A server with TLS of its own, that says some words to whoever shakes hands."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                raw, _ = listener.accept()
                with raw, context.wrap_socket(raw, server_side=True) as tls:
                    tls.sendall(words)

    with socket.create_server((at.host, at.port)) as listener:
        listener.settimeout(0.2)
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(10)


def test_passthrough_carries_the_tls_of_the_app_itself(mesh: Mixed) -> None:
    """Behind legacy.localhost is an app with a certificate of its own. The edge sees the name and carries the bytes:
    the client checks the app's certificate, and the edge has no key for it."""
    ca = CA("the app's own root")
    with tls_server(mesh.at("legacy"), ca.issue("legacy.localhost").server_context(), b"from the app"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=ca.pem.decode())
        with (
            socket.create_connection(("127.0.0.1", mesh.ports["https"]), 10) as raw,
            context.wrap_socket(raw, server_hostname="legacy.localhost") as tls,
        ):
            assert tls.recv(100) == b"from the app"
    assert {hop.hop: hop.seen for hop in mesh.status().hops}["edge -> legacy"] == "passthrough"
    assert not [one.name for one in mesh.status().certificates if "legacy.localhost" in one.names]


def test_an_exempt_hop_is_plain_and_says_so_everywhere(mesh: Mixed) -> None:
    """web may reach metrics in the clear until a date. It does, and every answer names the reason; no other hop is."""
    assert plaintext(mesh.at("metrics"), b"GET / HTTP/1.0\r\n\r\n").answer.startswith(b"HTTP/1.1 200")
    hops = {hop["hop"]: hop for hop in mesh.json("status")["hops"]}
    assert hops["web -> metrics"]["seen"] == "exempt"
    assert "the metrics agent speaks no TLS" in hops["web -> metrics"]["note"]
    assert {hop["seen"] for name, hop in hops.items() if name != "web -> metrics"} == {"tls", "mtls", "passthrough"}
    assert "exempt until" in mesh.json("explain", "web", "metrics")["verdict"]
    verdicts = {one["hop"]: one["verdict"] for one in mesh.json("check") if one["hop"] == "web -> metrics"}
    assert verdicts == {"web -> metrics": "not applicable"}


def test_metrics_has_no_door_for_others(mesh: Mixed) -> None:
    """Nobody calls metrics by mTLS, so it has no mTLS port at all; mail takes web and api, and not rpc."""
    assert all(
        node.name != "metrics" for node in mesh.plan().nodes if any(one.name == "inbound" for one in node.listeners)
    )
    door = mesh.mesh_address("mail")
    assert handshake(door, credential=mint(mesh, "api")).usable
    assert not handshake(door, credential=mint(mesh, "rpc")).usable
