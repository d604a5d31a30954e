"""What one mTLS hop costs: latency and CPU of everyhop's hop, of the same Envoys without everyhop, and of nginx.

Rules: the same small app behind all of them, on loopback; one worker a proxy; TLS 1.3, no resumption. What is compared
is interleaved in rounds and the median counts. CPU is that of the two proxies alone, from proc(5), a request.

* direct: the app, in the clear.
* everyhop: caller's proxy -> mTLS -> callee's proxy -> app, configured over xDS, certificates by SDS.
* Envoy, static: the very listeners and clusters that everyhop pushes, from a file: the difference is ours.
* nginx: nginx -> mTLS -> nginx -> app. It speaks HTTP/1.1 between the two, Envoy HTTP/2; its key exchange is X25519,
  everyhop's between Envoys X25519MLKEM768 (nginx with OpenSSL 3.0 has no hybrid group).

The handshakes are those of a client at the edge that opens a TLS 1.3 connection for every request.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks import _mesh, _peers
from benchmarks._mesh import ROOT, Mesh
from benchmarks._report import UNAVAILABLE, Report, arguments, median

DIRECT, EVERYHOP, STATIC, NGINX = "direct, plaintext", "everyhop", "Envoy, static", "nginx"
HOST = "bench.localhost"
NOISE = 1.15
"""A hop configured by everyhop may take this much of what the same hop from a file takes; 5 % is aimed at, and the
rest is for the noise of a shared machine."""
TOPOLOGY = """
everyhop: 1
trust_domain: bench.internal
environment: bench
owners: {{bench: {{contact: bench@bench.example}}}}
services:
  caller:
    owner: bench
    listen: 127.0.0.1:{unused}
    calls: [{{service: api, at: "127.0.0.1:{out}"}}]
  api:
    owner: bench
    listen: 127.0.0.1:{app}
    mesh: 127.0.0.1:{mesh}
    {run}
{edge}
"""
RUN = """run:
      command: [python, "{echo}"]
      environment: {{ECHO_LISTEN: "{{listen}}"}}"""
EDGE = """
edge:
  https: 127.0.0.1:{port}
  hosts: {{bench.localhost: {{to: api}}}}
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to be measured: where it listens, and the proxies whose CPU counts."""

    name: str
    port: int
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run of the load generator found. Milliseconds; CPU in microseconds a request."""

    p50: float
    p99: float
    per_second: float
    cpu: float


def sample(subject: Subject, kind: str, how: str, seconds: float) -> Sample:
    """Load a subject for a while."""
    before = sum(map(_mesh.cpu_seconds, subject.pids))
    command = [sys.executable, "-m", "benchmarks._generator", kind, str(subject.port), HOST, how, str(seconds)]
    found = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if found.returncode:
        raise RuntimeError(f"no load on {subject.name}: {found.stderr[-600:]}")
    cpu = sum(map(_mesh.cpu_seconds, subject.pids)) - before
    told = cast("dict[str, float]", json.loads(found.stdout))
    return Sample(told["p50"], told["p99"], told["count"] / told["seconds"], cpu / told["count"] * 1e6)


Found = dict[str, list[Sample]]


def interleaved(subjects: Sequence[Subject], kind: str, how: str, seconds: float, rounds: int) -> Found:
    """All subjects, round by round; each round begins with another one."""
    found: Found = {subject.name: [] for subject in subjects}
    for number in range(rounds):
        turn = number % len(subjects)
        for subject in [*subjects[turn:], *subjects[:turn]]:
            found[subject.name].append(sample(subject, kind, how, seconds))
    return found


def ratio(found: Found, name: str, against: str, field: str) -> float:
    """The median over the rounds of one subject's figure divided by another's."""
    pairs = zip(found[name], found[against], strict=True)
    return median(getattr(one, field) / getattr(other, field) for one, other in pairs if getattr(other, field))


def tell(report: Report, title: str, found: Found) -> None:
    """A table of medians, with what each adds to the direct way and how it stands to nginx."""
    rows: list[tuple[str | float, ...]] = []
    for name, samples in found.items():
        p50 = median(one.p50 for one in samples)
        cpu = median(one.cpu for one in samples)
        bare = DIRECT in found and name != DIRECT
        added = median(one.p50 - direct.p50 for one, direct in zip(samples, found[DIRECT], strict=True)) if bare else ""
        rows.append(
            (
                name,
                p50,
                median(one.p99 for one in samples),
                added,
                median(one.per_second for one in samples),
                cpu if name != DIRECT else "",
                1e6 / cpu if name != DIRECT and cpu else "",
                f"{ratio(found, name, NGINX, 'p50'):.2f}",
                f"{ratio(found, name, NGINX, 'cpu'):.2f}" if name != DIRECT else "",
            )
        )
    columns = (
        "",
        "p50 ms",
        "p99 ms",
        "added p50",
        "per second",
        "proxy CPU µs",
        "per CPU-s",
        "p50 / nginx",
        "CPU / nginx",
    )
    report.table(title, columns, rows)


