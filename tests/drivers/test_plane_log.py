"""A proxy's log is read exactly once, whatever is turned over, truncated or killed in between."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from everyhop.drivers.planes import counters, log
from everyhop.drivers.planes.envoy import EnvoyPlane


def append(path: Path, *lines: str, end: str = "\n") -> None:
    with path.open("a") as file:
        file.write("\n".join(lines) + end)


def test_only_whole_lines_are_read_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "connections.jsonl"
    assert log.read(path, "") == ([], "")
    append(path, "one", "two")
    append(path, "thr", end="")
    lines, mark = log.read(path, "")
    assert lines == [b"one", b"two"]
    append(path, "ee")
    assert log.read(path, mark)[0] == [b"three"]
    assert log.read(path, mark)[0] == [b"three"], "the mark was not stored: it is told again"


def test_a_log_that_is_turned_over_is_read_to_its_end_before_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "TURN_OVER_AT", 10)
    path = tmp_path / "connections.jsonl"
    append(path, "one")
    _, mark = log.read(path, "")
    assert not log.settle(path, mark), "still small"
    append(path, "two", "three")
    _, mark = log.read(path, mark)
    assert log.settle(path, mark)
    log.turn_over(path)
    with (tmp_path / "connections.old").open("a") as old:  # the proxy writes to the old file until it opens the new one
        old.write("four\n")
    assert log.read(path, mark)[0] == [b"four"]
    path.touch()
    lines, after = log.read(path, mark)
    assert lines == [b"four"]
    with (tmp_path / "connections.old").open("a") as old:
        old.write("five\n")
    append(path, "six")
    lines, last = log.read(path, after)
    assert lines == [b"five", b"six"]
    assert not log.settle(path, after)
    assert (tmp_path / "connections.old").exists(), "the stored mark still points into it"
    log.settle(path, last)
    assert not (tmp_path / "connections.old").exists()
    append(path, "seven")
    assert log.read(path, last)[0] == [b"seven"]


def test_a_proxy_that_does_not_open_a_new_log_keeps_its_old_one(tmp_path: Path) -> None:
    path = tmp_path / "connections.jsonl"
    append(path, "one")
    _, mark = log.read(path, "")
    log.turn_over(path)
    log.turn_back(path)
    append(path, "two")
    assert log.read(path, mark)[0] == [b"two"]


def test_a_log_that_was_truncated_or_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "connections.jsonl"
    append(path, "one", "two")
    _, mark = log.read(path, "")
    path.write_text("a\n")
    assert log.read(path, mark)[0] == [b"a"]
    (tmp_path / "other").write_text("b\n")
    (tmp_path / "other").rename(path)
    assert log.read(path, mark)[0] == [b"b"]


def test_more_than_one_reading_holds_is_read_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "READ_AT_MOST", 8)
    path = tmp_path / "connections.jsonl"
    append(path, "one", "two", "three", "x" * 50, "four")
    found, mark = list[bytes](), ""
    for _ in range(20):
        lines, mark = log.read(path, mark)
        found += lines
    assert found[:3] == [b"one", b"two", b"three"]
    assert found[-1] == b"four", "a line too long for anybody is stepped over"


def test_a_log_whose_turning_over_was_cut_short_is_found(tmp_path: Path) -> None:
    path = tmp_path / "connections.jsonl"
    append(path, "one")
    assert not log.is_stuck(path)
    log.turn_over(path)
    assert log.is_stuck(path), "killed before the proxy was told"
    log.turn_back(path)
    assert not log.is_stuck(path)


@pytest.mark.parametrize(
    "line",
    [b"[]", b"7", b'"x"', b"null", b'{"at": 7}', b'{"at": null}', b"\xff", b'{"at": "2026-11-22T20:37:18.923206Z"'],
)
def test_a_line_that_is_none_is_no_fact(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "nodes" / "web" / "connections.jsonl"
    path.parent.mkdir(parents=True)
    good = (
        b'{"at":"2026-11-22T20:37:18.923206Z","end":"server","listener":"inbound","peer_serial":"xyz","sni":"\\ud800"}'
    )
    path.write_bytes(line + b"\n" + good + b"\n" + b'{"at":"2026-11-' + good + b"\n")
    reading = asyncio.run(EnvoyPlane(tmp_path, tmp_path / "xds.sock").connections("web", ""))
    assert [(one.listener, one.peer_serial, one.server_name) for one in reading.connections] == [
        ("inbound", None, "?"),
        ("inbound", None, "?"),
    ]


def test_counters_are_read_by_their_names() -> None:
    text = """{"stats": [{"name": "server.uptime", "value": 9}, {"name": "listener.inbound.ssl.handshake", "value": 5},
     {"name": "listener.inbound.ssl.fail_verify_san", "value": 2},
     {"name": "listener.inbound.ssl.fail_verify_no_cert", "value": 1},
     {"name": "listener.inbound.ssl.curves.X25519MLKEM768", "value": 5},
     {"name": "cluster.to-api.ssl.handshake", "value": 3},
     {"name": "cluster.to-api.ssl.versions.TLSv1.3", "value": 3},
     {"name": "cluster.to-api.upstream_cx_total", "value": 4},
     {"name": "listener.inbound.ssl.some_new_thing", "value": 5}, {"histograms": {}}]}"""
    found = counters.parse(text)
    assert found is not None
    ends = {one.name: one for one in found.ends}
    assert found.uptime == 9
    assert (ends["inbound"].handshakes, ends["inbound"].unverified, dict(ends["inbound"].groups)) == (
        5,
        3,
        {"X25519MLKEM768": 5},
    )
    assert (ends["to-api"].connections, dict(ends["to-api"].versions)) == (4, {"TLSv1.3": 3})
    for garbage in ("", "{}", "[]", '{"stats": 7}', "no such host"):
        assert counters.parse(garbage) is None
