"""AMQP: the protocol header of 0-9-1; a broker answers with Connection.Start, or with the header that it wants
(AMQP 0-9-1, 4.2.2; AMQP 1.0, 2.2)."""

from __future__ import annotations

from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.dialogue import shown
from everyhop.drivers.probes.wires.base import OneQuestion

_START = b"\x00\x0a\x00\x0a"
"""Class 10 (connection), method 10 (start)."""
_HEADER = b"AMQP"


def _answers(answer: bytes) -> bool:
    is_start = answer[:3] == b"\x01\x00\x00" and answer[7:11] == _START
    return is_start or (len(answer) >= 8 and answer.startswith(_HEADER))


def _show(answer: bytes) -> str:
    return f"AMQP {answer[4:8].hex()}" if answer.startswith(_HEADER) else f"connection.start {shown(answer[20:], 60)}"


AMQP = OneQuestion(
    Wire.AMQP,
    question=b"AMQP\x00\x00\x09\x01",
    answers=_answers,
    banner=lambda banner: banner.startswith(_HEADER) and len(banner) >= 8,
    show=_show,
)
