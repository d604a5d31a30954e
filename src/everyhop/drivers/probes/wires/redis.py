"""Redis and its kin: PING, as an inline command. Whoever says -NOAUTH in the clear takes the password in the clear too.

Redis takes ``POST`` and ``Host:`` at the beginning of a line for an attack by way of a browser, logs it so and hangs
up; nothing that everyhop sends to a port before it has spoken HTTP has either.
"""

from __future__ import annotations

from everyhop.core.endpoint.target import Wire
from everyhop.drivers.probes.wires.base import OneQuestion

_ANSWERS = (b"+PONG", b"-NOAUTH", b"-DENIED", b"-LOADING", b"-MASTERDOWN", b"-NOPERM", b"-BUSY ", b"-ERR ")

_TO_STRANGERS = (b"-ERR unknown command", b"-ERR wrong number", b"-ERR Protocol error", b"-DENIED", b"-NOAUTH")
"""What it says to lines that it cannot read, or that have too many words."""

REDIS = OneQuestion(
    Wire.REDIS,
    question=b"PING\r\n",
    answers=lambda answer: answer.startswith(_ANSWERS) and b"\n" in answer,
    banner=lambda banner: banner.startswith(_TO_STRANGERS),
)
