"""FTP: AUTH TLS, 234 (RFC 4217, 4)."""

from __future__ import annotations

from everyhop.drivers.probes.dialogue import Channel, Dialogue, Reply, numbered, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused


async def upgrade(channel: Channel) -> None:
    """Ask for TLS on the control connection. Raises ``UpgradeRefused`` if the server says no."""
    dialogue = Dialogue(channel)
    await greet(dialogue)
    await start_tls(dialogue)
    dialogue.settle()


async def greet(dialogue: Dialogue) -> None:
    """Wait for the greeting, also through ``120 Service ready in nnn minutes``. Raises ``UpgradeRefused`` if the
    server does not serve us."""
    greeting = await numbered(dialogue)
    while greeting.code == 120:
        greeting = await numbered(dialogue)
    if greeting.code != 220:
        raise UpgradeRefused(shown(greeting.text))


async def command(dialogue: Dialogue, words: bytes) -> Reply:
    """Say a command and hear its reply."""
    await dialogue.say(words + b"\r\n")
    return await numbered(dialogue)


async def start_tls(dialogue: Dialogue) -> None:
    """Say AUTH TLS. Raises ``UpgradeRefused`` with the server's words."""
    answer = await command(dialogue, b"AUTH TLS")
    if answer.code != 234:
        raise UpgradeRefused(shown(answer.text))