# --- what is compared --------------------------------------------------------------------------------------------


def topology(*, unused: int, out: int, app: int, mesh: int, run: bool, edge: int = 0) -> str:
    """A caller and an API, with or without an edge and a command that runs the app."""
    return TOPOLOGY.format(
        unused=unused,
        out=out,
        app=app,
        mesh=mesh,
        run=RUN.format(echo=_mesh.ECHO) if run else "",
        edge=EDGE.format(port=edge) if edge else "",
    )


def subjects(stack: ExitStack, home: Path, binary: str) -> tuple[Mesh, list[Subject], list[Subject]]:
    """Bring everything up: the mesh, the subjects of the kept hop, those of the handshakes."""
    ports = iter(_mesh.free_ports(12))
    unused, app, out, edge = (next(ports) for _ in range(4))
    text = topology(unused=unused, out=out, app=app, mesh=next(ports), run=True, edge=edge)
    mesh = stack.enter_context(_mesh.up(home, text))
    certificates = _peers.Certificates.make(
        "spiffe://bench.internal/bench/caller", "spiffe://bench.internal/bench/api", (HOST,)
    )
    static_out, static_mesh = next(ports), next(ports)
    static = stack.enter_context(
        _peers.static_envoy(
            home / "static",
            topology(unused=unused, out=static_out, app=app, mesh=static_mesh, run=False),
            certificates,
            out=static_out,
            mesh=static_mesh,
        )
    )
    nginx_out, nginx_edge = next(ports), next(ports)
    nginx = stack.enter_context(
        _peers.nginx(
            binary,
            home / "nginx",
            certificates,
            out=nginx_out,
            edge=nginx_edge,
            mesh=next(ports),
            app=app,
            name=HOST,
        )
    )
    caller, api, at_edge = (mesh.proxy_pid(name) for name in ("caller", "api", "edge"))
    return (
        mesh,
        [
            Subject(DIRECT, app, ()),
            Subject(EVERYHOP, out, (caller, api)),
            Subject(STATIC, static_out, tuple(static)),
            Subject(NGINX, nginx_out, tuple(nginx)),
        ],
        [Subject(EVERYHOP, edge, (at_edge, api)), Subject(NGINX, nginx_edge, tuple(nginx))],
    )


def measure(report: Report, options: argparse.Namespace, binary: str) -> None:
    """Bring everything up, load it, tell."""
    with _mesh.folder() as home, ExitStack() as stack:
        mesh, hops, edges = subjects(stack, home, binary)
        began, cpu = time.perf_counter(), _mesh.cpu_seconds(mesh.pid)
        kept = {
            count: interleaved(hops, "plain", str(count), options.seconds, options.rounds)
            for count in options.connections
        }
        bundles = {EVERYHOP: mesh.bundle, NGINX: home / "nginx" / "root.pem"}
        both = home / "both.pem"
        both.write_bytes(b"".join(path.read_bytes() for path in bundles.values()))
        shaken = interleaved(edges, "tls", str(both), options.seconds, options.rounds)
        control = (_mesh.cpu_seconds(mesh.pid) - cpu) / (time.perf_counter() - began)
    for count, found in kept.items():
        tell(report, f"A hop, kept connections, {count} at a time ({options.rounds} rounds)", found)
        report.target(
            f"everyhop's p50 against the same Envoys from a file, {count} at a time",
            ratio(found, EVERYHOP, STATIC, "p50"),
            NOISE,
            at_least=False,
            unit=" x",
        )
    tell(report, f"Edge and a hop, a TLS 1.3 handshake for every request ({options.rounds} rounds)", shaken)
    report.note(
        "Envoy loses to nginx on small requests: it does more for each (HTTP/2 between proxies, filters, statistics);"
        " everyhop takes Envoy for what can be changed in it without a restart, not for its speed"
    )
    report.note(
        "physical limit: two cores carry app, load and proxies, so with many connections latency is waiting for CPU:"
        f" compare CPU a request. everyhop's control plane used {control:.1%} of a core beside"
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7, help="rounds; each loads everything once")
    parser.add_argument("--seconds", type=float, default=1.5, help="seconds of load of one thing in a round")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16], help="requests at a time")


def main() -> int:
    """Run it; the exit status: 3 if nginx is missing."""
    options = arguments(__doc__, _options)
    binary = _peers.nginx_binary()
    if binary is None:
        print(f"expected nginx to compare with, found none\n  hint: `{_peers.INSTALL_NGINX}`", file=sys.stderr)
        return UNAVAILABLE
    report = Report("hop")
    measure(report, options, binary)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
