"""Ports of a test run: no two meshes share one, whichever workers they run in.

Rules: all lie below the range from which Linux takes ports for outgoing connections (32768 and up): a load of new
connections must not be able to take one. Every worker of a run has a part of its own, and goes through it from port to
port, from anywhere on, because another run may be under way on this machine. What was given comes again only when the
part is used up, and is looked at before.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from itertools import cycle, islice

ALL = range(10_000, 32_000)
BAND = 40
"""More addresses than a story's mesh leaves open, with all that is added while it runs."""


def part_of(worker: str, workers: int) -> range:
    """The ports of one worker of so many, by xdist's name for it; an empty name is a run without workers.

    There are twice as many parts as workers: one that crashes is replaced by one with the next number.
    """
    parts = 2 * workers
    size = len(ALL) // parts
    begin = int(worker.removeprefix("gw") or 0) % parts * size
    return ALL[begin : begin + size]


PART = part_of(os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _from_anywhere(part: range) -> Iterator[int]:
    begin = random.randrange(len(part))
    return cycle([*part[begin:], *part[:begin]])


_next = _from_anywhere(PART)


def free_port() -> int:
    """A port that nobody listens on, and that was given to nobody else in this run."""
    found = next(filter(_is_free, islice(_next, len(PART))), None)
    assert found is not None, f"no port is free in {PART}"
    return found


def free_band(size: int = BAND) -> range:
    """So many ports in a row for what one mesh chooses itself; each of them is as :func:`free_port` gives it."""
    band = range(0)
    for _ in range(2 * len(PART)):
        port = free_port()
        band = range(band.start, port + 1) if port == band.stop else range(port, port + 1)
        if len(band) == size:
            return band
    raise AssertionError(f"no {size} ports in a row are free in {PART}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
