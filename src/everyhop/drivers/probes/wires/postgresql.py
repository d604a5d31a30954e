"""PostgreSQL: is a StartupMessage without TLS taken, where one with TLS is?

``pg_hba.conf`` decides by user, database, address *and* encryption. A refusal in the clear alone proves little: perhaps
nobody knows the user ``everyhop``. So the same StartupMessage is sent under TLS first, and plaintext counts as refused
if TLS got further: to a question for a password (``R``), or at least to another refusal, as for a missing client
certificate. That proves it for this user only: another line of ``pg_hba.conf`` may still take another in the clear.
Refusals are told apart by the line of PostgreSQL's source that wrote them (field ``L`` of the ErrorResponse), because
their sentences come in many languages. No password is ever sent. (PostgreSQL documentation, 55.2 and 55.8.)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import Dialogue, Garbled, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.secured import secure
from everyhop.drivers.probes.upgrade.postgresql import offers_tls
from everyhop.drivers.probes.wire import Ended
from everyhop.drivers.probes.wires.base import NAME, Caller, Said

_VERSION_3 = 0x00030000
_PARAMETERS = (b"user", NAME, b"database", b"postgres", b"application_name", NAME)
_PAYLOAD = struct.pack("!i", _VERSION_3) + b"".join(word + b"\0" for word in _PARAMETERS) + b"\0"
_STARTUP = (len(_PAYLOAD) + 4).to_bytes(4, "big") + _PAYLOAD
_LONGEST = 8 << 10

_FINAL = (b"28", b"08")
"""Classes of SQL states: invalid authorisation, and, from PgBouncer, a connection that must not be."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a StartupMessage was answered."""

    taken: bool
    """With R: an authentication begins, or is already over."""
    words: str
    final: bool = False
    """A refusal of this user in this way; False: of anybody, now (starting up, too many clients)."""
    reason: bytes = b""
    """What a refusal is told apart by."""


class Postgresql:
    """Asks the same under TLS and in the clear."""

    wire = Wire.POSTGRESQL
    mixes = False
    speaks_first = False

    def recognise(self, banner: bytes) -> bool:
        """By an ErrorResponse with a severity: what a server that is full says at once."""
        return banner[:1] == b"E" and b"SFATAL\0" in banner[:16]

    async def ask(self, caller: Caller) -> Said | None:
        """Two connections; one where there is no TLS."""
        async with caller.call() as dialogue:
            try:
                if not await offers_tls(dialogue):
                    return Said(Encryption.PLAINTEXT, "SSLRequest: N")
            except UpgradeRefused as refused:
                return Said(Encryption.UNKNOWN, refused.reason)
            try:
                protected: _Answer | str = await _start_under_tls(dialogue, caller.target.name)
            except Ended as ended:
                protected = ended.reason
        async with caller.call() as dialogue:
            plain = await _start(dialogue)
        if plain.taken:
            return Said(Encryption.UPGRADE_OFFERED, f"without TLS: {plain.words}")
        if isinstance(protected, str):
            return Said(Encryption.UNKNOWN, f"without TLS: {plain.words}; with TLS: {protected}")
        if plain.final and (protected.taken or (protected.final and protected.reason != plain.reason)):
            return Said(Encryption.UPGRADE_REQUIRED, f"without TLS: {plain.words}")
        if protected.reason == plain.reason:
            return Said(Encryption.UNKNOWN, f"with TLS and without: {plain.words}")
        return Said(Encryption.UNKNOWN, f"without TLS: {plain.words}; with TLS: {protected.words}")


async def _start_under_tls(dialogue: Dialogue, server_name: str) -> _Answer:
    secured = await secure(dialogue.channel, server_name=server_name)
    answer = await _start(Dialogue(secured))
    await secured.bye()
    return answer


async def _start(dialogue: Dialogue) -> _Answer:
    await dialogue.say(_STARTUP)
    kind = await dialogue.exactly(1)
    length = int.from_bytes(await dialogue.exactly(4), "big")
    if kind not in (b"R", b"E") or not 4 < length <= _LONGEST:
        raise Garbled("R or E to a StartupMessage", kind)
    body = await dialogue.exactly(length - 4)
    if kind == b"R":  # no goodbye: in the middle of a login PostgreSQL would log it as a fault
        return _Answer(True, f"R {int.from_bytes(body[:4], 'big')} (authentication begins)")
    fields = {field[:1]: field[1:] for field in body.split(b"\0") if field}
    sentence = fields.get(b"M", b"")
    state = fields.get(b"C", b"")
    return _Answer(
        False,
        f"E {shown(state, 5)} {shown(sentence, 90)}",
        final=state[:2] in _FINAL,
        reason=fields.get(b"L") or state + sentence,
    )


POSTGRESQL = Postgresql()
