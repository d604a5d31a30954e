"""nginx's configuration language: directives, blocks, places (nginx.org, "Configuration File's Structure").

Rules: a directive is words up to ``;``, or words and a block in braces. Quotes and backslashes are as nginx reads them
(src/core/ngx_conf_file.c). Includes are noted and not followed. Depth is bounded, everything is linear, and a text that
is no configuration is :class:`Unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from everyhop.core.lint.rule import Place, Unreadable
from everyhop.core.lint.text import Lines

MAX_DEPTH = 64
_TOKEN = re.compile(
    r"""\s++|(?P<comment>\#[^\n]*+)|(?P<end>;)|(?P<open>\{)|(?P<close>\})"""
    r"""|"(?P<double>(?:[^"\\]|\\.)*+)"|'(?P<single>(?:[^'\\]|\\.)*+)'"""
    r"""|(?P<word>(?:\\.|\$\{[^}\s]{0,200}\}|[^\s;{\\]|\\\Z)++)""",
    re.DOTALL,
)
_HARMLESS = re.compile(r"(?:^|/)(?:mime\.types|(?:fastcgi|uwsgi|scgi)(?:_params|\.conf)|proxy_params|modules-enabled/)")


@dataclass(slots=True)
class Directive:
    """A directive with its words; ``block`` is None if it ends with ``;``."""

    name: str
    words: list[str]
    place: Place
    parent: Directive | None = None
    block: list[Directive] | None = None
    _named: dict[str, list[Directive]] = field(default_factory=dict[str, "list[Directive]"])
    _includes: bool = False

    def add(self, one: Directive) -> None:
        """Put a directive inside, at the end."""
        if self.block is not None:
            self.block.append(one)
        self._named.setdefault(one.name, []).append(one)
        self._includes = self._includes or (one.name == "include" and not _HARMLESS.search(one.text))

    def all(self, name: str) -> list[Directive]:
        """The directives of this name right inside."""
        return self._named.get(name, [])

    def walk(self) -> Iterator[Directive]:
        """Everything inside, in file order."""
        waiting = [*reversed(self.block or ())]
        while waiting:
            one = waiting.pop()
            yield one
            waiting.extend(reversed(one.block or ()))

    def scopes(self) -> Iterator[Directive]:
        """The blocks around it, innermost first."""
        around = self.parent
        while around is not None:
            yield around
            around = around.parent

    def within(self, name: str) -> bool:
        """True if it stands in a block of this name."""
        return any(scope.name == name for scope in self.scopes())

    def inherited(self, name: str) -> Directive | None:
        """The directive of this name that holds here: that of the innermost scope that has one."""
        for scope in self.scopes():
            if found := scope.all(name):
                return found[-1]
        return None

    def open_ended(self) -> bool:
        """True if an included file may say more of what holds here."""
        return any(scope._includes for scope in (self, *self.scopes()))

    @property
    def text(self) -> str:
        """Its words, for people."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class NginxConfig:
    """A whole file: a block without a name."""

    top: Directive
    text: str
    names: frozenset[str]
    """Every directive's name that there is."""

    def all(self, *names: str) -> list[Directive]:
        """Every directive of these names, at any depth, in file order."""
        if not self.names.intersection(names):
            return []
        return [one for one in self.top.walk() if one.name in names]


def parse_nginx(text: str) -> NginxConfig:
    """Read a configuration. Raises :class:`Unreadable`."""
    lines = Lines(text)
    top = Directive("", [], Place(1, 1), block=[])
    current, depth = top, 0
    words: list[str] = []
    begin, names = 0, set[str]()
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise Unreadable(lines.place(position), f"a character that no directive may have: {text[position]!a}")
        kind = found.lastgroup
        if kind in ("word", "double", "single"):
            begin = begin if words else position
            words.append(found[kind])
        elif kind in ("end", "open"):
            if not words:
                raise Unreadable(lines.place(position), f"{found[0]!r} without a directive before it")
            one = Directive(words[0], words[1:], lines.place(begin), current)
            names.add(one.name)
            current.add(one)
            words = []
            if kind == "open":
                if _is_lua(one.name):
                    position = _after_lua(text, found.end(), lines)
                    continue
                one.block, current, depth = [], one, depth + 1
                if depth > MAX_DEPTH:
                    raise Unreadable(lines.place(position), f"more than {MAX_DEPTH} blocks in each other")
        elif kind == "close":
            if words or current.parent is None:
                raise Unreadable(lines.place(position), "a closing brace that ends nothing")
            current, depth = current.parent, depth - 1
        position = found.end()
    if words or current is not top:
        where = lines.place(begin) if words else current.place
        raise Unreadable(where, "a directive or a block without its end")
    return NginxConfig(top, text, frozenset(names))


def _is_lua(name: str) -> bool:
    return name.endswith("_by_lua_block")


def _after_lua(text: str, position: int, lines: Lines) -> int:
    """Behind the brace that ends a block of Lua, whose own words are none of nginx's."""
    depth = 1
    for brace in re.compile(r"[{}]").finditer(text, position):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    raise Unreadable(lines.place(position - 1), "a block of Lua without its end")
