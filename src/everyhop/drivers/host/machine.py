"""The clock, randomness and free addresses of this machine."""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Collection
from datetime import UTC, datetime

from everyhop.core.hop import Address
from everyhop.core.literals import format_ports
from everyhop.errors import EveryhopError


class SystemClock:
    """The wall clock."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)  # noqa: TID251  # the one place where time is read


class SystemRandom:
    """The operating system's randomness."""

    def serial(self) -> int:
        """158 random bits below a leading one: positive, 20 octets, and never short (RFC 5280, 4.1.2.2)."""
        return 1 << 158 | secrets.randbits(158)

    def fraction(self) -> float:
        """A number in [0, 1). Jitter is no secret."""
        return random.random()  # noqa: S311

    def token(self) -> str:
        """128 random bits in hexadecimal."""
        return secrets.token_hex(16)


def free_address(taken: Collection[Address], band: range) -> Address:
    """A loopback address with a port of ``band`` that nobody listens on and that is not in ``taken``; raises
    ``address-in-use``.

    The search begins anywhere in the band: the ports of a mesh that is down, or that starts at this very moment, look
    free, and two meshes that share a band and both begin at its first port would meet on it.
    """
    ports = {address.port for address in taken}
    begin = random.randrange(len(band))  # noqa: S311  # no secret
    for port in (*band[begin:], *band[:begin]):
        if port not in ports and is_free(Address("127.0.0.1", port)):
            return Address("127.0.0.1", port)
    raise EveryhopError(
        "address-in-use",
        f"expected a free port in {format_ports(band)}, all are taken",
        hint="make `policy.mesh_ports` wider, or fix addresses with `mesh:` and `at:` in the topology",
    )


def is_free(address: Address) -> bool:
    """True if a listener could be opened on this TCP address now."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return False
    return True
