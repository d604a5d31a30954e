"""An edge that only passes through: nothing of ours ends there, and that is said, not waited for."""

from __future__ import annotations

import pytest
from tests.stories.harness import Everyhop, filled, until

pytestmark = pytest.mark.story

ONLY = """\
everyhop: 1
trust_domain: pass.internal
environment: test
owners:
  us: {contact: us@pass.example}
services:
  legacy: {owner: us, listen: 127.0.0.1:$legacy, protocol: tcp}
edge:
  https: 127.0.0.1:$https
  hosts:
    raw.localhost: {passthrough: legacy}
"""


def test_an_edge_without_a_certificate_comes_up_and_is_checked() -> None:
    """It is ready, its hops stand as passed through, and the checks do not apply instead of failing or crashing."""
    with Everyhop(filled(ONLY)) as mesh:
        mesh.up()
        until(
            lambda: (found := mesh.look()) is not None and found.ok and "everyhop does not encrypt" in mesh.logs(),
            "it to be ready",
        )
        assert {(hop.hop, hop.seen) for hop in mesh.status().hops} == {
            ("client -> edge", "passthrough"),
            ("edge -> legacy", "passthrough"),
        }
        found = mesh.json("check")
        assert {one["verdict"] for one in found} == {"not applicable"}
