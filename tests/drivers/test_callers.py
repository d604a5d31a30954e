"""Whose a connection is: real sockets, this user's and another's."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from everyhop.core.hop import Address
from everyhop.drivers.host.callers import is_ours, user_at

NOBODY = 65_534


def address(of: tuple[str, int]) -> Address:
    return Address(*of[:2])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_our_own_connection_is_ours_until_it_is_closed(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener, socket.create_connection(listener.getsockname()[:2]) as caller:
        ends = address(caller.getsockname()), address(listener.getsockname())
        served, _ = listener.accept()
        with served:
            assert asyncio.run(user_at(*ends)) == os.geteuid()
            assert asyncio.run(is_ours(*ends))
            assert asyncio.run(user_at(Address(host, ends[0].port ^ 1), ends[1])) is None
            caller.close()
            assert asyncio.run(user_at(*ends)) is None
            assert not asyncio.run(is_ours(*ends))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to somebody else")
def test_another_users_connection_is_not_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as caller:
        os.fchown(caller.fileno(), NOBODY, -1)  # since Linux 4.10 a socket's user follows
        ends = address(caller.getsockname()), address(listener.getsockname())
        assert asyncio.run(user_at(*ends)) == NOBODY
        assert not asyncio.run(is_ours(*ends))
