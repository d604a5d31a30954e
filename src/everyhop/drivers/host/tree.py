"""Files below a path, for those who read them as text: as git sees them, else by a bounded walk.

Rules: in a git work tree only what git tracks or would track is read (``git ls-files``), so that .gitignore holds; git
is asked, never changed, and none of the repository's own programs are run. Elsewhere the tree is walked. Symbolic links
are not followed, binary files are left out, sizes and counts are bounded; what is left out for a limit is told.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from everyhop.core.finding import Severity
from everyhop.core.lint.rule import File, Unread

MAX_BYTES = 1 << 20
"""Of one file. What people write by hand is smaller."""
MAX_FILES = 200_000
_SECONDS = 60
_LEFT_OUT = frozenset((".git", ".hg", ".svn", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache"))
"""Folders that hold nobody's own files."""
_NO_CONTENT = frozenset((".svg", ".map", ".lock", ".min.js", ".po", ".csv", ".ipynb"))


def files_below(paths: Iterable[Path]) -> Iterator[File | Unread]:
    """Every text file at or below some paths, sorted within each; a path that is named twice is read once."""
    seen: set[Path] = set()
    for path in paths:
        for count, (file, tracked) in enumerate(islice(_found(path), MAX_FILES + 1)):
            if count == MAX_FILES:
                yield Unread(str(path), f"more than {MAX_FILES} files")
                break
            if file not in seen:
                seen.add(file)
                answer = _read(file, tracked=tracked, named=file == path)
                if answer is not None:
                    yield answer


def _found(path: Path) -> Iterator[tuple[Path, bool]]:
    """The files at or below a path, each with whether it is in a repository."""
    if not path.is_dir():
        yield path, bool(_git(path.parent, path.name))
        return
    listed = _git(path, ".")
    if listed is None:
        yield from ((file, False) for file in _walked(path))
    else:
        yield from ((path / name, True) for name in sorted(set(listed)))


def _git(folder: Path, name: str) -> list[str] | None:
    """What git tracks, or would; None if there is no git, or this is none of its trees."""
    command = ("git", "-c", "core.fsmonitor=false", "-C", str(folder), "ls-files", "-z", "--cached", "--others")
    try:
        done = subprocess.run(
            (*command, "--exclude-standard", "--", name),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [os.fsdecode(one) for one in done.stdout.split(b"\0") if one] if done.returncode == 0 else None


def _walked(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top, followlinks=False):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for name in sorted(files):
            yield Path(folder) / name


def _read(path: Path, *, tracked: bool, named: bool) -> File | Unread | None:
    """One file as text, or why not; None for what is no text, and for what git lists and is gone."""
    follow = 0 if named else os.O_NOFOLLOW
    if not named and path.name.endswith(tuple(_NO_CONTENT)):
        return None
    try:
        if not named and path.is_symlink():
            return None
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | follow)
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(handle)
            content = stream.read(MAX_BYTES + 1) if stat.S_ISREG(status.st_mode) else None
    except FileNotFoundError:
        return Unread(str(path), "no such file") if named else None
    except OSError as error:
        return Unread(str(path), f"an error: {(error.strerror or '').lower()}")
    if content is None or b"\0" in content[:8192]:
        return Unread(str(path), "no regular text file") if named else None
    if len(content) > MAX_BYTES:
        severity = Severity.MEDIUM if named else Severity.LOW
        return Unread(str(path), f"more than {MAX_BYTES} bytes", severity)
    text = content.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return File(str(path), text, stat.S_IMODE(status.st_mode), tracked)
