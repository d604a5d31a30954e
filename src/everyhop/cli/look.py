"""Commands that look: status, hops, certificates, explanations, checks, the roots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everyhop.app import now
from everyhop.app.checking import checks
from everyhop.cli.context import Context, duration_text, pass_context, wait_for
from everyhop.core.hop import Posture
from everyhop.core.lifecycle import CredentialState
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError, ExitStatus
from everyhop.ports import AuditEntry
from everyhop.services.check import Check
from everyhop.services.explain import Explanation
from everyhop.services.explain import explain as explain_calls
from everyhop.services.inventory import CertificateStatus, HopStatus, Status
from everyhop.services.inventory import status as status_of

_VERDICTS = {
    Verdict.PASS: "[green]pass[/]",
    Verdict.FAIL: "[bold red]fail[/]",
    Verdict.UNKNOWN: "[yellow]unknown[/]",
    Verdict.NOT_APPLICABLE: "[dim]n/a[/]",
}


def read_status(context: Context) -> Status:
    """The state of everything in this call's data directory."""

    async def ask() -> Status:
        async with context.existing.store() as store:
            overdue = timedelta(seconds=context.workspace.settings.overdue_seconds)
            return await status_of(store, str(context.workspace.data), now(), overdue=overdue)

    return wait_for(ask())


@click.command()
@pass_context
def status(context: Context) -> None:
    """Show every hop with its posture wanted and seen, certificates, processes and rotations.

    Exits with 0 if every hop was seen as it should be, 1 if one was not, 3 if nothing runs.
    """
    found = read_status(context)
    context.show(found, lambda out: print_status(out, found))
    if not found.running:
        sys.exit(ExitStatus.UNAVAILABLE)
    if not found.ok:
        sys.exit(ExitStatus.SHORTFALL)


@click.command()
@pass_context
def hops(context: Context) -> None:
    """List every hop: what it should be, what was seen, when and by whom."""
    found = read_status(context)
    context.show(found.hops, lambda out: out.print(_hop_table(found)))


@click.command()
@pass_context
def certs(context: Context) -> None:
    """List every certificate: whose it is, how old, when it renews, and who saw it served."""
    found = read_status(context)
    context.show(found.certificates, lambda out: out.print(_certificate_table(found)))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="[CALLER] CALLEE")
@pass_context
def explain(context: Context, names: tuple[str, ...]) -> None:
    """Explain why calls from CALLER (a service or a SPIFFE ID) to CALLEE work or are refused.

    With CALLEE alone, list everybody who was refused there, and why.
    """
    if len(names) > 2:
        raise click.UsageError(f"expected a caller and a callee, got {len(names)} names")
    caller, callee = ("", *names)[-2:]

    async def ask() -> Explanation:
        async with context.existing.store() as store:
            return await explain_calls(store, str(context.workspace.data), caller=caller, callee=callee)

    found = wait_for(ask())
    context.show(found, lambda out: _print_explanation(out, found))


@click.command()
@pass_context
def check(context: Context) -> None:
    """Prove every hop on the wire: versions, identities, and that strangers and plaintext are refused.

    Exits with 1 if a check fails or could not tell.
    """

    async def ask() -> list[Check]:
        return [one async for one in checks(context.existing)]

    found = wait_for(ask())
    context.show(found, lambda out: print_checks(out, found))
    if not passed(found):
        sys.exit(ExitStatus.SHORTFALL)


@click.command()
@click.option("--lines", "-n", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many entries.")
@pass_context
def audit(context: Context, lines: int) -> None:
    """Show who asked for what, and what came of it, the newest first: refusals, rotations, applied topologies."""

    async def ask() -> Sequence[AuditEntry]:
        async with context.existing.store() as store:
            return await store.audit_log(limit=lines)

    found = wait_for(ask())
    context.show(found, lambda out: out.print(_audit_table(found)))


@click.command()
@pass_context
def trust(context: Context) -> None:
    """Print the roots (PEM) that clients outside the mesh should trust."""
    path = context.existing.bundle_file
    if not path.exists():
        raise EveryhopError("authority-unavailable", "no authority exists yet", hint="`everyhop up` makes one")
    context.show({"file": str(path), "roots": path.read_text()}, lambda out: click.echo(path.read_text(), nl=False))


def passed(found: list[Check]) -> bool:
    """True if nothing failed and nothing is unknown."""
    return bool(found) and all(one.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE) for one in found)


# --- for people ---------------------------------------------------------------------------------------------------


def print_status(out: Console, found: Status) -> None:
    """The state of everything, the most important first."""
    good = sum(hop.ok for hop in found.hops)
    mark = "[green]✔[/]" if found.ok else "[red]✘[/]"
    running = "running" if found.state == "running" else f"[yellow]{found.state}[/]"
    out.print(
        f"{mark} [bold]{escape(found.trust_domain)}[/] ({escape(found.environment)}) · {running} · "
        f"{good} of {len(found.hops)} hops as they should be"
    )
    if found.fault:
        out.print(f"  [red]a proxy refused its configuration:[/] {escape(found.fault)}")
    if found.rotation is not None and not found.rotation.finished:
        rotation = found.rotation
        out.print(f"  [yellow]rotation of the {rotation.kind}[/]: {rotation.state}, {escape(rotation.progress)}")
    out.print(_hop_table(found))
    for flow in found.plaintext:
        who = f"{flow.caller or 'somebody'} -> {flow.callee or flow.server}"
        out.print(
            f"[red]✘ plaintext beside the mesh:[/] {escape(who)} at {flow.server}, {flow.connections} connections, "
            f"owner {escape(flow.owner or 'unknown')}: {escape(flow.evidence)}"
        )
    out.print(_certificate_table(found))
    out.print(_process_table(found))
    if found.trust is not None:
        out.print(
            f"signs: [bold]{found.trust.signer}[/] · trusted: {', '.join(found.trust.bundle)}"
            + (f" · retired: {', '.join(found.trust.retired)}" if found.trust.retired else "")
        )


