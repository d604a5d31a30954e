"""Apache's configuration language: directives, sections in angle brackets, places (httpd.apache.org, configuring.html).

Rules: a directive is one line, longer with a backslash at its end; names are the same in any case and kept in lower
case; a section ends with its own name, and closing another is Unreadable, as it is for Apache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from everyhop.core.lint.rule import Place, Unreadable

MAX_DEPTH = 64
_WORD = re.compile(
    r"""\s*+(?:"(?P<double>(?:[^"\\]|\\.)*+)"?|'(?P<single>(?:[^'\\]|\\.)*+)'?|(?P<word>[^\s]++))""", re.DOTALL
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:.]{0,100}\Z")
_TRANSPARENT = ("ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection")


@dataclass(slots=True)
class Entry:
    """A directive, or a section with what stands inside."""

    name: str
    words: tuple[str, ...]
    place: Place
    parent: Entry | None = None
    inside: list[Entry] | None = None
    _named: dict[str, list[Entry]] = field(default_factory=dict[str, "list[Entry]"])

    def add(self, one: Entry) -> None:
        """Put a directive inside; what stands in an <IfModule> counts as if it stood around it."""
        if self.inside is not None:
            self.inside.append(one)
        home: Entry | None = self
        while home is not None:
            home._named.setdefault(one.name, []).append(one)
            if home.name not in _TRANSPARENT:
                return
            home = home.parent

    def all(self, name: str) -> list[Entry]:
        """The directives of this name right inside."""
        return self._named.get(name, [])

    def inherited(self, name: str) -> Entry | None:
        """The directive of this name that holds here: that of the innermost section around it that has one."""
        around = self.parent
        while around is not None:
            if found := around.all(name):
                return found[-1]
            around = around.parent
        return None

    def scopes(self) -> Iterator[Entry]:
        """The sections around it, innermost first, itself included."""
        around: Entry | None = self
        while around is not None:
            yield around
            around = around.parent

    @property
    def text(self) -> str:
        """Its words, for people."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class ApacheConfig:
    """A whole file: a section without a name."""

    top: Entry
    text: str
    entries: tuple[Entry, ...]
    """All of them, in file order."""

    def all(self, *names: str) -> list[Entry]:
        """Every directive of these names, at any depth."""
        return [one for one in self.entries if one.name in names]


def parse_apache(text: str) -> ApacheConfig:
    """Read a configuration. Raises :class:`Unreadable`."""
    top = Entry("", (), Place(1, 1), inside=[])
    current, depth = top, 0
    entries: list[Entry] = []
    for place, line in _joined(text):
        if line.startswith("</"):
            name = line[2:].rstrip("> \t").lower()
            if current.parent is None or current.name != name:
                raise Unreadable(place, "the end of a section that is not open")
            current, depth = current.parent, depth - 1
            continue
        opens = line.startswith("<")
        words = _words(line[1:].rstrip().removesuffix(">") if opens else line)
        if not words or not _NAME.match(words[0]):
            raise Unreadable(place, "a line that does not begin with a directive's name")
        one = Entry(words[0].lower(), tuple(words[1:]), place, current, [] if opens else None)
        current.add(one)
        entries.append(one)
        if opens:
            current, depth = one, depth + 1
            if depth > MAX_DEPTH:
                raise Unreadable(place, f"more than {MAX_DEPTH} sections in each other")
    if current is not top:
        raise Unreadable(current.place, "a section without its end")
    return ApacheConfig(top, text, tuple(entries))


def _joined(text: str) -> Iterator[tuple[Place, str]]:
    """The lines that say something, continued ones joined, each with its place."""
    kept: list[str] = []
    place = Place(1, 1)
    for number, line in enumerate(text.split("\n"), 1):
        body = line.strip()
        if not kept:
            if not body or body.startswith("#"):
                continue
            place = Place(number, len(line) - len(line.lstrip()) + 1)
        if body.endswith("\\"):
            kept.append(body[:-1])
            continue
        whole, kept = " ".join((*kept, body)).strip(), []
        if whole:
            yield place, whole
    if whole := " ".join(kept).strip():
        yield place, whole


def _words(line: str) -> list[str]:
    found = _WORD.finditer(line)
    return [next((word for word in one.groups() if word is not None), "") for one in found]
