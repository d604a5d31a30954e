"""The stores of trusted roots on this machine: the system's, and Mozilla's list.

Rules: files are read, nothing is fetched and nothing is bundled: everyhop must not be a list of roots that grows old.
The system's store is what programs here trust, with everything an administrator has added. Mozilla's is the part of
it that the ``ca-certificates`` package installs from Mozilla's own list; where the system does not keep that apart
(it is then absent), whether a chain is publicly trusted cannot be told from whether this machine trusts it. One
certificate that cannot be read does not spoil a store.
"""

from __future__ import annotations

import re
import ssl
import warnings
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from everyhop.core.endpoint.path import Stores

SYSTEM_FILES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
    Path("/etc/ssl/cert.pem"),
)
MOZILLA_FOLDERS = (Path("/usr/share/ca-certificates/mozilla"),)
LARGEST_FILE = 16 << 20

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]{1,100000}-----END CERTIFICATE-----")


def stores(
    *, own: bytes | None = None, system: Iterable[Path] | None = None, mozilla: Iterable[Path] = MOZILLA_FOLDERS
) -> Stores:
    """The stores that are there: ``own`` (PEM of the own bundle, if given), ``system`` and ``mozilla``. One that has
    no readable root is left out. ``system`` names files instead of this machine's."""
    found: dict[str, tuple[x509.Certificate, ...]] = {
        "own": read(own) if own else (),
        "system": _first(_default() if system is None else system),
        "mozilla": tuple(root for folder in mozilla for path in _listed(folder) for root in read(_bytes(path))),
    }
    return {name: roots for name, roots in found.items() if roots}


def read(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Every certificate in PEM text that can be read, once each."""
    found: dict[x509.Certificate, None] = {}
    with warnings.catch_warnings():
        # Old public roots have serial numbers that RFC 5280 forbids today; that is for nobody here to mend.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for block in _PEM.findall(pem):
            try:
                found[x509.load_pem_x509_certificate(block)] = None
            except ValueError:
                continue
    return tuple(found)


def _default() -> Iterable[Path]:
    named = ssl.get_default_verify_paths()
    return (*(Path(name) for name in (named.cafile,) if name), *SYSTEM_FILES)


def _first(paths: Iterable[Path]) -> tuple[x509.Certificate, ...]:
    """The roots in the first file that has any."""
    return next((roots for path in paths if (roots := read(_bytes(path)))), ())


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.crt"))
    except OSError:
        return []


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_FILE)
    except OSError:
        return b""
