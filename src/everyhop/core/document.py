"""YAML text to plain values, each with its place in the file.

Rules: one document, YAML 1.2 core schema (yaml.org/spec/1.2.2, 10.3): ``no`` and ``2027-03-01`` are texts, ``010``
is ten. No tags, no second meaning: a key given twice is a fault. Size, depth and the expansion of aliases are
bounded before anything is built, so that a hostile file costs little. Faults are collected, not raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml import events as ev

from everyhop.core.fault import Fault, FaultCode, Path, Plain, describe, did_you_mean, written

MAX_BYTES = 1024 * 1024
"""A topology of a thousand services is a fifth of this."""
MAX_DEPTH = 24
"""The language itself needs six levels."""
MAX_VALUES = 50_000
"""Values in the document, aliases counted as what they stand for."""

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML forbids in a stream (production c-printable); lone surrogates are among it."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}\Z")
_BASED = re.compile(r"0o[0-7]{1,20}\Z|0x[0-9a-fA-F]{1,15}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_ENDLESS = re.compile(r"([-+]?)\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")

_SYNTAX_HINTS = {
    "found character that cannot start any token": "indent with spaces, and quote texts that begin with @, ` or %",
    "mapping values are not allowed in this context": "quote a text that holds ': ', or look at the indentation",
    "did not find expected key": "look at the indentation, and for a quote or bracket that was not closed",
    "could not find expected ':'": "a key needs a colon and a space after it",
    "did not find expected ',' or ']'": "a list in brackets needs commas and a closing bracket",
    "did not find expected ',' or '}'": "a mapping in braces needs commas and a closing brace",
    "did not find expected '-' indicator": "every item of a list begins in the same column",
    "found unexpected end of stream": "a quote was not closed",
}
_SYNTAX_HINT = "compare the line with the one before, and look for an open quote or bracket"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class _Node:
    value: Plain
    position: Position
    size: int = 1
    children: dict[str | int, _Node] = field(default_factory=dict["str | int", "_Node"])
    keys: dict[str, Position] = field(default_factory=dict[str, Position])


@dataclass(frozen=True, slots=True)
class Document:
    """A file's content: ``value`` as plain data, a place for each value, and what was wrong while reading."""

    file: str
    value: Plain
    faults: tuple[Fault, ...]
    complete: bool
    """False if reading had to stop: ``value`` is then None and says nothing."""
    _top: _Node

    def at(self, path: Path) -> Plain:
        """The value at a path, or at its longest part that exists."""
        return self._walk(path)[0].value

    def reach(self, path: Path) -> Path:
        """The longest part of a path that exists."""
        return path[: self._walk(path)[1]]

    def locate(self, path: Path, *, key: bool = False) -> Position:
        """Where the value at a path begins, or with ``key`` its key; for a missing one, what surrounds it."""
        node, depth = self._walk(path)
        if key and depth:
            parent = self._walk(path[: depth - 1])[0]
            return parent.keys.get(str(path[depth - 1]), node.position)
        return node.position

    def fault(
        self, path: Path, code: FaultCode, *, expected: str, hint: str, got: str | None = None, key: bool = False
    ) -> Fault:
        """A fault at a path; ``got`` is what stands there, unless given. With ``key`` it is the key's place."""
        position = self.locate(path, key=key)
        came = describe(self.at(path), path) if got is None else got
        return Fault(self.file, position.line, position.column, written(path), expected, came, hint, code)

    def _walk(self, path: Path) -> tuple[_Node, int]:
        node = self._top
        for depth, step in enumerate(path):
            if step not in node.children:
                return node, depth
            node = node.children[step]
        return node, len(path)


class _Stop(Exception):  # noqa: N818 - not an error: how reading ends early
    """Reading cannot go on; the fault says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def parse(text: str, *, file: str, depth: int = MAX_DEPTH) -> Document:
    """Read one YAML document of at most ``depth`` levels. Never raises: what is wrong stands in its ``faults``."""
    composer = _Composer(file, depth)
    try:
        top = composer.document(text.removeprefix("\ufeff"))
    except _Stop as stop:
        nothing = _Node(None, Position(1, 1))
        return Document(file, None, (*composer.faults, stop.fault), complete=False, _top=nothing)
    return Document(file, top.value, tuple(composer.faults), complete=True, _top=top)


def scalar(text: str) -> bool | int | float | str | None:
    """A plain scalar's value by the YAML 1.2 core schema; integers of more than 18 digits become floats."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.match(text):
        return float(text)
    if found := _ENDLESS.match(text):
        return float(f"{found[1]}inf" if found[2] else "nan")
    return text


