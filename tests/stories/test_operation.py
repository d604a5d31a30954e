"""A day with everyhop: things crash, somebody starts it twice, the topology changes while it runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.stories.client import Load, handshake, request
from tests.stories.harness import until
from tests.stories.minting import mint
from tests.stories.small import HOST, Small

from everyhop.services.supervise import ProcessState

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def mesh() -> Iterator[Small]:
    with Small(spare=True) as running:
        yield running.up().ready()


def process(mesh: Small, name: str) -> ProcessState:
    return next(one for one in mesh.status().processes if one.name == name)


def answers(mesh: Small) -> bool:
    try:
        mesh.send()
    except (OSError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize("name", ["envoy-api", "envoy-edge", "web"])
def test_what_crashes_is_started_again(mesh: Small, name: str) -> None:
    """A proxy or an app is killed. everyhop notices, starts it again, and status shows that it did."""
    before = process(mesh, name).restarts
    pid = mesh.kill_process(name)
    until(
        lambda: process(mesh, name).restarts == before + 1 and process(mesh, name).state == "up", f"{name} to be back"
    )
    assert process(mesh, name).pid not in (0, pid)
    until(lambda: answers(mesh), "requests to work again")
    assert f"{name}: it ended with status -9" in mesh.output.read_text()
    mesh.ready()


def test_a_second_everyhop_on_the_same_directory_is_refused(mesh: Small) -> None:
    """`everyhop up` again, even with another file: exit status 3, and the running mesh is not touched."""
    before, wish = mesh.processes(), mesh.run("plan", str(mesh.file)).stdout
    other = mesh.home / "other.yaml"
    other.write_text(mesh.file.read_text().replace("small.internal", "other.internal"))
    for file in (mesh.file, other):
        refused = mesh.run("up", str(file), exit_status=3)
        assert "already-running" in refused.stderr
        assert str(mesh.process.pid if mesh.process else "?") in refused.stderr
    assert mesh.processes() == before
    assert mesh.run("plan", str(mesh.file)).stdout == wish
    assert mesh.status().trust_domain == "small.internal"
    mesh.send()


def test_a_topology_with_faults_changes_nothing(mesh: Small) -> None:
    """Two faults are applied: both are told with their lines, the exit status is 1, and all goes on as before."""
    before = mesh.status()
    text = mesh.file.read_text()
    broken = mesh.home / "broken.yaml"
    broken.write_text(text.replace("calls: [api]", "calls: [apu]", 1).replace("heartbeat: 200ms", "heartbeat: often"))
    for command in ("apply", "plan", "validate"):
        said = mesh.run(command, str(broken), exit_status=1)
        assert "apu" in said.stderr
        assert "often" in said.stderr
        assert said.stderr.count("broken.yaml:") >= 2
    after = mesh.status()
    assert [one.hop for one in after.hops] == [one.hop for one in before.hops]
    assert [one.serial for one in after.certificates] == [one.serial for one in before.certificates]
    mesh.send()


MORE = """\
  more:
    owner: us
    listen: 127.0.0.1:$more
    run:
      command: ["$python", "$apps/echo.py"]
      environment: {NAME: more, LISTEN: "{listen}"}
      health: {http: /healthz}
edge:
"""


def test_a_new_service_and_host_appear_while_it_runs(mesh: Small) -> None:
    """A service and a host are added under load. The host lies outside of the root's names, so a new root is made.

    The new host answers with a certificate under it; no request to the old one fails; then both are taken away again.
    """
    before = mesh.status()
    with Load(mesh.send) as load:
        mesh.change("edge:\n", MORE)
        mesh.change(
            "    small.localhost: {to: web}\n", "    small.localhost: {to: web}\n    more.localhost: {to: more}\n"
        )
        until(lambda: appeared(mesh), "the new host to answer")
        mesh.ready()
        assert {"envoy-more", "more"} <= set(mesh.processes())
        found = mesh.status()
        assert found.trust is not None
        assert found.trust.bundle == ("root-2",)
        assert found.rotation is not None
        assert "outside of its name constraints" in found.rotation.reason
        mesh.change("    more.localhost: {to: more}\n", "")
        text = mesh.file.read_text()
        mesh.change(text[text.index("  more:") : text.index("edge:\n")], "")
        until(lambda: not {"envoy-more", "more"} & set(mesh.processes()), "the removed service to end")
    assert not load.failures
    assert {one.hop for one in mesh.status().hops} == {one.hop for one in before.hops}
    assert not handshake(mesh.edge, server_name="more.localhost").usable


def appeared(mesh: Small) -> bool:
    try:
        answer = request(mesh.https, "more.localhost", "/hello", roots=mesh.roots)
    except OSError:
        return False
    return answer.status == 200 and answer.json["name"] == "more"


def test_a_call_that_is_taken_away_is_refused_from_then_on(mesh: Small) -> None:
    """web may not call api any more. Its proxy has lost the way, and even with web's certificate api's door is shut."""
    door, stolen = mesh.mesh_address("api"), mint(mesh, "web")
    assert handshake(door, credential=stolen).usable
    text = mesh.file.read_text().replace(', CALLEE: "{calls.api}"', "")
    mesh.file.write_text(text)
    mesh.change("    calls: [api]\n    run:", "    run:")
    until(lambda: not handshake(door, credential=stolen).usable, "web to be refused")
    assert handshake(door, credential=mint(mesh, "spare")).usable
    # web's app is told of no address any more: it was started anew, and has nobody to ask.
    until(lambda: request(mesh.https, HOST, "/hello", roots=mesh.roots).status == 200, "web to be up")
    assert not mesh.json("explain", "web", "api")["allowed"]
    until(lambda: "wrong-identity" in str(mesh.json("explain", "web", "api")["refused"]), "the refusal to be explained")


def test_down_ends_what_a_crash_left_behind() -> None:
    """everyhop is killed. Its proxies and apps go on; `everyhop down` ends them, and says which."""
    with Small() as mesh:
        mesh.up().ready()
        mesh.kill9()
        left = mesh.processes()
        mesh.send()
        assert mesh.json("down") == {"pid": None, "left_over": sorted(left)}
        assert not mesh.processes()
        assert mesh.json("down") == {"pid": None, "left_over": []}


def test_a_taken_port_is_never_shared() -> None:
    """While everyhop is down, somebody takes the port of one of its doors, and would share it.

    everyhop says which, and starts nothing: two servers on one port would each get a part of the connections. When the
    port is free again, all is well.
    """
    with Small() as mesh, socket.socket() as foreign:
        mesh.up().ready()
        door = mesh.mesh_address("web")
        assert mesh.stop() == 0
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind((door.host, door.port))
        foreign.listen()
        said = mesh.run("up", str(mesh.file), exit_status=3).stderr
        assert "address-in-use" in said
        assert str(door) in said
        assert not mesh.processes()
        foreign.close()
        mesh.up().ready()
        mesh.send()
