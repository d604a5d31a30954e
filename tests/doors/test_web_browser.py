"""The dashboard in a real Chromium: what one sees, with keyboard and screen reader, on a phone, in the dark.

Rules: nothing but the dashboard's own origin is asked for, no console says an error, and axe finds nothing serious.
With ``EVERYHOP_WRITE_IMAGES`` set, the pictures of the documentation are made anew.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright
from tests.fakes.callers import ours
from tests.fakes.clock import MovedClock
from tests.fakes.estate import DATA, NOW, fill
from tests.fakes.random import SeededRandom
from tests.fakes.store import Disk, MemoryStore
from tests.servers import need

from everyhop.core.hop import Address
from everyhop.doors.web.access import Access, Readers
from everyhop.doors.web.app import PAGES, About, Dashboard
from everyhop.doors.web.server import WebServer

AXE = Path(__file__).parents[1] / "axe" / "axe.min.js"
IMAGES = Path(__file__).parents[2] / "docs" / "images"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATHS = (*(path for path, _ in PAGES), "/hops/api/checkout", "/hops/ledger/orders-db", "/findings?verdict=all")
WIDE, PHONE = (1440, 900), (390, 844)
PATIENCE = 20_000
"""Milliseconds; only a failure waits so long."""


@dataclass
class Screen:
    """A browser in front of a dashboard."""

    store: MemoryStore
    server: WebServer
    origin: str
    browser: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])

    async def go(self, path: str, size: tuple[int, int] = WIDE, scheme: str = "light") -> None:
        """Open a page and wait until it stands still."""
        await self.page.set_viewport_size({"width": size[0], "height": size[1]})
        await self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await self.page.goto(self.origin + path)
        await self.page.evaluate("document.fonts.ready.then(() => true)")

    async def violations(self) -> list[str]:
        """What axe finds that is serious or critical."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: Mapping[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:120]}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]


@asynccontextmanager
async def screen(*, well: bool = False, scripts: bool = True) -> AsyncGenerator[Screen]:
    chromium = need("chromium")
    store, clock = MemoryStore(), MovedClock(NOW)
    await fill(store, well=well)
    app = Dashboard(store, DATA, clock, Access(store, clock, SeededRandom(), Readers(), ours), About("0.1.0"))
    server = WebServer(app.asgi, clock, lambda _: None)
    address = await server.start(Address("127.0.0.1", 0), None)
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch_persistent_context(
                    folder, executable_path=chromium, args=list(ARGUMENTS), headless=True, java_script_enabled=scripts
                )
                page = await browser.new_page()
                page.set_default_timeout(PATIENCE)
                seen = Screen(store, server, f"http://{address}", browser, page)
                page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
                page.on("pageerror", lambda error: seen.complaints.append(str(error)))
                page.on("request", lambda request: seen.asked.append(request.url))
                yield seen
                await browser.close()
    finally:
        await server.stop()


def watch(play: Callable[[Screen], Awaitable[None]], *, well: bool = False, scripts: bool = True) -> None:
    async def run() -> None:
        async with screen(well=well, scripts=scripts) as seen:
            await play(seen)
            assert seen.complaints == []
            assert [url for url in seen.asked if not url.startswith(seen.origin + "/")] == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("well", "size", "scheme"),
    [(False, WIDE, "light"), (False, WIDE, "dark"), (False, PHONE, "light"), (True, WIDE, "light")],
    ids=["red", "dark", "phone", "green"],
)
def test_every_page_reads_well_for_everybody(well: bool, size: tuple[int, int], scheme: str) -> None:
    async def play(seen: Screen) -> None:
        for path in PATHS:
            await seen.go(path, size, scheme)
            assert await seen.violations() == [], path
            assert await seen.page.evaluate("document.documentElement.scrollWidth") <= size[0], path

    watch(play, well=well)


def test_one_sees_what_is_encrypted_and_what_is_not() -> None:
    async def lines(seen: Screen, kind: str) -> int:
        return await seen.page.locator(f".map a.hop.is-{kind}").count()

    async def red(seen: Screen) -> None:
        await seen.go("/")
        counts = [await lines(seen, kind) for kind in ("encrypted", "plaintext", "unknown", "exempt", "carried")]
        assert counts == [14, 2, 3, 1, 1]
        assert await seen.page.title() == "2 not encrypted · Hops · everyhop"
        bad, good = (seen.page.locator(f".map a.hop.is-{kind} .way").first for kind in ("plaintext", "encrypted"))
        look = "line => [getComputedStyle(line).stroke, getComputedStyle(line).strokeDasharray]"
        one, two = await bad.evaluate(look), await good.evaluate(look)
        assert one[0] != two[0]
        assert one[1] != two[1]  # and not by colour alone
        icon = await seen.page.locator("#icon").get_attribute("href")
        assert icon is not None
        assert icon.endswith("icon-fail.svg")

    async def green(seen: Screen) -> None:
        await seen.go("/")
        assert await lines(seen, "plaintext") == await lines(seen, "unknown") == 0
        assert await seen.page.title() == "all well · Hops · everyhop"

    watch(red)
    watch(green, well=True)


