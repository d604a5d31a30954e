"""Files below a path: as git sees them, or by a bounded walk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.servers import need

from everyhop.core.lint.rule import File, Unread
from everyhop.drivers.host import tree
from everyhop.drivers.host.tree import files_below


def names(found: list[File | Unread], top: Path) -> list[str]:
    return [str(Path(one.path).relative_to(top)) for one in found if isinstance(one, File)]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A tree with everything that may be in one."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "nginx.conf").write_bytes(b"events {}\r\n")
    (tmp_path / "sub" / "a.py").write_text("A = 1\n")
    (tmp_path / "sub" / "built.py").write_text("B = 1\n")
    (tmp_path / "node_modules" / "x.js").write_text("x\n")
    (tmp_path / "picture.bin").write_bytes(b"\x89\x00\x01")
    (tmp_path / "latin.conf").write_bytes(b"# caf\xe9\n")
    (tmp_path / "outside.conf").symlink_to("/etc/passwd")
    (tmp_path / "circle").symlink_to(tmp_path)
    return tmp_path


def test_a_walk_leaves_out_what_is_nobodys(top: Path) -> None:
    found = list(files_below([top]))
    assert names(found, top) == ["latin.conf", "nginx.conf", "sub/a.py", "sub/built.py"]
    first = found[1]
    assert isinstance(first, File)
    assert (first.text, first.tracked) == ("events {}\n", False)
    assert first.mode == (top / "nginx.conf").stat().st_mode & 0o7777


def test_git_says_what_belongs_to_a_tree(top: Path) -> None:
    git = need("git")
    subprocess.run([git, "init", "-q", str(top)], check=True)
    (top / ".gitignore").write_text("built.py\nnode_modules/\n")
    found = list(files_below([top]))
    assert names(found, top) == [".gitignore", "latin.conf", "nginx.conf", "sub/a.py"]
    assert all(isinstance(one, File) and one.tracked for one in found)
    assert names(list(files_below([top / "sub"])), top) == ["sub/a.py"]
    (ignored,) = files_below([top / "sub" / "built.py"])
    assert isinstance(ignored, File)
    assert not ignored.tracked
    (tracked,) = files_below([top / "sub" / "a.py"])
    assert isinstance(tracked, File)
    assert tracked.tracked


def test_what_is_named_twice_is_read_once(top: Path) -> None:
    assert names(list(files_below([top, top / "nginx.conf"])), top).count("nginx.conf") == 1


def test_what_cannot_be_read_is_told(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(top / "pipe")
    monkeypatch.setattr(tree, "MAX_BYTES", 4)
    named = list(files_below([top / "absent", top / "pipe", top / "picture.bin", top / "nginx.conf"]))
    assert [one.reason for one in named if isinstance(one, Unread)] == [
        "no such file",
        "no regular text file",
        "no regular text file",
        "more than 4 bytes",
    ]
    monkeypatch.setattr(tree, "MAX_FILES", 2)
    assert "more than 2 files" in [one.reason for one in files_below([top]) if isinstance(one, Unread)]
