"""Files that a command line names: read before anything is done, written after it.

Rules: what is wrong with a file is wrong with the command line: an error ``usage-invalid`` that names the file and says
why. A file that is to be written is tried before anything else is done, and is then written whole or not at all.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.reading import read_guideline
from everyhop.core.guidelines.registry import find
from everyhop.errors import EveryhopError

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
        raise _unusable(f"expected a readable file at {path}, got", error) from error
    if len(content) > _LARGEST:
        raise EveryhopError("usage-invalid", f"expected at most {_LARGEST} bytes in {path}, got more")
    return content


def read_text(path: Path) -> str:
    """A file's content as text."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"expected UTF-8 text in {path}, got something else in byte {error.start}"
        raise EveryhopError("usage-invalid", message) from error


def write_text(path: Path, pieces: Iterable[str]) -> None:
    """Write a text to a file: whole or not at all, so that an end in the middle leaves what stood there before.

    What is no plain file (a pipe, a terminal) is written to directly.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8") as file:
                file.writelines(pieces)
            return
        place = path.resolve()  # the place of a link is kept, and what it points to is replaced
        with _beside(place) as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
            fresh = Path(file.name)
            fresh.chmod(_mode(place))
            fresh.replace(place)
    except OSError as error:
        raise _unusable(f"expected to write {path}, could not", error) from error


def require_writable(path: Path) -> None:
    """Raise ``usage-invalid`` if a file could not be written now; nothing is changed."""
    try:
        if path.exists() and not path.is_file():
            path.open("a").close()
            return
        with _beside(path.resolve()):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unusable(f"expected to write {path}, could not", error) from error


@contextmanager
def _beside(place: Path) -> Generator[IO[str]]:
    """A new file in the same directory, which is gone afterwards unless it was moved."""
    with NamedTemporaryFile("w", encoding="utf-8", dir=place.parent, prefix=f".{place.name}.", delete=False) as file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


def _mode(place: Path) -> int:
    """The permissions of the file that is replaced; of a new one those that the process gives to its files."""
    if place.exists():
        return stat.S_IMODE(place.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _unusable(sentence: str, error: OSError) -> EveryhopError:
    got = (error.strerror or type(error).__name__).lower()
    return EveryhopError("usage-invalid", f"{sentence}: {got}", hint="look at its directory, rights and room")


def as_json_text(value: object) -> str:
    """A value as indented JSON, with a line end."""
    return json.dumps(value, indent=2, default=str) + "\n"
