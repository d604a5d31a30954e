"""MQTT: a CONNECT with a clean session and no user; any CONNACK is an answer (MQTT 3.1.1, 3.1 and 3.2).

The client id is everyhop's own, so that nobody else's session is taken over. A version 5 broker that has given up 3.1.1
answers with reason 0x84, which is a CONNACK as well.
"""

from __future__ import annotations

from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.wires.base import NAME, OneQuestion

_CONNACK = 0x20
_RETURN_CODES = {
    0: "accepted",
    1: "unacceptable protocol version",
    2: "identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorised",
}
"""MQTT 3.1.1, table 3.1."""

_CLEAN_SESSION = 0x02
_KEEP_ALIVE_SECONDS = 10


def _connect() -> bytes:
    variable = b"\x00\x04MQTT\x04" + bytes([_CLEAN_SESSION]) + _KEEP_ALIVE_SECONDS.to_bytes(2, "big")
    rest = variable + len(NAME).to_bytes(2, "big") + NAME
    return bytes([0x10, len(rest)]) + rest


def _is_connack(answer: bytes) -> bool:
    return len(answer) >= 4 and answer[0] == _CONNACK and 2 <= answer[1] < 128


def _show(answer: bytes) -> str:
    code = answer[3]
    return f"CONNACK {code} {_RETURN_CODES.get(code, '')}".rstrip()


MQTT = OneQuestion(Wire.MQTT, question=_connect(), answers=_is_connack, goodbye=b"\xe0\x00", show=_show)
