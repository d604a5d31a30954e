"""Cassandra: an OPTIONS frame, which a node answers with SUPPORTED before any login (CQL binary protocol v4, 4.1.3 and
4.2.4), or with an ERROR that names the versions it speaks. With ``optional: true`` one port takes TLS and plaintext."""

from __future__ import annotations

from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.wires.base import OneQuestion

_HEADER = 9
_ERROR, _SUPPORTED = 0x00, 0x06
_RESPONSES = range(0x83, 0x87)
"""Versions 3 to 6, with the bit that marks a response."""


def _is_frame(answer: bytes) -> bool:
    return len(answer) >= _HEADER and answer[0] in _RESPONSES and answer[4] in (_ERROR, _SUPPORTED) and answer[5] == 0


CASSANDRA = OneQuestion(
    Wire.CASSANDRA,
    question=bytes([0x04, 0, 0, 0, 0x05, 0, 0, 0, 0]),
    answers=_is_frame,
    banner=_is_frame,
    mixes=True,
    show=lambda answer: f"{'SUPPORTED' if answer[4] == _SUPPORTED else 'ERROR'} in protocol v{answer[0] & 0x7F}",
)
