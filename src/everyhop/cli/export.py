"""`everyhop export`: what Prometheus, Alertmanager and Grafana need to watch the same things."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from everyhop.app import now
from everyhop.cli.context import DEFAULT_FILE, read_file
from everyhop.cli.files import write_text
from everyhop.core.export import alertmanager as alertmanager_export
from everyhop.core.export import grafana as grafana_export
from everyhop.core.export import prometheus as prometheus_export
from everyhop.core.export import promtests
from everyhop.core.validation import read
from everyhop.errors import EveryhopError

OUT = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files to this directory. Default: print them.",
)


@click.group()
def export() -> None:
    """Write rules, routes and dashboards for the tools you have."""


@export.command()
@OUT
@click.option("--runbooks", default="", help="Put this before each runbook's path, for example https://docs.example/.")
def prometheus(out: Path | None, runbooks: str) -> None:
    """Recording and alerting rules, and their tests for `promtool test rules`."""
    rules = prometheus_export.rules(runbooks=runbooks)
    files = {prometheus_export.RULES_FILE: rules, promtests.TESTS_FILE: promtests.rule_tests(runbooks=runbooks)}
    _give(files, out, printed=rules)


@export.command()
@click.argument("file", type=click.Path(path_type=Path), default=DEFAULT_FILE)
@OUT
def alertmanager(file: Path, out: Path | None) -> None:
    """Receivers and routes by owner, from the topology in FILE."""
    topology = read(read_file(file), file=str(file), today=now().date())
    config = alertmanager_export.configuration(topology)
    _give({alertmanager_export.CONFIG_FILE: config}, out, printed=config)


@export.command()
@OUT
def grafana(out: Path | None) -> None:
    """Three dashboards: executive, on-call, debug."""
    files = grafana_export.dashboards()
    _give(files, out, printed="[\n" + ",\n".join(text.rstrip() for text in files.values()) + "\n]\n")


def _give(files: Mapping[str, str], out: Path | None, *, printed: str) -> None:
    if out is None:
        click.echo(printed, nl=False)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EveryhopError(
            "usage-invalid",
            f"expected to make the directory {out}, could not: {(error.strerror or 'a refusal').lower()}",
            hint="name another one with --out",
        ) from error
    for name, text in files.items():
        write_text(out / name, [text])
        click.echo(f"wrote {out / name}")
