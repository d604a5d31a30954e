"""The machine itself: clock and randomness, as arguments."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Clock(Protocol):
    """The wall clock, as an argument."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class Random(Protocol):
    """Randomness, as an argument."""

    def serial(self) -> int:
        """A positive certificate serial number with at least 64 random bits, at most 20 octets (RFC 5280, 4.1.2.2)."""
        ...

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""
        ...

    def token(self) -> str:
        """An unguessable identifier, 128 random bits in hexadecimal."""
        ...
