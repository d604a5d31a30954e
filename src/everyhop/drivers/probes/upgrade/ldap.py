"""LDAP: an extended request with the name 1.3.6.1.4.1.1466.20037, answered by a result code (RFC 4511, 4.14).

Of BER only as much as a result needs: tags of one byte, definite lengths (RFC 4511, 5.1 allows no others).
"""

from __future__ import annotations

from dataclasses import dataclass

from everyhop.drivers.probes.dialogue import Channel, Dialogue, Garbled, shown
from everyhop.drivers.probes.hello.ask import UpgradeRefused

SUCCESS = 0

_SEQUENCE = 0x30
_INTEGER = 0x02
_ENUMERATED = 0x0A
_EXTENDED_REQUEST = 0x77
_REQUEST_NAME = 0x80
_START_TLS = b"1.3.6.1.4.1.1466.20037"
_LONGEST = 16 << 10


@dataclass(frozen=True, slots=True)
class Result:
    """An LDAPResult: its code (RFC 4511, 4.1.9) and what the server says about it."""

    code: int
    message: bytes

    def __str__(self) -> str:
        return f"result {self.code} {shown(self.message)}".rstrip()


async def upgrade(channel: Channel) -> None:
    """Ask for TLS. Raises ``UpgradeRefused`` if the server says no."""
    dialogue = Dialogue(channel)
    await start_tls(dialogue)
    dialogue.settle()


async def start_tls(dialogue: Dialogue) -> None:
    """Say StartTLS. Raises ``UpgradeRefused`` with the server's result."""
    await dialogue.say(message(1, element(_EXTENDED_REQUEST, element(_REQUEST_NAME, _START_TLS))))
    answer = await result(dialogue)
    if answer.code != SUCCESS:
        raise UpgradeRefused(str(answer))


def element(tag: int, content: bytes) -> bytes:
    """One BER element of less than 64 KiB."""
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content


def message(message_id: int, operation: bytes) -> bytes:
    """An LDAPMessage."""
    return element(_SEQUENCE, element(_INTEGER, bytes([message_id])) + operation)


async def result(dialogue: Dialogue) -> Result:
    """Read one message and the result in it. Raises :class:`Garbled` if it is none."""
    _, content = await operation(dialogue)
    return result_in(content)


async def operation(dialogue: Dialogue) -> tuple[int, bytes]:
    """Read one message: the tag of its operation, and what is in it. Raises :class:`Garbled` if it is none."""
    header = await dialogue.exactly(2)
    if header[0] != _SEQUENCE:
        raise Garbled("an LDAP message", header)
    length = header[1]
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(await dialogue.exactly(size), "big") if 0 < size <= 4 else _LONGEST + 1
    if length > _LONGEST:
        raise Garbled(f"an LDAP message of at most {_LONGEST} bytes", header)
    body = await dialogue.exactly(length)
    try:
        _, _, rest = split(body)  # the message id
        tag, content, _ = split(rest)
    except IndexError:
        raise Garbled("an LDAP message", body) from None
    return tag, content


def result_in(content: bytes) -> Result:
    """The result in an operation. Raises :class:`Garbled` if there is none."""
    try:
        tag, code, rest = split(content)
        _, _, rest = split(rest)  # the matched name
        _, text, _ = split(rest)
    except IndexError:
        raise Garbled("an LDAP result", content) from None
    if tag != _ENUMERATED or not 0 < len(code) <= 4:
        raise Garbled("an LDAP result", content)
    return Result(int.from_bytes(code, "big"), text)


def split(data: bytes) -> tuple[int, bytes, bytes]:
    """An element's tag and content, and what follows it. Raises ``IndexError`` if the data ends before."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise IndexError
    return tag, data[start : start + length], data[start + length :]
