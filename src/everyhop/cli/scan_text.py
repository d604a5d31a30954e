"""What `everyhop scan` and `everyhop profiles` print for people.

Rules: it teaches: what is accepted, what was proved to be refused, what is wrong, why, and what to do. The worst comes
first. Colours never carry meaning alone: every verdict has its sign and its word. What strangers sent is escaped, and
control characters are replaced before they reach a terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from itertools import islice

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from everyhop.core.endpoint.remedies import REMEDIES
from everyhop.core.endpoint.rules import RULES
from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.report.document import Change, Difference, Endpoint, Result, Scan
from everyhop.core.report.endpoint import ADVICE, fails, is_untold, is_violation
from everyhop.core.tls.groups import group_name
from everyhop.core.tls.suites import suite
from everyhop.core.tls.versions import version_names
from everyhop.core.verdict import Verdict

_SIGNS = {
    Verdict.PASS: "[green]✔ pass[/]",
    Verdict.FAIL: "[bold red]✘ FAIL[/]",
    Verdict.UNKNOWN: "[yellow]? unknown[/]",
    Verdict.NOT_APPLICABLE: "[dim]– n/a[/]",
}
_STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
    Severity.INFO: "dim",
}
_ORDER = tuple(Severity)
_WHOLE = 4
"""Up to so many endpoints are shown whole; of more, only those that are not well."""
_TABLE = 200
"""Endpoints in one table; a larger fleet has several, one below the other."""
_SHOWN = 8


def print_scan(out: Console, found: Scan) -> None:
    """Every endpoint, the most important last, where one reads first; then what changed, and one line that sums up."""
    whole = len(found.endpoints) <= _WHOLE
    if not whole:
        waiting = iter(found.endpoints)
        while some := list(islice(waiting, _TABLE)):
            out.print(_overview(some))
    counts = Counter[Verdict]()
    for one in found.endpoints:
        counts[one.verdict] += 1
        if whole or one.verdict is not Verdict.PASS:
            _print_endpoint(out, one, whole=whole)
    if found.difference:
        _print_difference(out, found.difference)
    out.print(_sum(found.verdict, counts))


def _overview(endpoints: Sequence[Endpoint]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("endpoint", "verdict", "accepts", "key exchange", "to mend", "advice", "owner"):
        table.add_column(name, overflow="fold")
    for one in endpoints:
        table.add_row(
            _clean(one.subject),
            _SIGNS[one.verdict],
            ", ".join(version.name for version in one.accepts) or _clean(one.encryption) or "-",
            next((version.groups[0] for version in one.accepts if version.groups), "-"),
            str(sum(map(is_violation, one.findings)) or "-"),
            str(sum(fails(result) and result.severity in ADVICE for result in one.findings) or "-"),
            _clean(one.owner),
        )
    return table


# --- one endpoint -------------------------------------------------------------------------------------------------


def _print_endpoint(out: Console, one: Endpoint, *, whole: bool) -> None:
    asked = f"{one.hellos} hellos, " if one.hellos else ""
    name = f" as {_clean(one.name)}" if one.name and one.name != one.subject.rpartition(":")[0] else ""
    owner = f" · owner {_clean(one.owner)}" if one.owner else ""
    out.print(
        f"\n{_SIGNS[one.verdict]}  [bold]{_clean(one.subject)}[/]{name}"
        f" · {escape(one.guideline)} · {one.mode} · {asked}{one.seconds:.1f} s{owner}"
    )
    if whole:
        out.print(_facts(one))
    violations = sorted(filter(is_violation, one.findings), key=lambda result: _ORDER.index(result.severity))
    for result in violations:
        _print_finding(out, result, f"[{_STYLES[result.severity]}]✘ {result.severity.upper()}[/]")
    for result in filter(is_untold, one.findings):
        _print_finding(out, result, "[yellow]? UNKNOWN[/]")
    for result in one.findings:
        if fails(result) and result.severity in ADVICE:
            _print_finding(out, result, f"[{_STYLES[result.severity]}]! ADVICE[/]")
        elif result.excused and result.verdict is Verdict.FAIL:
            until = f" until {result.excused_until}" if result.excused_until else ""
            out.print(f"  [dim]~ EXCUSED {result.rule}{until}: {_clean(result.excused)}[/]")
    passed = [result for result in one.findings if result.verdict is Verdict.PASS]
    absent = sum(result.verdict is Verdict.NOT_APPLICABLE for result in one.findings)
    out.print(f"  [green]✔[/] {_count(len(passed), 'rule')} kept" + (f", {absent} do not apply here" if absent else ""))


def _facts(one: Endpoint) -> Table:
    """What the endpoint showed of itself."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=11)
    table.add_column(overflow="fold")
    if one.encryption:
        wire = f" ({one.wire})" if one.wire else ""
        table.add_row("  plaintext", f"{_PLAIN.get(one.encryption, one.encryption)}{wire}")
    for number, version in enumerate(one.accepts):
        parts = [_some(version.suites), _some(version.groups)]
        table.add_row(
            "  accepts" if not number else "", f"[bold]{version.name}[/]  " + "  ·  ".join(filter(None, parts))
        )
    for number, refusal in enumerate(one.refuses):
        words = refusal.what.replace("-", " ")
        table.add_row("  refuses" if not number else "", f"{_clean(words)}: {_clean(refusal.evidence)}")
    for number, certificate in enumerate(one.chain):
        names = ", ".join(name.partition(":")[2] for name in certificate.names[:4])
        title = certificate.subject or names
        until = f"{certificate.not_after.astimezone(UTC):%Y-%m-%d}"
        table.add_row(
            "  chain" if not number else "",
            f"{_clean(title)} · {certificate.key} · until {until} · by {_clean(certificate.issuer)}",
        )
    return table


