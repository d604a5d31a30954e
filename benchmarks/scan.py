"""What scanning costs: connections, CPU and time of everyhop's prober, sslscan, sslyze, nmap and testssl.sh.

Rules: the same nginx (Mozilla's intermediate configuration, TLS 1.2 and 1.3, RSA) for all, on loopback; it counts the
connections itself. Every scanner is a process of its own, its start included; CPU is that of the process and of all
that it started. Rounds are interleaved and the median counts. sslyze has an environment of its own, because it pins an
older cryptography; a scanner that is not there is left out and named.

Then, in one process: how many endpoints a core verifies, and a fleet of thousands on addresses of 127.0.0.0/8, with
everyhop's own manners (4 connections at once and 20 a second to an endpoint, 256 in all).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks import _endpoints, _mesh
from benchmarks._endpoints import Endpoints
from benchmarks._report import UNAVAILABLE, Report, arguments, median

ROOT = _mesh.ROOT
VERIFY, ENUMERATE = "everyhop, verify", "everyhop, enumerate"
SSLSCAN, SSLYZE, NMAP, TESTSSL = "sslscan", "sslyze", "nmap ssl-enum-ciphers", "testssl.sh -p -E"
SSLYZE_VERSION = "6.3.1"
_VERSIONS = ("--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--elliptic_curves")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a scanner cost. Seconds."""

    connections: int
    cpu: float
    wall: float
    told: str


def run(command: Sequence[str], endpoints: Endpoints) -> Cost:
    """Run a scanner to its end. Raises ``RuntimeError`` if it did not connect at all."""
    before, began = endpoints.accepted(), time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout as output:
        told = output.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    connections = endpoints.accepted() - before - 1
    if connections < 1:
        raise RuntimeError(f"{command[0]} made no connection: {told[-300:]}")
    return Cost(connections, usage.ru_utime + usage.ru_stime, wall, told)


def commands(home: Path, endpoints: Endpoints, sslyze: str) -> dict[str, list[str]]:
    """Every scanner that is there, told to look at all endpoints."""
    targets = home / f"targets-{len(endpoints.addresses)}"
    targets.write_text("\n".join(endpoints.addresses) + "\n")
    ports = ",".join(one.rpartition(":")[2] for one in endpoints.addresses)
    ours = [sys.executable, "-m", "benchmarks._scanner"]
    found = {VERIFY: [*ours, "verify", str(targets)], ENUMERATE: [*ours, "enumerate", str(targets)]}
    if sslscan := shutil.which("sslscan"):
        found[SSLSCAN] = [sslscan, f"--targets={targets}"]
    if nmap := shutil.which("nmap"):
        found[NMAP] = [nmap, "-Pn", "-n", "-sT", "--script", "ssl-enum-ciphers", "-p", ports, "127.0.0.1"]
    if sslyze:
        found[SSLYZE] = [sslyze, *_VERSIONS, "--mozilla_config=disable", *endpoints.addresses]
    testssl = shutil.which("testssl") or shutil.which("testssl.sh")
    if testssl and len(endpoints.addresses) == 1:
        found[TESTSSL] = [testssl, "--quiet", "--color", "0", "-p", "-E", endpoints.addresses[0]]
    return found


def compare(
    report: Report, found: Mapping[str, Sequence[str]], endpoints: Endpoints, rounds: int
) -> dict[str, list[Cost]]:
    """All scanners, round by round; testssl.sh, which takes half a minute, in the first only."""
    costs: dict[str, list[Cost]] = {name: [] for name in found}
    for number in range(rounds):
        for name, command in found.items():
            if name != TESTSSL or not number:
                costs[name].append(run(command, endpoints))
    rows = [
        (
            name,
            round(median(one.connections for one in runs)),
            median(one.cpu for one in runs),
            median(one.wall for one in runs),
            f"{ratio(costs, name, 'cpu'):.1f}",
            f"{ratio(costs, name, 'wall'):.1f}",
        )
        for name, runs in costs.items()
    ]
    count = len(endpoints.addresses)
    columns = ("", "connections", "CPU s", "wall s", "CPU / enumerate", "wall / enumerate")
    report.table(f"{count} endpoint{'s' if count > 1 else ''}, TLS 1.2 and 1.3", columns, rows)
    return costs


def ratio(costs: Mapping[str, Sequence[Cost]], name: str, field: str) -> float:
    """A scanner's figure divided by that of everyhop enumerating; the median over the rounds."""
    pairs = zip(costs[name], costs[ENUMERATE], strict=False)
    return median(getattr(one, field) / getattr(ours, field) for one, ours in pairs)


def told(cost: Cost) -> dict[str, float]:
    """What everyhop's own process said of its run."""
    return cast("dict[str, float]", json.loads(cost.told))


