"""NATS: is a PING answered without TLS? A server that insists says so in its INFO and ends a connection on which
anything else than TLS comes (NATS protocol, INFO and CONNECT)."""

from __future__ import annotations

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import shown
from everyhop.drivers.probes.upgrade.nats import info
from everyhop.drivers.probes.wire import Ended
from everyhop.drivers.probes.wires.base import Caller, Said

_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"name":"everyhop","lang":"python","version":"0"}\r\nPING\r\n'


class Nats:
    """Reads the INFO and tries a PING."""

    wire = Wire.NATS
    mixes = False
    speaks_first = True

    def recognise(self, banner: bytes) -> bool:
        """By INFO and an object."""
        return banner.startswith(b"INFO {")

    async def ask(self, caller: Caller) -> Said | None:
        """One connection; where there is no TLS, not even the PING is sent."""
        async with caller.call() as dialogue:
            told = await info(dialogue)
            required = bool(told.get("tls_required"))
            if not required and not told.get("tls_available"):
                return Said(Encryption.PLAINTEXT, "INFO without tls_required or tls_available")
            await dialogue.say(_CONNECT)
            try:
                answer = await dialogue.line()
            except Ended as ended:
                verdict = Encryption.UPGRADE_REQUIRED if required else Encryption.UNKNOWN
                return Said(verdict, f"{'tls_required; ' if required else ''}PING in the clear: {ended.reason}")
        words = f"PING in the clear: {shown(answer)}"
        if answer.startswith(b"-ERR") and b"TLS" in answer.upper():
            return Said(Encryption.UPGRADE_REQUIRED, words)
        # A TLS alert instead of a line, or a wish for a password: the one refuses plaintext, the other takes it.
        served = answer.startswith((b"PONG", b"+OK", b"-ERR", b"INFO", b"PING"))
        return Said(Encryption.UPGRADE_OFFERED if served else Encryption.UNKNOWN, words)


NATS = Nats()
