"""YAML and JSON as trees of values, every one with its place: several documents in a file, bounded and never raising.

Rules: reading is :mod:`everyhop.core.document`'s, document by document, so that its limits hold. A template that must
be rendered first says so: it is no fault of the file. Walking is bounded by those limits, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from everyhop.core.document import Document, parse
from everyhop.core.fault import Path, Plain
from everyhop.core.finding import Severity
from everyhop.core.lint.rule import File, Place, Unreadable

MAX_DOCUMENTS = 500
MAX_DEPTH = 48
"""A policy within a filter within a chain within a listener takes about thirty."""
_SEPARATOR = re.compile(r"^---(?=\s|\Z)[^\n]*\n?", re.MULTILINE)
_END = re.compile(r"^\.\.\.[ \t]*$", re.MULTILINE)
_TEMPLATE = re.compile(r"\{\{|\{%")


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a document, with the way to it."""

    document: Document
    path: Path
    value: Plain
    shift: int
    """Lines of the file before its document."""

    def get(self, *steps: str) -> Node | None:
        """The value at a way from here, or None."""
        value = self.value
        for step in steps:
            if not isinstance(value, dict) or step not in value:
                return None
            value = value[step]
        return Node(self.document, (*self.path, *steps), value, self.shift)

    def text(self, *steps: str) -> str:
        """The text at a way from here; numbers as text; empty if there is none."""
        found = self.get(*steps)
        if found is None or isinstance(found.value, (dict, list)) or found.value is None:
            return ""
        return str(found.value).lower() if isinstance(found.value, bool) else str(found.value)

    def items(self) -> Iterator[tuple[str, Node]]:
        """The entries of a mapping."""
        if isinstance(self.value, dict):
            for key, value in self.value.items():
                yield key, Node(self.document, (*self.path, key), value, self.shift)

    def each(self, *steps: str) -> Iterator[Node]:
        """The items of the list at a way from here."""
        found = self.get(*steps)
        if found is not None and isinstance(found.value, list):
            for index, value in enumerate(found.value):
                yield Node(found.document, (*found.path, index), value, self.shift)

    def walk(self) -> Iterator[Node]:
        """Itself and everything inside, in file order."""
        waiting: list[Node] = [self]
        while waiting:
            one = waiting.pop()
            yield one
            children = [child for _, child in one.items()] or list(one.each())
            waiting.extend(reversed(children))

    def at(self, *steps: str | int, key: bool = False) -> Place:
        """Where the value at a way from here begins, or its key."""
        place = self.document.locate((*self.path, *steps), key=key)
        return Place(place.line + self.shift, place.column)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole file."""

    documents: tuple[Node, ...]
    text: str

    def walk(self) -> Iterator[Node]:
        """Every value of every document."""
        for one in self.documents:
            yield from one.walk()


def parse_manifest(file: File) -> Manifest:
    """Read every document of a file. Raises :class:`Unreadable`."""
    nodes: list[Node] = []
    for shift, part in _parts(file.text):
        document = parse(part, file=file.path, depth=MAX_DEPTH)
        if not document.complete:
            fault = document.faults[-1]
            place = Place(fault.line + shift, fault.column)
            if _TEMPLATE.search(file.text):
                reason = "a template; render it first, and look at what comes out"
                raise Unreadable(place, reason, severity=Severity.INFO)
            raise Unreadable(place, f"{fault.got} where {fault.expected} was expected")
        if document.value is not None:
            nodes.append(Node(document, (), document.value, shift))
        if len(nodes) > MAX_DOCUMENTS:
            raise Unreadable(Place(shift + 1, 1), f"more than {MAX_DOCUMENTS} documents")
    return Manifest(tuple(nodes), file.text)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """The documents of a stream, each with the lines before it."""
    begin = shift = 0
    for mark in _SEPARATOR.finditer(text):
        part = text[begin : mark.start()]
        if part.strip():
            yield shift, _END.sub("", part)
        shift += part.count("\n") + mark[0].count("\n")
        begin = mark.end()
    yield shift, _END.sub("", text[begin:])
