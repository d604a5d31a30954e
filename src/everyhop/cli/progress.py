"""What `everyhop up` shows while it works: one line a fact, and the same as JSON in a log file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from everyhop.app.running import Running
from everyhop.core.hop import Address, Posture
from everyhop.core.topology import Topology
from everyhop.ports import Event
from everyhop.services.apply import wished

_LOG_BYTES = 8 << 20

_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "authority.ready": lambda f: f"[green]✔[/] authority: {f['signer']} signs, {f['bundle']} is trusted",
    "journal.recovered": lambda f: (
        f"[yellow]↻[/] recovered the journal: {len(f['completed'])} completed, {len(f['abandoned'])} abandoned"
    ),
    "plan.changed": lambda f: "[yellow]~[/] the topology changed; making it true",
    "process.started": lambda f: (
        f"[dim]·[/] {f['name']} {'was still running' if f['adopted'] else 'starts'} (process {f['pid']})"
    ),
    "process.up": lambda f: f"[green]✔[/] {f['name']} is up",
    "process.late": lambda f: f"[yellow]![/] {f['name']} is not up yet; going on, it is tried again",
    "process.failed": lambda f: f"[red]✘[/] {f['name']}: {f['why']}",
    "process.died": lambda f: f"[red]✘[/] {f['name']}: {f['why']}; it is started again",
    "process.ended": lambda f: f"[dim]·[/] {f['name']} ended ({f['why']})",
    "hop.encrypted": lambda f: f"[green]🔒[/] {f['hop']} is encrypted: {f['version']} {f['group']}",
    "credential.served": lambda f: f"[green]✔[/] {f['slot']} renewed and seen on the wire, {f['why']}",
    "credential.failed": lambda f: f"[red]✘[/] {f['slot']} was not renewed: {f['why']}",
    "refused": lambda f: f"[yellow]![/] {f['node']} refused {f['who'] or 'somebody without identity'}: {f['why']}",
    "call.failed": lambda f: f"[yellow]![/] the proxy of {f['node']} could not reach a callee: {f['why']}",
    "flows.blind": lambda f: f"[red]✘[/] the socket table cannot be read: {f['why']}",
    "alert.firing": lambda f: f"[red]▲[/] {f['alert']} {f['subject']}: {f['summary']} [dim]({f['owner']})[/]",
    "alert.ended": lambda f: f"[green]▽[/] {f['alert']} {f['subject']} is over",
    "notify.failed": lambda f: f"[red]✘[/] {f['receiver']} was not told: {f['why']}",
    "telemetry.recovered": lambda f: f"[green]✔[/] the collector takes {f['signal']} again",
    "watch.failed": lambda f: f"[red]✘[/] watching {f['watch']} failed: {f['why']}",
    "dashboard.ready": lambda f: f"[green]✔[/] dashboard: {f['url']}",
    "plane.refused": lambda f: f"[red]✘[/] a proxy refused its configuration: {f['why']}",
    "fault": lambda f: f"[red]✘[/] {f['why']} [dim]{f['code']}[/]",
}


class Progress:
    """A reporter for the console and the log file. The file is kept below a size; one older one is kept."""

    def __init__(self, out: Console, log: Path, *, as_json: bool) -> None:
        """With ``as_json`` the console gets one JSON object a line, too."""
        self._out = out
        self._log = log
        self._as_json = as_json

    def __call__(self, event: Event) -> None:
        """Show and log one event."""
        fields = dict(event.fields)
        record = json.dumps({"at": event.at.isoformat(), "event": event.name, **fields}, default=str)
        self._append(record)
        if self._as_json:
            click.echo(record)
            return
        safe: dict[str, Any] = {
            key: escape(value) if isinstance(value, str) else value for key, value in fields.items()
        }
        if event.name.startswith("rotation."):
            state = event.name.removeprefix("rotation.")
            self._out.print(f"[yellow]↻[/] rotation of the {safe['kind']}: {state}; {safe['progress']}")
        elif line := _LINES.get(event.name):
            self._out.print(line(safe))

    async def ready(self, running: Running, data: Path) -> None:
        """Say where to look, with lines that can be copied."""
        if self._as_json:
            return
        found = await wished(running.store)
        if found is None:
            return
        self._out.print(f"\n[bold green]{_verdict(found[0])}[/]")
        for line in _where_to_look(found[0], data):
            self._out.print(line, soft_wrap=True)

    def _append(self, record: str) -> None:
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "a") as file:
            file.write(record + "\n")
            size = file.tell()
        if size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))


def _verdict(topology: Topology) -> str:
    """What may be said once every hop was seen as wanted: no more than that."""
    others = [str(hop) for hop in topology.hops() if topology.posture(hop) not in (Posture.MTLS, Posture.TLS)]
    if not others:
        return "Every hop is encrypted."
    return f"Every hop is as the topology asks; everyhop does not encrypt {', '.join(others)}."


def _where_to_look(topology: Topology, data: Path) -> list[str]:
    edge = topology.edge
    lines: list[str] = []
    if edge is not None:
        hosts = [name.replace("*", "any", 1) for name, one in edge.hosts.items() if one.to] or list(edge.hosts)
        host = hosts[-1]
        url = f"https://{host}:{edge.https.port}/"
        resolve = "" if host.endswith("localhost") else f" --resolve {host}:{edge.https.port}:{_reachable(edge.https)}"
        lines += [f"  look:    https://{name}:{edge.https.port}/" for name in reversed(hosts)]
        lines += [
            f"  curl:    curl --cacert {data}/root.pem{resolve} {url}",
            f"  trust:   import {data}/root.pem into your browser (it vouches for {', '.join(topology.names)} only)",
        ]
    lines += [
        f"  status:  everyhop status --data {data}",
        f"  prove:   everyhop check --data {data}",
        "  end:     Ctrl-C",
    ]
    return lines


def _reachable(address: Address) -> str:
    return "127.0.0.1" if address.host in ("0.0.0.0", "::") else address.host  # noqa: S104  # compared, not bound
