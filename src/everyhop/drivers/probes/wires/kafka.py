"""Kafka: ApiVersions, version 0, which a broker answers before anybody has logged in (KIP-35, KIP-43)."""

from __future__ import annotations

import struct

from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.wires.base import NAME, OneQuestion

_API_VERSIONS = 18
_CORRELATION = 0x45484F50
_REQUEST = struct.pack("!hhih", _API_VERSIONS, 0, _CORRELATION, len(NAME)) + NAME
_LARGEST = 1 << 16


def _answers(answer: bytes) -> bool:
    """Size, our correlation id, an error code: 0, or 35 for an unsupported version."""
    if len(answer) < 10:
        return False
    size, correlation, error = struct.unpack_from("!iih", answer)
    return 6 <= size <= _LARGEST and correlation == _CORRELATION and error in (0, 35)


KAFKA = OneQuestion(
    Wire.KAFKA,
    question=len(_REQUEST).to_bytes(4, "big") + _REQUEST,
    answers=_answers,
    show=lambda answer: f"ApiVersions response of {int.from_bytes(answer[:4], 'big')} bytes",
)
