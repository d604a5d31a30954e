"""A headless Chromium, as a person would look at a page: one visit, one browser, nothing kept."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright
from tests.servers import need

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def visit(url: str, picture: Path | None = None) -> str:
    """What a person reads on a page. The certificate is not judged here: the browser knows no private authority."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=need("chromium"), args=ARGUMENTS)
        try:
            page = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900}).new_page()
            page.goto(url)
            if picture is not None:
                page.screenshot(path=picture, full_page=True)
            return page.inner_text("body")
        finally:
            browser.close()
