"""Free addresses: from the band, from nowhere else, and never one that somebody has."""

from __future__ import annotations

import socket

import pytest

from everyhop.core.hop import Address
from everyhop.drivers.host.machine import free_address, is_free
from everyhop.errors import EveryhopError


def test_a_free_address_is_one_of_the_band_that_nobody_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(Address("127.0.0.1", port))
        band = range(port - 1, port + 1)
        with pytest.raises(EveryhopError, match=f"free port in {port - 1}-{port}, all are taken") as refusal:
            free_address([Address("127.0.0.1", port - 1)], band)
    assert refusal.value.code.name == "address-in-use"
    assert "policy.mesh_ports" in refusal.value.hint


def test_the_search_reaches_every_port_wherever_it_begins() -> None:
    addresses = [Address("127.0.0.1", port) for port in range(9001, 9101)]
    left = next(address for address in addresses if is_free(address))
    others = [address for address in addresses if address != left]
    assert {free_address(others, range(9001, 9101)) for _ in range(30)} == {left}
