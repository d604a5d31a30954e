"""XMPP: does a login begin without STARTTLS?

``<required/>`` is the server's word (RFC 6120, 5.3.1); it is taken at it only after an ``<auth/>`` in the clear was
refused. The mechanism is one that the server offers, else PLAIN, and without an initial response, so nothing is sent
(RFC 6120, 6.4.2).
"""

from __future__ import annotations

import re

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.upgrade.xmpp import STARTTLS, features, until
from everyhop.drivers.probes.wire import Ended
from everyhop.drivers.probes.wires.base import Caller, Said

_MECHANISM = re.compile(rb"<mechanism[^>]*>([A-Z0-9_-]{1,20})</mechanism\s*>")
_ANSWER = re.compile(rb"<(challenge|success)\b[^>]*>|</failure\s*>|<failure[^>]*/>")
_SASL = b"urn:ietf:params:xml:ns:xmpp-sasl"


class Xmpp:
    """Reads the features and begins a login."""

    wire = Wire.XMPP
    mixes = False
    speaks_first = False

    def recognise(self, banner: bytes) -> bool:
        """By a stream of its own, which a server opens even to gibberish (RFC 6120, 4.9.1.1)."""
        return banner.lstrip().startswith(b"<") and b"<stream:" in banner

    async def ask(self, caller: Caller) -> Said | None:
        """One connection."""
        async with caller.call() as dialogue:
            try:
                offered = await features(dialogue, caller.target)
            except UpgradeRefused as refused:
                return Said(Encryption.UNKNOWN, refused.reason)
            if not (starttls := STARTTLS.search(offered)):
                return Said(Encryption.PLAINTEXT, f"features without starttls: {shown(offered[-100:])}")
            mechanism = (_MECHANISM.findall(offered) or [b"PLAIN"])[0]
            await dialogue.say(b"<auth xmlns='" + _SASL + b"' mechanism='" + mechanism + b"'/>")
            try:
                answer = await until(dialogue, _ANSWER)
            except Ended as ended:
                return Said(_without_words(starttls), f"auth before starttls: {ended.reason}")
        found = _ANSWER.search(answer)
        if found and found[1]:
            return Said(Encryption.UPGRADE_OFFERED, f"auth before starttls: {shown(found[0])}")
        return Said(Encryption.UPGRADE_REQUIRED, f"auth before starttls: {shown(answer[-100:])}")


def _without_words(starttls: re.Match[bytes]) -> Encryption:
    """A server that hangs up on ``<auth/>`` has refused it, if it said that TLS is required; else nobody knows why."""
    return Encryption.UPGRADE_REQUIRED if b"<required" in (starttls[1] or b"") else Encryption.UNKNOWN


XMPP = Xmpp()