def test_a_refresh_changes_what_changed_and_leaves_the_reader_alone() -> None:
    async def play(seen: Screen) -> None:
        page = seen.page
        await seen.go("/hops/api/checkout")
        await page.locator("#older > summary").click()
        link = page.locator(".crumb a")
        await page.evaluate("window.scrollTo(0, 700)")
        await page.evaluate("document.querySelector('#older > summary').focus({preventScroll: true})")
        other = MemoryStore(Disk())
        await fill(other)
        seen.store.disk.documents |= other.disk.documents  # trouble begins
        seen.store.disk.revision += 1
        await page.locator(".entries", has_text="its certificate has expired").wait_for()
        assert await page.locator("#older").evaluate("one => one.open")
        assert await page.evaluate("document.activeElement.tagName") == "SUMMARY"
        assert await page.evaluate("Math.abs(window.scrollY - 700) < 150")
        assert await link.count() == 1
        icon = await page.locator("#icon").get_attribute("href")
        assert icon is not None
        assert icon.endswith("icon-fail.svg")

    watch(play, well=True)


def test_an_old_page_says_that_it_is_old() -> None:
    async def play(seen: Screen) -> None:
        await seen.go("/")
        await seen.page.locator("#stale").wait_for(state="hidden")
        await seen.server.stop()
        await seen.page.locator("#stale").wait_for(state="visible")
        assert "everyhop does not answer" in await seen.page.locator("#stale").inner_text()
        own = [text for text in seen.complaints if "ERR_CONNECTION_REFUSED" in text or "Failed to fetch" in text]
        assert seen.complaints == own  # the browser and htmx say so, and nobody says anything else
        seen.complaints.clear()

    watch(play)


def test_refreshing_can_be_paused() -> None:
    async def play(seen: Screen) -> None:
        page = seen.page
        await seen.go("/")
        await page.locator("#pause").click()
        assert await page.locator("#pause").get_attribute("aria-pressed") == "true"
        seen.asked.clear()
        await page.evaluate("htmx.trigger(document.getElementById('live'), 'every')")
        assert seen.asked == []

    watch(play)


def test_the_keyboard_leads_everywhere() -> None:
    async def play(seen: Screen) -> None:
        page = seen.page
        await seen.go("/")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to content"
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "content"
        await page.locator('.map a[href="/hops/web/auth"]').focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/hops/web/auth")
        assert (await page.locator("h1").inner_text()).strip() == "web → auth: encrypted"
        await page.get_by_role("link", name="All hops", exact=True).focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url(seen.origin + "/")

    watch(play)


def test_a_screen_reader_hears_every_line_of_the_map() -> None:
    async def play(seen: Screen) -> None:
        await seen.go("/")
        names = await seen.page.locator(".map a.hop").evaluate_all("all => all.map(one => one.ariaLabel)")
        assert len(names) == 21
        assert any(
            name.startswith("beside the mesh, reporting (pg_dump) to orders-db: not encrypted") for name in names
        )
        assert any(name.startswith("web to auth: encrypted; TLS 1.3, X25519MLKEM768") for name in names)
        rows = await seen.page.get_by_role("region", name="Every hop").get_by_role("row").count()
        assert rows == 1 + 21

    watch(play)


def test_everything_is_there_without_scripts() -> None:
    async def play(seen: Screen) -> None:
        await seen.page.goto(seen.origin + "/")
        assert await seen.page.locator(".map a.hop").count() == 21
        assert await seen.page.locator("#pause").is_hidden()
        assert await seen.page.get_by_role("link", name="Look again").is_visible()
        await seen.page.goto(seen.origin + "/findings")
        await seen.page.get_by_label("Owner").select_option("storefront")
        await seen.page.get_by_role("button", name="Show").click()
        assert await seen.page.locator("tbody tr").count() == 2

    watch(play, scripts=False)


def test_it_prints_without_what_cannot_be_clicked_on_paper() -> None:
    async def play(seen: Screen) -> None:
        await seen.go("/")
        await seen.page.emulate_media(media="print")
        assert await seen.page.locator("nav").is_hidden()
        assert await seen.page.locator(".map svg").is_visible()

    watch(play)


PICTURES = (
    ("dashboard-red", "/", WIDE, "light", False),
    ("dashboard-green", "/", WIDE, "light", True),
    ("dashboard-dark", "/", WIDE, "dark", False),
    ("dashboard-phone", "/", PHONE, "light", False),
    ("dashboard-summary", "/summary", WIDE, "light", False),
    ("dashboard-oncall", "/oncall", WIDE, "dark", False),
    ("dashboard-hop", "/hops/api/checkout", WIDE, "light", False),
)


@pytest.mark.skipif(not os.environ.get("EVERYHOP_WRITE_IMAGES"), reason="pictures are made on demand")
@pytest.mark.parametrize("well", [True, False])
def test_pictures_for_the_documentation(well: bool) -> None:
    async def play(seen: Screen) -> None:
        IMAGES.mkdir(exist_ok=True)
        for name, path, size, scheme, wanted in PICTURES:
            if wanted is well:
                await seen.go(path, size, scheme)
                file = IMAGES / f"{name}.png"
                await seen.page.screenshot(path=file)
                assert file.stat().st_size < 200_000, name

    watch(play, well=well)
