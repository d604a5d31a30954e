"""The command line without a running mesh: what it answers, in words, in JSON, and as exit status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from everyhop.cli import main
from everyhop.errors import ExitStatus

GOOD = """\
everyhop: 1
trust_domain: shop.internal
environment: test
owners: {me: {contact: me@example.org}}
services:
  web: {owner: me, listen: "127.0.0.1:7001", calls: [api]}
  api: {owner: me, listen: "127.0.0.1:7002"}
edge: {https: "127.0.0.1:8443", hosts: {web.localhost: {to: web}}}
"""


@dataclass
class Shell:
    """Runs commands in an empty directory."""

    directory: Path

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, prog_name="everyhop", standalone_mode=True)

    def file(self, text: str) -> str:
        path = self.directory / "everyhop.yaml"
        path.write_text(text)
        return str(path)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Shell(tmp_path)


def commands() -> Sequence[Sequence[str]]:
    found: list[list[str]] = [[]]
    context = click.Context(main)
    for name in main.list_commands(context):
        found.append([name])
        command = main.get_command(context, name)
        found += [[name, below] for below in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself(shell: Shell, command: Sequence[str]) -> None:
    result = shell(*command, "--help")

    assert result.exit_code == 0
    assert "Usage: everyhop" in result.output
    assert len(result.output.split("Options:")[0].split()) > 8, "a command says what it is for"


def test_a_right_file_is_told_so(shell: Shell) -> None:
    result = shell("validate", shell.file(GOOD))

    assert result.exit_code == 0
    assert "2 services, 3 hops" in result.output


def test_every_fault_is_told_with_its_place_and_a_hint(shell: Shell) -> None:
    result = shell("validate", shell.file(GOOD.replace("calls: [api]", "calls: [apy]").replace("https:", "htps:")))

    assert result.exit_code == ExitStatus.SHORTFALL
    assert "everyhop.yaml:6:" in result.stderr
    assert "did you mean 'api'" in result.stderr
    assert "did you mean 'https'" in result.stderr
    assert "topology-invalid" in result.stderr


def test_faults_in_json_are_for_programs(shell: Shell) -> None:
    result = shell("validate", shell.file(GOOD.replace("api: {owner: me", "api: {owner: you")), "--json")

    answer = json.loads(result.stderr)
    assert result.exit_code == ExitStatus.SHORTFALL
    assert answer["error"] == "topology-invalid"
    assert [fault["line"] for fault in answer["faults"]] == [7]


def test_a_plan_shows_what_would_come_and_changes_nothing(shell: Shell) -> None:
    before = sorted(shell.directory.rglob("*"))
    result = shell("plan", shell.file(GOOD))

    assert result.exit_code == 0
    assert "+ hop          web -> api" in result.output
    assert "nothing was changed" in result.output
    assert sorted(shell.directory.rglob("*")) == [*before, shell.directory / "everyhop.yaml"]


def test_a_plan_against_what_is_applied_shows_the_difference(shell: Shell) -> None:
    shell("validate", shell.file(GOOD))
    (shell.directory / ".everyhop").mkdir(mode=0o700)
    (shell.directory / ".everyhop" / "everyhop.db").touch(mode=0o600)
    assert shell("apply", shell.file(GOOD)).exit_code == 0
    assert "no change" in shell("plan", shell.file(GOOD)).output

    result = shell("plan", shell.file(GOOD.replace(", calls: [api]", "")), "--json")

    changes = json.loads(result.output)["changes"]
    assert {"sign": "-", "kind": "hop"}.items() <= next(c for c in changes if c["name"] == "web -> api").items()


def test_a_faulty_file_is_not_applied(shell: Shell) -> None:
    (shell.directory / ".everyhop").mkdir(mode=0o700)
    (shell.directory / ".everyhop" / "everyhop.db").touch(mode=0o600)
    shell("apply", shell.file(GOOD))

    result = shell("apply", shell.file(GOOD + "wrong: 1\n"))

    assert result.exit_code == ExitStatus.SHORTFALL
    assert "no change" in shell("plan", shell.file(GOOD)).output


@pytest.mark.parametrize(
    "command",
    [["status"], ["hops"], ["certs"], ["check"], ["down"], ["logs"], ["trust"], ["audit"], ["explain", "a"]],
    ids=" ".join,
)
def test_nothing_runs_here_is_said_with_a_way_out(shell: Shell, command: Sequence[str]) -> None:
    result = shell(*command)

    assert result.exit_code == ExitStatus.UNAVAILABLE
    assert "not-running" in result.stderr
    assert "hint:" in result.stderr
    assert not (shell.directory / ".everyhop").exists(), "asking creates nothing"


def test_a_file_that_is_not_there_is_said(shell: Shell) -> None:
    result = shell("up", "nowhere.yaml")

    assert result.exit_code == ExitStatus.SHORTFALL
    assert "expected a topology at nowhere.yaml" in result.stderr


def test_what_was_applied_stands_in_the_audit_log(shell: Shell) -> None:
    (shell.directory / ".everyhop").mkdir(mode=0o700)
    (shell.directory / ".everyhop" / "everyhop.db").touch(mode=0o600)
    shell("apply", shell.file(GOOD))

    (entry,) = json.loads(shell("audit", "--json").output)

    assert (entry["actor"], entry["action"], entry["outcome"], entry["sequence"]) == (
        "cli",
        "apply topology",
        "accepted",
        1,
    )
    assert "apply topology" in shell("audit").output


def test_wrong_usage_exits_with_two(shell: Shell) -> None:
    assert shell("explain", "a", "b", "c").exit_code == ExitStatus.USAGE
    assert shell("nonsense").exit_code == ExitStatus.USAGE


def test_rotation_needs_somebody_who_rotates(shell: Shell) -> None:
    (shell.directory / ".everyhop").mkdir(mode=0o700)
    (shell.directory / ".everyhop" / "everyhop.db").touch(mode=0o600)
    shell("apply", shell.file(GOOD))

    result = shell("rotate", "root")

    assert result.exit_code == ExitStatus.UNAVAILABLE
    assert "nobody would rotate" in result.stderr


def test_the_schema_is_json_for_editors(shell: Shell) -> None:
    schema = json.loads(shell("schema").output)

    assert schema["$schema"].endswith("2020-12/schema")
    assert "services" in schema["properties"]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: Shell, name: str) -> None:
    result = shell("completion", name)

    assert result.exit_code == 0
    assert "everyhop" in result.output
