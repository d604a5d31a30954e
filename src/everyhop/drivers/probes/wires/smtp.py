"""SMTP: does MAIL, or a login, get through without STARTTLS?

A server that insists answers 530 to everything else than EHLO, NOOP, QUIT and STARTTLS (RFC 3207, 4). But a submission
server also answers 530 to somebody who has not logged in (RFC 4954, 6). So if MAIL is refused and the words do not
speak of TLS, AUTH is tried: begun, and given up before anything was sent. Nobody is named as a recipient.
"""

from __future__ import annotations

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import Dialogue, Reply, numbered, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.upgrade.smtp import extensions
from everyhop.drivers.probes.wires.base import Caller, Said


class Smtp:
    """Tries MAIL, then AUTH, in the clear."""

    wire = Wire.SMTP
    mixes = False
    speaks_first = True

    def recognise(self, banner: bytes) -> bool:
        """By 220 and no word of FTP."""
        return banner.startswith((b"220 ", b"220-")) and b"FTP" not in banner.upper()

    async def ask(self, caller: Caller) -> Said | None:
        """One connection."""
        async with caller.call() as dialogue:
            try:
                offered = await extensions(dialogue)
            except UpgradeRefused as refused:
                return Said(Encryption.UNKNOWN, refused.reason)
            if b"STARTTLS" not in offered:
                said = Said(Encryption.PLAINTEXT, "EHLO without STARTTLS")
            else:
                said = await _try(dialogue, offered)
            await dialogue.say(b"QUIT\r\n")
            return said


async def _try(dialogue: Dialogue, offered: dict[bytes, bytes]) -> Said:
    mail = await _command(dialogue, b"MAIL FROM:<>")
    if mail.code == 250:
        return Said(Encryption.UPGRADE_OFFERED, f"MAIL before STARTTLS: {shown(mail.text)}")
    if mail.code < 500:
        return Said(Encryption.UNKNOWN, f"MAIL before STARTTLS: {shown(mail.text)}")
    if b"TLS" in b" ".join(mail.lines).upper():
        return Said(Encryption.UPGRADE_REQUIRED, f"MAIL before STARTTLS: {shown(mail.text)}")
    mechanism = (offered.get(b"AUTH", b"").split() or [b"PLAIN"])[0]
    login = await _command(dialogue, b"AUTH " + mechanism)
    if login.code == 334:
        await _command(dialogue, b"*")  # "I have changed my mind" (RFC 4954, 4)
        return Said(Encryption.UPGRADE_OFFERED, f"AUTH before STARTTLS: {shown(login.text)}")
    said = f"before STARTTLS: MAIL: {shown(mail.text, 60)}, AUTH: {shown(login.text, 60)}"
    return Said(Encryption.UPGRADE_REQUIRED if login.code >= 500 else Encryption.UNKNOWN, said)


async def _command(dialogue: Dialogue, words: bytes) -> Reply:
    await dialogue.say(words + b"\r\n")
    return await numbered(dialogue)


SMTP = Smtp()
