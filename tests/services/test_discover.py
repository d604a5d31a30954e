"""What listens and is in no topology becomes entries that are read without a fault, whatever it calls itself."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.clock import MovedClock
from tests.fakes.sockets import FakePorts, FakeSockets, Process
from tests.fakes.world import TEXT

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Wire
from everyhop.core.flow import ITSELF
from everyhop.core.hop import Address
from everyhop.core.proposal import OWNER, Candidate, fragment, merged, name_for, whole
from everyhop.core.validation import read
from everyhop.errors import EveryhopError
from everyhop.services.apply import plan_of
from everyhop.services.discover import Discovery, Known, discover

TODAY = date(2026, 3, 1)
REDIS = Process("redis-server", 50, uid=110, user="redis")
SHOP = Process("python3.11", 51, uid=1000, user="alice")
NGINX = Process("nginx", 52, uid=33, user="www-data")
BLOCKS = """\
everyhop: 1
trust_domain: shop.internal
environment: test
owners:
  shop:
    contact: shop@shop.example

# The services.
services:
  web:  # the pages
    owner: shop
    listen: 127.0.0.1:7001
    run:
      command:
        - python
        - web.py
      environment: {A: "1"}

# How long things live.
policy:
  leaf_lifetime: 1h
"""


def known(text: str) -> Known:
    topology = read(text, file="everyhop.yaml", today=TODAY)
    return Known(topology, plan_of(topology, {}, data="/data", file_dir="/shop"), text)


class Machine:
    def __init__(self) -> None:
        self.sockets = FakeSockets()
        self.ports = FakePorts(MovedClock())

    def listen(self, address: str, process: Process, answer: Encryption = Encryption.PLAINTEXT, at: str = "") -> None:
        self.sockets.listen(address, process)
        self.ports.answers[at or address] = answer

    def found(self, text: str = "") -> Discovery:
        return asyncio.run(discover(self.sockets, self.ports, known(text) if text else None, today=TODAY))


def machine() -> Machine:
    found = Machine()
    found.listen("0.0.0.0:6379", REDIS, at="127.0.0.1:6379")
    found.sockets.listen("[::]:6379", REDIS)
    found.listen("127.0.0.1:8000", SHOP)
    found.listen("10.0.0.1:443", NGINX, Encryption.TLS)
    found.listen("0.0.0.0:22", Process("sshd", 1, uid=0, user="root"), Encryption.OWN, at="127.0.0.1:22")
    found.listen("127.0.0.1:9443", Process("everyhop", 2, mark=ITSELF))
    found.sockets.connect("127.0.0.1:40001", "127.0.0.1:6379", calling=SHOP, serving=REDIS)
    return found


def test_without_a_topology_a_whole_file_is_proposed() -> None:
    found = machine().found()
    assert found.complete
    topology = read(found.text, file="proposal", today=TODAY)
    listens = {name: (str(one.listen), str(one.protocol)) for name, one in topology.services.items()}
    assert listens == {
        "nginx": ("127.0.0.1:443", "tcp"),
        "python3-11-8000": ("127.0.0.1:8000", "tcp"),
        "redis-server": ("127.0.0.1:6379", "tcp"),
    }
    assert {one.owner for one in topology.services.values()} == {OWNER}
    assert [str(hop) for hop in topology.hops()] == ["python3-11-8000 -> redis-server"]
    assert found.skipped == ("sshd on port 22: encrypted by its own protocol",)


def test_what_was_seen_stands_beside_it() -> None:
    text = machine().found().text
    assert "# Seen: redis-server of redis, listening on 0.0.0.0:6379, [::]:6379." in text
    assert "# it listens on every address now: let it listen here and nowhere else" in text
    assert "# it listens elsewhere now" in text
    assert "# Called by: python3-11-8000. Add it to their calls." in text
    assert "it speaks TLS itself" in text


@pytest.mark.parametrize("text", [BLOCKS, BLOCKS.rstrip("\n"), BLOCKS.partition("\n# How long")[0]])
def test_entries_are_put_into_a_topology_that_keeps_every_line(text: str) -> None:
    found = machine().found(text)
    assert found.complete
    lines = found.text.splitlines()
    assert [line for line in text.splitlines() if line not in lines] == []
    before, after = read(text, file="a", today=TODAY), read(found.text, file="b", today=TODAY)
    assert after.services["web"] == before.services["web"]
    assert set(after.services) == {"web", "nginx", "python3-11-8000", "redis-server"}
    assert after.policy == before.policy


def test_what_is_in_the_topology_is_not_proposed() -> None:
    found = machine()
    found.listen("127.0.0.1:7001", SHOP)
    found.listen("127.0.0.1:9001", Process("envoy", 60, mark="envoy-web"))
    assert {one.name for one in found.found(TEXT).candidates} == {"nginx", "python3-11-8000", "redis-server"}


def test_a_second_look_finds_nothing_new() -> None:
    found = machine()
    again = found.found(found.found().text)
    assert again.candidates == ()
    assert "the topology has nginx at this port on loopback: let it listen there and nowhere else" in again.skipped[1]


def test_where_lines_cannot_be_put_in_the_entries_stand_alone() -> None:
    braces = TEXT.replace("owners:\n", "owners: {").replace(
        "  shop: {contact: shop@shop.example}\n", "shop: {contact: s}, "
    )
    braces = braces.replace("  data: {contact: data@shop.example}\n", "data: {contact: d}}\n")
    found = machine().found(braces)
    assert not found.complete
    assert found.text.startswith(f"owners:\n  {OWNER}:")


def test_a_machine_without_listeners_has_nothing_to_propose() -> None:
    assert Machine().found() == Discovery((), ())


def test_a_table_that_cannot_be_read_is_an_error() -> None:
    found = Machine()
    found.sockets.fault = "expected the kernel's socket table, got permission denied"
    with pytest.raises(EveryhopError, match="permission denied"):
        found.found()


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        ("redis-server", "redis-server"),
        ("postgres: writer", "postgres-writer"),
        ("python3.11", "python3-11-80"),
        ("java", "java-80"),
        ("edge", "service-80"),
        ("envoy-x", "service-80"),
        ("", "service-80"),
        ("--", "service-80"),
        ("taken", "taken-80"),
        ("envoy", "service-80"),
    ],
)
def test_names(process: str, expected: str) -> None:
    assert name_for(process, 80, {"taken", "envoy"}) == expected


def candidate(process: str, user: str, evidence: str, port: int, wire: Wire | None, answer: Encryption) -> Candidate:
    address = Address("127.0.0.1", port)
    return Candidate(name_for(process, port, ()), address, (address,), user, process, answer, wire, evidence)


def test_what_was_asked_and_answered_nonsense_is_told_so() -> None:
    text = whole([candidate("odd", "me", "garbled: <!DOCTYPE HTML>", 8000, None, Encryption.UNKNOWN)])
    assert "# Asked: it was asked, and its answer told nothing." in text
    assert "not asked" not in text


@given(
    st.builds(
        candidate,
        st.text(max_size=20),
        st.text(max_size=10),
        st.text(max_size=300),
        st.integers(1, 65535).filter(lambda port: port != 7001),
        st.none() | st.sampled_from(Wire),
        st.sampled_from(Encryption),
    )
)
@settings(max_examples=100, deadline=None)
def test_no_name_and_no_banner_breaks_out_of_its_comment(one: Candidate) -> None:
    assert set(read(whole([one]), file="a", today=TODAY).services) == {one.name}
    text = merged(BLOCKS, [one])
    assert text
    assert set(read(text, file="b", today=TODAY).services) == {"web", one.name}
    assert fragment([one])
