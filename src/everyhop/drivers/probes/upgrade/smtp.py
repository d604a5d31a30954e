"""SMTP: EHLO, STARTTLS, 220 (RFC 3207)."""

from __future__ import annotations

from everyhop.drivers.probes.dialogue import Channel, Dialogue, Garbled, numbered, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused

EHLO = b"EHLO everyhop.invalid\r\n"
"""A name that cannot be anybody's (RFC 2606, 2); strict servers want it to look like a host's."""


async def upgrade(channel: Channel) -> None:
    """Ask for TLS. Raises ``UpgradeRefused`` if the server does not offer it or says no."""
    dialogue = Dialogue(channel)
    if b"STARTTLS" not in await extensions(dialogue):
        raise UpgradeRefused("EHLO without STARTTLS")
    await dialogue.say(b"STARTTLS\r\n")
    answer = await numbered(dialogue)
    if answer.code != 220:
        raise UpgradeRefused(shown(answer.text))
    dialogue.settle()


async def extensions(dialogue: Dialogue) -> dict[bytes, bytes]:
    """Wait for the greeting and say EHLO: the extensions by upper-case name, with their parameters.

    Raises ``UpgradeRefused`` if the server does not serve us, :class:`Garbled` if it is no SMTP server.
    """
    greeting = await numbered(dialogue)
    if greeting.code != 220:
        raise UpgradeRefused(shown(greeting.text))
    await dialogue.say(EHLO)
    answer = await numbered(dialogue)
    if answer.code in (500, 502, 530):  # an FTP server knows no EHLO
        raise Garbled("250 to EHLO", answer.text)
    if answer.code != 250:
        raise UpgradeRefused(shown(answer.text))
    words = (line.upper().partition(b" ") for line in answer.lines[1:])
    return {name: parameters for name, _, parameters in words}
