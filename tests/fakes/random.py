"""Randomness that repeats itself: the same seed gives the same serials, fractions and tokens."""

from __future__ import annotations

import hashlib


class SeededRandom:
    """``ports.Random`` from a counter. It stands for the operating system's: it goes on over a crash."""

    def __init__(self, seed: str = "everyhop") -> None:
        self._seed = seed
        self._count = 0

    def serial(self) -> int:
        return 1 << 158 | int.from_bytes(self._bytes()[:19])

    def fraction(self) -> float:
        return int.from_bytes(self._bytes()[:6]) / (1 << 48)

    def token(self) -> str:
        return self._bytes()[:16].hex()

    def _bytes(self) -> bytes:
        self._count += 1
        return hashlib.sha256(f"{self._seed} {self._count}".encode()).digest()
