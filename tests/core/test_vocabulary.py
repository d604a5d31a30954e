"""The words of observations: code, list and reference say the same, in every direction."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from everyhop.core.observation import Kind
from everyhop.core.vocabulary import FIELDS

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "everyhop"
PAGE = ROOT / "docs" / "reference" / "observations.md"


def written() -> Iterator[tuple[Kind, str, str]]:
    """Every field that a function writes which returns an Observation: kind, field, and where."""
    for path in [SOURCE / "core" / "tally.py", *sorted((SOURCE / "services").glob("*.py"))]:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef) or function.returns is None:
                continue
            if ast.unparse(function.returns) != "Observation":
                continue
            named = {ast.unparse(node).removeprefix("Kind.") for node in ast.walk(function) if is_kind(node)}
            # The chronicler's functions leave the kind to one of them.
            kinds = {Kind[name] for name in named} or {Kind.CERTIFICATE}
            for node in ast.walk(function):
                for key in node.keys if isinstance(node, ast.Dict) else ():
                    if isinstance(key, ast.Constant):
                        for kind in kinds:
                            yield kind, str(key.value), f"{path.name}: {function.name}"


def is_kind(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Kind"


def test_every_field_that_is_written_has_a_meaning() -> None:
    unknown = {(kind, name, where) for kind, name, where in written() if name not in FIELDS[kind]}
    assert not unknown, f"add these to core/vocabulary.py: {sorted(unknown)}"


def test_every_field_with_a_meaning_is_written() -> None:
    found = {(kind, name) for kind, name, _ in written()}
    found |= {(Kind.HOUR, name) for kind, name in found if kind is Kind.CONNECTIONS}  # an hour is the minutes' sum
    stale = {(kind, name) for kind, fields in FIELDS.items() for name in fields} - found
    assert not stale, f"nothing writes these: {sorted(stale)}"


@pytest.mark.parametrize("kind", Kind)
def test_the_reference_says_the_same(kind: Kind) -> None:
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = [one for one in sections if one.startswith(f"`{kind.value}`\n")]
    told = dict(re.findall(r"^\| `([a-z0-9_]+)` \| (.+) \|$", section, re.MULTILINE))
    assert told == dict(FIELDS[kind])
