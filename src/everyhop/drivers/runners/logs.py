"""The log files of processes: private, appended to, bounded.

Rules: a log is made with mode 0600 in a directory of mode 0700 and opened with ``O_APPEND``, so that it can be cut
while the process goes on writing: the newest part is kept as ``<name>.log.1`` and the file is emptied. What a
process writes in the instant between the last copy and the cut is lost; nothing else is.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

LIMIT = 10 << 20
"""Bytes a log may have before it is cut: days of a quiet service, and an editor still opens it."""

_BLOCK = 64 << 10
_LONGEST_TAIL = 4 << 20


def open_log(path: Path) -> int:
    """Open a log for appending, private to this user; the caller closes it. Raises ``OSError``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o600)
    if stat.S_IMODE(os.fstat(fd).st_mode) != 0o600:
        os.fchmod(fd, 0o600)
    return fd


def tail(path: Path, lines: int) -> list[str]:
    """The newest lines of a log, oldest first, going back into its older part where needed. It reads from the end,
    at most 4 MiB; bytes that are not UTF-8 are shown as replacement characters."""
    newest = _tail(path, lines)
    if len(newest) < lines:
        newest = _tail(older(path), lines - len(newest)) + newest
    return newest


def _tail(path: Path, lines: int) -> list[str]:
    if lines <= 0 or not path.is_file():
        return []
    text = b""
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        floor = max(0, start - _LONGEST_TAIL)
        # One newline more than lines: the first line is then known to be whole.
        while start > floor and text.count(b"\n") <= lines:
            step = min(_BLOCK, start - floor)
            start -= step
            file.seek(start)
            text = file.read(step) + text
    return text.decode(errors="replace").removesuffix("\n").split("\n")[-lines:] if text else []


def older(path: Path) -> Path:
    """Where the part that was cut off a log is kept."""
    return path.with_name(path.name + ".1")


def trim(path: Path, limit: int = LIMIT) -> bool:
    """Cut a log that has outgrown its limit; True if it was cut. At most ``limit`` bytes are kept aside."""
    if not path.is_file() or path.stat().st_size <= limit:
        return False
    aside = older(path)
    fresh = aside.with_name(aside.name + ".new")
    fresh.unlink(missing_ok=True)
    target = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(target, "wb") as copy, path.open("rb+") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - limit))
        left = limit + _BLOCK  # a process that writes faster than we copy must not keep us here
        while left > 0 and (block := log.read(_BLOCK)):
            copy.write(block)
            left -= len(block)
        log.truncate(0)
    fresh.replace(aside)
    return True
