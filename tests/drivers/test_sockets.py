"""The kernel's socket table on real sockets, by both ways of reading it; and what hostile bytes cannot do to it."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everyhop.core.flow import ITSELF
from everyhop.core.hop import Address
from everyhop.drivers.host import proc_net, sock_diag, sockets
from everyhop.drivers.host.sockets import KernelSockets
from everyhop.errors import EveryhopError
from everyhop.ports import Socket

SERVER = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
os.read(0, 1)
"""


@contextmanager
def listening(host: str = "127.0.0.1", *, dual: bool = False) -> Generator[tuple[socket.socket, Address]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.create_server((host, 0), family=family, dualstack_ipv6=dual)) as listener:
        yield listener, Address(host, listener.getsockname()[1])


@contextmanager
def connected(host: str) -> Generator[tuple[Address, Address]]:
    """A connection to a fresh listener: the client's and the server's address."""
    with listening(host) as (listener, server), closing(socket.create_connection((host, server.port))) as client:
        accepted, _ = listener.accept()
        with closing(accepted):
            yield Address(host, client.getsockname()[1]), server


def snapshot(table: KernelSockets | None = None) -> list[Socket]:
    return list(asyncio.run((table or KernelSockets()).snapshot()))


@pytest.mark.parametrize("dump", [sock_diag.dump, proc_net.dump], ids=["netlink", "proc"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_ends_and_the_listener_are_listed(host: str, dump: Callable[[], list[Socket]]) -> None:
    with connected(host) as (client, server):
        found = {(one.local, one.remote): one for one in dump()}
        assert found[server, None].state == "listen"
        assert found[client, server].state == found[server, client].state == "established"
        assert found[client, server].uid == os.getuid()
        assert found[client, server].inode != found[server, client].inode


def test_netlink_and_proc_say_the_same() -> None:
    with ExitStack() as stack:
        ours = {stack.enter_context(connected(host))[1].port for host in ("127.0.0.1", "::1") for _ in range(5)}
        stack.enter_context(listening("0.0.0.0"))
        with connected("127.0.0.1") as (_, over):
            ours.add(over.port)

        def about_us(table: list[Socket]) -> set[Socket]:
            return {one for one in table if {one.local.port, one.remote and one.remote.port} & ours}

        by_netlink, by_text = about_us(sock_diag.dump()), about_us(proc_net.dump())
        assert by_netlink == by_text
        assert len(by_netlink) > 30
        assert {one.state for one in by_netlink} == {"listen", "established", "time-wait"}


def test_an_ipv4_connection_that_an_ipv6_socket_took_is_one_over_ipv4() -> None:
    with (
        listening("::", dual=True) as (_, server),
        closing(socket.create_connection(("127.0.0.1", server.port))) as one,
    ):
        client = Address("127.0.0.1", one.getsockname()[1])
        found = {(one.local, one.remote) for one in snapshot()}
        near = Address("127.0.0.1", server.port)
        assert {(Address("::", server.port), None), (client, near), (near, client)} <= found


def test_what_is_over_has_no_owner_and_no_user() -> None:
    with connected("127.0.0.1") as (client, server):
        pass
    (over,) = [one for one in snapshot() if {one.local, one.remote} == {client, server}]
    assert (over.state, over.inode, over.user, over.pid, over.process) == ("time-wait", 0, "", None, "")


def test_a_socket_is_joined_to_its_process_and_mark() -> None:
    child = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout
        address = Address("127.0.0.1", int(child.stdout.readline()))
        table = KernelSockets(lambda pid: "web" if pid == child.pid else "")
        with listening() as (_, own):
            found = {one.local: one for one in snapshot(table) if one.remote is None}
        assert (found[address].pid, found[address].mark) == (child.pid, "web")
        assert found[address].process.startswith("python")
        assert (found[own].pid, found[own].mark) == (os.getpid(), ITSELF)
        assert found[own].user
    finally:
        child.kill()
        child.communicate()
    assert address not in {one.local for one in snapshot(table)}


def test_marks_are_read_once_a_process() -> None:
    asked: list[int] = []
    child = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout
        child.stdout.readline()
        table = KernelSockets(lambda pid: asked.append(pid) or "")
        for _ in range(3):
            snapshot(table)
        assert asked.count(child.pid) == 1
    finally:
        child.kill()
        child.communicate()


def test_quick_callers_are_caught_by_looking_again_and_again() -> None:
    over = threading.Event()
    with listening() as (listener, server):

        def come_and_go() -> None:
            while not over.is_set():
                with closing(socket.create_connection((server.host, server.port))):
                    accepted, _ = listener.accept()
                    over.wait(0.02)
                    accepted.close()

        thread = threading.Thread(target=come_and_go)
        thread.start()
        try:
            table = KernelSockets()
            snapshot(table)  # knows who holds the listener
            caught = asyncio.run(table.catch({server.port}, seconds=0.5))
        finally:
            over.set()
            thread.join()
    assert caught
    assert {one.remote for one in caught} == {server}
    assert {one.pid for one in caught} <= {os.getpid(), None}
    assert len({one.inode for one in caught}) == len(caught)


def test_proc_stands_in_where_netlink_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> list[Socket]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(sock_diag, "dump", forbidden)
    with listening() as (_, server):
        assert server in {one.local for one in snapshot()}
    monkeypatch.setattr(sockets.proc_net, "dump", forbidden)
    with pytest.raises(EveryhopError, match="operation not permitted") as refused:
        snapshot()
    assert refused.value.code.name == "probe-failed"


# --- hostile bytes ------------------------------------------------------------------------------------------------


def message(body: bytes, kind: int = 20, length: int | None = None) -> bytes:
    header = struct.pack("=IHHII", 16 + len(body) if length is None else length, kind, 2, 1, 0)
    return header + body + b"\0" * (-len(body) % 4)


def listed(state: int = 10, family: int = socket.AF_INET, port: int = 443) -> bytes:
    ends = struct.pack("!HH16s16s", port, 0, socket.inet_aton("127.0.0.1"), b"")
    return struct.pack("=BBBB", family, state, 0, 0) + ends + struct.pack("=IIIIIIII", 0, 0, 0, 0, 0, 0, 1000, 77)


def test_an_answer_is_read_to_its_end() -> None:
    found, ended = sock_diag.parse(message(listed()) + message(listed(port=80)) + message(b"\0" * 4, kind=3))
    assert ended
    assert [(str(one.local), one.state, one.uid, one.inode) for one in found] == [
        ("127.0.0.1:443", "listen", 1000, 77),
        ("127.0.0.1:80", "listen", 1000, 77),
    ]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        message(listed())[:40],
        message(listed(), length=15),
        message(listed(), length=1 << 31),
        message(listed()[:60]),
        message(listed(state=0)),
        message(listed(state=200)),
        message(listed(family=socket.AF_UNIX)),
        message(listed(), kind=99),
    ],
)
def test_what_is_malformed_or_foreign_is_left_out(datagram: bytes) -> None:
    assert sock_diag.parse(datagram) == ([], False)


def test_a_refusal_of_the_kernel_is_an_error() -> None:
    with pytest.raises(OSError, match="not permitted"):
        sock_diag.parse(message(struct.pack("=i", -1), kind=2))
    with pytest.raises(OSError, match="unknown fault"):
        sock_diag.parse(message(struct.pack("=i", 1 << 30), kind=2))
    with pytest.raises(OSError):
        sock_diag.parse(message(b"", kind=2))


@given(st.lists(st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(message)), max_size=8).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_no_bytes_are_more_than_refused(datagram: bytes) -> None:
    try:
        found, _ = sock_diag.parse(datagram)
    except OSError:
        return
    assert len(found) <= len(datagram) // 88


LINE = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 77 1 0000 100 0\n"


def test_a_line_of_text_is_read() -> None:
    (one,) = proc_net.parse(["  sl  local_address ...\n", LINE])
    assert (str(one.local), one.remote, one.state, one.uid, one.inode) == ("127.0.0.1:8080", None, "listen", 1000, 77)


@given(st.text(alphabet=st.sampled_from(sorted(set(LINE) | set("FFé"))), max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_text_is_more_than_left_out(text: str) -> None:
    list(proc_net.parse([text, LINE.replace("0100007F", text[:8])]))
