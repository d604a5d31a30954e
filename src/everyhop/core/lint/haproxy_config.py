"""HAProxy's configuration language: sections of lines of words, with places (HAProxy manual, 2.2 "Quoting").

Rules: a line is words; quotes and backslashes are as HAProxy reads them; a comment begins at ``#``. A section begins
with its keyword at the begin of a line's words. What stands before the first section is Unreadable, as for HAProxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from everyhop.core.lint.rule import Place, Unreadable

SECTIONS = frozenset(
    (
        *(
            "global",
            "defaults",
            "frontend",
            "backend",
            "listen",
            "peers",
            "resolvers",
            "mailers",
            "userlist",
            "program",
        ),
        *("ring", "cache", "fcgi-app", "http-errors", "log-forward", "crt-store", "traces", "acme", "log-profile"),
    )
)
_WORD = re.compile(r"""(?:"(?:[^"\\]|\\.)*+"?|'[^']*+'?|\\.?|[^\s"'\\#])++""", re.DOTALL)
_QUOTES = re.compile(r"""["']""")
_CONDITION = re.compile(r"\s*\.(?:if|elif|else|endif|notice|warning|alert|diag)\b")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its first word, the others, and where each begins."""

    keyword: str
    words: tuple[str, ...]
    place: Place
    section: Section

    def after(self, word: str) -> str | None:
        """The word behind a word, or None if that is not there."""
        if word not in self.words:
            return None
        index = self.words.index(word) + 1
        return self.words[index] if index < len(self.words) else ""

    @property
    def text(self) -> str:
        """The line, for people."""
        return " ".join((self.keyword, *self.words))


@dataclass(slots=True)
class Section:
    """One section with its lines, and the defaults that hold for it."""

    kind: str
    name: str
    place: Place
    defaults: Section | None = None
    lines: list[Line] = field(default_factory=list["Line"])
    _named: dict[str, list[Line]] = field(default_factory=dict[str, "list[Line]"])

    def add(self, line: Line) -> None:
        """Put a line at its end."""
        self.lines.append(line)
        self._named.setdefault(line.keyword, []).append(line)

    def all(self, *keywords: str) -> list[Line]:
        """Its own lines that begin with one of these words."""
        return [line for keyword in keywords for line in self._named.get(keyword, ())]

    def last(self, keyword: str) -> Line | None:
        """The line that holds: its own last one, or that of its defaults."""
        at: Section | None = self
        while at is not None:
            if own := at.all(keyword):
                return own[-1]
            at = at.defaults
        return None

    @property
    def mode(self) -> str:
        """``http`` or ``tcp``, which is the default."""
        line = self.last("mode")
        return line.words[0] if line and line.words else "tcp"


@dataclass(frozen=True, slots=True)
class HaproxyConfig:
    """A whole file."""

    sections: tuple[Section, ...]
    text: str

    def of(self, *kinds: str) -> Iterator[Section]:
        """The sections of these kinds."""
        return (one for one in self.sections if one.kind in kinds)

    def lines(self) -> Iterator[Line]:
        """Every line of every section."""
        return (line for section in self.sections for line in section.lines)

    def option(self, word: str) -> Line | None:
        """The line of the global section that begins with this word."""
        return next((line for one in self.of("global") for line in one.all(word)), None)


def parse_haproxy(text: str) -> HaproxyConfig:
    """Read a configuration. Raises :class:`Unreadable`."""
    sections: list[Section] = []
    named: dict[str, Section] = {}
    latest: Section | None = None
    for number, line in enumerate(text.split("\n"), 1):
        words = _words(line)
        if not words or _CONDITION.match(line):
            continue
        keyword, column = words[0]
        rest = tuple(word for word, _ in words[1:])
        place = Place(number, column)
        if keyword in SECTIONS and (column == 1 or not sections or not rest or keyword in ("frontend", "backend")):
            base = named.get(rest[2]) if len(rest) > 2 and rest[1] == "from" else latest
            section = Section(keyword, rest[0] if rest else "", place, base if keyword != "global" else None)
            sections.append(section)
            if keyword == "defaults":
                section.defaults = base if len(rest) > 2 and base is not section else None
                latest = named[section.name] = section
        elif sections:
            sections[-1].add(Line(keyword, rest, place, sections[-1]))
        else:
            raise Unreadable(place, "a line before the first section")
    return HaproxyConfig(tuple(sections), text)


def _words(line: str) -> list[tuple[str, int]]:
    """The words of a line with their columns; a comment ends it."""
    words: list[tuple[str, int]] = []
    position = 0
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        if line[position] == "#":
            break
        found = _WORD.match(line, position)
        if found is None:
            break
        words.append((_QUOTES.sub("", found[0]), position + 1))
        position = found.end()
    return words
