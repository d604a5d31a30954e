"""everyhop's prober in a process of its own: ``python -m benchmarks._scanner MODE FILE``; it ends with a line of JSON.

Rules: the file has one ``host:port`` a line. ``verify`` and ``enumerate`` have their limits lifted, as the other
scanners have none; ``fleet`` has everyhop's own manners. Nothing is imported here but what a scan needs, since the
start of the process counts.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from everyhop.core.endpoint.facts import Reply, TlsFacts
from everyhop.core.endpoint.target import Target
from everyhop.core.guidelines.registry import find
from everyhop.drivers.probes.enumerate import enumerate_tls
from everyhop.drivers.probes.hello.ask import Interview
from everyhop.drivers.probes.manners import Limits, Manners
from everyhop.drivers.probes.verify import verify_tls

NAME = "bench.test"
"""The server name that is asked for."""
AT_ONCE = 256
"""Looks under way at the same time."""
GUIDELINE = find("mozilla-intermediate@6.0")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LIFTED = Limits(at_once=None, per_second=None, overall=64)


async def look(mode: str, target: Target, manners: Manners) -> TlsFacts:
    """One look at one endpoint."""
    interview = Interview(target, manners)
    return await (enumerate_tls(interview, NOW) if mode == "enumerate" else verify_tls(interview, GUIDELINE, NOW))


def beyond(facts: TlsFacts) -> float:
    """Hellos a version beyond the suites and groups that were found in it. Those for signature schemes, protocols,
    names and refused versions are not of a version, and left out."""
    found = sum(len(one.suites) + len(one.groups) for one in facts.versions)
    besides = len(facts.signatures) + 1 + len(facts.alpn) + 1 + 2 + len(facts.asked) + 1
    return (facts.hellos - found - besides) / len(facts.versions)


def right(facts: TlsFacts) -> bool:
    """True if what came out is what was configured."""
    if facts.mode == "enumerate":
        return not facts.fault and [(len(one.suites), len(one.groups)) for one in facts.versions] == [(3, 3), (3, 3)]
    forbidden = [one.answer.reply for one in facts.asked if one.question.startswith("forbidden-")]
    return not facts.fault and set(forbidden) == {Reply.REFUSED}


def memory() -> float:
    """The most memory this process ever held, in MB (proc(5), VmHWM; what rusage says includes the parent's)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


async def scan(mode: str, endpoints: Sequence[str]) -> dict[str, float]:
    """Look at all of them; figures for people."""
    manners = Manners() if mode == "fleet" else Manners(LIFTED)
    tally: Counter[str] = Counter()
    most, excess = 0, 0.0

    places = asyncio.Semaphore(AT_ONCE)

    async def one(endpoint: str) -> None:
        nonlocal most, excess
        host, _, port = endpoint.rpartition(":")
        async with places:
            facts = await look(mode, Target(host, int(port), server_name=NAME), manners)
        tally["right"] += right(facts)
        tally["hellos"] += facts.hellos
        most = max(most, facts.hellos)
        excess = max(excess, beyond(facts)) if mode == "enumerate" else 0.0

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(endpoint) for endpoint in endpoints))
    return {
        "endpoints": len(endpoints),
        "right": tally["right"],
        "hellos": tally["hellos"],
        "most": most,
        "beyond": excess,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "mb": memory(),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(scan(sys.argv[1], Path(sys.argv[2]).read_text().split()))))
