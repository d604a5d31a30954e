"""The dashboard over HTTP: every page, its headers, and that nothing a stranger wrote becomes markup."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import Any

import httpx2
import pytest
from tests.fakes.callers import ours
from tests.fakes.clock import MovedClock
from tests.fakes.estate import DATA, NOW, TEXT, fill
from tests.fakes.random import SeededRandom
from tests.fakes.store import MemoryStore

from everyhop.core.observation import Kind, Observation, Plain, Source, Stream
from everyhop.core.verdict import Verdict
from everyhop.doors.web.access import Access, Readers
from everyhop.doors.web.app import PAGES, About, Dashboard
from everyhop.doors.web.assets import FOLDER, load
from everyhop.doors.web.security import HEADERS, POLICY
from everyhop.services.alert import ALERTS
from everyhop.services.apply import apply
from everyhop.services.flows import FLOWS, LISTENERS
from everyhop.services.inspect import FINDINGS
from everyhop.services.measure import SLIS
from everyhop.services.observe import HOPS_SEEN
from everyhop.services.operate import BEATS
from everyhop.services.records import AUTHORITIES, ROTATIONS, SLOTS, Records
from everyhop.services.refusals import REFUSALS_SEEN
from everyhop.services.supervise import PROCESSES

PATHS = (*(path for path, _ in PAGES), "/hops/api/checkout", "/hops/web/cart", "/findings?verdict=all")
LOCAL = ("127.0.0.1", 40_000)


def dashboard(store: MemoryStore, *, names: tuple[str, ...] = (), clock: MovedClock | None = None) -> Dashboard:
    clock = clock or MovedClock(NOW)
    about = About("1.2.3", names, "https://docs.shop.example/")
    return Dashboard(store, DATA, clock, Access(store, clock, SeededRandom(), Readers(), ours), about)


def client(app: Dashboard, *, base: str = "http://127.0.0.1:8440") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app.asgi, client=LOCAL), base_url=base)


def visit(play: Callable[[httpx2.AsyncClient, MemoryStore], Awaitable[None]], *, well: bool = False) -> None:
    async def run() -> None:
        store = MemoryStore()
        await fill(store, well=well)
        async with client(dashboard(store)) as http:
            await play(http, store)

    asyncio.run(run())


# --- pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("well", [True, False])
def test_every_page_is_there_and_guarded(well: bool) -> None:
    async def play(http: httpx2.AsyncClient, _: MemoryStore) -> None:
        for path in PATHS:
            answer = await http.get(path)
            assert answer.status_code == 200, path
            assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS)
            assert answer.headers["cache-control"] == "no-store"
            assert "style=" not in answer.text
            assert "None" not in answer.text, path

    visit(play, well=well)


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    assert POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_a_refresh_gets_the_main_part_alone() -> None:
    async def play(http: httpx2.AsyncClient, _: MemoryStore) -> None:
        for path in PATHS:
            whole, part = await http.get(path), await http.get(path, headers={"HX-Request": "true"})
            assert part.text.lstrip().startswith("<main")
            assert part.text.strip() in whole.text
            assert whole.headers["vary"] == "HX-Request"

    visit(play)


def test_the_map_and_the_table_say_the_same() -> None:
    async def play(http: httpx2.AsyncClient, _: MemoryStore) -> None:
        page = (await http.get("/")).text
        for hop in ("auth/cache", "ledger/orders-db", "web/cart"):
            assert page.count(f'href="/hops/{hop}"') == 2
        assert page.count("the caller proved spiffe://shop.internal/production/web") >= 3

    visit(play)


def test_findings_are_filtered() -> None:
    async def play(http: httpx2.AsyncClient, _: MemoryStore) -> None:
        async def rows(query: str) -> int:
            return (await http.get(f"/findings?{query}")).text.count('<tr><td><span class="severity')

        assert await rows("") == 5
        assert await rows("owner=storefront") == 2
        assert await rows("severity=critical") == 2
        assert await rows("verdict=unknown") == 1
        assert await rows("verdict=all") == 10
        assert await rows("owner=" + "x" * 5000) == 0

    visit(play)


def test_a_written_change_is_seen_at_once() -> None:
    async def play(http: httpx2.AsyncClient, store: MemoryStore) -> None:
        assert "nobody-knows-me" not in (await http.get("/")).text
        flow = (await FLOWS.all(store))[0].value
        await FLOWS.put(store, "new", replace(flow, key="new", caller="nobody-knows-me", owner="us"))
        assert "nobody-knows-me" in (await http.get("/")).text

    visit(play)


@pytest.mark.parametrize(
    "path", ["/nope", "/hops/web/nobody", "/static/../app.py", "/static/0/everyhop.css", "/hops/a"]
)
def test_what_is_not_there_is_not_found(path: str) -> None:
    async def play(http: httpx2.AsyncClient, _: MemoryStore) -> None:
        answer = await http.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-security-policy"] == POLICY

    visit(play)


def test_before_anything_is_applied_it_says_so() -> None:
    async def run() -> None:
        async with client(dashboard(MemoryStore())) as http:
            for path in ("/", "/oncall"):
                answer = await http.get(path)
                assert answer.status_code == 503
                assert "nothing was applied" in answer.text

    asyncio.run(run())


# --- files ----------------------------------------------------------------------------------------------------


def test_own_files_are_kept_for_ever_under_their_hash() -> None:
    async def play(http: httpx2.AsyncClient, _: MemoryStore) -> None:
        assets = load()
        for name, asset in assets.files.items():
            answer = await http.get(f"/static/{assets.digest}/{name}")
            assert answer.status_code == 200
            assert answer.content == asset.content
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["x-content-type-options"] == "nosniff"

    visit(play)


def test_what_others_wrote_is_what_it_was() -> None:
    told = json.loads((FOLDER / "vendored.json").read_text(encoding="utf-8"))
    for name, facts in told.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == facts["sha256"], name
        assert len((FOLDER / facts["licence_file"]).read_text(encoding="utf-8")) > 500
    own = {"everyhop.css", "everyhop.js", "icon-fail.svg", "icon-pass.svg", "icon-unknown.svg"}
    licences = {facts["licence_file"] for facts in told.values()}
    assert {path.name for path in FOLDER.iterdir()} == {*told, *own, *licences, "vendored.json"}


def test_the_whole_of_it_is_light() -> None:
    assert sum(len(asset.content) for asset in load().files.values()) < 150_000


# --- what strangers wrote -------------------------------------------------------------------------------------

HOSTILE = """"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}</title><svg onload=alert(3)>"""
LINK = "javascript:alert(4)"