def print_checks(out: Console, found: list[Check]) -> None:
    """Every check with its evidence, and a last line that sums up."""
    table = _table("hop", "check", "verdict", "evidence")
    before, order = "", list(dict.fromkeys(one.hop for one in found))
    for one in sorted(found, key=lambda one: order.index(one.hop)):
        table.add_row(
            escape(one.hop) if one.hop != before else "", one.name, _VERDICTS[one.verdict], escape(one.evidence)
        )
        before = one.hop
    out.print(table)
    counts = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    words = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    out.print(f"{'[green]✔[/]' if passed(found) else '[red]✘[/]'} {len(found)} checks: {words}")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _hop_table(found: Status) -> Table:
    columns = (
        "hop",
        "wanted",
        "seen",
        "version",
        "key exchange",
        "caller proved to be",
        "seen by",
        "last seen",
        "owner",
    )
    table = _table(*columns)
    for hop in found.hops:
        table.add_row(
            escape(hop.hop),
            str(hop.wanted),
            _posture(hop),
            hop.version or "-",
            hop.group or "-",
            escape(hop.peer or "-"),
            _seen_by(hop),
            _ago(hop.seen_at, found.at) if not hop.note else escape(hop.note),
            escape(hop.owner),
        )
    return table


def _seen_by(hop: HopStatus) -> str:
    """Which ends have seen it encrypted."""
    ends = {end.end for end in hop.ends}
    return (
        "both ends" if len(ends) == 2 else {"server": "its callee", "client": "its caller"}[ends.pop()] if ends else "-"
    )


def _audit_table(found: Sequence[AuditEntry]) -> Table:
    table = _table("#", "at (UTC)", "who", "what", "on", "outcome", "details")
    for one in found:
        details = ", ".join(f"{key}: {value}" for key, value in one.details.items())
        table.add_row(
            str(one.sequence),
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            escape(one.actor),
            escape(one.action),
            escape(one.subject),
            escape(one.outcome),
            escape(details),
        )
    return table


def _posture(hop: HopStatus) -> str:
    if hop.ok:
        return f"[green]🔒 {hop.seen}[/]" if hop.seen not in (Posture.EXEMPT,) else f"[yellow]{hop.seen}[/]"
    if hop.seen is Posture.PLAINTEXT:
        return f"[bold red]🔓 {hop.seen}[/]"
    return f"[yellow]? {hop.seen}[/]" if hop.seen is Posture.UNKNOWN else f"[bold red]✘ {hop.seen}[/]"


def _certificate_table(found: Status) -> Table:
    table = _table("certificate", "state", "names", "age", "renews in", "ends in", "signed by", "owner")
    for one in found.certificates:
        table.add_row(
            escape(one.name),
            _credential_state(one),
            escape(", ".join(one.names)),
            duration_text(found.at - one.issued_at) if one.issued_at else "-",
            duration_text(one.renews_at - found.at) if one.renews_at > found.at else "now",
            duration_text(one.not_after - found.at) if one.not_after else "-",
            one.authority or "-",
            escape(one.owner),
        )
    return table


def _credential_state(one: CertificateStatus) -> str:
    if one.state is CredentialState.SERVED:
        return "[green]served[/]"
    if one.state is CredentialState.FAILED:
        return f"[red]failed[/]: {escape(one.fault)}"
    return f"[yellow]{one.state}[/]" + (f": {escape(one.fault)}" if one.fault else "")


def _process_table(found: Status) -> Table:
    table = _table("process", "state", "pid", "since", "restarts", "")
    for one in found.processes:
        state = f"[green]{one.state}[/]" if one.state == "up" else f"[yellow]{one.state}[/]"
        table.add_row(
            escape(one.name),
            state if found.running else f"[dim]{one.state}[/]",
            str(one.pid or "-"),
            _ago(one.since, found.at),
            str(one.restarts),
            escape(one.detail),
        )
    return table


def _ago(moment: datetime | None, at: datetime) -> str:
    return f"{duration_text(at - moment)} ago" if moment else "never"


def _print_explanation(out: Console, found: Explanation) -> None:
    if found.caller:
        out.print(f"{'[green]✔[/]' if found.allowed else '[red]✘[/]'} {escape(found.verdict)}")
    else:
        out.print(escape(found.verdict))
    if found.last_seen:
        out.print(f"  last seen: {escape(found.last_seen)}")
    if not found.refused:
        out.print("  nobody was refused there" + (" as this caller" if found.caller else ""))
    for one in found.refused:
        out.print(
            f"  [red]refused[/] {escape(one.who)} ({one.count} times, last {one.last_at:%Y-%m-%d %H:%M:%S} UTC"
            f" from {escape(one.last_peer)}): {escape(one.why)} [dim]{one.code}[/]"
        )
        out.print(f"    [bold]hint:[/] {escape(one.remedy)}")
