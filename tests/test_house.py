"""The house keeps its own rules: rooms, error codes, corpus, and docs that say what the code says.

Rules: a check names what is missing and what is stale, so that the message alone tells what to do. What import-linter,
ruff and pyright see already is not checked again.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import click
import pytest
import run

import everyhop
from everyhop import errors
from everyhop.core.validation import read

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "everyhop"
CORPUS = ROOT / "tests" / "corpus"
MODULES = sorted(SOURCE.rglob("*.py"))
CODE_FOLDERS = ("src", "tests", "tools", "benchmarks", "examples")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# --- rooms ----------------------------------------------------------------------------------------------------


def test_every_room_says_what_it_is_for() -> None:
    told = {relative(path): ast.get_docstring(tree(path)) or "" for path in MODULES}
    stubs = [path for path, text in told.items() if len(text) < 30 or "to be described" in text.lower()]
    assert not stubs, f"these modules have no docstring that says what they are for: {stubs}"


def test_no_room_has_a_name_that_says_nothing() -> None:
    empty = re.compile(r"_?(utils?|helpers?|commons?|managers?|impls?|misc)\Z")
    paths = [path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*.py")]
    nameless = [relative(path) for path in paths if any(empty.match(Path(part).stem) for part in path.parts)]
    assert not nameless, f"name these rooms after what they do: {nameless}"


def test_no_file_holds_more_than_one_thing() -> None:
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert not {path: length for path, length in lengths.items() if length > 500}


# --- error codes ----------------------------------------------------------------------------------------------


def raised_codes() -> Iterator[tuple[str, str]]:
    """Every code given to an EveryhopError as a literal, with the place."""
    for path in MODULES:
        for node in ast.walk(tree(path)):
            match node:
                case ast.Call(
                    func=ast.Name(id="EveryhopError") | ast.Attribute(attr="EveryhopError"),
                    args=[ast.Constant(value=str(code)), *_],
                ):
                    yield code, f"{relative(path)}:{node.lineno}"
                case _:
                    pass


def test_every_error_that_is_raised_has_a_known_code() -> None:
    unknown = {place: code for code, place in raised_codes() if code not in errors.CODES}
    assert not unknown, f"add these to errors.CODES, or use one that is there: {unknown}"


def test_every_error_code_is_used() -> None:
    written = {
        node.value
        for path in MODULES
        if path != SOURCE / "errors.py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    unused = [code for code in errors.CODES if code not in written]
    assert not unused, f"nothing raises these: {unused}"


# --- the corpus -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", sorted(CORPUS.iterdir()), ids=lambda folder: folder.name)
def test_every_corpus_file_is_collected(folder: Path) -> None:
    """``wrong/`` holds what has to be refused, each with its messages in expected.json; ``right/`` what must pass."""
    tests = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert any("corpus" in text and f'"{folder.name}"' in text for text in tests), f"no test reads {folder.name}"
    expected = set(json.loads((folder / "expected.json").read_text(encoding="utf-8")))
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} - {Path("expected.json")}
    assert {path.name for path in found if path.parts[0] == "wrong"} == expected
    assert not [path for path in found if len(path.parts) != 2 or path.parts[0] not in ("right", "wrong")]


# --- docs and code, both ways ---------------------------------------------------------------------------------


def first_cells(page: str) -> set[str]:
    """The code in the first cell of every table row of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def headings(page: str) -> set[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return set(re.findall(r"^## `?([^`\n]+)`?$", text, re.MULTILINE))


def commands(command: click.Command | None = None, path: str = "everyhop") -> Iterator[str]:
    """Every command that is not hidden, as one types it."""
    from everyhop.cli import main

    command = command or main
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from commands(child, f"{path} {name}")


def settings() -> set[str]:
    from everyhop.settings import Settings

    return set(Settings.__dataclass_fields__)


def rules() -> set[str]:
    from everyhop.core.rules import RULES

    return set(RULES)


def endpoint_rules() -> set[str]:
    from everyhop.core.endpoint.rules import RULES
    from everyhop.core.finding import Severity

    return set(RULES) | {severity.value for severity in Severity}


def lint_rules() -> set[str]:
    from everyhop.core.lint.judge import KNOWN

    return set(KNOWN)


def guidelines() -> set[str]:
    from everyhop.core.guidelines.registry import ALIASES, GUIDELINES

    return set(ALIASES) | {f"{one.name}@{one.version}" for versions in GUIDELINES.values() for one in versions}


def profiles() -> set[str]:
    from everyhop.core.profile import PROFILES

    return set(PROFILES)


def states() -> set[str]:
    from everyhop.core.alerts.state import AlertPhase
    from everyhop.core.lifecycle import TABLES

    return {str(state) for table in TABLES.values() for state in type(table.initial)} | set(AlertPhase)


def metrics() -> set[str]:
    from everyhop.core.metrics import METRICS

    return set(METRICS)


def alerts() -> set[str]:
    from everyhop.core.alerts import ALERTS

    return set(ALERTS)


def indicators() -> set[str]:
    from everyhop.core.sli import INDICATORS

    return set(INDICATORS)


def topology_fields() -> set[str]:
    from everyhop.core.topology import Part

    return {name for part in Part.__subclasses__() for name in part.model_fields}


def topology_parts() -> set[str]:
    from everyhop.core.topology import Part

    return {part.__name__ for part in Part.__subclasses__()}


def tables() -> set[str]:
    from everyhop.core.lifecycle import TABLES

    return set(TABLES) | {"alert"}


REGISTRIES: list[tuple[str, Callable[[str], set[str]], Callable[[], set[str]]]] = [
    ("reference/alerts.md", headings, alerts),
    ("reference/cli.md", headings, lambda: set(commands())),
    ("reference/endpoint-rules.md", first_cells, endpoint_rules),
    ("reference/errors.md", first_cells, lambda: set(errors.CODES)),
    ("reference/guidelines.md", first_cells, guidelines),
    ("reference/indicators.md", first_cells, indicators),
    ("reference/lint-rules.md", first_cells, lint_rules),
    ("reference/metrics.md", first_cells, metrics),
    ("reference/profiles.md", first_cells, profiles),
    ("reference/rules.md", first_cells, rules),
    ("reference/settings.md", first_cells, settings),
    ("reference/states.md", first_cells, states),
    ("reference/states.md", headings, tables),
    ("reference/topology.md", first_cells, topology_fields),
    ("reference/topology.md", headings, topology_parts),
]


@pytest.mark.parametrize(("page", "documented", "registry"), REGISTRIES)
def test_docs_and_code_name_the_same_things(
    page: str, documented: Callable[[str], set[str]], registry: Callable[[], set[str]]
) -> None:
    told, real = documented(page), registry()
    assert told == real, f"docs/{page}: missing {sorted(real - told)}, stale {sorted(told - real)}"


def test_every_rule_about_endpoints_has_its_runbook() -> None:
    """Those that are written from the code; others stand beside them."""
    from everyhop.core.endpoint.rules import RULES

    written = {page for page in (ROOT / "docs/runbooks").glob("*.md") if "written by tools" in page.read_text("utf-8")}
    wanted = {ROOT / "docs" / rule.runbook for rule in RULES.values()}
    assert written == wanted, f"missing {sorted(wanted - written)}, stale {sorted(written - wanted)}"


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    """Alerts are written as Prometheus writes them; the pages of rules, in lower case, stand beside them."""
    from everyhop.core.alerts import ALERTS

    wanted = {ROOT / "docs" / alert.runbook for alert in ALERTS.values()}
    pages = set((ROOT / "docs/runbooks").glob("[A-Z]*.md"))
    assert pages == wanted, f"missing {sorted(wanted - pages)}, stale {sorted(pages - wanted)}"
    listed = set(re.findall(r"^([A-Z]\w+)$", (ROOT / "docs/runbooks/index.md").read_text("utf-8"), re.MULTILINE))
    assert listed == set(ALERTS)
    parts = {"What it means", "What users feel", "How to see it", "What to do", "How to silence it", "False alarms"}
    assert not {page.name for page in pages if headings(f"runbooks/{page.name}") != parts}


def test_every_setting_has_its_reason_in_the_defaults() -> None:
    reasons = re.findall(
        r"^\| `([^`]+)` \| [^|]+ \| (.{20,}) \|$", (ROOT / "docs/defaults.md").read_text("utf-8"), re.M
    )
    assert settings() <= {name for name, _ in reasons}


def test_every_setting_is_used() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in MODULES if path != SOURCE / "settings.py")
    unused = [name for name in settings() if not re.search(rf"\.{name}\b", code)]
    assert not unused, f"nothing looks at these settings: {sorted(unused)}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_docs_name_only_commands_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = {path.split()[1] for path in commands() if " " in path}
    shown = set(re.findall(r"(?:`|^\$ )everyhop ([a-z][a-z-]*)\b", text, re.MULTILINE))
    assert shown <= known, f"{relative(page)}: there is no everyhop {sorted(shown - known)}"
    doors = set(re.findall(r"python3 run\.py ([a-z]+)", text))
    assert doors <= set(run.COMMANDS), f"{relative(page)}: run.py has no {sorted(doors - set(run.COMMANDS))}"


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=relative)
def test_links_of_the_front_pages_lead_somewhere(page: Path) -> None:
    """Sphinx follows those of docs/."""
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (ROOT / link).exists()]


def test_the_readme_shows_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"python3 run.py demo", "python3 run.py test"} <= set(re.findall(r"python3 run\.py [a-z]+", readme))
    assert all(f"run.py {name}" in (run.__doc__ or "") for name in run.COMMANDS)


def test_package_and_changelog_know_this_version() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    titles = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert version
    assert version[1] == everyhop.__version__
    assert version[1] in titles or titles[:1] == ["Unreleased"]


def test_the_topology_in_the_readme_is_right() -> None:
    (text,) = re.findall(r"```yaml\n(.+?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    topology = read(text, file="README.md", today=date(2026, 11, 22))
    assert [str(hop) for hop in topology.hops()] == ["client -> edge", "edge -> web", "web -> api"]
