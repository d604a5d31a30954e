"""Placeholders: what a topology file may leave open until addresses and directories are known.

Rules: ``{data}``, ``{file_dir}``, ``{listen}`` and ``{calls.NAME}`` are replaced, ``{{`` and ``}}`` are braces,
anything else in braces is refused. Of an address, ``.host`` and ``.port`` (TCP) or ``.path`` (Unix socket) can be
taken alone. Replacing happens once: a replaced value is never read again for placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from everyhop.core.hop import Address
from everyhop.errors import EveryhopError

DATA = "{data}"
"""The data directory; also allowed at the beginning of a Unix socket's path."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

_SOCKET_PATH_BYTES = 107
"""``sun_path`` holds 108 bytes and ends with a zero (unix(7))."""


def placeholders(text: str) -> tuple[str, ...]:
    """The names in braces, in order; raises ``ValueError`` for a brace that opens or closes nothing."""
    names: list[str] = []
    for token in _TOKEN.finditer(text):
        if token[0] in ("{", "}"):
            raise ValueError(f"expected {{{{ or }}}} for a literal brace, got a single {token[0]}")
        if token[1] is not None:
            names.append(token[1])
    return tuple(names)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace every placeholder; raises ``ValueError`` for a stray brace, ``KeyError`` for an unknown name."""
    placeholders(text)
    return _TOKEN.sub(lambda token: token[0][0] if token[1] is None else values[token[1]], text)


def known(listen: Address, calls: Mapping[str, Address | None]) -> frozenset[str]:
    """The names a service may use. A call whose address is not fixed (None) will get a TCP address."""
    names = {"data", "file_dir", "listen", *(f"listen.{part}" for part in _parts(listen))}
    for name, address in calls.items():
        names |= {f"calls.{name}", *(f"calls.{name}.{part}" for part in _parts(address))}
    return frozenset(names)


def values(*, data: str, file_dir: str, listen: Address, calls: Mapping[str, Address]) -> dict[str, str]:
    """What to :func:`fill` a service's command and environment with; every address is final (see :func:`place`)."""
    found = {"data": data, "file_dir": file_dir, "listen": str(listen)}
    found |= {f"listen.{part}": text for part, text in _parts(listen).items()}
    for name, address in calls.items():
        found[f"calls.{name}"] = str(address)
        found |= {f"calls.{name}.{part}": text for part, text in _parts(address).items()}
    return found


def place(address: Address, data: str) -> Address:
    """An address with ``{data}`` replaced by the data directory (absolute).

    Raises ``EveryhopError('topology-invalid')`` if the socket's path becomes longer than the system allows.
    """
    if not address.path.startswith(DATA):
        return address
    path = data.rstrip("/") + address.path.removeprefix(DATA)
    if (size := len(path.encode())) > _SOCKET_PATH_BYTES:
        message = f"expected a socket path of at most {_SOCKET_PATH_BYTES} bytes, got {size} bytes for {address}"
        raise EveryhopError("topology-invalid", message, hint="use a data directory with a shorter path")
    return Address(path=path)


def _parts(address: Address | None) -> dict[str, str]:
    if address is None:
        return {"host": "", "port": ""}
    return {"path": address.path} if address.path else {"host": address.host, "port": str(address.port)}
