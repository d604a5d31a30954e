"""POP3: STLS, +OK (RFC 2595, 4)."""

from __future__ import annotations

from everyhop.drivers.probes.dialogue import Channel, Dialogue, Garbled, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused


async def upgrade(channel: Channel) -> None:
    """Ask for TLS. Raises ``UpgradeRefused`` if the server says no."""
    dialogue = Dialogue(channel)
    await greet(dialogue)
    await start_tls(dialogue)
    dialogue.settle()


async def greet(dialogue: Dialogue) -> None:
    """Wait for the greeting. Raises :class:`Garbled` if it is no POP3 server, ``UpgradeRefused`` if it hangs up."""
    greeting = await dialogue.line()
    if greeting.startswith(b"-ERR"):
        raise UpgradeRefused(shown(greeting))
    if not greeting.startswith(b"+OK"):
        raise Garbled("a POP3 greeting", greeting)


async def command(dialogue: Dialogue, words: bytes) -> bytes:
    """Say a command, hear the first line of its answer. Raises :class:`Garbled` if it is neither yes nor no."""
    await dialogue.say(words + b"\r\n")
    answer = await dialogue.line()
    if not answer.startswith((b"+", b"-ERR")):
        raise Garbled("+OK or -ERR", answer)
    return answer


async def start_tls(dialogue: Dialogue) -> None:
    """Say STLS. Raises ``UpgradeRefused`` with the server's words."""
    answer = await command(dialogue, b"STLS")
    if not answer.startswith(b"+OK"):
        raise UpgradeRefused(shown(answer))
