"""Write docs/reference and docs/defaults.md from the code, so that they cannot say anything else.

    python3 run.py docs                                      write them, then build the docs
    .venv/bin/python tools/make_reference.py [--check]       write them; --check: compare and show what differs

Rules: the same code gives the same bytes (nothing is dated, everything is ordered). A page is a function from the code
to Markdown. A page whose source cannot be read is a failure of its own, and the others are still written.
"""

import argparse
import ast
import dataclasses
import difflib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
MARK = "<!-- written by tools/make_reference.py; change the code instead -->"
Schema = dict[str, Any]
"""A JSON Schema: plain JSON, whose shape is what this file looks at."""


# --- Markdown -------------------------------------------------------------------------------------------------


def page(title: str, introduction: str, *parts: str) -> str:
    """A whole page."""
    return "\n\n".join((MARK, f"# {title}", introduction, *parts)) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table; its cells are Markdown in one line."""
    names = list(head)
    lines = [names, ["---"] * len(names), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(value: object) -> str:
    """A value as code; nothing for an empty one."""
    return f"`{value}`" if str(value) else ""


def text(docstring: str | None) -> str:
    """A docstring's words as Markdown: roles and double backticks become plain code."""
    words = inspect.cleandoc(docstring or "")
    return re.sub(r"``(.+?)``", r"`\1`", re.sub(r":\w+:`~?([^`]+)`", r"`\1`", words))


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "\\<")


# --- the pages ------------------------------------------------------------------------------------------------


def errors() -> str:
    """Error codes and exit statuses."""
    from everyhop.errors import CODES, ExitStatus

    meanings = member_docs(ExitStatus)
    statuses = [(status.value, status.name.lower(), meanings.get(status.name, "all is well")) for status in ExitStatus]
    codes = [(code(one.name), one.meaning, one.exit_status.value) for one in CODES.values()]
    return page(
        "Errors",
        "Every error has a code for machines (`error` in `--json`), one sentence and a hint for people, and an exit "
        "status for scripts.",
        "## Exit statuses\n\n" + table(("Status", "Name", "Meaning"), statuses),
        "## Codes\n\n" + table(("Code", "Meaning", "Exit status"), codes),
    )


def settings() -> str:
    """What can be tuned."""
    from everyhop.settings import Settings

    rows = [(code(one.name), code(one.type), code(one.default), reason) for one, reason in reasoned(Settings)]
    return page("Settings", text(inspect.getdoc(Settings)), table(("Setting", "Type", "Default", "Reason"), rows))


def profiles() -> str:
    """The shapes of certificates."""
    from everyhop.core.profile import PROFILES, Profile

    def row(name: str, shape: Profile) -> tuple[object, ...]:
        usages = (*shape.key_usages, *shape.extended_key_usages)
        keys = ", ".join(map(code, shape.key_algorithms))
        return code(name), shape.purpose, shape.signer, carries(shape), ", ".join(map(code, usages)), keys

    def carries(shape: Profile) -> str:
        if shape.is_ca:
            return f"an authority, path length {shape.path_length}"
        names = {"SPIFFE ID": (shape.allows_identity, shape.needs_identity)}
        names["DNS names"] = (shape.allows_dns, shape.needs_dns)
        return ", ".join(f"{name} (always)" if needed else name for name, (may, needed) in names.items() if may)

    head = ("Profile", "Purpose", "Signed by", "Carries", "Usages", "Keys")
    introduction = "A profile is the shape of a certificate. Its digest is journaled with every certificate made by it."
    return page("Profiles", introduction, table(head, (row(*item) for item in PROFILES.items())))


def rules() -> str:
    """Lint rules."""
    from everyhop.core.rules import RULES

    rows = [(code(one.code), one.severity, one.explanation, one.citation) for one in RULES.values()]
    introduction = "A certificate is drafted, then looked at by every rule; one with a finding is never signed."
    return page("Lint rules", introduction, table(("Rule", "Severity", "What it asks", "Source"), rows))


