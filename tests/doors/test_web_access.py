"""Who may read: loopback, certificates, tokens, sessions; and which requests are refused whoever asks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from http.client import HTTPSConnection
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.fakes.callers import ours
from tests.fakes.clock import MovedClock
from tests.fakes.estate import DATA, NOW, fill
from tests.fakes.pki import CA, Issued
from tests.fakes.random import SeededRandom
from tests.fakes.store import MemoryStore

from everyhop.core.hop import Address
from everyhop.doors.web.access import COOKIE, SESSION_LIFE, Access, Readers
from everyhop.doors.web.app import About, Dashboard
from everyhop.doors.web.server import PEER, ServedCredential, WebServer
from everyhop.errors import EveryhopError
from everyhop.ports import Event
from everyhop.services.admit import grant, withdraw

ME = "spiffe://shop.internal/production/"
READERS = Readers(identities=frozenset({ME + "wall"}), owners=frozenset({"payments"}))
FAR = ("203.0.113.9", 50_000)
SITE = "https://dash.shop.example"


@dataclass
class Stage:
    """A dashboard with its store and clock, and clients of any kind."""

    store: MemoryStore
    clock: MovedClock
    app: Dashboard

    def client(
        self, *, base: str = SITE, source: tuple[str, int] = FAR, peer: bytes | None = None
    ) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=shown(self.app.asgi, peer), client=source)
        return httpx2.AsyncClient(transport=transport, base_url=base)

    async def token(self, name: str = "wall", lifetime: timedelta = timedelta(days=1)) -> str:
        return await grant(self.store, SeededRandom(name), name, lifetime, actor="ada", now=self.clock.now())


def shown(app: ASGIApp, peer: bytes | None) -> ASGIApp:
    """The app behind a TLS layer that has verified this certificate."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {PEER: peer}}, receive, send)

    return run


def on_stage(play: Callable[[Stage], Awaitable[None]], readers: Readers = READERS) -> None:
    async def run() -> None:
        store, clock = MemoryStore(), MovedClock(NOW)
        await fill(store)
        access = Access(store, clock, SeededRandom(), readers, ours)
        await play(Stage(store, clock, Dashboard(store, DATA, clock, access, About("1", ("dash.shop.example",)))))

    asyncio.run(run())


# --- loopback -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "base", "status"),
    [
        ("127.0.0.1", "http://127.0.0.1", 200),
        ("127.0.0.1", "http://localhost", 401),  # httpx gives the name as the server's address: not known as loopback
        ("::1", "http://[::1]", 200),
        ("203.0.113.9", "https://dash.shop.example", 401),
        ("127.0.0.1", "https://dash.shop.example", 401),
    ],
)
def test_only_loopback_reads_without_a_login(source: str, base: str, status: int) -> None:
    async def play(stage: Stage) -> None:
        async with stage.client(base=base, source=(source, 1)) as http:
            answer = await http.get("/")
            assert answer.status_code == status
            assert ("orders-db" in answer.text) == (status == 200)

    on_stage(play)


def test_without_a_login_no_page_tells_anything() -> None:
    async def play(stage: Stage) -> None:
        async with stage.client() as http:
            for path in ("/", "/debug", "/hops/web/api", "/hops/api/checkout", "/findings"):
                answer = await http.get(path)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.headers["cache-control"] == "no-store"
                for secret in ("checkout", "shop.internal", "storefront", "everyhop.yaml"):
                    assert secret not in answer.text

    on_stage(play)


# --- what is refused whoever asks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "[::1", "a:b:c"]
)
def test_another_host_name_is_refused(host: str) -> None:
    async def play(stage: Stage) -> None:
        async with stage.client(base="http://127.0.0.1", source=("127.0.0.1", 1)) as http:
            answer = await http.get("/", headers={"Host": host})
            assert answer.status_code == 421
            assert "orders-db" not in answer.text

    on_stage(play)


@pytest.mark.parametrize("host", ["127.0.0.1:8440", "LOCALHOST:1", "[::1]:9", "dash.shop.example:443"])
def test_our_own_names_are_known(host: str) -> None:
    async def play(stage: Stage) -> None:
        async with stage.client(base="http://127.0.0.1", source=("127.0.0.1", 1)) as http:
            assert (await http.get("/", headers={"Host": host})).status_code == 200

    on_stage(play)


def test_two_hosts_are_none() -> None:
    async def play(stage: Stage) -> None:
        async with stage.client(base="http://127.0.0.1", source=("127.0.0.1", 1)) as http:
            answer = await http.get("/", headers=[("Host", "127.0.0.1"), ("Host", "evil.example")])
            assert answer.status_code == 421

    on_stage(play)


