"""SSH: a server that introduces itself; what follows is encrypted by the protocol itself (RFC 4253, 4.2)."""

from __future__ import annotations

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import MOST_LINES, shown
from everyhop.drivers.probes.wires.base import NAME, Caller, Said


class Ssh:
    """Reads the introduction and gives ours, so that the server's log has a name."""

    wire = Wire.SSH
    mixes = False
    speaks_first = True

    def recognise(self, banner: bytes) -> bool:
        """By ``SSH-`` at the beginning of a line."""
        return banner.startswith(b"SSH-") or b"\nSSH-" in banner

    async def ask(self, caller: Caller) -> Said | None:
        """One connection. Lines before the introduction are allowed, and skipped."""
        async with caller.call() as dialogue:
            for _ in range(MOST_LINES):
                line = await dialogue.line()
                if line.startswith(b"SSH-"):
                    await dialogue.say(b"SSH-2.0-" + NAME + b"\r\n")
                    return Said(Encryption.OWN, shown(line))
        return None


SSH = Ssh()