def endpoint_rules() -> str:
    """Rules about endpoints, with what to do; each has a runbook page."""
    from everyhop.core.endpoint.remedies import REMEDIES
    from everyhop.core.endpoint.rules import RULES

    severities = [(code(severity), meaning) for severity, meaning in _SEVERITIES.items()]
    rows = [
        (code(one.code), one.severity.value, one.explanation, REMEDIES[one.code], one.citation)
        for one in RULES.values()
    ]
    pages = "\n".join(f"../{one.runbook.removesuffix('.md')}" for one in RULES.values())
    return page(
        "Rules about endpoints",
        "What `everyhop scan` asks of an endpoint. Each rule gives one verdict: pass, fail, unknown or not applicable. "
        "The code of a rule never changes its meaning, and names its runbook page.",
        "## Severities\n\n" + table(("Severity", "Meaning"), severities),
        "## Rules\n\n" + table(("Rule", "Severity", "Why", "What to do", "Source"), rows),
        f"```{{toctree}}\n:hidden:\n\n{pages}\n```",
    )


def lint_rules() -> str:
    """Rules about files, kind by kind, each with a file as it should be."""
    from everyhop.core.lint.excuses import SEVERITIES
    from everyhop.core.lint.languages import LANGUAGES, SECRETS
    from everyhop.core.lint.rule import UNREADABLE

    parts: list[str] = []
    for language in (*LANGUAGES, SECRETS):
        rows = [
            (code(one.code), one.severity.value, one.explanation, one.remedy, one.citation) for one in language.rules
        ]
        title = f"{language.name[0].upper()}{language.name[1:]}" if language is not SECRETS else "Every file"
        goods = dict.fromkeys(one.good for one in language.rules)
        shown = "\n\n".join(f"```text\n{good.rstrip()}\n```" for good in goods)
        head = ("Rule", "Severity", "Why", "What to do", "Source")
        parts.append(f"## {title}\n\n{table(head, rows)}\n\nAs it should be:\n\n{shown}")
    meanings = {
        "excuse-invalid": "a comment that excuses nothing: it names no rule, no day or no reason",
        "excuse-expired": "an excuse whose last day is over",
        "excuse-unused": "an excuse that covers nothing any more",
    }
    others = [(code(name), severity.value, meanings[name]) for name, severity in SEVERITIES.items()]
    others.append((code(UNREADABLE), "unknown", "a file that could not be read; nothing else was asked of it"))
    return page(
        "Rules about files",
        "What `everyhop lint` asks of files. The code of a rule never changes its meaning. A finding of severity low "
        "or info is advice: it is told, and fails nothing. What others found keeps their tool's name: `bandit:B501`.",
        *parts,
        "## About excuses and files\n\n" + table(("Code", "Severity", "Meaning"), others),
    )


_SEVERITIES = {
    "critical": "readable or forgeable by anybody on the path, today",
    "high": "breakable with effort, or refused by every client that verifies",
    "medium": "against the guideline, or soon to be trouble",
    "low": "advice: told, and fails nothing",
    "info": "advice: told, and fails nothing",
}


def runbooks() -> dict[str, Callable[[], str]]:
    """The page of each rule about endpoints, for whoever has to act on its finding."""
    from everyhop.core.endpoint.rules import RULES

    return {f"docs/{one.runbook}": partial(runbook, one.code) for one in RULES.values()}


def runbook(rule: str) -> str:
    """One rule's page."""
    from everyhop.core.endpoint.remedies import REMEDIES
    from everyhop.core.endpoint.rules import RULES

    one = RULES[rule]
    return page(
        one.code,
        f"**Severity:** {one.severity.value} ({_SEVERITIES[one.severity.value]}), unless the finding says otherwise.",
        f"**Why it matters:** {one.explanation}.",
        f"**What to do:** {REMEDIES[rule]}.",
        "**Is it mended?** Look again: `everyhop scan HOST:PORT`; the finding carries the endpoint's own answer.",
        f"**Source:** {one.citation}.",
    )


