"""Mixed content: what a page fetched over TLS would load in the clear (W3C Mixed Content, 2 and 4).

Rules: pure; the standard library's tolerant parser, which loads nothing. Links that are only *followed* are not mixed
content; forms that are sent in the clear are listed with it, because browsers warn of them likewise.
"""

from __future__ import annotations

from html.parser import HTMLParser

MOST = 50
_LONGEST = 200

_LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "video": ("src", "poster"),
}
"""Elements, and their attributes whose value is fetched."""

_LINKS = frozenset(("stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest", "apple-touch-icon"))
"""Relations of ``link`` that are fetched; ``canonical`` and its like are not."""


def insecure_references(html: str) -> tuple[str, ...]:
    """The http: addresses that the page would fetch, each once, in their order, at most 50; queries are cut off."""
    reader = _Reader()
    reader.feed(html)
    return tuple(reader.found)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element fetches. ``<link>`` fetches if one of its relations does."""
        given = {name: value or "" for name, value in attrs}
        wanted = _LOADED.get(tag, ())
        if tag == "link" and _LINKS & set(given.get("rel", "").lower().split()):
            wanted = ("href",)
        for name in wanted:
            values = given.get(name, "").split(",") if name == "srcset" else [given.get(name, "")]
            for value in values:
                self._note(value.strip())

    def _note(self, reference: str) -> None:
        address = reference.split(None, 1)[0] if reference else ""
        if address[:5].lower() == "http:" and len(self.found) < MOST:
            self.found[address.partition("?")[0].partition("#")[0][:_LONGEST]] = None