def test_other_sites_cannot_ask_but_links_lead_here() -> None:
    async def play(stage: Stage) -> None:
        async with stage.client(base="http://127.0.0.1", source=("127.0.0.1", 1)) as http:
            fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}
            assert (await http.get("/", headers=fetched)).status_code == 403
            framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
            assert (await http.get("/", headers=framed)).status_code == 403
            followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
            assert (await http.get("/", headers=followed)).status_code == 200

    on_stage(play)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_can_be_written(method: str) -> None:
    async def play(stage: Stage) -> None:
        before = await stage.store.revision()
        async with stage.client(base="http://127.0.0.1", source=("127.0.0.1", 1)) as http:
            assert (await http.request(method, "/")).status_code == 405
        assert await stage.store.revision() == before

    on_stage(play)


def test_https_is_remembered_for_names_and_not_for_this_machine() -> None:
    async def play(stage: Stage) -> None:
        async with stage.client() as http:
            assert (await http.get("/")).headers["strict-transport-security"] == "max-age=31536000"
            assert "strict-transport-security" not in (await http.get("/", headers={"Host": "localhost"})).headers
        async with stage.client(base="http://dash.shop.example") as http:
            assert "strict-transport-security" not in (await http.get("/")).headers

    on_stage(play)


# --- certificates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "status"),
    [
        (ME + "wall", 200),
        (ME + "ledger", 200),  # of the owner payments
        (ME + "web", 401),
        ("spiffe://other.internal/production/wall", 401),
        (ME + "wall/", 401),
        ("https://shop.internal/production/wall", 401),
        ("", 401),
    ],
)
def test_a_certificate_admits_by_its_identity(identity: str, status: int) -> None:
    leaf = CA().issue("wall.shop.internal", uri=identity).der

    async def play(stage: Stage) -> None:
        async with stage.client(peer=leaf) as http:
            assert (await http.get("/")).status_code == status

    on_stage(play)


def test_no_reader_by_certificate_means_none() -> None:
    leaf = CA().issue(uri=ME + "web").der

    async def play(stage: Stage) -> None:
        async with stage.client(peer=leaf) as http:
            assert (await http.get("/")).status_code == 401
        async with stage.client(peer=b"no certificate") as http:
            assert (await http.get("/")).status_code == 401

    on_stage(play, Readers())


def test_a_certificate_ends_also_on_an_open_connection() -> None:
    leaf = CA().issue(uri=ME + "wall", not_after=NOW + timedelta(minutes=5)).der

    async def play(stage: Stage) -> None:
        async with stage.client(peer=leaf) as http:
            assert (await http.get("/")).status_code == 200
            stage.clock.move(timedelta(minutes=6))
            assert (await http.get("/")).status_code == 401

    on_stage(play)


# --- tokens and sessions --------------------------------------------------------------------------------------


def test_a_bearer_token_reads() -> None:
    async def play(stage: Stage) -> None:
        token = await stage.token()
        async with stage.client() as http:
            assert (await http.get("/", headers={"Authorization": f"Bearer {token}"})).status_code == 200
            for wrong in (token[:-1], token + "0", "evhp_" + "0" * 64, "", "x" * 10_000):
                answer = await http.get("/", headers={"Authorization": f"Bearer {wrong}"})
                assert answer.status_code == 401
                assert wrong not in answer.text or not wrong
            assert (await http.get("/", headers={"Authorization": f"Basic {token}"})).status_code == 401
            stage.clock.move(timedelta(days=2))
            assert (await http.get("/", headers={"Authorization": f"Bearer {token}"})).status_code == 401

    on_stage(play)


def test_a_login_gives_a_session_that_ends() -> None:
    async def play(stage: Stage) -> None:
        token = await stage.token(lifetime=timedelta(days=3))
        async with stage.client() as http:
            answer = await http.post("/login", data={"token": token}, headers={"Origin": SITE})
            assert answer.status_code == 303
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith(f"{COOKIE}=")
            assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
            assert token not in cookie
            assert "Log out" in (await http.get("/")).text
            stage.clock.move(SESSION_LIFE)
            assert (await http.get("/")).status_code == 401

    on_stage(play)


def test_a_session_ends_at_the_logout_and_with_its_token() -> None:
    async def play(stage: Stage) -> None:
        token = await stage.token()
        async with stage.client() as http, stage.client() as other:
            for one in (http, other):
                assert (await one.post("/login", data={"token": token})).status_code == 303
            held = http.cookies[COOKIE]
            assert (await http.post("/logout")).status_code == 303
            assert (await http.get("/", headers={"Cookie": f"{COOKIE}={held}"})).status_code == 401
            assert (await other.get("/")).status_code == 200
            await withdraw(stage.store, "wall", actor="ada", now=NOW)
            assert (await other.get("/")).status_code == 401

    on_stage(play)


@pytest.mark.parametrize("body", [b"", b"token=", b"token=x", b"token=" + b"x" * 300, b"\xff\xfe", b"a=1&" * 50])
def test_a_wrong_login_gives_nothing(body: bytes) -> None:
    async def play(stage: Stage) -> None:
        await stage.token()
        async with stage.client() as http:
            answer = await http.post("/login", content=body)
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
            assert "not known" in answer.text

    on_stage(play)


