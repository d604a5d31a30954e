"""`everyhop export` and `everyhop token` as one types them: what is wrong is said, never a fault of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from everyhop.cli import main
from everyhop.errors import ExitStatus


def everyhop(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="everyhop", standalone_mode=True)


@pytest.mark.parametrize("tool", ["prometheus", "grafana"])
def test_files_are_written_and_named(tool: str, tmp_path: Path) -> None:
    result = everyhop("export", tool, "--out", str(tmp_path / "new" / "deep"))
    assert result.exit_code == ExitStatus.OK
    written = sorted((tmp_path / "new" / "deep").iterdir())
    assert sorted(result.stdout.splitlines()) == [f"wrote {path}" for path in written]
    assert all(path.read_text(encoding="utf-8") for path in written)


@pytest.mark.parametrize("place", ["/proc/everyhop", "file/below"])
def test_a_place_that_cannot_be_written_is_said(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no directory")
    result = everyhop("export", "prometheus", "--out", place)
    assert result.exit_code == ExitStatus.USAGE
    assert place in result.stderr
    assert "--out" in result.stderr
    assert "Traceback" not in result.output
    assert "fault of everyhop" not in result.output


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    written = everyhop("export", "prometheus", "--out", str(tmp_path)).stdout.split()[-1]
    Path(written).unlink()
    Path(written).mkdir()
    result = everyhop("export", "prometheus", "--out", str(tmp_path))
    assert result.exit_code == ExitStatus.USAGE
    assert Path(written).name in result.stderr.replace("\n", "")
    assert "Traceback" not in result.output