_PLAIN = {
    "tls": "refused, TLS from the first byte",
    "upgrade required": "refused, an upgrade to TLS is required",
    "upgrade offered": "served: TLS is only offered",
    "plaintext": "served: there is no TLS",
    "own encryption": "the protocol encrypts by itself",
    "silent": "no answer to anything",
    "closed": "nobody listens",
    "unknown": "could not be told",
}


def _print_finding(out: Console, result: Result, sign: str) -> None:
    out.print(f"  {sign} [bold]{result.rule}[/]: {_clean(result.statement)}")
    rows = [("seen", result.evidence)]
    if result.verdict is Verdict.FAIL and result.rule in RULES:
        rows += [("why", RULES[result.rule].explanation), ("do", REMEDIES[result.rule])]
        rows += [("source", f"{result.citation}; {result.runbook}")]
    for name, text in rows:
        if text:
            out.print(f"      [dim]{name + ':':<8}[/]{_clean(text)}")


# --- all together -------------------------------------------------------------------------------------------------


def _print_difference(out: Console, found: Difference) -> None:
    out.print("\n[bold]since the earlier scan[/]")
    kinds: Sequence[tuple[str, Sequence[Change]]] = (
        ("[red]+ new[/]    ", found.new),
        ("[green]- mended[/] ", found.mended),
        ("[yellow]? unseen[/] ", found.unseen),
        ("[dim]= still[/]  ", found.still),
    )
    for sign, changes in kinds:
        for change in changes:
            out.print(f"  {sign} {_clean(change.subject)} [bold]{change.rule}[/]: {_clean(change.statement)}")
    if not any(changes for _, changes in kinds):
        out.print("  nothing failed then, and nothing fails now")


def _sum(verdict: Verdict, counts: Counter[Verdict]) -> str:
    words = {Verdict.PASS: "well", Verdict.FAIL: "to mend", Verdict.UNKNOWN: "could not be told"}
    told = ", ".join(f"{counts[each]} {word}" for each, word in words.items() if counts[each])
    return f"\n{_SIGNS[verdict]}  {_count(counts.total(), 'endpoint')}: {told}"


def print_profiles(out: Console, known: Sequence[Guideline]) -> None:
    """All guidelines in a table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("profile", "version", "permits", "TLS 1.2 suites", "for"):
        table.add_column(name, overflow="fold")
    before = ""
    for one in known:
        table.add_row(
            f"[bold]{one.name}[/]" if one.name != before else "",
            one.version,
            version_names(one.versions),
            str(len(one.suites_tls12) or "-"),
            escape(one.notes or one.source),
        )
        before = one.name
    out.print(table)
    out.print("`everyhop profiles NAME@VERSION` shows one; a YAML file in the same words is a profile, too")


def print_profile(out: Console, one: Guideline) -> None:
    """One guideline in full, with the names that configurations use."""
    out.print(f"[bold]{escape(str(one))}[/]" + (f" · published {one.published}" if one.published else ""))
    out.print(f"[dim]{escape(one.source)}[/]")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", min_width=24)
    table.add_column(overflow="fold")
    order = {True: "the server's decides", False: "the client's decides", None: "open"}
    rows = {
        "versions": version_names(one.versions),
        "required": version_names(one.required_versions),
        "TLS 1.3 suites": " ".join(suite(code).iana for code in one.suites_tls13),
        "TLS 1.2 suites (OpenSSL)": ":".join(suite(code).openssl or suite(code).iana for code in one.suites_tls12),
        "groups": ":".join(map(group_name, one.groups)),
        "preferred groups": ", ".join(map(group_name, one.preferred_groups)),
        "certificate keys": ", ".join(one.certificate_keys) or "any that is not weak",
        "certificate days": f"at most {one.certificate_days_max}" if one.certificate_days_max else "open",
        "recommended days": str(one.certificate_days_recommended or ""),
        "HSTS seconds": str(one.hsts_seconds_min or "not asked for"),
        "DH bits": str(one.dh_bits_min),
        "order of suites": order[one.server_order],
        "notes": one.notes,
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, escape(value))
    out.print(table)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(_clean, names[:_SHOWN])) + more


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _clean(text: str) -> str:
    """A stranger's words, safe for a terminal."""
    return escape("".join(letter if letter.isprintable() else "\ufffd" for letter in text))
