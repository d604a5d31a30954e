"""MySQL and MariaDB: is a login without TLS taken, where one with TLS is?

A server with ``require_secure_transport`` refuses plaintext with error 3159, or, MariaDB 10, as it refuses a wrong
password: with 1045. And both products look at the password first, so whoever has no account hears 1045, whatever the
server thinks of TLS. Then plaintext was neither served nor refused, and nobody can tell from outside; all that is sure
is that a name and a scrambled password go over the wire in the clear. The user is ``everyhop`` with an empty password.
Where an account of this name exists, without a password and without any privilege, the two answers are proof. Accounts
that are made with REQUIRE SSL refuse plaintext one by one, and nobody sees that from outside either.
"""

from __future__ import annotations

import struct

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import Dialogue, Garbled, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.secured import secure
from everyhop.drivers.probes.upgrade.mysql import (
    CLIENT_PLUGIN_AUTH,
    CLIENT_PROTOCOL_41,
    CLIENT_SECURE_CONNECTION,
    CLIENT_SSL,
    LARGEST_PACKET,
    UTF8,
    Fault,
    fault,
    greet,
    packet,
    read_packet,
    upgrade,
)
from everyhop.drivers.probes.wire import Ended
from everyhop.drivers.probes.wires.base import NAME, Caller, Said

_SECURE_TRANSPORT_REQUIRED = 3159
_OK = 0x00
_SWITCH = 0xFE
_QUIT = b"\x01"


class Mysql:
    """Reads the greeting and tries to log in as nobody."""

    wire = Wire.MYSQL
    mixes = False
    speaks_first = True

    def recognise(self, banner: bytes) -> bool:
        """By a first packet with a greeting of version 10, or an error."""
        return len(banner) > 5 and banner[2:4] == b"\0\0" and (banner[4] in (0xFF, 10))

    async def ask(self, caller: Caller) -> Said | None:
        """One connection, or two: in the clear, and under TLS if that was denied."""
        async with caller.call() as dialogue:
            try:
                greeting = await greet(dialogue)
            except UpgradeRefused as refused:
                return Said(Encryption.UNKNOWN, refused.reason)
            if not greeting.offers_tls:
                return Said(Encryption.PLAINTEXT, f"{shown(greeting.version)} without the capability CLIENT_SSL")
            error = await _log_in(dialogue)
        if error is None:
            return Said(Encryption.UPGRADE_OFFERED, "login without TLS: taken")
        words = f"login without TLS: {error}"
        if error.number == _SECURE_TRANSPORT_REQUIRED:
            return Said(Encryption.UPGRADE_REQUIRED, words)
        try:
            protected = await _log_in_under_tls(caller)
        except (Ended, UpgradeRefused) as ended:
            return Said(Encryption.UNKNOWN, f"{words}; with TLS: {ended.reason}")
        if protected is None:
            return Said(Encryption.UPGRADE_REQUIRED, f"{words}; with TLS: taken")
        return Said(Encryption.UNKNOWN, f"{words}; with TLS: {protected}")


async def _log_in_under_tls(caller: Caller) -> Fault | None:
    async with caller.call() as dialogue:
        await upgrade(dialogue.channel)
        secured = await secure(dialogue.channel, server_name=caller.target.name)
        error = await _log_in(Dialogue(secured), sequence=2, capabilities=CLIENT_SSL)
        await secured.bye()
    return error


async def _log_in(dialogue: Dialogue, *, sequence: int = 1, capabilities: int = 0) -> Fault | None:
    """Log in as everyhop without a password; None: we are in, and leave. Raises :class:`Garbled`."""
    capabilities |= CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH
    head = struct.pack("<IIB23x", capabilities, LARGEST_PACKET, UTF8)
    await dialogue.say(packet(head + NAME + b"\0" + b"\0" + b"mysql_native_password\0", sequence=sequence))
    body = await read_packet(dialogue)
    if body[0] == _SWITCH:  # asks for another way to log in: an empty answer is an empty password
        await dialogue.say(packet(b"", sequence=sequence + 2))
        body = await read_packet(dialogue)
    if body[0] == _OK:
        await dialogue.say(packet(_QUIT, sequence=0))
        return None
    if (error := fault(body)) is None:
        raise Garbled("an answer to a login", body)
    return error


MYSQL = Mysql()
