"""everyhop was away for longer than its certificates live. It repairs itself, without hand work."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.stories.client import Load
from tests.stories.harness import until
from tests.stories.small import Small

from everyhop import app

pytestmark = pytest.mark.story


def works(mesh: Small) -> bool:
    """A request crosses every hop, and every hop was seen as it should be."""
    try:
        mesh.send()
    except (OSError, RuntimeError):
        return False
    return mesh.status().ok


def end_of(mesh: Small, *, root: bool) -> datetime:
    """When the last of the certificates has ended: leaves, intermediates, and the roots if asked for."""
    found = mesh.status()
    leaves = [one.not_after for one in found.certificates if one.not_after]
    ends = [*leaves, *(one.not_after for one in found.authorities if root or one.kind != "root")]
    return max(ends) + timedelta(seconds=1)  # the last second still counts (RFC 5280, 4.1.2.5)


def test_down_for_longer_than_leaves_and_the_intermediate_live() -> None:
    """everyhop is down until every leaf and every intermediate has expired. The next start makes new ones.

    The root has not expired: it is still the one that clients outside trust.
    """
    with Small(policy="leaf_lifetime: 2s, intermediate_lifetime: 12s, backdate: 0s") as mesh:
        mesh.up()
        until(lambda: mesh.workspace.bundle_file.exists() and works(mesh), "the mesh to work")
        roots = mesh.roots
        mesh.run("down")
        assert mesh.died_quietly()
        until(lambda: app.now() > end_of(mesh, root=False), "everything to expire")
        mesh.up()
        until(lambda: works(mesh), "the mesh to be repaired")
        assert mesh.roots == roots
        with Load(mesh.send) as load:
            until(lambda: load.sent >= 20, "requests")
        assert not load.failures


def test_killed_for_longer_than_even_the_root_lives() -> None:
    """everyhop is killed, and its proxies go on until leaves, intermediate and root have all expired.

    Nothing can be trusted any more. The next start makes a new root, and everything under it, on the same proxies.
    """
    policy = "leaf_lifetime: 2s, intermediate_lifetime: 12s, root_lifetime: 13s, backdate: 0s"
    with Small(policy=policy) as mesh:
        mesh.up()
        until(lambda: mesh.workspace.bundle_file.exists() and works(mesh), "the mesh to work")
        before, roots = mesh.processes(), mesh.roots
        mesh.kill9()
        until(lambda: app.now() > end_of(mesh, root=True), "everything to expire")
        assert not works(mesh)
        mesh.up()
        until(lambda: works(mesh), "the mesh to be repaired")
        assert mesh.roots != roots
        assert mesh.processes() == before
