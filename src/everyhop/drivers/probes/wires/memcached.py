"""memcached: ``version``, which needs no rights (memcached's protocol.txt). The binary protocol is going out of use."""

from __future__ import annotations

from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.wires.base import OneQuestion

MEMCACHED = OneQuestion(
    Wire.MEMCACHED,
    question=b"version\r\n",
    answers=lambda answer: answer.startswith((b"VERSION ", b"CLIENT_ERROR unauthenticated")) and b"\n" in answer,
    banner=lambda banner: banner.startswith((b"ERROR\r\n", b"CLIENT_ERROR ")),
)
