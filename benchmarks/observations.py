"""What it costs to keep a year of observations of a fleet of 1,000 hops: bytes on disk, CPU a minute, time to verify.

Rules: the fleet is simulated, the store is the real one (SQLite, ``synchronous=FULL``) and so are the observations:
each hop is counted at both of its ends, in one shape. Bytes are those of the file divided by its rows, indexes and
leaf hashes included; the year is that figure times the rows which the settings keep.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks._report import Report, arguments
from everyhop.core import tally
from everyhop.core.hop import End
from everyhop.core.ledger import leaf, root
from everyhop.core.observation import Observation, Stream
from everyhop.core.tally import Shape, Tally
from everyhop.drivers.store.sqlite import SqliteStore
from everyhop.settings import Settings

HOPS = 1_000
SHAPES = HOPS * len(End)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
GIGABYTES, CPU_MS = 15.0, 250.0
"""Targets: a year on a small disk; a minute's writing in half a per cent of one core."""


def minute(at: datetime) -> list[Observation]:
    """What one minute of the fleet writes."""
    found: list[Observation] = []
    for number in range(HOPS):
        caller, callee = f"service-{number:04d}", f"service-{number * 7 % HOPS:04d}"
        times = tuple(min(12, 2 * bound) for bound in range(len(tally.BUCKETS_US)))
        for end in End:
            shape = Shape(
                f"{caller} -> {callee}",
                end,
                f"envoy of {callee if end is End.SERVER else caller}",
                "ok",
                "TLSv1.3",
                "TLS_AES_128_GCM_SHA256",
                "X25519MLKEM768",
                f"spiffe://fleet.internal/prod/{caller if end is End.SERVER else callee}",
            )
            found.append(tally.observed(shape, Tally(12, None, 12, 15_000, times), at))
    return found


async def measure(report: Report, minutes: int) -> None:
    """Write ``minutes`` of the fleet, then compute the root over all of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "everyhop.db")
        store = await SqliteStore.open(path)
        cpu, wall = time.process_time(), time.perf_counter()
        for number in range(minutes):
            await store.observe(minute(BEGIN + timedelta(minutes=number)))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        verify = time.process_time()
        rows = await store.observations(stream=Stream.DETAIL, limit=minutes * SHAPES)
        root([leaf(one) for one in rows])
        verify = time.process_time() - verify
        await store.close()
        size = path.stat().st_size / len(rows)
    settings = Settings()
    minutes_kept, hours_kept = SHAPES * 1_440 * settings.detail_days, SHAPES * 24 * 365
    gigabytes = [size * kept / 1e9 for kept in (minutes_kept, hours_kept)]
    report.table(
        f"{HOPS:,} hops, both ends",
        ("", "rows", "GB"),
        [
            (f"minutes, {settings.detail_days:g} day(s)", round(minutes_kept), gigabytes[0]),
            ("hours, a year", hours_kept, gigabytes[1]),
        ],
    )
    report.table(
        "an observation",
        ("bytes", "write, us of CPU", "write, us of wall", "read and hash, us of CPU"),
        [(round(size), cpu / len(rows) * 1e6, wall / len(rows) * 1e6, verify / len(rows) * 1e6)],
    )
    report.target("a year of 1,000 hops", sum(gigabytes), GIGABYTES, at_least=False, unit=" GB")
    report.target("CPU to write a minute of it", cpu / minutes * 1e3, CPU_MS, at_least=False, unit=" ms")
    report.note("changes, findings, alerts and certificate events come on top: thousands of rows a year, not millions")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=int, default=60, help="minutes of the fleet that are written")


def main() -> int:
    """Run it; the exit status."""
    options = arguments(__doc__, _options)
    report = Report("observations")
    asyncio.run(measure(report, options.minutes))
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