def guidelines() -> str:
    """What endpoints are held to, name by name."""
    from everyhop.core.guidelines.registry import ALIASES, DEFAULT, GUIDELINES
    from everyhop.core.tls.groups import group_name
    from everyhop.core.tls.suites import suite
    from everyhop.core.tls.versions import version_names

    everything = [one for versions in GUIDELINES.values() for one in versions]
    rows = [
        (
            code(f"{one.name}@{one.version}"),
            version_names(one.versions),
            " ".join(code(suite(number).openssl or suite(number).iana) for number in one.suites_tls12) or "none",
            ", ".join(map(group_name, one.groups)) if len(one.groups) < 10 else "all of at least 112 bits",
            one.source,
        )
        for one in everything
    ]
    aliases = [(code(name), code(f"{one.name}@{one.version}")) for name, one in ALIASES.items()]
    return page(
        "Guidelines",
        "A guideline says what an endpoint may accept; everything else it must refuse. `everyhop scan --profile NAME` "
        f"takes a name (its newest version), `NAME@VERSION` or a file; the default is {code(DEFAULT)}. A published "
        "version is never edited.",
        "## Versions\n\n" + table(("Guideline", "Permits", "Suites of TLS 1.2 and older", "Groups", "Source"), rows),
        "## Names that clouds give\n\n" + table(("Their name", "Guideline"), aliases),
    )


def scan_schema() -> str:
    """The JSON Schema of what `everyhop scan --json` prints."""
    from everyhop.core.report.document import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def metrics() -> str:
    """What /metrics shows."""
    from everyhop.core.metrics import METRICS

    rows = [(code(one.name), one.kind.value, ", ".join(map(code, one.labels)), one.help) for one in METRICS.values()]
    return page(
        "Metrics",
        "`/metrics` answers in Prometheus' text format or as OpenMetrics, as the one who asks prefers. Counters begin "
        "at 0 with each life of everyhop. Connections that everyhop's own probes make are in no count but their own.",
        table(("Metric", "Kind", "Labels", "Meaning"), rows),
    )


def indicators() -> str:
    """Service level indicators with their objectives and pitfalls."""
    from everyhop.core.sli import INDICATORS
    from everyhop.core.sli.objective import OBJECTIVES
    from everyhop.core.topology import Criticality

    rows = [(code(one.code), one.name, one.unit, one.definition) for one in INDICATORS.values()]
    targets = [
        (code(one.sli), *(f"{one.targets[criticality]:g}" for criticality in Criticality), one.reason)
        for one in OBJECTIVES.values()
    ]
    modules = {one.code: inspect.getdoc(sys.modules[module]) for one, module in _indicator_modules()}
    parts = [
        f"## {one.code} {one.name}\n\n{text(modules[one.code])}\n\n```text\n{one.expr}\n```"
        for one in INDICATORS.values()
    ]
    return page(
        "Indicators and objectives",
        "Each indicator is counted by everyhop itself and, by the expression beside it, by Prometheus. What is unknown "
        "stays in the total; without events there is no value.",
        table(("Indicator", "Name", "Unit", "Definition"), rows),
        "Objectives by the criticality of who is called; `objectives` in the topology changes them.\n\n"
        + table(("Indicator", *(one.value for one in Criticality), "Reason"), targets),
        *parts,
    )


def _indicator_modules() -> Iterator[tuple[Any, str]]:
    """Every indicator with the module that it stands in."""
    from everyhop.core.sli import INDICATORS

    for one in INDICATORS.values():
        begin = f"everyhop.core.sli.m{int(one.code[1:]):02}_"
        yield one, next(name for name in sys.modules if name.startswith(begin))


def alerts() -> str:
    """Alerts with their conditions."""
    from everyhop.core.alerts import ALERTS

    rows = [
        (
            f"[{code(one.name)}](../{one.runbook})",
            one.severity.value,
            one.route.value,
            f"{int(one.hold.total_seconds())} s" if one.hold else "at once",
            code(one.sli),
            one.meaning,
            ", ".join(map(code, one.inhibited_by)),
        )
        for one in ALERTS.values()
    ]
    head = ("Alert", "Severity", "Route", "Held for", "Indicator", "Meaning", "Silent while")
    parts = [f"## {one.name}\n\n```text\n{one.expr}\n```" for one in ALERTS.values()]
    return page(
        "Alerts",
        "everyhop evaluates these itself, and exports the same to Prometheus (`everyhop export prometheus`). Each "
        "names its owner and its runbook. Below the table stand the exported expressions.",
        table(head, rows),
        *parts,
    )


