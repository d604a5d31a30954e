"""`everyhop lint`: the classic mistakes of transport security in files, before they run.

Rules: it needs no authority, no topology and no network. It teaches: the place, what is wrong, how to mend it, and who
says so. Exit statuses as for `everyhop scan`: 0 all well, 1 something must be mended, 2 could not tell.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from everyhop import __version__
from everyhop.app import now
from everyhop.app.linting import lint_paths
from everyhop.cli.context import console
from everyhop.cli.files import as_json_text, guideline_named, read_text, write_text
from everyhop.core.fault import did_you_mean
from everyhop.core.finding import Severity
from everyhop.core.guidelines.registry import DEFAULT
from everyhop.core.lint.judge import KNOWN
from everyhop.core.report.endpoint import fails, is_untold, is_violation
from everyhop.core.report.lint import LintDocument, LintResult, lint_document, lint_json, lint_junit, lint_sarif
from everyhop.core.verdict import Verdict

_EXIT = {Verdict.PASS: 0, Verdict.NOT_APPLICABLE: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}
_FILE = click.Path(dir_okay=False, path_type=Path)
_STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
    Severity.INFO: "dim",
}


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--profile", default=DEFAULT, show_default=True, help="A guideline (`everyhop profiles`), or its file.")
@click.option("--rule", "only", multiple=True, metavar="CODE", help="Ask this rule only; may be given again.")
@click.option("--sarif-in", "reports", multiple=True, type=_FILE, help="Take in what another tool found (SARIF 2.1.0).")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.option("--sarif", "sarif_file", type=_FILE, help="Write SARIF 2.1.0 to this file, too.")
@click.option("--junit", "junit_file", type=_FILE, help="Write JUnit XML to this file, too.")
def lint(
    paths: tuple[Path, ...],
    profile: str,
    only: tuple[str, ...],
    reports: tuple[Path, ...],
    as_json: bool,
    sarif_file: Path | None,
    junit_file: Path | None,
) -> None:
    """Find the classic mistakes of transport security in files, before they run.

    Reads the configurations of nginx, HAProxy, Apache and Envoy, Compose and Kubernetes manifests, Python, Go,
    JavaScript, TypeScript, Java, shell and Dockerfiles; looks for private keys in all of them. In a git work tree
    .gitignore holds.

    \b
    A comment on the line, or on the line before, excuses one rule until a day:
      # everyhop: allow nginx-upstream-plain until 2026-12-31 because the old printer knows no TLS

    Exits with 0 if all is well, 1 if something must be mended, 2 if a file could not be read. A finding of low severity
    is advice and changes nothing.
    """
    for code in only:
        if code not in KNOWN and ":" not in code:
            hint = did_you_mean(code, KNOWN, otherwise="docs/reference/lint-rules.md lists them")
            raise click.UsageError(f"expected the code of a lint rule, got {code!r}: {hint}")
    guideline = guideline_named(profile)
    logs = [(str(path), read_text(path)) for path in reports]
    began = now()
    found = lint_paths(paths, guideline, only=only, reports=logs)
    tool = f"everyhop {__version__}"
    result = lint_document(found.findings, files=found.files, tool=tool, at=began, guideline=str(guideline))
    if sarif_file:
        write_text(sarif_file, [as_json_text(lint_sarif(result))])
    if junit_file:
        write_text(junit_file, [lint_junit(result)])
    if as_json:
        click.echo(lint_json(result), nl=False)
    else:
        print_lint(console(), result)
    sys.exit(_EXIT[result.verdict])


def print_lint(out: Console, found: LintDocument) -> None:
    """Every finding in file order, then one line that sums up."""
    for one in found.findings:
        _print(out, one)
    violations = sum(map(is_violation, found.findings))
    untold = sum(map(is_untold, found.findings))
    advice = sum(fails(one) for one in found.findings) - violations
    excused = sum(bool(one.excused) for one in found.findings)
    counts = ((violations, "to mend"), (untold, "unknown"), (advice, "advice"), (excused, "excused"))
    said = ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing to mend"
    style = {Verdict.FAIL: "bold red", Verdict.UNKNOWN: "yellow"}.get(found.verdict, "green")
    files = "1 file" if found.files == 1 else f"{found.files} files"
    out.print(f"[{style}]{files} looked at: {said}[/] [dim]({escape(found.guideline)})[/]")


def _print(out: Console, one: LintResult) -> None:
    place = f"[bold]{_clean(one.file)}:{one.line}:{one.column}[/]"
    if one.excused:
        until = f" until {one.excused_until}" if one.excused_until else ""
        out.print(f"{place}  [dim]~ EXCUSED {escape(one.rule)}{until}: {_clean(one.excused)}[/]\n")
        return
    sign = f"? {one.severity.upper()}" if one.verdict is Verdict.UNKNOWN else f"✘ {one.severity.upper()}"
    out.print(f"{place}  [{_STYLES[one.severity]}]{sign}[/] [bold]{_clean(one.rule)}[/]")
    out.print(f"  {_clean(one.statement)}")
    for name, text in (("seen", one.evidence), ("mend", one.remedy), ("source", one.citation)):
        if text:
            out.print(f"  [dim]{name + ':':<8}[/]{_clean(text)}")
    out.print()


def _clean(text: str) -> str:
    """Text from files, harmless on a terminal."""
    return escape("".join(letter if letter.isprintable() else "\ufffd" for letter in text))