class _Composer:
    """Builds nodes from the parser's events, so that limits hold before memory is spent."""

    def __init__(self, file: str, depth: int) -> None:
        self.file = file
        self._depth = depth
        self.faults: list[Fault] = []
        self._events: Iterator[ev.Event] = iter(())
        self._anchors: dict[str, _Node] = {}
        self._values = 0

    def document(self, text: str) -> _Node:
        """The one document of a stream."""
        self._check_text(text)
        self._events = _events(text)
        self._next()  # the stream's start
        if isinstance(event := self._next(), ev.StreamEndEvent):
            return _Node(None, Position(1, 1))
        top = self._node(self._next(), (), 1)
        self._next()  # the document's end
        if not isinstance(event := self._next(), ev.StreamEndEvent):
            self._complain(event, (), "one document", "a second one", "remove the line ---, or use two files")
        return top

    def _check_text(self, text: str) -> None:
        size = len(text.encode(errors="replace"))
        if size > MAX_BYTES:
            expected, got = f"at most {MAX_BYTES} bytes", f"{size} bytes"
            raise self._stop(Position(1, 1), FaultCode.LIMIT, expected, got, "a topology is a small file")
        if found := _UNPRINTABLE.search(text):
            before = text[: found.start()]
            position = Position(before.count("\n") + 1, found.start() - before.rfind("\n"))
            got, hint = f"the character U+{ord(found[0]):04X}", "remove it, or write it as an escape"
            raise self._stop(position, FaultCode.SYNTAX, "printable characters", got, hint)

    def _next(self) -> ev.Event:
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as error:
            problem = error.problem or "an unknown problem"
            mark = error.problem_mark or error.context_mark
            position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
            hint = _SYNTAX_HINTS.get(problem, _SYNTAX_HINT)
            raise self._stop(position, FaultCode.SYNTAX, "valid YAML", f"a syntax error ({problem})", hint) from None
        except yaml.YAMLError:
            hint = "save the file again as UTF-8 text"
            raise self._stop(Position(1, 1), FaultCode.SYNTAX, "valid YAML", "something else", hint) from None

    def _node(self, event: ev.Event, path: Path, depth: int) -> _Node:
        if depth > self._depth:
            expected, hint = f"at most {self._depth} levels", "look for brackets that were not closed"
            raise self._stop(_position(event), FaultCode.LIMIT, expected, "more", hint)
        if isinstance(event, ev.AliasEvent):
            return self._alias(event)
        if isinstance(event, ev.NodeEvent) and getattr(event, "tag", None):
            self._complain(event, path, "a value without a tag", "a tag", "remove the word that begins with !")
        self._spend(event, 1)
        if isinstance(event, ev.ScalarEvent):
            node = _Node(scalar(event.value) if event.style in (None, "") else event.value, _position(event))
        elif isinstance(event, ev.SequenceStartEvent):
            node = self._sequence(event, path, depth)
        else:
            node = self._mapping(event, path, depth)
        # Only now: an alias inside its own anchor is an unknown one, so that no value holds itself.
        if isinstance(event, ev.NodeEvent) and event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, start: ev.Event, path: Path, depth: int) -> _Node:
        items: list[Plain] = []
        node = _Node(items, _position(start))
        while not isinstance(event := self._next(), ev.SequenceEndEvent):
            child = self._node(event, (*path, len(items)), depth + 1)
            node.children[len(items)] = child
            node.size += child.size
            items.append(child.value)
        return node

    def _mapping(self, start: ev.Event, path: Path, depth: int) -> _Node:
        entries: dict[str, Plain] = {}
        node = _Node(entries, _position(start))
        while not isinstance(event := self._next(), ev.MappingEndEvent):
            if not isinstance(event, ev.ScalarEvent):
                hint = "put quotes around a key that begins with a bracket, a brace or *"
                raise self._stop(_position(event), FaultCode.SYNTAX, "a text as key", "something else", hint)
            key, place = event.value, _position(event)
            child = self._node(self._next(), (*path, key), depth + 1)
            node.size += child.size
            if key in entries:
                self._repeated(node, key, place, (*path, key))
                continue
            node.children[key], node.keys[key], entries[key] = child, place, child.value
        return node

    def _repeated(self, node: _Node, key: str, place: Position, path: Path) -> None:
        first = f"it stands in line {node.keys[key].line} already: keep one of the two"
        name = describe(key)
        self._fault(place, path, FaultCode.DUPLICATE, "each key once", f"{name} again", first)

    def _alias(self, event: ev.AliasEvent) -> _Node:
        anchor = event.anchor or ""
        target = self._anchors.get(anchor)
        if target is None:
            hint = did_you_mean(anchor, self._anchors, otherwise="put quotes around a text that begins with *")
            expected = "an alias of an anchor before it"
            raise self._stop(_position(event), FaultCode.SYNTAX, expected, "an unknown one", hint)
        self._spend(event, target.size)
        return _Node(target.value, _position(event), target.size, target.children, target.keys)

    def _spend(self, event: ev.Event, size: int) -> None:
        self._values += size
        if self._values > MAX_VALUES:
            hint = "aliases count as what they stand for: use fewer of them"
            raise self._stop(_position(event), FaultCode.LIMIT, f"at most {MAX_VALUES} values", "more", hint)

    def _complain(self, event: ev.Event, path: Path, expected: str, got: str, hint: str) -> None:
        self._fault(_position(event), path, FaultCode.SYNTAX, expected, got, hint)

    def _fault(self, at: Position, path: Path, code: FaultCode, expected: str, got: str, hint: str) -> None:
        self.faults.append(Fault(self.file, at.line, at.column, written(path), expected, got, hint, code))

    def _stop(self, at: Position, code: FaultCode, expected: str, got: str, hint: str) -> _Stop:
        return _Stop(Fault(self.file, at.line, at.column, "", expected, got, hint, code))


def _events(text: str) -> Iterator[ev.Event]:
    return yaml.parse(text, Loader=_Loader)


def _position(event: ev.Event) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
