"""A proxy's access log as a source that is read exactly once.

Rules: a mark is ``inode:offset`` and lies behind the last whole line that was read; whoever reads keeps the mark beside
what was read, so that a crash neither loses nor repeats a line. A log that grew large is turned over: the file is
renamed, the proxy opens a new one, and the old one is removed only when a stored mark has left it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

TURN_OVER_AT = 4 << 20
READ_AT_MOST = 2 << 20


def read(path: Path, since: str) -> tuple[Sequence[bytes], str]:
    """The whole lines after the mark ``since`` (empty: from the beginning), and the new mark."""
    inode, offset = _parsed(since)
    lines: list[bytes] = []
    old, new = _old(path), path
    if old.exists() and (not since or _inode(old) == inode):
        found, offset = _lines(old, offset if since else 0)
        lines += found
        inode = _inode(old)
        # The proxy writes to one file after the other: once the new one has content, the old one is at its end.
        if not new.exists() or not new.stat().st_size or offset < old.stat().st_size:
            return lines, f"{inode}:{offset}"
        since = ""
    if not new.exists():
        return lines, since or f"{inode}:{offset}" if inode else ""
    begin = offset if since and _inode(new) == inode else 0
    found, offset = _lines(new, begin)
    return [*lines, *found], f"{_inode(new)}:{offset}"


def settle(path: Path, mark: str) -> bool:
    """Remove what the stored ``mark`` has left behind; True if the log should be turned over now."""
    inode, offset = _parsed(mark)
    old = _old(path)
    if old.exists():
        if path.exists() and _inode(path) == inode:
            old.unlink()
        else:
            return False
    return path.exists() and _inode(path) == inode and offset >= TURN_OVER_AT


def is_stuck(path: Path) -> bool:
    """True if the log was set aside and no new one was begun: whoever turned it over was killed, or nobody heard."""
    return _old(path).exists() and not path.exists()


def turn_over(path: Path) -> None:
    """Set the log aside, for the proxy to begin a new one."""
    path.rename(_old(path))


def turn_back(path: Path) -> None:
    """Undo :func:`turn_over`: the proxy does not answer, and still writes to the file that was set aside."""
    if not path.exists():
        _old(path).rename(path)


def _old(path: Path) -> Path:
    return path.with_suffix(".old")


def _inode(path: Path) -> int:
    return path.stat().st_ino


def _parsed(mark: str) -> tuple[int, int]:
    inode, _, offset = mark.partition(":")
    return (int(inode), int(offset)) if inode.isdigit() and offset.isdigit() else (0, 0)


def _lines(path: Path, offset: int) -> tuple[list[bytes], int]:
    """Whole lines from ``offset``, and where the last one ends. A file that shrank was truncated: from its start."""
    if path.stat().st_size < offset:
        offset = 0
    with path.open("rb") as file:
        file.seek(offset)
        fresh = file.read(READ_AT_MOST)
    end = fresh.rfind(b"\n") + 1
    if not end and len(fresh) == READ_AT_MOST:  # no proxy writes such a line: step over it
        return [], offset + len(fresh)
    return [line for line in fresh[:end].split(b"\n") if line], offset + end
