"""`everyhop lint`: what it says, in words and in files, and what its exit status means."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from everyhop.cli import main
from everyhop.core.guidelines.registry import find
from everyhop.drivers.host.tree import files_below
from everyhop.services.lint import LintOrder, lint

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "corpus" / "lint"
BANDIT = ROOT / "tests" / "core" / "lint" / "bandit.sarif"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["lint", *map(str, arguments)], prog_name="everyhop")


def answer(*arguments: str | Path) -> dict[str, Any]:
    return json.loads(run(*arguments, "--json").stdout)


def test_a_clean_file() -> None:
    result = run(CORPUS / "right" / "nginx-shop.conf")
    assert result.exit_code == 0
    assert "1 file looked at: nothing to mend (mozilla-intermediate 6.0)" in result.stdout


def test_a_finding_teaches() -> None:
    file = CORPUS / "wrong" / "nginx-upstreams.conf"
    result = run(file)
    words = " ".join(result.stdout.split())
    assert result.exit_code == 1
    assert "nginx-upstreams.conf:19:13 ✘ HIGH nginx-upstream-unverified" in words.replace(f"{file.parent}/", "")
    assert "the default verifies nobody" in words
    assert "mend: add `proxy_ssl_verify on;" in words
    assert "source: nginx.org, ngx_http_proxy_module: proxy_ssl_verify" in words


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    assert run(CORPUS / "wrong" / "nginx-broken.conf").exit_code == 2
    assert run(tmp_path / "absent.conf").exit_code == 2
    assert run(tmp_path).exit_code == 2, "nothing was looked at"
    assert run(CORPUS / "wrong" / "nginx-broken.conf", CORPUS / "wrong" / "fetch.sh").exit_code == 1


def test_advice_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text("ssl_certificate /etc/shop.pem;\n")
    result = run(tmp_path)
    assert (result.exit_code, "1 advice" in result.stdout) == (0, True)


def test_json_names_place_and_remedy() -> None:
    found = answer(CORPUS / "wrong" / "haproxy-servers.cfg")
    assert (found["verdict"], found["files"], found["guideline"]) == ("fail", 1, "mozilla-intermediate 6.0")
    first = found["findings"][0]
    assert (first["line"], first["column"], first["rule"]) == (9, 5, "haproxy-upstream-unverified")
    assert first["remedy"] == "write `verify required ca-file FILE verifyhost NAME`"


def test_one_rule_and_another_profile(tmp_path: Path) -> None:
    found = answer(CORPUS / "wrong" / "nginx-old.conf", "--rule", "nginx-hsts-missing")
    assert {one["rule"] for one in found["findings"]} == {"nginx-hsts-missing"}
    (tmp_path / "nginx.conf").write_text("ssl_protocols TLSv1.2 TLSv1.3;\n")
    assert run(tmp_path).exit_code == 0
    assert run(tmp_path, "--profile", "mozilla-modern").exit_code == 1


def test_sarif_has_lines_and_columns_and_what_others_found(tmp_path: Path) -> None:
    file = tmp_path / "out.sarif"
    assert run(CORPUS / "wrong" / "compose-shop.yaml", "--sarif-in", BANDIT, "--sarif", file).exit_code == 1
    (made,) = json.loads(file.read_text())["runs"]
    rules = [rule["id"] for rule in made["tool"]["driver"]["rules"]]
    assert all(rules[one["ruleIndex"]] == one["ruleId"] for one in made["results"])
    regions = {(one["ruleId"], *one["locations"][0]["physicalLocation"]["region"].values()) for one in made["results"]}
    assert {("bandit:B501", 6, 1), ("compose-hop-plain", 5, 12)} <= regions
    (excused,) = [one for one in made["results"] if "suppressions" in one]
    assert "broker" in excused["suppressions"][0]["justification"]


def test_junit_counts(tmp_path: Path) -> None:
    file = tmp_path / "out.xml"
    run(CORPUS / "wrong", "--junit", file)
    root = ElementTree.fromstring(file.read_text())
    assert root.get("name") == "everyhop lint"
    assert {suite.get("name", "").rpartition("/")[2] for suite in root} >= {"nginx-old.conf", "client.py"}
    assert int(root.get("failures", "0")) > 50


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing argument"),
        (("x.conf", "--rule", "nginx-hsts-mising"), "nginx-hsts-missing"),
        (("x.conf", "--profile", "mozila"), "mozilla"),
        (("x.conf", "--sarif-in", __file__), "SARIF"),
        (("x.conf", "--sarif-in", "absent"), "readable file"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert words in " ".join(result.output.split())


def test_this_repository_is_clean() -> None:
    """On a fixed day, so that the end of an excuse is somebody's work and not a broken test."""
    order = LintOrder(guideline=find("mozilla-intermediate@6.0"), today=date(2026, 11, 22))
    places = [ROOT / name for name in ("src", "examples", "tools", "benchmarks", "docs", "run.py", "README.md")]
    report = lint(files_below(places), order)
    assert report.files > 300
    assert [(one.subject, one.rule) for one in report.findings if not one.excused] == []