def states() -> str:
    """State machines, drawn from their tables."""
    from everyhop.core.alerts.state import ALERT
    from everyhop.core.lifecycle import TABLES

    parts: list[str] = []
    for name, machine in {**TABLES, "alert": ALERT}.items():
        moves = [(str(state), str(event), str(after)) for (state, event), after in machine.transitions.items()]
        drawing = [f"    [*] --> {machine.initial}", *(f"    {a} --> {b}: {event}" for a, event, b in moves)]
        drawing += [f"    {state} --> [*]" for state in sorted(machine.final)]
        meanings = member_docs(type(machine.initial))
        known = [(code(state.value), meanings.get(state.name, "")) for state in type(machine.initial)]
        parts += [
            f"## {name}",
            f"{machine.purpose[0].upper()}{machine.purpose[1:]}.",
            "```mermaid\nstateDiagram-v2\n" + "\n".join(drawing) + "\n```",
            table(("State", "Meaning"), known),
            table(("From", "Event", "To"), ((code(a), event, code(b)) for a, event, b in moves)),
        ]
    introduction = "What has a life of its own is a state in the store. An event its state does not know is an error."
    return page("States", introduction, *parts)


def cli() -> str:
    """Commands and their help, as they print it."""
    import click

    from everyhop.cli import main

    def commands(command: click.Command, context: click.Context) -> Iterator[str]:
        yield f"## `{context.command_path}`\n\n```text\n{command.get_help(context).rstrip()}\n```"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                if (child := command.get_command(context, name)) and not child.hidden:
                    yield from commands(child, click.Context(child, info_name=name, parent=context))

    root = click.Context(main, info_name="everyhop", terminal_width=100, max_content_width=100, color=False)
    introduction = "Every command explains itself with `--help`; this is what they say."
    return page("Commands", introduction, *commands(main, root))


def topology() -> str:
    """The fields of everyhop.yaml."""
    head = ("Field", "Value", "Default", "Meaning")
    parts: list[str] = []
    for path, part in topology_parts():
        required = part.get("required", [])
        rows = [
            (code(name), _value(field), _default(field, name in required), field.get("description", ""))
            for name, field in part["properties"].items()
        ]
        place = f"Stands at {code(path)}. " if path else ""
        parts.append(f"## {part['title']}\n\n{place}{part['description']}\n\n{table(head, rows)}")
    introduction = (
        "`everyhop.yaml` says what should be. Fields without a default must be there; a field that is not listed here "
        "is refused. Editors that know JSON Schema can use [everyhop.schema.json](everyhop.schema.json): begin the "
        "file with `# yaml-language-server: $schema=` and its path."
    )
    return page("Topology", introduction, *parts)


def schema() -> str:
    """The JSON Schema of everyhop.yaml, for editors."""
    return json.dumps(whole_schema(), indent=2, ensure_ascii=False) + "\n"


def defaults() -> str:
    """Every default with its reason."""
    from everyhop.settings import Settings

    ours = [(code(one.name), code(one.default), reason) for one, reason in reasoned(Settings)]
    theirs = [
        (code(f"{path}.{name}" if path else name), _default(field, False), field.get("description", ""))
        for path, part in topology_parts()
        for name, field in part["properties"].items()
        if name not in part.get("required", [])
    ]
    return page(
        "Defaults and their reasons",
        "Few things can be set, and each has a default that is right for almost everybody. Here is why.",
        "## In the topology\n\nWhat an owner decides, in `everyhop.yaml`.\n\n"
        + table(("Field", "Default", "Meaning and reason"), theirs),
        "## In the settings\n\nWhat everyhop decides. Durations are seconds.\n\n"
        + table(("Setting", "Default", "Reason"), ours),
    )


PAGES: dict[str, Callable[[], str]] = {
    "docs/defaults.md": defaults,
    "docs/reference/alerts.md": alerts,
    "docs/reference/cli.md": cli,
    "docs/reference/endpoint-rules.md": endpoint_rules,
    "docs/reference/errors.md": errors,
    "docs/reference/everyhop.scan.schema.json": scan_schema,
    "docs/reference/everyhop.schema.json": schema,
    "docs/reference/guidelines.md": guidelines,
    "docs/reference/indicators.md": indicators,
    "docs/reference/lint-rules.md": lint_rules,
    "docs/reference/metrics.md": metrics,
    "docs/reference/profiles.md": profiles,
    "docs/reference/rules.md": rules,
    "docs/reference/settings.md": settings,
    "docs/reference/states.md": states,
    "docs/reference/topology.md": topology,
}


