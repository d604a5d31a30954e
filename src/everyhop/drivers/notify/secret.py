"""Where the secrets of receivers are kept: in files that only we can read, or handed over by systemd."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from everyhop.errors import EveryhopError

CREDENTIAL = "credential:"
"""What begins the name of a systemd credential (systemd.exec(5), LoadCredential=)."""
_DIRECTORY = "CREDENTIALS_DIRECTORY"
_LONGEST = 4096


def read_secret(place: str, *, base: Path, environment: Mapping[str, str]) -> str:
    """The secret at a place: a file (relative to ``base``) or ``credential:NAME``.

    Raises ``notify-failed`` if it is missing, empty, too long, or a file that others can read.
    """
    path = _path(place, base, environment)
    try:
        mode = path.stat().st_mode
        if not place.startswith(CREDENTIAL) and stat.S_IMODE(mode) & 0o077:
            raise EveryhopError(
                "notify-failed",
                f"expected a secret that only its owner can read, got {path} with mode {stat.S_IMODE(mode):03o}",
                hint=f"chmod 600 {path}",
            )
        with path.open(encoding="utf-8") as file:
            secret = file.read(_LONGEST + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EveryhopError(
            "notify-failed", f"expected a secret at {place}, got {type(error).__name__}", hint="check the file"
        ) from error
    if not secret or len(secret) > _LONGEST:
        raise EveryhopError(
            "notify-failed", f"expected a secret of 1 to {_LONGEST} characters at {place}", hint="write it to the file"
        )
    return secret


def _path(place: str, base: Path, environment: Mapping[str, str]) -> Path:
    if not place.startswith(CREDENTIAL):
        return base / place
    name, directory = place.removeprefix(CREDENTIAL), environment.get(_DIRECTORY)
    if not directory or not name or "/" in name:
        raise EveryhopError(
            "notify-failed",
            f"expected systemd to hand over the credential {name!r}",
            hint="LoadCredential= in the unit, or name a file instead",
        )
    return Path(directory) / name