@dataclass
class Markup(HTMLParser):
    """Every tag with its attributes."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list[tuple[str, dict[str, str | None]]])

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def poisoned(value: Any) -> Any:
    """The same record with every free text replaced."""
    keep = {"key_id", "certificate", "fingerprint", "authority", "unit", "sli", "hop", "name", "node", "request_id"}
    changed: dict[str, Any] = {}
    for one in fields(value):
        held = getattr(value, one.name)
        if type(held) is str and one.name not in keep:
            changed[one.name] = LINK if one.name == "runbook" else HOSTILE
        elif is_dataclass(held) and not isinstance(held, type):
            changed[one.name] = poisoned(held)
    return replace(value, **changed)


ALL: tuple[Records[Any], ...] = (
    ALERTS,
    AUTHORITIES,
    BEATS,
    FINDINGS,
    FLOWS,
    HOPS_SEEN,
    LISTENERS,
    PROCESSES,
    REFUSALS_SEEN,
    ROTATIONS,
    SLIS,
    SLOTS,
)


async def poison(store: MemoryStore) -> None:
    """Hostile text in every record, observation and free text of the topology."""
    text = TEXT.replace("data@shop.example", LINK).replace(
        "the cache speaks no TLS before its upgrade in January", "<b>x"
    )
    await apply(store, text, file=HOSTILE, file_dir="/", actor="t", now=NOW)
    for records in ALL:
        for document in await store.all(records.kind):
            found = await records.get(store, document.key)
            assert found is not None
            await records.put(store, document.key, poisoned(found.value))
    body: dict[str, Plain] = {HOSTILE: HOSTILE, "list": [HOSTILE], "deep": {HOSTILE: HOSTILE}}
    for stream in Stream:
        for subject in (HOSTILE, "api -> checkout"):
            one = Observation(NOW, Kind.FLOW, Source.PROBE, subject, HOSTILE, Verdict.FAIL, body, stream)
            await store.observe([one])


def test_nothing_that_others_wrote_becomes_markup() -> None:
    async def play(http: httpx2.AsyncClient, store: MemoryStore) -> None:
        clean = {path: _markup((await http.get(path)).text) for path in PATHS}
        await poison(store)
        for path in PATHS:
            text = (await http.get(path)).text
            found = _markup(text)
            assert "49" not in text or "{{7*7}}" in text
            assert {tag for tag, _ in found} <= {tag for tag, _ in clean[path]} | {"p", "span", "code", "a"}, path
            for tag, attributes in found:
                assert not [name for name in attributes if name.startswith("on")], (path, tag)
                link = attributes.get("href") or attributes.get("src") or attributes.get("action") or "/"
                assert link.startswith(("/", "#", "https://", "mailto:")), (path, link)
                if tag == "script":
                    assert link.startswith("/static/")

    visit(play)


def test_a_query_is_only_text() -> None:
    async def play(http: httpx2.AsyncClient, _: MemoryStore) -> None:
        answer = await http.get("/findings", params={"owner": HOSTILE, HOSTILE: "x"})
        assert not [tag for tag, attributes in _markup(answer.text) if tag == "img" or "onload" in attributes]

    visit(play)


def _markup(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Markup()
    parser.feed(text)
    return parser.tags
