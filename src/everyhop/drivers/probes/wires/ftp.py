"""FTP: does USER get through without AUTH TLS? (RFC 4217, 12; RFC 959, 4.1.1.)

The names are ``everyhop`` and, where a server wants to know nobody else, ``anonymous``; no password follows. Whether
the data connections are encrypted as well (PROT P) shows after a login only, and is not told here.
"""

from __future__ import annotations

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import Dialogue, Garbled, Reply, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.upgrade.ftp import command, greet, start_tls
from everyhop.drivers.probes.wire import Ended
from everyhop.drivers.probes.wires.base import NAME, Caller, Said


class Ftp:
    """Tries USER, then AUTH TLS."""

    wire = Wire.FTP
    mixes = False
    speaks_first = True

    def recognise(self, banner: bytes) -> bool:
        """By 220; SMTP begins alike, and is asked before unless FTP names itself."""
        return banner.startswith((b"220 ", b"220-"))

    async def ask(self, caller: Caller) -> Said | None:
        """Two connections: some servers hang up when USER is refused."""
        async with caller.call() as dialogue:
            try:
                await greet(dialogue)
            except UpgradeRefused as refused:
                return Said(Encryption.UNKNOWN, refused.reason)
            user = await _user(dialogue)
            words = f"USER before AUTH TLS: {shown(user.text)}"
        async with caller.call() as dialogue:
            try:
                await greet(dialogue)
                await start_tls(dialogue)
            except UpgradeRefused as refused:
                insists = _speaks_of_tls(user)
                verdict = Encryption.UNKNOWN if insists else Encryption.PLAINTEXT
                return Said(verdict, f"AUTH TLS: {refused.reason}" + (f"; {words}" if insists else ""))
            except Garbled:
                raise
            except Ended as ended:
                return Said(Encryption.UNKNOWN, f"AUTH TLS: {ended.reason}; {words}")
        if user.code in (230, 331, 332):
            return Said(Encryption.UPGRADE_OFFERED, words)
        return Said(Encryption.UPGRADE_REQUIRED if _speaks_of_tls(user) else Encryption.UNKNOWN, words)


async def _user(dialogue: Dialogue) -> Reply:
    """The reply to USER for a name, or, if it is refused for another reason than plaintext, for anybody."""
    user = await command(dialogue, b"USER " + NAME)
    if user.code == 530 and not _speaks_of_tls(user):
        user = await command(dialogue, b"USER anonymous")
    if user.code != 421:
        await dialogue.say(b"QUIT\r\n")
    return user


def _speaks_of_tls(reply: Reply) -> bool:
    words = b" ".join(reply.lines).upper()
    return reply.code >= 400 and any(word in words for word in (b"TLS", b"SSL", b"ENCRYPT", b"CLEARTEXT", b"SECUR"))


FTP = Ftp()
