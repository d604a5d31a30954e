"""A moment of listening tells TLS from plaintext, also after a greeting; without the right to listen, nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everyhop.core.hop import Address
from everyhop.drivers.probes.sampler import is_tls, sample
from everyhop.drivers.probes.streams import Run

RECORD = b"\x17\x03\x03\x00\x40" + b"x" * 64
HELLO = b"\x16\x03\x01\x00\x40" + b"h" * 64

privileged = pytest.mark.skipif(os.geteuid() != 0, reason="needs CAP_NET_RAW: run as root")


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], None),
        ([Run(b"", first=True)], None),
        ([Run(HELLO + RECORD, first=True)], True),
        ([Run(RECORD * 3, first=False)], True),
        ([Run(b"\0\0\0\x08\x04\xd2\x16/" + HELLO + RECORD, first=True)], True),
        ([Run(b"EHLO me\r\nSTARTTLS\r\n" + HELLO, first=True), Run(RECORD * 2, first=False)], True),
        ([Run(b"EHLO me\r\n", first=True)], None),
        ([Run(b"SELECT 1;" * 100, first=True)], False),
        ([Run(b"SELECT 1;" * 100, first=False)], False),
        ([Run(b"S", first=False)], None),
        ([Run(HELLO + b"GET / HTTP/1.1\r\n" * 40, first=True)], False),
        ([Run(HELLO, first=True), Run(b"plain" * 200, first=False)], False),
    ],
)
def test_tls_is_told_from_plaintext(runs: list[Run], expected: bool | None) -> None:
    assert is_tls(runs) is expected


@given(st.lists(st.builds(Run, st.binary(max_size=2000), st.booleans()), max_size=4))
@settings(max_examples=200, deadline=None)
def test_no_bytes_are_too_much_for_it(runs: list[Run]) -> None:
    assert is_tls(runs) in (True, False, None)


@privileged
def test_connections_are_told_apart_by_their_addresses() -> None:
    async def run() -> tuple[Mapping[tuple[Address, Address], bool], dict[str, tuple[Address, Address]]]:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            server = Address("127.0.0.1", listener.getsockname()[1])
            listening = asyncio.create_task(sample({server.port}, seconds=1))
            await asyncio.sleep(0.3)
            pairs: dict[str, tuple[Address, Address]] = {}
            for name, content in {"tls": HELLO + RECORD, "plain": b"SELECT 1;" * 100, "quiet": b""}.items():
                with closing(socket.create_connection((server.host, server.port))) as client:
                    pairs[name] = Address("127.0.0.1", client.getsockname()[1]), server
                    client.sendall(content)
            return await listening, pairs

    found, pairs = asyncio.run(run())
    assert found == {pairs["tls"]: True, pairs["plain"]: False}


def test_nothing_to_listen_to_is_no_work() -> None:
    assert asyncio.run(sample(())) == {}


@privileged
def test_without_the_right_to_listen_there_is_no_answer() -> None:
    code = (
        "import asyncio, os; os.setuid(65534)\n"
        "from everyhop.drivers.probes.sampler import sample\n"
        "assert asyncio.run(sample({443})) == {}"
    )
    source = str(Path(__file__).resolve().parents[2] / "src")
    # Imported before the user changes, because nobody may be kept out of the interpreter's own folder.
    code = (
        f"import sys; sys.path.insert(0, {source!r})\nimport everyhop.drivers.probes.sampler, encodings.idna\n" + code
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
