"""IMAP: does a login begin without STARTTLS?

LOGINDISABLED says that LOGIN is refused (RFC 9051, 6.2.3); whether AUTHENTICATE is, is tried with the mechanism that
the server itself advertises: begun, and given up with ``*`` before anything was sent (RFC 9051, 6.2.2).

Some servers (Dovecot) take a client from the same address for secured and so ask less of it. A look from the server's
own machine then finds ``upgrade offered``, and that is what clients of that machine get.
"""

from __future__ import annotations

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import Dialogue, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.upgrade.imap import accepted, capabilities, command
from everyhop.drivers.probes.wires.base import Caller, Said


class Imap:
    """Reads the capability and begins a login."""

    wire = Wire.IMAP
    mixes = False
    speaks_first = True

    def recognise(self, banner: bytes) -> bool:
        """By an untagged OK, PREAUTH or BYE."""
        return banner.upper().startswith((b"* OK", b"* PREAUTH", b"* BYE"))

    async def ask(self, caller: Caller) -> Said | None:
        """One connection."""
        async with caller.call() as dialogue:
            try:
                able = await capabilities(dialogue)
            except UpgradeRefused as refused:
                return Said(Encryption.UNKNOWN, refused.reason)
            if b"STARTTLS" not in able:
                said = Said(Encryption.PLAINTEXT, "CAPABILITY without STARTTLS")
            elif b"LOGINDISABLED" not in able:
                said = Said(Encryption.UPGRADE_OFFERED, "CAPABILITY before STARTTLS without LOGINDISABLED")
            else:
                said = await _try(dialogue, able)
            await dialogue.say(b"q LOGOUT\r\n")
            return said


async def _try(dialogue: Dialogue, able: frozenset[bytes]) -> Said:
    mechanisms = sorted(word.removeprefix(b"AUTH=") for word in able if word.startswith(b"AUTH="))
    answer = await command(dialogue, b"a", b"AUTHENTICATE " + (mechanisms or [b"PLAIN"])[0])
    words = f"LOGINDISABLED, AUTHENTICATE before STARTTLS: {shown(answer)}"
    if not answer.startswith(b"+"):
        return Said(Encryption.UPGRADE_OFFERED if accepted(answer) else Encryption.UPGRADE_REQUIRED, words)
    await dialogue.say(b"*\r\n")
    return Said(Encryption.UPGRADE_OFFERED, words)


IMAP = Imap()