def measure(report: Report, options: argparse.Namespace, nginx: str, sslyze: str) -> None:
    """Bring the endpoints up, scan them, tell."""
    with _mesh.folder() as home, ExitStack() as stack:
        one = stack.enter_context(_endpoints.ports(nginx, home / "one", 1))
        many = stack.enter_context(_endpoints.ports(nginx, home / "many", 20))
        alone = compare(report, commands(home, one, sslyze), one, options.rounds)
        crowd = compare(report, commands(home, many, sslyze), many, options.rounds)
        tell_missing(report, alone)
        verified, listed = told(alone[VERIFY][0]), told(alone[ENUMERATE][0])
        report.target("hellos to verify an endpoint", verified["most"], 8, at_least=False)
        report.target("hellos to enumerate, beyond what is found, a version", listed["beyond"], 2, at_least=False)
        if SSLYZE in crowd:
            report.target(
                "CPU of sslyze over ours, 20 endpoints", ratio(crowd, SSLYZE, "cpu"), 10, at_least=True, unit="x"
            )
        throughput(report, home, many, options.looks)
    if options.fleet:
        with _mesh.folder() as home:
            fleet(report, home, nginx, options.fleet)


def throughput(report: Report, home: Path, endpoints: Endpoints, looks: int) -> None:
    """How many endpoints one core verifies and enumerates, when the process has started."""
    file = home / "again"
    rows: list[tuple[str | float, ...]] = []
    rate = 0.0
    for mode in ("enumerate", "verify"):
        file.write_text("\n".join((endpoints.addresses * looks)[:looks]) + "\n")
        found = told(run([sys.executable, "-m", "benchmarks._scanner", mode, str(file)], endpoints))
        rate = found["endpoints"] / found["cpu"]
        rows.append(
            (mode, found["hellos"], found["cpu"] / found["hellos"] * 1e6, rate, found["endpoints"] / found["seconds"])
        )
        _must_be_right(found)
    report.table(
        f"One process, {looks} looks at 20 endpoints (nginx on the same cores)",
        ("", "hellos", "CPU µs a hello", "endpoints a CPU-second", "endpoints a second"),
        rows,
    )
    report.target("verified endpoints a second and core", rate, 200, at_least=True)


def fleet(report: Report, home: Path, nginx: str, size: int) -> None:
    """Thousands of endpoints in one run, with manners."""
    with ExitStack() as stack:
        parts = [
            stack.enter_context(
                _endpoints.addresses(nginx, home / str(first), first, min(_endpoints.HALF, size - first))
            )
            for first in range(0, size, _endpoints.HALF)
        ]
        file = home / "fleet"
        file.write_text("\n".join(one for part in parts for one in part.addresses) + "\n")
        found = told(run([sys.executable, "-m", "benchmarks._scanner", "fleet", str(file)], parts[0]))
    _must_be_right(found)
    report.table(
        f"A fleet of {size:,} endpoints, verified in one run with everyhop's manners",
        ("", "verified", "hellos", "seconds", "CPU s", "MB"),
        [("everyhop", found["right"], found["hellos"], found["seconds"], found["cpu"], found["mb"])],
    )
    report.target("endpoints of the fleet that were verified", found["right"], size, at_least=True)


def _must_be_right(found: Mapping[str, float]) -> None:
    if found["right"] != found["endpoints"]:
        raise RuntimeError(f"only {found['right']:.0f} of {found['endpoints']:.0f} endpoints came out right")


def tell_missing(report: Report, costs: Mapping[str, object]) -> None:
    """Name the scanners that are not there."""
    hints = {SSLSCAN: "apt-get install sslscan", NMAP: "apt-get install nmap", TESTSSL: "apt-get install testssl.sh"}
    hints[SSLYZE] = f"needs a package index: uv pip install sslyze=={SSLYZE_VERSION}"
    for name, hint in hints.items():
        if name not in costs:
            report.note(f"{name} was left out: {hint}")


def own_sslyze(given: str) -> str:
    """sslyze in an environment of its own, made on first use; empty if it cannot be made."""
    home = ROOT / ".boot" / f"sslyze-{SSLYZE_VERSION}"
    binary = Path(given) if given else home / "bin" / "sslyze"
    uv = next((str(one) for one in sorted(ROOT.glob(".boot/uv-*/bin/uv"))), "") or shutil.which("uv")
    if not binary.exists() and uv and not given:
        for command in (
            ["venv", "--quiet", str(home)],
            ["pip", "install", "--quiet", "-p", str(home), f"sslyze=={SSLYZE_VERSION}"],
        ):
            if subprocess.run([uv, *command], check=False, capture_output=True, cwd=ROOT).returncode:
                return ""
    return str(binary) if binary.exists() else ""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count")
    parser.add_argument("--looks", type=int, default=1000, help="looks in one process")
    parser.add_argument("--fleet", type=int, default=5000, help="endpoints of the fleet; 0: none")
    parser.add_argument("--sslyze", default="", metavar="PATH", help="use this sslyze")


def main() -> int:
    """Run it; the exit status."""
    options = arguments(__doc__, _options)
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not nginx:
        print("scan: expected nginx, found none\n  hint: apt-get install nginx-light", file=sys.stderr)
        return UNAVAILABLE
    report = Report("scan")
    measure(report, options, nginx, own_sslyze(options.sslyze))
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
