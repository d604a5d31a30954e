"""Certificates and authorities change under a steady load, and nobody notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography import x509
from tests.stories.client import Load, handshake
from tests.stories.harness import until
from tests.stories.small import HOST, Small

pytestmark = pytest.mark.story

LEAVES = 10


@pytest.fixture(scope="module")
def mesh() -> Iterator[Small]:
    with Small() as running:
        running.up().ready()
        yield running


def test_leaves_intermediate_and_root_change_without_a_failed_request(mesh: Small) -> None:
    """Ten rotations of all leaves, one of the intermediate, one of the root, while requests go on.

    Every request makes new connections at the edge and before the api. None fails. In the end no proxy trusts the old
    root, and no certificate under it is served anywhere.
    """
    before = mesh.status()
    with Load(mesh.send) as load:
        until(lambda: load.sent > 20, "the load to begin")
        for _ in range(LEAVES):
            mesh.run("rotate", "leaf")
        mesh.run("rotate", "intermediate")
        done = mesh.json("rotate", "root")
        assert done["state"] == "done"
        sent = load.sent
        until(lambda: load.sent > sent + 20, "the load to go on")
    assert not load.failures
    after = mesh.status()
    for old, new in zip(before.certificates, after.certificates, strict=True):
        assert new.name == old.name
        assert new.generation >= old.generation + LEAVES + 2
        assert new.serial != old.serial
        assert new.authority == "intermediate-3"
    assert after.trust is not None
    assert after.trust.bundle == ("root-2",)
    assert set(after.trust.retired) == {"root-1", "intermediate-1", "intermediate-2"}


def test_the_old_root_is_gone_from_every_proxy(mesh: Small) -> None:
    """Each Envoy is asked through its own admin socket: one root, the new one; every leaf is the newest."""
    found = mesh.status()
    roots = {one.name: f"{one.x509.serial_number:x}" for one in found.authorities if one.kind == "root"}
    serials = {one.node: set[str]() for one in found.certificates}
    for one in found.certificates:
        serials[one.node].add(one.serial.lstrip("0"))
    for node in serials:
        # Listeners that were replaced drain for some seconds; what they held is gone after that.
        until(lambda n=node: {one["serial"] for one in trusted(mesh, n)} == {roots["root-2"]}, f"{node} to forget")
        held = {
            one["serial_number"].lstrip("0")
            for entry in mesh.admin(node, "/certs")["certificates"]
            for one in entry.get("cert_chain", [])[:1]
        }
        assert held == serials[node]


def trusted(mesh: Small, node: str) -> list[dict[str, str]]:
    return [
        {"serial": one["serial_number"].lstrip("0")}
        for entry in mesh.admin(node, "/certs")["certificates"]
        for one in entry.get("ca_cert", [])
    ]


def test_nothing_under_the_old_root_is_on_the_wire(mesh: Small) -> None:
    """Every door is asked from outside: each chain leads to the new root, and to it alone."""
    found = {one.name: one.x509 for one in mesh.status().authorities}
    doors = [(mesh.mesh_address("web"), ""), (mesh.mesh_address("api"), ""), (mesh.edge, HOST)]
    for address, name in doors:
        chain = [x509.load_der_x509_certificate(der) for der in handshake(address, server_name=name).chain]
        assert len(chain) == 2
        chain[0].verify_directly_issued_by(chain[1])
        chain[1].verify_directly_issued_by(found["root-2"])
        assert chain[1] == found["intermediate-3"]
