"""HTTP/2 without TLS and with prior knowledge: the preface, answered by SETTINGS (RFC 9113, 3.3 and 3.4).

To a server of HTTP/1 the preface is a request of a version that it does not know; nothing in it is a header.
"""

from __future__ import annotations

from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.wires.base import OneQuestion

_SETTINGS, _GOAWAY = 4, 7
_EMPTY_SETTINGS = bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
_NO_ERROR_GOAWAY = bytes([0, 0, 8, _GOAWAY, 0, 0, 0, 0, 0]) + bytes(8)
_LARGEST = 1 << 14


def is_frame(answer: bytes) -> bool:
    """Begins with a SETTINGS or GOAWAY frame of stream 0: what every HTTP/2 server says first."""
    return (
        len(answer) >= 9
        and int.from_bytes(answer[:3], "big") <= _LARGEST
        and answer[3] in (_SETTINGS, _GOAWAY)
        and answer[5:9] == bytes(4)
    )


H2C = OneQuestion(
    Wire.HTTP,
    question=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _EMPTY_SETTINGS,
    answers=is_frame,
    banner=is_frame,
    goodbye=_NO_ERROR_GOAWAY,
    mixes=True,
    show=lambda _: "HTTP/2 SETTINGS in the clear (h2c)",
)
