"""POP3: does USER get through without STLS? (RFC 2595, 4; RFC 1939, 7.) The name is everyhop; no password follows."""

from __future__ import annotations

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.upgrade.pop3 import command, greet, start_tls
from everyhop.drivers.probes.wires.base import NAME, Caller, Said


class Pop3:
    """Tries USER, then STLS."""

    wire = Wire.POP3
    mixes = False
    speaks_first = True

    def recognise(self, banner: bytes) -> bool:
        """By ``+OK`` (Redis, too, begins with a plus, but never unasked)."""
        return banner.startswith(b"+OK")

    async def ask(self, caller: Caller) -> Said | None:
        """One connection. USER comes first: STLS has to be the last word in the clear."""
        async with caller.call() as dialogue:
            try:
                await greet(dialogue)
                user = await command(dialogue, b"USER " + NAME)
            except UpgradeRefused as refused:
                return Said(Encryption.UNKNOWN, refused.reason)
            words = f"USER before STLS: {shown(user)}"
            try:
                await start_tls(dialogue)
            except UpgradeRefused as refused:
                served = user.startswith(b"+")
                verdict = Encryption.PLAINTEXT if served else Encryption.UNKNOWN
                return Said(verdict, f"STLS: {refused.reason}" + ("" if served else f"; {words}"))
            if user.startswith(b"+"):
                return Said(Encryption.UPGRADE_OFFERED, words)
            return Said(Encryption.UPGRADE_REQUIRED, words)


POP3 = Pop3()
