"""kill -9 of everyhop, anywhere: nothing is lost, nothing is issued twice, and traffic never stops."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from cryptography import x509
from tests.stories.client import Load
from tests.stories.harness import Everyhop, until
from tests.stories.small import Small

from everyhop.core.certificate import public_key_bytes
from everyhop.core.lifecycle import Rotation
from everyhop.ports import IssuanceState

pytestmark = pytest.mark.story


@contextmanager
def paused(mesh: Everyhop, name: str) -> Generator[None]:
    """A process that does nothing for a while, as on a machine that swaps."""
    pid = mesh.processes()[name]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def rotation(mesh: Everyhop) -> Rotation:
    found = mesh.status().rotation
    assert found is not None
    return found


def wait_for_state(mesh: Everyhop, state: str) -> None:
    until(lambda: rotation(mesh).state == state, f"the rotation to be {state}")


def nothing_was_lost_or_doubled(mesh: Everyhop) -> None:
    """The journal has no open intent; every request has one certificate, every certificate its own key and serial."""
    lines = mesh.journal()
    assert not [line.request_id for line in lines if line.state is IssuanceState.INTENDED]
    issued = [line for line in lines if line.state is IssuanceState.ISSUED]
    assert not [name for name, count in Counter(line.request_id for line in issued).items() if count > 1]
    certificates = [x509.load_der_x509_certificate(line.certificate or b"") for line in issued]
    assert all(one.tbs_certificate_bytes == line.tbs for one, line in zip(certificates, issued, strict=True))
    assert len({one.serial_number for one in certificates}) == len(issued)
    assert len({public_key_bytes(one) for one in certificates}) == len(issued)


def only_the_newest_root_is_trusted(mesh: Everyhop) -> None:
    """The bundle, the published file and every served certificate know one root, and it is the one that signs."""
    found = mesh.status()
    assert found.trust is not None
    signer = next(one for one in found.authorities if one.name == found.trust.signer)
    assert found.trust.bundle == (signer.parent,)
    root = next(one for one in found.authorities if one.name == signer.parent)
    assert mesh.roots.strip() == root.certificate.strip()
    assert {one.authority for one in found.certificates} == {signer.name}


def test_killed_while_it_starts() -> None:
    """everyhop dies right after it has started its Envoys. The next start adopts them, and all is well."""
    with Small() as mesh:
        mesh.up()
        until(lambda: len(mesh.processes()) >= 2, "the first proxies to be started")
        mesh.kill9()
        left = mesh.processes()
        assert left
        assert mesh.status().state != "stopped"
        mesh.up().ready()
        assert left.items() <= mesh.processes().items()
        mesh.send()
        nothing_was_lost_or_doubled(mesh)


STATES = {
    "root": ("creating", "distributing", "overlapping", "reissuing", "retiring"),
    "intermediate": ("creating", "reissuing", "retiring"),
}


def bomb(state: str) -> str:
    """The instant at which a rotation has been stored in this state. Its first state is stored by whoever asks for it:
    there, the instant after the first signature."""
    return "after sign 1" if state == "creating" else f"after put 1 'state': '{state}'"


@pytest.mark.parametrize("kind", STATES)
def test_killed_in_every_state_of_a_rotation(kind: str) -> None:
    """everyhop dies in the first state of a rotation. Its next life dies in the second state, and so on.

    Requests go on all the time, each over new connections, and none fails. Every life finds the same processes and
    ends none of them. The last one brings the rotation to its end: the old authority is gone.
    """
    first, *others = STATES[kind]
    with Small() as mesh:
        mesh.up().ready()
        before = mesh.processes()
        with Load(mesh.send) as load:
            mesh.kill9()
            mesh.up(crash=bomb(first)).ready()
            mesh.run("rotate", kind, "--no-wait")
            mesh.died()
            assert rotation(mesh).state == first
            for state in others:
                mesh.up(crash=bomb(state)).died()
                assert rotation(mesh).state == state
                assert mesh.processes() == before
            mesh.up().ready()
            assert mesh.processes() == before
            nothing_was_lost_or_doubled(mesh)
            only_the_newest_root_is_trusted(mesh)
        assert not load.failures
        assert load.sent > 50
        assert len(rotation(mesh).history) == len(STATES[kind])
        made = [line.request_id for line in mesh.journal() if line.request_id.startswith("authority/")]
        assert len(made) == (4 if kind == "root" else 3)


def test_killed_from_outside_while_a_rotation_waits() -> None:
    """One proxy is slow, so the rotation waits for it, and everyhop is killed while it waits. It goes on afterwards."""
    with Small(spare=True) as mesh:
        mesh.up().ready()
        before = mesh.processes()
        with Load(mesh.send) as load:
            for state in ("distributing", "reissuing"):
                if state == "reissuing":
                    mesh.run("rotate", "root", "--no-wait", "--overlap", "2")
                    wait_for_state(mesh, "overlapping")
                with paused(mesh, "envoy-spare"):
                    if state == "distributing":
                        mesh.run("rotate", "root", "--no-wait")
                    until(lambda s=state: rotation(mesh).state == s and "spare" in rotation(mesh).progress, state)
                    mesh.kill9()
                mesh.up().ready()
                assert mesh.processes() == before
                only_the_newest_root_is_trusted(mesh)
            mesh.run("rotate", "leaf", "--no-wait")
            until(lambda: any(one.state != "served" for one in mesh.status().certificates), "a renewal to begin")
            mesh.kill9()
            mesh.up().ready()
        assert mesh.processes() == before
        assert not load.failures
        assert load.sent > 100
        nothing_was_lost_or_doubled(mesh)


STEPS = [
    *("intend 1", "intend 3", "sign 1", "sign 2", "sign 3", "complete 1", "complete 2", "complete 4"),
    *("put 2 'slot'", "put 1 'trust'", "put 2 'authority'", "put 3 'rotation'"),
]
CRASHES = [f"{when} {step}" for step in STEPS for when in ("before", "after")]


def died_or_asked(mesh: Everyhop) -> bool:
    """True once everyhop is dead; as long as it lives, a rotation of the root is always under way."""
    found = mesh.status().rotation
    if mesh.alive and (found is None or found.finished):
        mesh.run("rotate", "root", "--no-wait")
    return not mesh.alive


def test_killed_at_each_step_of_issuance() -> None:
    """everyhop dies before and after every step of making a root, an intermediate and leaves, again and again.

    One life begins where the last one broke off. In the end nothing was issued twice, no intent is open, and the
    traffic has not noticed.
    """
    with Small() as mesh:
        mesh.up().ready()
        before = mesh.processes()
        with Load(mesh.send) as load:
            mesh.kill9()
            for crash in CRASHES:
                mesh.up(crash=crash)
                until(lambda: died_or_asked(mesh), f"the crash {crash}")
                mesh.died()
            mesh.up().ready()
            assert mesh.processes() == before
        assert not load.failures
        assert load.sent > 100
        nothing_was_lost_or_doubled(mesh)
        only_the_newest_root_is_trusted(mesh)
