"""The premises of an everyhop: its files and their guards, its disk, its socket. Read only.

Rules: nothing is changed, no key is opened, and no secret is read into anything that is returned. What cannot be looked
at is told as what it looks like from outside.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from everyhop.core.health.facts import FileFacts, Premises, SealFacts

_PUBLIC = ("root.pem",)
"""Files of a data directory that everybody may read."""
_GUARDED = ("keys", "logs")
"""Folders in which nothing is for others."""
_CLEAR = b"PRIVATE KEY-----"
_LARGEST_KEY = 1 << 16
_SECONDS = 5.0
_VERSION = re.compile(r"/(\d+\.\d+\.\d+\S*?)/")


def survey(
    data: Path, *, seal: SealFacts, store_check: str | None, envoy: Path | None, holder: int | None, xds: Path
) -> Premises:
    """Look at everything; blocks. Raises ``OSError`` if the data directory itself cannot be looked at."""
    disk = os.statvfs(data)
    private = list(_private_files(data))
    return Premises(
        directory=facts_of(data),
        open_files=tuple(one for one in private if not one.ours or one.mode & 0o077),
        clear_keys=tuple(str(path) for path in _files(data / "keys") if _is_clear(path)),
        keys=sum(path.suffix == ".key" for path in _files(data / "keys")),
        seal=seal,
        free_bytes=disk.f_bavail * disk.f_frsize,
        total_bytes=disk.f_blocks * disk.f_frsize,
        store_check=store_check,
        logs=_sizes(data / "logs"),
        envoy=_version_of(envoy) if envoy else None,
        holder=holder,
        xds=_takes_connections(xds) if holder is not None else None,
    )


def facts_of(path: Path) -> FileFacts:
    """A file as it lies there; raises ``OSError``."""
    status = path.stat()
    return FileFacts(str(path), stat.S_IMODE(status.st_mode), status.st_uid == os.geteuid())


def seal_of(
    data: Path, key_file: Path | None, environment: Mapping[str, str], credential: str, passphrase: str
) -> SealFacts:
    """Where the seal's secret comes from, by the order in which everyhop looks for it. ``credential`` is the name of
    systemd's, ``passphrase`` the variable that names a passphrase's file; ``key_file`` is None if unknown."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if folder and (Path(folder) / credential).exists():
        return SealFacts("systemd credential")
    if environment.get(passphrase):
        return SealFacts("passphrase")
    if key_file is None:
        return SealFacts("key file")
    beside = key_file.resolve().is_relative_to(data.resolve())
    try:
        return SealFacts("key file", str(key_file), facts_of(key_file), beside)
    except OSError:
        return SealFacts("key file", str(key_file), None, beside)


def _private_files(data: Path) -> Iterator[FileFacts]:
    folders = [data, *(data / name for name in _GUARDED)]
    for path in (path for folder in folders for path in _files(folder)):
        if path.name not in _PUBLIC:
            try:
                yield facts_of(path)
            except OSError:  # gone meanwhile
                continue


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _is_clear(path: Path) -> bool:
    """True for a private key that nobody sealed."""
    try:
        with path.open("rb") as file:
            return _CLEAR in file.read(_LARGEST_KEY)
    except OSError:
        return False


def _sizes(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for path in _files(folder):
        try:
            sizes[path.stem] = path.stat().st_size
        except OSError:
            continue
    return sizes


def _version_of(binary: Path) -> str | None:
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    found = _VERSION.search(said.stdout)
    return found[1] if found else None


def _takes_connections(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.settimeout(_SECONDS)
        try:
            knocking.connect(str(path))
        except OSError:
            return False
    return True
