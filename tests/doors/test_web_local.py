"""Who is on this machine, and reads without a login: our own user's programs, and nobody behind them who says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.fakes.callers import ours, strangers
from tests.fakes.clock import MovedClock
from tests.fakes.estate import DATA, NOW, fill
from tests.fakes.random import SeededRandom
from tests.fakes.store import MemoryStore

from everyhop.core.hop import Address
from everyhop.core.showing import dashboard_url
from everyhop.doors.web.access import Access, IsOurs, Readers
from everyhop.doors.web.app import About, Dashboard
from everyhop.doors.web.server import WebServer
from everyhop.drivers.host.callers import is_ours
from everyhop.ports import Document

US = "http://127.0.0.1:9443"
NAMES = ("everyhop.shop.internal", "everyhop.shop.localhost", "everyhop.orders.localhost")


async def metrics(_: Request) -> Response:
    """Another door's page."""
    return PlainTextResponse("everyhop_up 1\n")


class CountingStore(MemoryStore):
    """A store that says how often it was read."""

    reads = 0

    async def all(self, kind: str) -> Sequence[Document]:
        self.reads += 1
        return await super().all(kind)

    async def get(self, kind: str, key: str) -> Document | None:
        self.reads += 1
        return await super().get(kind, key)


async def answer(
    who: IsOurs,
    path: str = "/",
    *,
    readers: Readers | None = None,
    base: str = US,
    source: str = "127.0.0.1",
    headers: dict[str, str] | None = None,
    store: MemoryStore | None = None,
) -> httpx2.Response:
    """What somebody gets who asks over loopback."""
    clock, store = MovedClock(NOW), store or MemoryStore()
    await fill(store)
    if isinstance(store, CountingStore):
        store.reads = 0
    access = Access(store, clock, SeededRandom(), readers or Readers(), who)
    app = Dashboard(store, DATA, clock, access, About("1", NAMES), more=[Route("/metrics", metrics)])
    transport = httpx2.ASGITransport(app=app.asgi, client=(source, 50_000))
    async with httpx2.AsyncClient(transport=transport, base_url=base) as http:
        return await http.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/", "/debug", "/summary", "/metrics"])
def test_another_user_of_this_machine_needs_a_login(path: str) -> None:
    """That is also a default reverse proxy of another user, which adds no header and calls us by our address."""
    assert asyncio.run(answer(ours, path)).status_code == 200
    assert asyncio.run(answer(strangers, path)).status_code == 401


@pytest.mark.parametrize("path", ["/", "/metrics"])
def test_a_topology_can_demand_a_login_of_everybody(path: str) -> None:
    assert asyncio.run(answer(ours, path, readers=Readers(local=False))).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Server",
        "X-Forwarded-Client-Cert",
        "X-Real-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF-Ray",
        "Fastly-Client-IP",
        "Fly-Client-IP",
        "X-Envoy-External-Address",
        "X-Envoy-Expected-Rq-Timeout-Ms",
        "X-Original-Forwarded-For",
        "X-Amzn-Trace-Id",
        "X-Azure-ClientIP",
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1:9443", "localhost", "everyhop.shop.internal"])
def test_what_is_passed_on_by_our_own_user_needs_a_login(header: str, host: str) -> None:
    assert asyncio.run(answer(ours, headers={"Host": host})).status_code == 200
    assert asyncio.run(answer(ours, headers={"Host": host, header: "203.0.113.9"})).status_code == 401


def test_the_kernel_is_asked_for_this_connection_and_only_over_loopback() -> None:
    asked: list[tuple[Address, Address]] = []

    async def noted(caller: Address, server: Address) -> bool:
        asked.append((caller, server))
        return True

    for source, base, status in (
        ("127.0.0.1", US, 200),
        ("::ffff:127.0.0.1", "http://[::ffff:127.0.0.1]:9443", 200),
        ("::1", "http://[::1]:9443", 200),
        ("203.0.113.9", US, 401),
        ("::ffff:203.0.113.9", "http://[::1]:9443", 401),
    ):
        headers = {"Host": "localhost"}
        assert asyncio.run(answer(noted, base=base, source=source, headers=headers)).status_code == status, source
    four, six = (
        (Address("127.0.0.1", 50_000), Address("127.0.0.1", 9443)),
        (Address("::1", 50_000), Address("::1", 9443)),
    )
    assert asked == [four, four, six]


def test_over_a_real_connection_our_own_user_reads() -> None:
    async def run() -> None:
        store, clock = MemoryStore(), MovedClock(NOW)
        await fill(store)
        access = Access(store, clock, SeededRandom(), Readers(), is_ours)
        server = WebServer(Dashboard(store, DATA, clock, access, About("1")).asgi, clock, lambda _: None)
        address = await server.start(Address("127.0.0.1", 0), None)
        try:
            async with httpx2.AsyncClient(base_url=f"http://{address}") as http:
                found = await http.get("/about")
                assert found.status_code == 200
                assert "dashboard: {local: login}" in found.text
        finally:
            await server.stop()

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/", "/metrics", "/nobody-knows"])
def test_nothing_is_read_for_somebody_who_may_not(path: str) -> None:
    store = CountingStore()
    named = Readers(owners=frozenset({"payments"}))
    assert asyncio.run(answer(strangers, path, readers=named, store=store)).status_code in (401, 404)
    assert store.reads == 0


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1:9443", "https://everyhop.shop.localhost:9443/"),
        ("[::1]:9443", "https://everyhop.shop.localhost:9443/"),
        ("10.0.0.5:9443", "https://10.0.0.5:9443/"),
        ("[2001:db8::5]:9443", "https://[2001:db8::5]:9443/"),
        ("0.0.0.0:9443", "https://everyhop.shop.internal:9443/"),
        ("[::]:9443", "https://everyhop.shop.internal:9443/"),
    ],
)
def test_where_it_is(address: str, url: str) -> None:
    assert dashboard_url(Address.parse(address), NAMES) == url