# --- reading the code -----------------------------------------------------------------------------------------


def reasoned(kind: Any) -> list[tuple[dataclasses.Field[Any], str]]:
    """The fields of a settings dataclass, each with its reason; ``KeyError`` for one without."""
    return [(one, one.metadata["reason"]) for one in dataclasses.fields(kind)]


def member_docs(kind: type[Any]) -> dict[str, str]:
    """The sentences that stand under an enum's members: Python itself does not keep them."""
    body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]).body
    found: dict[str, str] = {}
    for line, after in pairwise(body):
        match line, after:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = text(words)
            case _:
                pass
    return found


@cache
def whole_schema() -> Schema:
    """The schema of everyhop.yaml."""
    from everyhop.core.schema import json_schema

    return cast("Schema", json_schema())


def topology_parts() -> list[tuple[str, Schema]]:
    """The parts of a topology from the top down, each with its path in the file, from the schema for editors."""
    found: list[tuple[str, Schema]] = []

    def visit(path: str, part: Schema) -> None:
        found.append((path, part))
        for name, field in part["properties"].items():
            for suffix, target in _targets(field):
                if "properties" in (child := whole_schema()["$defs"][target]):
                    visit(f"{path}.{name}{suffix}".lstrip("."), child)

    visit("", whole_schema())
    return found


def _targets(field: Schema) -> Iterator[tuple[str, str]]:
    """The definitions a field leads to, each with what its path gets: ``[]`` for a list, ``.NAME`` for a mapping."""
    if "$ref" in field:
        yield "", field["$ref"].rpartition("/")[2]
    for option in field.get("anyOf", []):
        yield from _targets(option)
    if "items" in field:
        yield from (("[]" + suffix, target) for suffix, target in _targets(field["items"]))
    for values in _mapped(field):
        yield from ((".NAME" + suffix, target) for suffix, target in _targets(values))


def _mapped(field: Schema) -> list[Schema]:
    """The schemas of a mapping's values."""
    extra = field.get("additionalProperties")
    return [*field.get("patternProperties", {}).values(), *([cast("Schema", extra)] if isinstance(extra, dict) else [])]


def _value(field: Schema) -> str:
    """What may stand in a field, with examples where the words alone do not say how it is written."""
    kind = _kind(field)
    told = any(word in kind for word in ("text", "list", "mapping"))
    examples = " or ".join(code(_plain(one)) for one in field.get("examples", []))
    return f"{kind}, e.g. {examples}" if told and examples else kind


def _kind(field: Schema) -> str:
    """What may stand in a field, in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        target = whole_schema()["$defs"][name]
        return _kind(target) if "enum" in target else f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(one) for one in field["anyOf"] if one.get("type") != "null"))
    if "enum" in field:
        return ", ".join(code(one) for one in field["enum"])
    if "const" in field:
        return code(field["const"])
    if "items" in field:
        return f"list of {_kind(field['items'])}"
    if mapped := _mapped(field):
        return f"mapping of names to {_kind(mapped[0])}"
    kind = str(field["type"])
    return {"string": "text", "boolean": "true or false", "integer": "whole number"}.get(kind, kind)


def _default(field: Schema, required: bool) -> str:
    if required:
        return ""
    if "default" not in field:
        return "that of its fields" if "$ref" in field else "none"
    return "none" if field["default"] in (None, [], {}) else code(_plain(field["default"]))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- writing and comparing ------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Write every page, or compare; 1 if a page differs or could not be made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; show what differs")
    check = parser.parse_args(arguments).check
    status = 0
    for name, make in {**PAGES, **runbooks()}.items():
        target = ROOT / name
        try:
            wanted = make()
        except (ImportError, AttributeError, KeyError) as error:
            print(f"{name}: cannot be made from the code: {type(error).__name__}: {error}", file=sys.stderr)
            status = 1
            continue
        present = target.read_text(encoding="utf-8") if target.exists() else ""
        if present == wanted:
            continue
        if check:
            lines = difflib.unified_diff(present.splitlines(True), wanted.splitlines(True), name, f"{name} (wanted)")
            sys.stdout.writelines(lines)
            status = 1
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(wanted, encoding="utf-8")
            print(f"wrote {name}")
    if check and status:
        print("the reference is not what the code says (hint: python3 run.py docs)", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
