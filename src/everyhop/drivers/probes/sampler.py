"""A short sample of what really goes over loopback, for ports that take TLS and plaintext alike.

Rules: optional. It needs CAP_NET_RAW; without it there is simply no answer, never an error. It listens for a moment, to
few ports, within bounded memory, and keeps no byte. A connection is TLS if all that one direction carried after its
greeting were TLS records, plaintext if bytes were seen that cannot be; one that said nothing, or was cut, gives no
answer. Only loopback is heard.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from everyhop.core.hop import Address
from everyhop.drivers.probes.capture import Capture
from everyhop.drivers.probes.streams import Run
from everyhop.errors import EveryhopError

MOST_SECONDS = 2.0
_MOST_PORTS = 64
_MEMORY = 8 << 20
_GREETING = 512
"""Bytes of plaintext with which an upgrade to TLS may begin: an SSLRequest, a greeting, STARTTLS."""
_TAIL = 64
"""Less than this of a connection that was heard from its middle may be the end of its greeting."""
_HELLO = (b"\x16\x03\x01", b"\x16\x03\x02", b"\x16\x03\x03")
"""How a TLS connection begins: a handshake record of any version (RFC 8446, 5.1)."""


async def sample(ports: Collection[int], *, seconds: float = MOST_SECONDS) -> Mapping[tuple[Address, Address], bool]:
    """Whether connections to these ports on loopback carry TLS: by client's and server's address, for those of which it
    could be told. ``seconds`` is at most 2; of too many ports the first are heard."""
    heard = frozenset(islice(sorted(ports), _MOST_PORTS))
    if not heard:
        return {}
    try:
        async with Capture(ports=heard, limit=_MEMORY) as capture:
            await asyncio.sleep(min(seconds, MOST_SECONDS))
    except EveryhopError:  # not permitted here
        return {}
    found: dict[tuple[Address, Address], list[bool]] = {}
    for (host, port, other_host, other_port), runs in capture.conversations():
        near, far = _address(host, port), _address(other_host, other_port)
        verdict = is_tls(runs)
        if verdict is not None:
            found.setdefault((far, near) if port in heard else (near, far), []).append(verdict)
    return {pair: all(verdicts) for pair, verdicts in found.items()}


def is_tls(runs: Iterable[Run]) -> bool | None:
    """Whether one direction of a connection is TLS; None if that cannot be told."""
    runs = [run for run in runs if run.data]
    if not runs:
        return None
    if all(run.is_tls for run in runs):
        return True
    first = runs[0]
    begins = [at for hello in _HELLO if (at := first.data.find(hello, 0, _GREETING)) >= 0]
    if first.first and begins and Run(first.data[min(begins) :], first=True).is_tls:
        return all(run.is_tls for run in runs[1:])
    shortest = _GREETING if first.first else _TAIL
    return None if sum(len(run.data) for run in runs) < shortest else False  # it may still be greeting


def _address(host: bytes, port: int) -> Address:
    family = socket.AF_INET if len(host) == 4 else socket.AF_INET6
    return Address(socket.inet_ntop(family, host), port)
