"""LDAP: is a name with a password taken without StartTLS?

A server that insists answers with confidentialityRequired (13, RFC 4513, 5.1.3) or, Active Directory with enforced
signing, with strongerAuthRequired (8). Some say so to a look at the root DSE already, others to a simple bind only. An
anonymous bind proves nothing: what a directory tells anybody is no secret. So this is the one place where a password is
sent: a made-up one, for a name that does not exist, at the cost of one failed bind in the server's log. The name must
lie in a context that the server holds: OpenLDAP refuses any other before it looks at the encryption.
"""

from __future__ import annotations

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import MOST_LINES, Dialogue, Garbled
from everyhop.drivers.probes.hello.ask import UpgradeRefused
from everyhop.drivers.probes.upgrade.ldap import (
    Result,
    element,
    message,
    operation,
    result,
    result_in,
    split,
    start_tls,
)
from everyhop.drivers.probes.wires.base import NAME, Caller, Said

_BIND_REQUEST, _SEARCH_REQUEST = 0x60, 0x63
_ENTRY, _DONE = 0x64, 0x65
_OCTETS, _SEQUENCE, _SIMPLE, _PRESENT = 0x04, 0x30, 0x80, 0x87
_VERSION_3 = b"\x02\x01\x03"
_BASE_OBJECT_NO_LIMITS = b"\x0a\x01\x00" + b"\x0a\x01\x00" + b"\x02\x01\x00" + b"\x02\x01\x00" + b"\x01\x01\x00"
_CONTEXTS = b"namingContexts"
_CONFIGURATION = b"cn=config"
"""A context that OpenLDAP and 389 Directory Server always have."""

_REFUSALS = {8: "strongerAuthRequired", 13: "confidentialityRequired"}
"""Result codes that mean: not in the clear (RFC 4511, appendix A.2)."""
_UNSURE = frozenset((51, 52, 80))
"""busy, unavailable, other: no answer to our question."""


class Ldap:
    """Looks at the root DSE, tries a simple bind, then StartTLS."""

    wire = Wire.LDAP
    mixes = False
    speaks_first = False

    def recognise(self, banner: bytes) -> bool:
        """By a notice of disconnection (RFC 4511, 4.4.1): what it says to gibberish."""
        return banner[:1] == b"\x30" and b"1.3.6.1.4.1.1466.20036" in banner

    async def ask(self, caller: Caller) -> Said | None:
        """Two connections: OpenLDAP refuses StartTLS while it is still tidying up after an answer."""
        async with caller.call() as dialogue:
            found, context = await _root(dialogue)
            if found.code in _REFUSALS:
                words = f"search before StartTLS: {found} ({_REFUSALS[found.code]})"
            else:
                found = await _bind(dialogue, context)
                words = f"simple bind before StartTLS: {found} ({_REFUSALS.get(found.code, 'looked at')})"
        served = found.code not in _REFUSALS and found.code not in _UNSURE
        try:
            async with caller.call() as dialogue:
                await start_tls(dialogue)
        except UpgradeRefused as refused:
            if served:
                return Said(Encryption.PLAINTEXT, f"StartTLS: {refused.reason}")
            return Said(Encryption.UNKNOWN, f"StartTLS: {refused.reason}; {words}")
        if served:
            return Said(Encryption.UPGRADE_OFFERED, words)
        return Said(Encryption.UPGRADE_REQUIRED if found.code in _REFUSALS else Encryption.UNKNOWN, words)


async def _root(dialogue: Dialogue) -> tuple[Result, bytes]:
    """Search the root DSE: the result, and the first naming context in it (RFC 4512, 5.1)."""
    parameters = element(_OCTETS, b"") + _BASE_OBJECT_NO_LIMITS + element(_PRESENT, b"objectClass")
    attributes = element(_SEQUENCE, element(_OCTETS, _CONTEXTS))
    await dialogue.say(message(1, element(_SEARCH_REQUEST, parameters + attributes)))
    context = _CONFIGURATION
    for _ in range(MOST_LINES):
        tag, content = await operation(dialogue)
        if tag == _DONE:
            return result_in(content), context
        if tag == _ENTRY:
            context = _first_value(content) or context
    raise Garbled(f"a search of at most {MOST_LINES} entries")


def _first_value(entry: bytes) -> bytes:
    """The first value of the first attribute of an entry; empty: none."""
    try:
        _, _, rest = split(entry)  # the entry's name
        _, attributes, _ = split(rest)
        _, attribute, _ = split(attributes)
        _, _, rest = split(attribute)  # its description
        _, values, _ = split(rest)
        _, value, _ = split(values)
    except IndexError:
        return b""
    return value


async def _bind(dialogue: Dialogue, context: bytes) -> Result:
    name = b"cn=" + NAME + b"," + context
    credentials = element(_OCTETS, name) + element(_SIMPLE, NAME)
    await dialogue.say(message(2, element(_BIND_REQUEST, _VERSION_3 + credentials)))
    return await result(dialogue)


LDAP = Ldap()
