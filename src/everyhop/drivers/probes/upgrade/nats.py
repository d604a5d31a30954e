"""NATS: the server's INFO comes in the clear, and TLS right behind it if it says so (NATS protocol, INFO)."""

from __future__ import annotations

import json
from typing import cast

from everyhop.drivers.probes.dialogue import Channel, Dialogue, Garbled
from everyhop.drivers.probes.hello.ask import UpgradeRefused


async def upgrade(channel: Channel) -> None:
    """Wait for the INFO. Raises ``UpgradeRefused`` if the server has no TLS."""
    dialogue = Dialogue(channel)
    told = await info(dialogue)
    if not (told.get("tls_required") or told.get("tls_available")):
        raise UpgradeRefused("INFO without tls_required or tls_available")
    dialogue.settle()


async def info(dialogue: Dialogue) -> dict[str, object]:
    """Read the INFO line. Raises :class:`Garbled` if it is no NATS server."""
    line = await dialogue.line()
    word, _, text = line.partition(b" ")
    try:
        told: object = json.loads(text) if word == b"INFO" else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise Garbled("an INFO with a JSON object", line)
    return cast("dict[str, object]", told)  # JSON has no other keys
