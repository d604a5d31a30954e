"""Files that a command line names: read before anything is done, written after it.

Rules: what is wrong with a file is wrong with the command line: it is a usage error that names the file and says why.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.reading import read_guideline
from everyhop.core.guidelines.registry import find

_LARGEST = 256 << 20
"""Bytes of a file that is read."""


def guideline_named(name: str) -> Guideline:
    """A known guideline, or one in a file: one that ends like a file or has a slash. Raises ``guideline-invalid``."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml", ".json") or "/" in name:
        return read_guideline(read_text(path), file=name)
    return find(name)


def read_bytes(path: Path) -> bytes:
    """A file's content, bounded."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise click.UsageError(f"expected a readable file at {path}, got: {(error.strerror or '').lower()}") from error
    if len(content) > _LARGEST:
        raise click.UsageError(f"expected at most {_LARGEST} bytes in {path}, got more")
    return content


def read_text(path: Path) -> str:
    """A file's content as text."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"expected UTF-8 text in {path}, got something else in byte {error.start}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text to a file."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"expected to write {path}, could not: {(error.strerror or '').lower()}") from error


def as_json_text(value: object) -> str:
    """A value as indented JSON, with a line end."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
