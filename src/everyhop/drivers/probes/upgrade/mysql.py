"""MySQL and MariaDB: the server greets, the client answers with an SSLRequest (MySQL protocol, Connection Phase).

**A server locks out who asks too often.** It counts each connection that ends in the middle of the TLS handshake as an
error of the client's host, and after ``max_connect_errors`` of them (default: 100) refuses that host, with all that
runs on it, until somebody says FLUSH HOSTS. A login that is denied neither counts nor forgives; one that succeeds sets
the count to zero. Loopback is exempt. Measured on MariaDB 10.11. So ask a MySQL few questions over the network, or give
it an account for probes (see ``drivers.probes.wires.mysql``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from everyhop.drivers.probes.dialogue import Channel, Dialogue, Garbled, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused

CLIENT_PROTOCOL_41 = 1 << 9
CLIENT_SSL = 1 << 11
CLIENT_SECURE_CONNECTION = 1 << 15
CLIENT_PLUGIN_AUTH = 1 << 19

LARGEST_PACKET = 16 << 20
UTF8 = 33

_LONGEST = 8 << 10
_VERSION_10 = 10
_ERROR = 0xFF


@dataclass(frozen=True, slots=True)
class Greeting:
    """What of the server's first packet matters here."""

    version: bytes
    capabilities: int

    @property
    def offers_tls(self) -> bool:
        """The server can turn to TLS."""
        return bool(self.capabilities & CLIENT_SSL)


@dataclass(frozen=True, slots=True)
class Fault:
    """An ERR packet: number and sentence."""

    number: int
    message: bytes

    def __str__(self) -> str:
        return f"{self.number} {shown(self.message)}"


async def upgrade(channel: Channel) -> None:
    """Ask for TLS. Raises ``UpgradeRefused`` if the server has none or does not talk to us at all."""
    dialogue = Dialogue(channel)
    greeting = await greet(dialogue)
    if not greeting.offers_tls:
        raise UpgradeRefused(f"{shown(greeting.version)} without the capability CLIENT_SSL")
    capabilities = CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH | CLIENT_SSL
    dialogue.settle()
    await dialogue.say(packet(struct.pack("<IIB23x", capabilities, LARGEST_PACKET, UTF8), sequence=1))


async def greet(dialogue: Dialogue) -> Greeting:
    """Read the server's greeting. Raises ``UpgradeRefused`` with its error if it sends that instead,
    :class:`Garbled` if it is no MySQL."""
    body = await read_packet(dialogue)
    if (error := fault(body)) is not None:
        raise UpgradeRefused(str(error))
    version, _, rest = body[1:].partition(b"\0")
    # Thread id (4), scramble (8), filler (1), then the capabilities: two bytes here, two after charset and status.
    if body[:1] != bytes([_VERSION_10]) or len(rest) < 15:
        raise Garbled("a MySQL greeting of version 10", body)
    low, high = rest[13:15], rest[18:20].ljust(2, b"\0")
    return Greeting(version, int.from_bytes(low + high, "little"))


async def read_packet(dialogue: Dialogue) -> bytes:
    """The next packet's payload. Raises :class:`Garbled` for what no server sends before a login."""
    header = await dialogue.exactly(4)
    length = int.from_bytes(header[:3], "little")
    if not 0 < length <= _LONGEST:
        raise Garbled(f"a MySQL packet of at most {_LONGEST} bytes", header)
    return await dialogue.exactly(length)


def packet(payload: bytes, *, sequence: int) -> bytes:
    """A payload with its header."""
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def fault(body: bytes) -> Fault | None:
    """The error in a payload, if it is one; before the login it has no SQL state in the oldest servers."""
    if len(body) < 3 or body[0] != _ERROR:
        return None
    message = body[9:] if body[3:4] == b"#" else body[3:]
    return Fault(int.from_bytes(body[1:3], "little"), message)
