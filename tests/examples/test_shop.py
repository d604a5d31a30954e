"""The shop without a mesh: a real PostgreSQL, the api and the web page, each a process, joined by Unix sockets."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html import unescape
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"
XFCC = "x-forwarded-client-cert"


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll a condition; fails when it has not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


class Running:
    """A directory of sockets, and the programs that were started in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def socket(self, name: str) -> str:
        return f"unix:{self.directory / name}"

    @property
    def database(self) -> str:
        return self.socket("db/.s.PGSQL.5432")

    @property
    def postmaster(self) -> int:
        return int((self.directory / "home" / "pgdata" / "postmaster.pid").read_text().splitlines()[0])

    def start(self, name: str, program: str, listen: str, **environment: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, str(SHOP / program)],
                env={"PATH": os.environ["PATH"], "SHOP_LISTEN": listen, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start_database(self) -> None:
        self.start("db", "db.py", self.database, SHOP_DB_HOME=str(self.directory / "home"))

    def client(self, name: str) -> httpx2.Client:
        transport = httpx2.HTTPTransport(uds=str(self.directory / name))
        return httpx2.Client(transport=transport, base_url="http://shop.localhost:8443", timeout=15)

    def healthy(self, name: str) -> bool:
        with self.client(name) as client, suppress(httpx2.TransportError):
            return client.get("/healthz").text == "ok\n"
        return False

    def stop(self, name: str) -> int:
        process = self.processes.pop(name)
        process.terminate()
        try:
            return process.wait(10)
        finally:
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def shop() -> Iterator[Running]:
    # Short, for socket paths; and open to traversal, for the account that PostgreSQL gets when we are root.
    directory = Path(tempfile.mkdtemp(prefix="shop-", dir="/tmp"))
    directory.chmod(0o711)
    running = Running(directory)
    try:
        # The api first: it has to wait for its database by itself.
        running.start("api", "api.py", running.socket("api"), SHOP_DATABASE=running.database)
        running.start("web", "web.py", running.socket("web"), SHOP_API=running.socket("api"))
        running.start_database()
        until(lambda: running.healthy("api") and running.healthy("web"))
        yield running
    finally:
        for name in list(running.processes):
            running.stop(name)
        shutil.rmtree(directory)


@pytest.fixture
def web(shop: Running) -> Iterator[httpx2.Client]:
    with shop.client("web") as client:
        yield client


@pytest.fixture
def api(shop: Running) -> Iterator[httpx2.Client]:
    with shop.client("api") as client:
        yield client


def an_order(**changes: object) -> dict[str, Any]:
    return {"key": str(uuid4()), "product": "envelope", "quantity": 2, "name": "Ada Lovelace"} | changes


def text_of(page: httpx2.Response) -> str:
    """What a person reads: the text without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


def stock_of(api: httpx2.Client, product: str) -> int:
    return next(entry["stock"] for entry in api.get("/products").json() if entry["id"] == product)


# --- ordering -------------------------------------------------------------------------------------------------


def test_an_order_by_the_form_stands_in_the_list(web: httpx2.Client) -> None:
    page = web.get("/")
    assert page.status_code == 200
    found = re.search(r'name="key" value="([0-9a-f-]{36})"', page.text)
    assert found
    form = an_order(key=found[1], product="padlock", name="Grace Hopper")
    answer = web.post("/orders", data=form, headers={"origin": "https://shop.localhost:8443"})
    assert answer.status_code == 303
    placed = web.get(answer.headers["location"])
    number = answer.headers["location"].rpartition("/")[2]
    assert f"Order {number} is sealed and sent" in text_of(placed)
    assert "2 × Brass padlock for Grace Hopper" in text_of(placed)
    assert f"{number} 2 × Brass padlock Grace Hopper £28.00" in text_of(web.get("/orders"))


def test_the_second_host_shows_the_orders_first(web: httpx2.Client) -> None:
    assert "Recent orders" in text_of(web.get("/", headers={"host": "orders.localhost:8443"}))


def test_an_order_takes_from_the_shelf_and_the_same_order_takes_once(api: httpx2.Client) -> None:
    before, order = stock_of(api, "wax"), an_order(product="wax", quantity=3)
    answers = [api.post("/orders", json=order) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert len({answer.text for answer in answers}) == 1
    assert stock_of(api, "wax") == before - 3
    other = api.post("/orders", json=order | {"quantity": 4})
    assert (other.status_code, other.json()["code"]) == (409, "key-reused")
    assert stock_of(api, "wax") == before - 3


def test_stock_runs_out_once_however_many_ask(api: httpx2.Client, web: httpx2.Client, shop: Running) -> None:
    left = stock_of(api, "signet")

    def ask(_: int) -> int:
        with shop.client("api") as client:
            return client.post("/orders", json=an_order(product="signet", quantity=1)).status_code

    with ThreadPoolExecutor(12) as pool:
        answers = sorted(pool.map(ask, range(left + 9)))
    assert answers == [201] * left + [409] * 9
    assert stock_of(api, "signet") == 0
    form = an_order(product="signet", name="Too Late")
    page = web.post("/orders", data=form)
    assert page.status_code == 409
    assert "Fewer are left than you asked for. Nothing was ordered." in text_of(page)
    assert 'value="Too Late"' in page.text, "what was typed is kept"


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"name": "  "}, "a name of 1 to 60"),
        ({"name": "x" * 61}, "a name of 1 to 60"),
        ({"name": "Ada\u202e"}, "a name of 1 to 60"),
        ({"quantity": "0"}, "between 1 and 10"),
        ({"quantity": "many"}, "between 1 and 10"),
        ({"product": "' or 1=1"}, "one of the things on the shelf"),
        ({"key": "again"}, "not made by this shop"),
    ],
)
def test_a_form_that_cannot_be_read_is_explained(web: httpx2.Client, changes: Mapping[str, str], advice: str) -> None:
    page = web.post("/orders", data=an_order(**changes))
    assert page.status_code == 422
    assert advice in text_of(page)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid"),
        (b"[1]", 422, "invalid"),
        (b'{"key": 1, "surprise": true}', 422, "invalid"),
        (b'"' + b"x" * 5000 + b'"', 413, "too-long"),
    ],
)
def test_the_api_refuses_what_is_no_order(api: httpx2.Client, body: bytes, status: int, code: str) -> None:
    answer = api.post("/orders", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_product_that_nobody_sells(api: httpx2.Client, web: httpx2.Client) -> None:
    answer = api.post("/orders", json=an_order(product="moon"))
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown-product")
    assert "one of the things on the shelf" in text_of(web.post("/orders", data=an_order(product="moon")))


# --- what strangers send --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "https://shop.localhost:8443", "sec-fetch-site": "same-site"},
    ],
)
def test_a_form_of_another_site_orders_nothing(web: httpx2.Client, headers: Mapping[str, str]) -> None:
    page = web.post("/orders", data=an_order(name="Mallory Elsewhere"), headers=headers)
    assert page.status_code == 403
    assert "sent by another site" in text_of(page)
    assert "Mallory Elsewhere" not in web.get("/orders").text


def test_pages_show_what_strangers_send_as_text(web: httpx2.Client) -> None:
    script = "<script>alert('x')</script>"
    assert web.post("/orders", data=an_order(name=script)).status_code == 303
    header = f'URI=spiffe://shop.internal/demo/edge;Subject="{script}",{script}'
    page = web.get("/orders", headers={XFCC: header, "x-forwarded-proto": script, "host": f"a{script}"})
    assert page.status_code == 200
    assert "<script" not in page.text
    assert text_of(page).count("alert('x')") >= 4
    assert "No certificate seen" in text_of(page), "a header that cannot be read proves nobody"


def test_every_page_forbids_scripts_and_frames(web: httpx2.Client) -> None:
    for path, status in (("/", 200), ("/orders", 200), ("/nowhere", 404), ("/orders/999999", 404)):
        page = web.get(path)
        assert page.status_code == status
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "<script" not in page.text
        assert " style=" not in page.text
    assert web.get("/static/style.css").headers["content-type"].startswith("text/css")
    assert web.get("/static/..%2fweb.py").status_code == 404
    assert web.delete("/orders").status_code == 405


def test_a_body_without_end_is_cut_off(web: httpx2.Client) -> None:
    assert web.post("/orders", content=b"name=" + b"x" * 5000).status_code == 413


# --- who called -----------------------------------------------------------------------------------------------


def test_the_page_and_the_api_name_their_callers(web: httpx2.Client, api: httpx2.Client) -> None:
    edge = "spiffe://shop.internal/demo/edge"
    said = f"By=spiffe://shop.internal/demo/web;Hash=ab12;URI={edge}"
    page = web.get("/", headers={XFCC: f"URI=spiffe://shop.internal/demo/forged,{said}", "x-forwarded-proto": "https"})
    shown = text_of(page).replace("/ ", "/")
    assert f"Edge → to web Proved to the sidecar as {edge}" in shown
    assert "Web → to api No certificate seen" in shown, "web passes nobody's header on"
    assert api.get("/whoami", headers={XFCC: said}).json()["caller"] == edge


def test_the_database_speaks_for_itself(api: httpx2.Client) -> None:
    database = api.get("/whoami").json()["database"]
    assert database["version"].startswith("18.")
    assert database["role"] == "shop"
    assert database["authenticated"].startswith("peer:")
    assert database["client"] == "", "a Unix socket has no address"
    assert database["encrypted"] is False


# --- when something is away -----------------------------------------------------------------------------------


def test_a_page_for_people_when_the_api_is_away(shop: Running) -> None:
    shop.start("lonely", "web.py", shop.socket("lonely"), SHOP_API=shop.socket("nobody"))
    until(lambda: shop.healthy("lonely"))
    with shop.client("lonely") as client:
        page = client.get("/")
        assert page.status_code == 502
        assert "cannot look at its shelf just now" in text_of(page)
        order = an_order()
        page = client.post("/orders", data=order)
        assert page.status_code == 502
        assert f'name="key" value="{order["key"]}"' in page.text, "the same order can be sent again"
        assert "Traceback" not in page.text + shop.log("lonely")
    shop.stop("lonely")
    assert "Application shutdown complete" in shop.log("lonely")


def test_the_api_says_so_when_its_database_is_away(shop: Running) -> None:
    shop.start("early", "api.py", shop.socket("early"), SHOP_DATABASE=shop.socket(".s.PGSQL.1"))
    until(lambda: shop.healthy("early"))
    with shop.client("early") as client:
        answer = client.get("/products")
        assert (answer.status_code, answer.json()["code"]) == (503, "database-away")
    assert "Traceback" not in shop.log("early")
    shop.stop("early")


def test_killed_or_stopped_the_database_comes_back_with_every_order(shop: Running, api: httpx2.Client) -> None:
    number = api.post("/orders", json=an_order(name="Before the storm")).json()["number"]

    killed, postmaster = shop.processes.pop("db"), shop.postmaster
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    until(lambda: not Path(f"/proc/{postmaster}").exists())

    shop.start_database()
    until(lambda: api.get("/products").status_code == 200)
    assert api.get(f"/orders/{number}").json()["name"] == "Before the storm"

    # The postmaster itself, without warning: our program ends too, so that whoever supervises it notices.
    os.kill(shop.postmaster, signal.SIGKILL)
    assert shop.processes.pop("db").wait(10) != 0
    shop.start_database()
    until(lambda: api.get("/products").status_code == 200)

    begun = time.monotonic()
    assert shop.stop("db") == 0
    assert time.monotonic() - begun < 8
    assert not Path(shop.directory / "home" / "pgdata" / "postmaster.pid").exists()
    shop.start_database()
    until(lambda: api.get("/products").status_code == 200)
    assert api.get(f"/orders/{number}").json()["name"] == "Before the storm"
