"""MongoDB: ``hello`` in an OP_MSG, which needs no login (MongoDB wire protocol; the command's ``client`` document is
optional, so everyhop names itself in the comment). With ``allowTLS`` and ``preferTLS`` one port takes both."""

from __future__ import annotations

import struct

from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.wires.base import NAME, OneQuestion

_OP_MSG = 2013
_OP_REPLY = 1
_REQUEST_ID = 0x45484F50
_LARGEST = 1 << 20


def _hello() -> bytes:
    def text(name: bytes, value: bytes) -> bytes:
        return b"\x02" + name + b"\0" + struct.pack("<i", len(value) + 1) + value + b"\0"

    fields = b"\x10hello\0" + struct.pack("<i", 1) + text(b"$db", b"admin") + text(b"comment", NAME)
    document = struct.pack("<i", len(fields) + 5) + fields + b"\0"
    body = struct.pack("<I", 0) + b"\0" + document
    return struct.pack("<iiii", 16 + len(body), _REQUEST_ID, 0, _OP_MSG) + body


def _answers(answer: bytes) -> bool:
    if len(answer) < 16:
        return False
    length, _, response_to, code = struct.unpack_from("<iiii", answer)
    return 16 < length <= _LARGEST and response_to == _REQUEST_ID and code in (_OP_MSG, _OP_REPLY)


MONGODB = OneQuestion(
    Wire.MONGODB,
    question=_hello(),
    answers=_answers,
    # What it says to somebody who speaks HTTP.
    banner=lambda banner: banner.startswith(b"HTTP/1.0 200 OK") and b"MongoDB over HTTP" in banner,
    mixes=True,
    show=lambda answer: f"reply to hello of {int.from_bytes(answer[:4], 'little')} bytes",
)
