"""A folder of private files: all or nothing, for the owner only, one writer at a time.

Rules: a file appears whole or not at all (temporary file, flush, rename, flush of the folder), mode 0600 from its
first moment. Writers hold an exclusive ``flock`` on the folder's lock file, across tasks, threads and processes; it
ends with the process, so a crash locks nobody out. Under that lock a temporary file can only be a dead writer's.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = ".everyhop-keys.lock"
_TEMPORARY = ".everyhop-keys.new"


class Folder:
    """Private files by name. All calls block: use a thread from async code. Errors are ``OSError``."""

    def __init__(self, path: Path) -> None:
        """Make the folder, and those above it that are missing, 0700 each."""
        self.path = path
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):  # mkdir's own ``parents`` would give only the last one the mode
            folder.mkdir(mode=0o700, exist_ok=True)
            _flush(folder.parent)

    def close_to_others(self) -> None:
        """Take every right of group and others away from the folder itself."""
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o700)

    def clean(self) -> None:
        """Remove what a crash between writing and renaming has left."""
        with self._locked():
            self._file(_TEMPORARY).unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None if there is no such file."""
        try:
            return self._file(name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str, content: bytes) -> bytes:
        """Write a file durably unless it exists; returns what it holds now: ``content``, or what was there first."""
        with self._locked():
            present = self.read(name)
            if present is not None:
                return present
            temporary = self._file(_TEMPORARY)
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                temporary.rename(self._file(name))
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _flush(self.path)
            return content

    def remove(self, name: str) -> None:
        """Remove a file durably; nothing happens if there is none."""
        with self._locked(), suppress(FileNotFoundError):
            self._file(name).unlink()
            _flush(self.path)

    def names(self) -> list[str]:
        """The files' names, without locks and temporary files."""
        return [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]

    def _file(self, name: str) -> Path:
        return self.path / name

    @contextmanager
    def _locked(self) -> Generator[None]:
        descriptor = os.open(self._file(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
