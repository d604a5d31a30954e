"""IMAP: STARTTLS, OK (RFC 9051, 6.2.1). The capability is asked for first, so that a refusal can be told from
silence."""

from __future__ import annotations

from everyhop.drivers.probes.dialogue import MOST_LINES, Channel, Dialogue, Garbled, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused


async def upgrade(channel: Channel) -> None:
    """Ask for TLS. Raises ``UpgradeRefused`` if the server does not offer it or says no."""
    dialogue = Dialogue(channel)
    if b"STARTTLS" not in await capabilities(dialogue):
        raise UpgradeRefused("CAPABILITY without STARTTLS")
    answer = await command(dialogue, b"t", b"STARTTLS")
    if not accepted(answer):
        raise UpgradeRefused(shown(answer))
    dialogue.settle()


async def capabilities(dialogue: Dialogue) -> frozenset[bytes]:
    """Wait for the greeting and ask what the server can do: upper-case words.

    Raises ``UpgradeRefused`` if it says BYE, :class:`Garbled` if it is no IMAP server.
    """
    greeting = await dialogue.line()
    if greeting[:5].upper() == b"* BYE":
        raise UpgradeRefused(shown(greeting))
    if greeting[:4].upper() != b"* OK":
        raise Garbled("an IMAP greeting", greeting)
    await dialogue.say(b"c CAPABILITY\r\n")
    words: frozenset[bytes] = frozenset()
    for _ in range(MOST_LINES):
        line = (await dialogue.line()).upper()
        if line.startswith(b"* CAPABILITY "):
            words |= frozenset(line.split()[2:])
        elif line.startswith(b"C "):
            return words
    raise Garbled(f"an answer of at most {MOST_LINES} lines")


async def command(dialogue: Dialogue, tag: bytes, words: bytes) -> bytes:
    """Say a command and hear its answer: the tagged line without its tag, or a ``+`` line that asks for more."""
    await dialogue.say(tag + b" " + words + b"\r\n")
    for _ in range(MOST_LINES):
        line = await dialogue.line()
        if line.startswith(b"+"):
            return line
        if line.startswith(tag + b" "):
            return line.partition(b" ")[2]
    raise Garbled(f"an answer of at most {MOST_LINES} lines")


def accepted(answer: bytes) -> bool:
    """The answer is an OK."""
    return answer[:3].upper().strip() == b"OK"