def test_a_login_is_small_from_here_and_over_tls() -> None:
    async def play(stage: Stage) -> None:
        token = await stage.token()
        async with stage.client() as http:
            assert (await http.post("/login", content=b"x" * 5_000)).status_code == 413
            crossed = await http.post("/login", data={"token": token}, headers={"Origin": "https://evil.example"})
            assert crossed.status_code == 403
        async with stage.client(base="http://dash.shop.example") as http:
            assert (await http.post("/login", data={"token": token})).status_code == 401

    on_stage(play)


# --- the listener, over real TLS ------------------------------------------------------------------------------


def credential(leaf: Issued, roots: CA) -> ServedCredential:
    return ServedCredential(leaf.chain_pem, leaf.key_pem, roots.pem)


def trusting(authority: CA, client: Issued | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if client:
        with client.files() as (chain, key):
            context.load_cert_chain(chain, key)
    return context


def fetch(port: int, context: ssl.SSLContext, **headers: str) -> tuple[int, Any]:
    with closing(HTTPSConnection("127.0.0.1", port, context=context, timeout=5)) as http:
        http.request("GET", "/", headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = http.getresponse()
        answer.read()
        assert isinstance(http.sock, ssl.SSLSocket)
        session = http.sock.session
        ticket = session.has_ticket if session else False
        return answer.status, (http.sock.version(), ticket)


def test_it_serves_tls_1_3_and_takes_a_new_certificate_in() -> None:
    old, new, foreign = CA("old"), CA("new"), CA("foreign")
    wall = old.issue(uri=ME + "wall")

    async def play(stage: Stage) -> None:
        now = {"credential": credential(old.issue("localhost", ip="127.0.0.1"), old)}

        async def provide() -> ServedCredential:
            return now["credential"]

        told: list[Event] = []
        server = WebServer(stage.app.asgi, stage.clock, told.append, look_every=0.02)
        address = await server.start(Address("127.0.0.1", 0), provide, ask_for_certificates=True)
        try:
            far = {"X_Forwarded_For": "203.0.113.9"}  # so that loopback alone admits nobody
            assert await asyncio.to_thread(fetch, address.port, trusting(old)) == (200, ("TLSv1.3", False))
            assert (await asyncio.to_thread(fetch, address.port, trusting(old), **far))[0] == 401
            assert (await asyncio.to_thread(fetch, address.port, trusting(old, wall), **far))[0] == 200
            with pytest.raises(OSError):
                await asyncio.to_thread(fetch, address.port, trusting(old, foreign.issue(uri=ME + "wall")))
            early = trusting(old)
            early.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(ssl.SSLError):
                await asyncio.to_thread(fetch, address.port, early)
            now["credential"] = credential(new.issue("localhost", ip="127.0.0.1"), new)
            async with asyncio.timeout(5):
                while not told:
                    await asyncio.sleep(0.01)
            assert [event.name for event in told] == ["dashboard.renewed"]
            assert (await asyncio.to_thread(fetch, address.port, trusting(new)))[0] == 200
            with pytest.raises(ssl.SSLError):
                await asyncio.to_thread(fetch, address.port, trusting(old))
        finally:
            await server.stop()
        with pytest.raises(OSError):
            await asyncio.to_thread(fetch, address.port, trusting(new))

    on_stage(play)


def test_a_provider_that_fails_changes_nothing() -> None:
    authority = CA()
    good = credential(authority.issue("localhost", ip="127.0.0.1"), authority)

    async def play(stage: Stage) -> None:
        broken = asyncio.Event()

        async def provide() -> ServedCredential:
            return replace(good, key=b"not a key") if broken.is_set() else good

        told: list[Event] = []
        server = WebServer(stage.app.asgi, stage.clock, told.append, look_every=0.02)
        address = await server.start(Address("127.0.0.1", 0), provide)
        try:
            broken.set()
            async with asyncio.timeout(5):
                while not told:
                    await asyncio.sleep(0.01)
            assert told[0].name == "fault"
            assert "not a key" not in str(told)
            assert (await asyncio.to_thread(fetch, address.port, trusting(authority)))[0] == 200
        finally:
            await server.stop()

    on_stage(play)


def test_the_key_is_not_in_the_repr() -> None:
    authority = CA()
    one = credential(authority.issue("localhost"), authority)
    assert "PRIVATE" not in repr(one)


def test_without_tls_only_loopback_is_served_and_a_taken_port_is_said() -> None:
    async def play(stage: Stage) -> None:
        server = WebServer(stage.app.asgi, stage.clock, lambda _: None)
        with pytest.raises(EveryhopError, match="expected a certificate"):
            await server.start(Address("0.0.0.0", 0), None)
        address = await server.start(Address("127.0.0.1", 0), None)
        try:
            other = WebServer(stage.app.asgi, stage.clock, lambda _: None)
            with pytest.raises(EveryhopError, match="cannot listen"):
                await other.start(address, None)
            async with httpx2.AsyncClient(base_url=f"http://{address}") as http:
                assert (await http.get("/")).status_code == 200
        finally:
            await server.stop()

    on_stage(play)
