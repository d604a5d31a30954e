"""PostgreSQL: an SSLRequest, answered by one byte (PostgreSQL documentation, 55.2.11)."""

from __future__ import annotations

import struct

from everyhop.drivers.probes.dialogue import Channel, Dialogue, Garbled, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


async def upgrade(channel: Channel) -> None:
    """Ask for TLS. Raises ``UpgradeRefused`` if the server has none."""
    if not await offers_tls(Dialogue(channel)):
        raise UpgradeRefused("N")


async def offers_tls(dialogue: Dialogue) -> bool:
    """Send an SSLRequest: True, and TLS begins; False, and the same connection goes on in the clear.

    Raises ``UpgradeRefused`` with the server's error if it sends one, :class:`Garbled` if it is no PostgreSQL.
    """
    await dialogue.say(_SSL_REQUEST)
    answer = await dialogue.exactly(1)
    if answer == b"E":
        raise UpgradeRefused(shown(await dialogue.some()))
    if answer not in (b"S", b"N"):
        raise Garbled("S or N to an SSLRequest", answer)
    dialogue.settle()
    return answer == b"S"
