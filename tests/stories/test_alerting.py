"""A real Prometheus scrapes, a real Alertmanager routes by owner, and the numbers are those that we counted."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from tests.servers.alertmanager import alertmanager
from tests.servers.prometheus import Prometheus, prometheus
from tests.stories.client import request
from tests.stories.harness import Everyhop, filled, until
from tests.stories.ports import free_port
from tests.stories.receiver import Receiver

from everyhop import app
from everyhop.cli import main
from everyhop.services.measure import SLIS

pytestmark = pytest.mark.story

REQUESTS, NO_CERTIFICATE, PLAINTEXT = 12, 5, 7
"""How many connections of each kind we make."""

TOPOLOGY = """\
everyhop: 1
trust_domain: small.internal
environment: test
owners:
  us: {contact: us@small.example, ticket: [ours]}
  them: {contact: them@small.example, ticket: [theirs]}
services:
  web:
    owner: us
    listen: 127.0.0.1:$web
    calls: [api]
    run:
      command: ["$python", "$apps/echo.py"]
      environment: {NAME: web, LISTEN: "{listen}", CALLEE: "{calls.api}"}
      health: {http: /healthz}
  api:
    owner: us
    listen: 127.0.0.1:$api
    protocol: tcp
    run:
      command: ["$python", "$apps/echo.py"]
      environment: {NAME: api, LISTEN: "{listen}"}
  legacy:
    owner: them
    listen: 127.0.0.1:$legacy
    calls: [api, web]
edge:
  https: 127.0.0.1:$https
  hosts:
    small.localhost: {to: web}
policy:
  heartbeat: 500ms
exceptions:
  - {hop: legacy -> api, posture: exempt, reason: it speaks no TLS yet, owner: us, until: $soon}
  - {hop: legacy -> web, posture: exempt, reason: it speaks no TLS yet, owner: them, until: $soon}
notify:
  receivers:
    ours: {webhook: {url: "$ours"}}
    theirs: {webhook: {url: "$theirs"}}
"""
SCRAPE = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [everyhop.rules.yml]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]
scrape_configs:
  - job_name: everyhop
    scheme: https
    tls_config: {{ca_file: {roots}, server_name: {name}}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture
def ours() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def theirs() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def strangers(port: int) -> None:
    """Callers whom the port must refuse: some without a certificate, some in plaintext."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(NO_CERTIFICATE):
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain) as tls,
        ):
            tls.recv(1)
    for _ in range(PLAINTEXT):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.send(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
            plain.recv(1)


def export(*arguments: str) -> str:
    """What ``everyhop export`` prints."""
    done = CliRunner().invoke(main, ["export", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def told(receiver: Receiver, sender: str) -> set[tuple[str, str]]:
    """Which alerts a receiver heard of, and whose they are; ``sender`` is a version of the message."""
    messages = [one for one in receiver.messages if one["version"] == sender]
    return {(one["labels"]["alertname"], one["labels"]["owner"]) for message in messages for one in message["alerts"]}


def number(server: Prometheus, query: str) -> float | None:
    """The one number that a query gives, if it gives one."""
    found = server.query(query)
    return found[0][1] if len(found) == 1 else None


@pytest.mark.timeout(300)
def test_prometheus_counts_what_we_counted_and_alertmanager_tells_each_owner(
    ours: Receiver, theirs: Receiver, tmp_path: Path
) -> None:
    https = free_port()
    soon = (app.now().date() + timedelta(days=5)).isoformat()
    with Everyhop(filled(TOPOLOGY, https=https, soon=soon, ours=ours.url, theirs=theirs.url)) as mesh:
        mesh.up().ready(seconds=90)
        board = urlsplit(until(lambda: mesh.dashboard, "the dashboard to be up"))
        home = tmp_path / "prometheus"
        home.mkdir()
        (home / "everyhop.rules.yml").write_text(export("prometheus").replace("interval: 1m", "interval: 1s"))
        routes = export("alertmanager", str(mesh.file)).replace("group_wait: 5m", "group_wait: 1s")
        with alertmanager(tmp_path / "alertmanager", routes) as port:
            scrape = SCRAPE.format(
                alertmanager=port, roots=mesh.data / "root.pem", name=board.hostname, port=board.port
            )
            with prometheus(home, scrape) as server:
                until(lambda: server.query("up == 1"), "Prometheus to scrape")
                strangers(mesh.mesh_address("api").port)
                for _ in range(REQUESTS):
                    assert request(https, "small.localhost", "/ask/hello", roots=mesh.roots).status == 200

                # The strangers, counted exactly; the heartbeats of the mesh are among the good ones.
                def stranger(result: str) -> str:
                    return f'everyhop_tls_connections_total{{hop="? -> api",end="server",result="{result}"}}'

                until(lambda: number(server, stranger("plaintext")) == PLAINTEXT, "the plaintext", seconds=120)
                assert number(server, stranger("no_certificate")) == NO_CERTIFICATE
                assert number(server, 'everyhop_plaintext_refused_total{hop="? -> api"}') == PLAINTEXT
                good = 'everyhop_tls_connections_total{hop="web -> api",end="server",result="ok"}'
                until(lambda: (number(server, good) or 0) >= REQUESTS, "our own requests", seconds=120)
                assert number(server, 'everyhop_hop_posture{hop="web -> api",wanted="mtls",seen="mtls"}') == 1
                m2 = next(
                    one.value for one in mesh.ask(SLIS.all) if (one.value.sli, one.value.scope) == ("M2", "web -> api")
                )
                assert (m2.value, m2.total >= REQUESTS) == (1, True), "strangers spend nobody's budget"

                # Two exceptions end soon, each with an owner of its own: both tell them, and nobody else.
                for sender in ("4", "everyhop/1"):
                    until(lambda s=sender: told(ours, s) >= {("ExceptionEnding", "us")}, f"{sender} to tell us")
                    until(lambda s=sender: told(theirs, s) >= {("ExceptionEnding", "them")}, f"{sender} to tell them")
                    assert {owner for _, owner in told(ours, sender)} == {"us"}
                    assert {owner for _, owner in told(theirs, sender)} == {"them"}
