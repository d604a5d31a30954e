"""The dashboard's own files: style, two small scripts, two fonts, icons. All are in the package; none is fetched.

Rules: what others wrote stands in ``static/vendored.json`` with its source, version, licence and SHA-256, and a test
compares them. Files are served under one hash of all of them, so that they find each other by relative names, and may
be kept for ever; any other name is not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Assets:
    """Every file that is served, by name, and the hash of all."""

    files: Mapping[str, Asset]
    digest: str


def load() -> Assets:
    """Read them; they are small and stay in memory."""
    paths = [path for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES]
    files = {path.name: Asset(path.read_bytes(), _TYPES[path.suffix]) for path in paths}
    whole = hashlib.sha256(b"".join(name.encode() + b"\0" + one.content for name, one in files.items()))
    return Assets(MappingProxyType(files), whole.hexdigest()[:16])
