"""The first story of the README: one command, and a real system answers over encrypted hops only."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.stories.client import handshake, request
from tests.stories.harness import until
from tests.stories.shop import Shop

from everyhop.core.hop import Address

pytestmark = pytest.mark.story

HOPS = {
    "client -> edge": "tls",
    "edge -> web": "mtls",
    "web -> api": "mtls",
    "api -> db": "mtls",
}


def test_one_command_proves_every_hop_and_ends() -> None:
    """`everyhop up --check` brings the shop up, proves every hop on the wire, ends everything, and says 0."""
    with Shop() as shop:
        done = shop.run("up", str(shop.file), "--check")
        assert "fail" not in done.stdout.replace("failed", "")
        assert re.search(r"\d+ checks: \d+ pass$", done.stdout.strip().splitlines()[-1]), done.stdout[-500:]
        assert not shop.processes()
        shop.run("status", exit_status=3)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with Shop() as running:
        running.up().ready(seconds=90)
        yield running


def test_a_page_comes_over_tls_13_through_every_hop(shop: Shop) -> None:
    """A client that trusts the published root, and no other, reads the shelf: it came from PostgreSQL."""
    page = request(shop.https, "shop.localhost", roots=shop.roots)
    assert (page.status, page.version) == (200, "TLSv1.3")
    assert "padlock" in page.body.decode()


def test_an_order_by_the_form_reaches_the_database(shop: Shop) -> None:
    """Somebody fills in the form. The order gets a number from PostgreSQL, and the packers' host shows it."""
    page = request(shop.https, "shop.localhost", roots=shop.roots).body.decode()
    found = re.search(r'name="key" value="([0-9a-f-]{36})"', page)
    assert found
    form = urlencode({"key": found[1], "product": "padlock", "quantity": 3, "name": "Grace Hopper"})
    answer = request(
        shop.https,
        "shop.localhost",
        "/orders",
        roots=shop.roots,
        method="POST",
        body=form,
        headers={
            "content-type": "application/x-www-form-urlencoded",
            "origin": f"https://shop.localhost:{shop.https}",
            "host": f"shop.localhost:{shop.https}",
        },
    )
    assert answer.status == 303
    assert re.fullmatch(r"/orders/\d+", answer.headers["location"])
    assert "Grace Hopper" in request(shop.https, "orders.localhost", roots=shop.roots).body.decode()


def test_status_shows_every_hop_encrypted_with_a_hybrid_key_exchange(shop: Shop) -> None:
    """`everyhop status --json`: all hops as they should be, TLS 1.3, X25519MLKEM768, and who proved to be whom."""
    found = shop.json("status")
    assert {hop["hop"]: hop["seen"] for hop in found["hops"]} == HOPS
    assert all(hop["ok"] and hop["version"] == "TLSv1.3" for hop in found["hops"])
    between_services = [hop for hop in found["hops"] if hop["seen"] == "mtls"]
    assert {hop["group"] for hop in between_services} == {"X25519MLKEM768"}
    assert {hop["hop"]: hop["peer"] for hop in found["hops"] if hop["peer"]} == {
        "edge -> web": "spiffe://shop.internal/demo/edge",
        "web -> api": "spiffe://shop.internal/demo/web",
        "api -> db": "spiffe://shop.internal/demo/api",
    }
    assert all(hop["owner"] for hop in found["hops"])
    assert {one["state"] for one in found["certificates"]} == {"served"}
    assert {one["name"] for one in shop.json("certs")} == {
        "edge/identity",
        "edge/host:shop.localhost",
        "edge/host:orders.localhost",
        "web/identity",
        "api/identity",
        "db/identity",
    }


def test_plain_http_is_sent_to_https(shop: Shop) -> None:
    """http answers 308 with path and query kept; a host that is not served is not redirected anywhere."""
    connection = http.client.HTTPConnection("127.0.0.1", shop.http, timeout=10)
    connection.request("POST", "/orders?from=a%20letter", headers={"Host": "shop.localhost"})
    answer = connection.getresponse()
    assert answer.status == 308
    assert answer.getheader("location") == f"https://shop.localhost:{shop.https}/orders?from=a%20letter"
    answer.read()
    connection.request("GET", "/", headers={"Host": "elsewhere.example"})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("location")) == (421, None)
    connection.close()


def test_browsers_are_told_to_stay_with_https(shop: Shop) -> None:
    """Every answer over https carries Strict-Transport-Security, as the topology says: a day."""
    assert request(shop.https, "shop.localhost", roots=shop.roots).headers["strict-transport-security"] == (
        "max-age=86400"
    )


def test_two_hosts_each_with_a_certificate_of_its_own(shop: Shop) -> None:
    """The edge picks the certificate by the name that the client asks for, and vouches for no other name."""
    for host in ("shop.localhost", "orders.localhost"):
        assert request(shop.https, host, roots=shop.roots).names == (host,)


def test_a_name_that_is_not_served_gets_no_handshake(shop: Shop) -> None:
    """An unknown server name, or none: the connection ends before any certificate is shown."""
    edge = Address("127.0.0.1", shop.https)
    for name in ("elsewhere.example", ""):
        answer = handshake(edge, server_name=name)
        assert not answer.usable
        assert answer.chain == ()


def test_a_host_header_that_does_not_fit_the_name_is_misdirected(shop: Shop) -> None:
    """Who shakes hands as shop.localhost and then asks for another host gets 421, never somebody else's page."""
    for host in ("elsewhere.example", "orders.localhost"):
        assert request(shop.https, "shop.localhost", roots=shop.roots, headers={"Host": host}).status == 421


def test_clients_choose_between_http_2_and_http_11(shop: Shop) -> None:
    """ALPN offers both; a client with the newest TLS gets the hybrid group from the edge, too."""
    edge = Address("127.0.0.1", shop.https)
    for offered, chosen in ((("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1")):
        answer = handshake(edge, server_name="shop.localhost", alpn=offered)
        assert (answer.usable, answer.alpn) == (True, chosen)
        assert (answer.version, answer.group) == ("TLSv1.3", "X25519MLKEM768")


def test_tls_12_is_refused_at_a_modern_edge(shop: Shop) -> None:
    """`tls: modern` means TLS 1.3 and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=shop.roots)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", shop.https), 10) as raw,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"),
    ):
        context.wrap_socket(raw, server_hostname="shop.localhost")


def test_a_client_that_does_not_trust_our_root_refuses_us(shop: Shop) -> None:
    """The root is ours alone: a client with the public roots says so."""
    with (
        socket.create_connection(("127.0.0.1", shop.https), 10) as raw,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(raw, server_hostname="shop.localhost")


def test_ctrl_c_ends_everything_and_only_that() -> None:
    """Ctrl-C ends the proxies, the apps and PostgreSQL; a process of somebody else stays. The exit status is 0."""
    foreign = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        with Shop() as shop:
            shop.up().ready(seconds=90)
            before = shop.processes()
            assert set(before) == {"envoy-edge", "envoy-web", "envoy-api", "envoy-db", "web", "api", "db"}
            assert shop.stop() == 0
            assert not shop.processes()
            until(lambda: not any(_exists(pid) for pid in before.values()), "all of them to be gone")
            assert foreign.poll() is None
            assert shop.json("status", exit_status=3)["state"] == "stopped"
            assert "nothing was running" in shop.run("down").stdout
    finally:
        foreign.kill()
        foreign.wait()


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
