"""Commands for endpoints that everyhop may know nothing of: look at them, and show what they are held to.

Rules: they need no authority, no topology and no data directory. Every file that is named is read before anything is
contacted, every file that is to be written is tried, and every fault in them is told at once. Results go to standard
output first and to files then, so that a full disk costs nobody the answer; progress goes to standard error and only to
a terminal. Exit statuses: 0 all well, 1 a violation, 2 could not tell (or wrong usage), so that a script can trust a
zero. Endpoints are kept small until they are rendered, one after the other: a fleet may be large.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from everyhop import __version__
from everyhop.app import now
from everyhop.app.scanning import endpoint_reports
from everyhop.cli.context import console, plain
from everyhop.cli.files import as_json_text, guideline_named, read_bytes, read_text, require_writable, write_text
from everyhop.cli.scan_text import print_profile, print_profiles, print_scan
from everyhop.core.endpoint.fleet import Entry, read_fleet
from everyhop.core.endpoint.log_list import read_logs
from everyhop.core.endpoint.target import Target
from everyhop.core.guidelines.registry import DEFAULT, GUIDELINES
from everyhop.core.report.difference import compare
from everyhop.core.report.document import endpoint, read, render
from everyhop.core.report.endpoint import EndpointReport
from everyhop.core.report.junit import junit
from everyhop.core.report.sarif import sarif
from everyhop.core.report.shelf import Shelf, ShelvedScan
from everyhop.core.verdict import Verdict
from everyhop.errors import EveryhopError
from everyhop.services.scan import Mode, Order

_EXIT = {Verdict.PASS: 0, Verdict.NOT_APPLICABLE: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}
_FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wishes:
    """The command line of one scan."""

    targets: tuple[str, ...]
    fleet: Path | None
    profile: str
    name: str
    ca_file: Path | None
    log_list: Path | None
    diff: Path | None


@click.command()
@click.argument("targets", nargs=-1, metavar="[HOST[:PORT]]...")
@click.option(
    "--file", "fleet", type=_FILE, help="A fleet: one endpoint a line, with owner=, service=, name=, profile=."
)
@click.option("--profile", default=DEFAULT, show_default=True, help="A guideline (`everyhop profiles`), or its file.")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.VERIFY.value,
    show_default=True,
    help="verify: is what must be refused refused? enumerate: everything that is accepted.",
)
@click.option("--mtls", is_flag=True, help="Prove that nobody gets in without a right client certificate.")
@click.option(
    "--accept-lockout",
    is_flag=True,
    help="Look closely at MySQL and MariaDB, too: their max_connect_errors may lock this host out.",
)
@click.option("--name", default="", help="The name to ask for and to verify, if it is not the host.")
@click.option("--ca-file", type=_FILE, help="Roots (PEM) to trust beside those of this machine.")
@click.option("--log-list", type=_FILE, help="Certificate Transparency logs (log_list.json), to verify timestamps by.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON (`everyhop schema scan`).")
@click.option(
    "--sarif", "sarif_file", type=_FILE, help="Write what failed, or could not be told, to this file as SARIF 2.1.0."
)
@click.option("--junit", "junit_file", type=_FILE, help="Write JUnit XML to this file, too.")
@click.option("--save", type=_FILE, help="Write the JSON document to this file, too: for --diff next time.")
@click.option("--diff", type=_FILE, help="Compare with a document that was saved before.")
@click.option("--concurrency", type=click.IntRange(1, 1024), default=32, show_default=True, help="Endpoints at once.")
@click.option("--timeout", type=click.FloatRange(0.1, 120), default=5.0, show_default=True, help="Seconds a question.")
def scan(
    mode: str,
    mtls: bool,
    accept_lockout: bool,
    as_json: bool,
    sarif_file: Path | None,
    junit_file: Path | None,
    save: Path | None,
    concurrency: int,
    timeout: float,
    **wishes: Any,
) -> None:
    """Look at endpoints from outside: what they accept, what they provably refuse, and what should be mended.

    Needs nothing but a network: no authority, no topology. HOST may be a name, an address, host:port or a URL such as
    postgres://db.internal; a protocol's own way to TLS (STARTTLS and its like) is found by the port or the scheme.

    Exits with 0 if all is well, 1 if something must be mended, 2 if it could not be told. A finding of low severity is
    advice and changes nothing.
    """
    wished = _Wishes(**wishes)
    entries, order = _prepare(wished)
    order = replace(
        order,
        mode=Mode(mode),
        enforcement=mtls,
        accept_lockout=accept_lockout,
        at_once=concurrency,
        timeout=timeout,
    )
    roots = _roots(wished.ca_file)
    logs = read_logs(read_text(wished.log_list), file=str(wished.log_list)) if wished.log_list else ()
    earlier = read(read_text(wished.diff), file=str(wished.diff)) if wished.diff else None
    files = [(path, form) for path, form in ((save, render), (sarif_file, sarif), (junit_file, junit)) if path]
    for path, _ in files:
        require_writable(path)

    began = now()
    found = asyncio.run(_scanned(endpoint_reports(entries, order, roots=roots, logs=logs), len(entries), quiet=as_json))
    result = ShelvedScan(f"everyhop {__version__}", began, found)
    if earlier:
        result = replace(result, difference=compare(earlier, result))
    try:
        _show(result, as_json=as_json)
    finally:  # whoever reads may have gone, and wants the files all the same
        for path, form in files:
            write_text(path, form(result))
    sys.exit(_EXIT[result.verdict])


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def profiles(name: str | None, as_json: bool) -> None:
    """List the guidelines that endpoints can be held to, or show one: NAME, NAME@VERSION or a file of your own."""
    if name is None:
        known = [one for versions in GUIDELINES.values() for one in versions]
        if as_json:
            click.echo(as_json_text([plain(one) for one in known]), nl=False)
        else:
            print_profiles(console(), known)
        return
    guideline = guideline_named(name)
    if as_json:
        click.echo(as_json_text(plain(guideline)), nl=False)
    else:
        print_profile(console(), guideline)


# --- before anything is contacted ---------------------------------------------------------------------------------


def _prepare(wished: _Wishes) -> tuple[Sequence[Entry], Order]:
    """Everything that was asked for, read and checked."""
    entries = [*_named(wished), *(read_fleet(read_text(wished.fleet), file=str(wished.fleet)) if wished.fleet else ())]
    if not entries:
        raise click.UsageError("expected at least one HOST[:PORT], or a fleet with --file")
    names = dict.fromkeys(entry.profile for entry in entries if entry.profile)
    order = Order(guideline=guideline_named(wished.profile), guidelines={name: guideline_named(name) for name in names})
    return entries, order


def _named(wished: _Wishes) -> list[Entry]:
    """The endpoints of the command line. Every one that cannot be read is told."""
    entries: list[Entry] = []
    faults: list[str] = []
    for text in wished.targets:
        try:
            target = Target.parse(text)
        except ValueError as error:
            faults.append(str(error))
        else:
            entries.append(Entry(replace(target, server_name=wished.name or target.server_name)))
    if faults:
        hint = "for example shop.example.org, db.internal:5432, [2001:db8::1]:443 or postgres://db.internal"
        raise EveryhopError("target-invalid", "; ".join(faults), hint=hint)
    return entries


def _roots(path: Path | None) -> bytes | None:
    """The roots to trust beside those of this machine."""
    if path is None:
        return None
    found = read_bytes(path)
    if b"-----BEGIN CERTIFICATE-----" not in found:
        raise EveryhopError("usage-invalid", f"expected PEM certificates in {path}, got none")
    return found


# --- while and after ----------------------------------------------------------------------------------------------


async def _scanned(reports: AsyncGenerator[EndpointReport], total: int, *, quiet: bool) -> Shelf:
    """Every report in its published form, with a progress bar for fleets on a terminal."""
    found = Shelf()
    out = Console(stderr=True)
    columns = (
        TextColumn("scanning"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=out, transient=True, disable=quiet or total < 2 or not out.is_terminal) as bar:
        task = bar.add_task("scanning", total=total, last="")
        async with aclosing(reports):
            async for report in reports:
                one = endpoint(report)
                found.put(one)
                bar.update(task, advance=1, last=escape(one.subject))
    return found


def _show(result: ShelvedScan, *, as_json: bool) -> None:
    """The answer on standard output."""
    if not as_json:
        print_scan(console(), result)
        return
    for piece in render(result):
        click.echo(piece, nl=False)
