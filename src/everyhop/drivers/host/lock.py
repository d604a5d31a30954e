"""One everyhop a data directory.

The kernel holds the lock and drops it when the process ends, however it ends: a lock file cannot be stale.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from everyhop.errors import EveryhopError

_TRIES = 20
_PAUSE = 0.02
"""Seconds."""


class InstanceLock:
    """The right to run on a data directory, as a context manager."""

    def __init__(self, path: Path) -> None:
        """``path`` is the lock file; it is created, and stays."""
        self._path = path
        self._fd = -1

    def __enter__(self) -> InstanceLock:
        """Take the lock; raises ``already-running`` while another process holds it."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(_TRIES):  # somebody who only looks holds it for a moment
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_PAUSE)
        else:
            os.close(self._fd)
            raise EveryhopError(
                "already-running",
                f"everyhop already runs on {self._path.parent}, as process {holder(self._path) or 'unknown'}",
                hint="`everyhop status` shows it, `everyhop down` ends it, --data names another directory",
            )
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back; no pid stays behind that could be taken for a living one."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def holder(path: Path) -> int | None:
    """The pid of the process that holds the lock, or None if nobody does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: lookers do not disturb each other
        except BlockingIOError:
            text = os.pread(fd, 32, 0).decode(errors="replace").strip()
            return int(text) if text.isdigit() else None
        return None
    finally:
        os.close(fd)
