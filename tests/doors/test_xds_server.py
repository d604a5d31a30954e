"""The xDS door with a real gRPC client over a real Unix socket: who is let in, and what goes over the stream."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from grpclib.client import Channel, StreamStreamMethod
from grpclib.client import Stream as ClientStream
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from tests.fakes.world import plan

from everyhop.doors.xds.messages import CLUSTER, LISTENER, SECRET, message_class
from everyhop.doors.xds.server import XdsServer
from everyhop.errors import EveryhopError
from everyhop.services.deploy import BundleMaterial, Deployment, LeafMaterial, NodeTarget

_REQUEST = message_class("envoy.service.discovery.v3.DeltaDiscoveryRequest")
_RESPONSE = message_class("envoy.service.discovery.v3.DeltaDiscoveryResponse")
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
LEAF = LeafMaterial("identity", "1a", "CHAIN", b"KEY")
TRUST = BundleMaterial.of("trust", "ROOTS")
TARGET = NodeTarget(plan().node("db"), {"identity": LEAF, "trust": TRUST})
PATIENCE = 10.0
"""Seconds for what comes at once: never waited for."""

Talk = ClientStream[Message, Message]


def ask(kind: str, *names: str, nonce: str = "", fault: str = "", node: str = "") -> Message:
    error = {"error_detail": {"code": 13, "message": fault}} if fault else {}
    known = {"node": {"id": node}} if node else {}
    return _REQUEST(type_url=kind, resource_names_subscribe=list(names), response_nonce=nonce, **known, **error)


class Door:
    """A server on a socket of its own, and who asked to be let in."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "xds.sock"
        self.deployment = Deployment()
        self.deployment.want(TARGET)
        self.asked: list[tuple[int, str]] = []
        self.friends = {os.getpid()}
        self.server = XdsServer(self.deployment, may_serve=self.may_serve, log_path=lambda node: f"/log/{node}")

    def may_serve(self, pid: int, node: str) -> bool:
        self.asked.append((pid, node))
        return pid in self.friends

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[Talk]:
        """One stream of a proxy's."""
        channel = Channel(path=str(self.path))
        method: Any = StreamStreamMethod(channel, METHOD, _REQUEST, _RESPONSE)
        try:
            async with asyncio.timeout(PATIENCE), method.open() as talk:
                yield talk
                await talk.cancel()
        finally:
            channel.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.005)


def play(folder: Path, story: Callable[[Door], Awaitable[None]]) -> None:
    async def run() -> None:
        door = Door(folder)
        await door.server.start(door.path)
        try:
            await story(door)
        finally:
            await door.server.stop()

    asyncio.run(run())


async def hear(talk: Talk) -> Any:
    answer = await talk.recv_message()
    assert answer is not None
    return answer


async def turned_away(door: Door, first: Message) -> Status:
    """The status of a stream that is not let in."""

    async def come() -> None:
        async with door.stream() as talk:
            await talk.send_message(first)
            await hear(talk)

    with pytest.raises(GRPCError) as refusal:
        await come()
    return refusal.value.status


def names(answer: Any) -> list[tuple[str, str]]:
    return [(one.name, one.version) for one in answer.resources]


# --- who is let in ------------------------------------------------------------------------------------------------


def test_the_peers_pid_is_the_kernels_word(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        async with door.stream() as talk:
            await talk.send_message(ask(CLUSTER, node="db"))
            await hear(talk)
        assert door.asked == [(os.getpid(), "db")]

    play(tmp_path, story)


def test_a_foreign_process_is_refused_and_gets_nothing(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        door.friends = {1}
        assert await turned_away(door, ask(SECRET, "identity", node="db")) is Status.PERMISSION_DENIED
        assert not door.deployment.is_connected("db")

    play(tmp_path, story)


@pytest.mark.parametrize("node", ["nobody", ""])
def test_an_unknown_node_is_not_found(tmp_path: Path, node: str) -> None:
    async def story(door: Door) -> None:
        assert await turned_away(door, ask(CLUSTER, node=node)) is Status.NOT_FOUND
        assert door.asked == []

    play(tmp_path, story)


def test_the_socket_is_for_this_user_alone_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "xds.sock").write_text("stale")

    async def story(door: Door) -> None:
        mode = door.path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600

    play(tmp_path, story)


def test_a_path_that_no_socket_can_have_is_refused_in_words(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()

    async def start() -> None:
        await Door(folder).server.start(folder / "xds.sock")

    with pytest.raises(EveryhopError, match="at most 107 bytes") as refusal:
        asyncio.run(start())
    assert "--data" in refusal.value.hint


# --- what goes over the stream ------------------------------------------------------------------------------------


def test_resources_are_pushed_acknowledged_and_counted(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        async with door.stream() as talk:
            await talk.send_message(ask(CLUSTER, node="db"))
            clusters = await hear(talk)
            assert [name for name, _ in names(clusters)] == ["app"]
            assert clusters.resources[0].resource.type_url == CLUSTER
            await talk.send_message(ask(CLUSTER, nonce=clusters.nonce))
            await talk.send_message(ask(LISTENER))
            listeners = await hear(talk)
            assert [name for name, _ in names(listeners)] == ["inbound"]
            await talk.send_message(ask(SECRET, "identity", "trust"))
            first = await hear(talk)
            assert len(first.resources) == 1, "one secret a push"
            await talk.send_message(ask(SECRET, nonce=first.nonce))
            second = await hear(talk)
            await talk.send_message(ask(SECRET, nonce=second.nonce))
            assert sorted(names(first) + names(second)) == [("identity", "1a"), ("trust", TRUST.version)]
            await door.until(lambda: not door.deployment.behind(["db"], "trust", TRUST.version))
            assert door.deployment.accepted("db", "identity") == "1a"
            assert door.deployment.accepted("db", "inbound") is None, "not acknowledged yet"
        await door.until(lambda: not door.deployment.is_connected("db"))

    play(tmp_path, story)


def test_a_change_is_pushed_at_once_and_only_the_change(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        async with door.stream() as talk:
            await talk.send_message(ask(SECRET, "identity", node="db"))
            first = await hear(talk)
            await talk.send_message(ask(SECRET, nonce=first.nonce))
            await door.until(lambda: door.deployment.accepted("db", "identity") == "1a")
            door.deployment.offer("db", replace(LEAF, version="2b"))
            assert names(await hear(talk)) == [("identity", "2b")]

    play(tmp_path, story)


def test_a_refusal_is_kept_with_its_reason(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        async with door.stream() as talk:
            await talk.send_message(ask(SECRET, "identity", node="db"))
            first = await hear(talk)
            await talk.send_message(ask(SECRET, nonce=first.nonce, fault="KEY_VALUES_MISMATCH"))
            await door.until(lambda: door.deployment.refusal("db", "identity") is not None)
            refusal = door.deployment.refusal("db", "identity")
            assert refusal is not None
            assert (refusal.version, refusal.reason) == ("1a", "KEY_VALUES_MISMATCH")
            door.deployment.offer("db", replace(LEAF, version="2b"))
            assert names(await hear(talk)) == [("identity", "2b")]

    play(tmp_path, story)


def test_a_node_that_is_not_planned_any_more_is_told_so(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        async def outlive() -> None:
            async with door.stream() as talk:
                await talk.send_message(ask(CLUSTER, node="db"))
                await hear(talk)
                door.deployment.forget("db")
                await hear(talk)

        with pytest.raises(GRPCError) as end:
            await outlive()
        assert end.value.status is Status.NOT_FOUND

    play(tmp_path, story)


def test_one_stream_that_fails_does_not_disturb_another(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        door.deployment.want(NodeTarget(plan().node("web"), {"identity": LEAF, "trust": TRUST}))
        async with door.stream() as good:
            await good.send_message(ask(SECRET, "trust", node="web"))
            first = await hear(good)
            async with door.stream() as other:
                await other.send_message(ask("type.googleapis.com/no.such.Type", node="db"))
                await other.send_message(ask(CLUSTER))
                await hear(other)
            await good.send_message(ask(SECRET, nonce=first.nonce))
            await door.until(lambda: door.deployment.accepted("web", "trust") == TRUST.version)
            assert door.deployment.is_connected("web")

    play(tmp_path, story)


def test_a_proxy_that_says_nothing_holds_nothing_up(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        async with door.stream() as silent, door.stream() as talk:
            await silent.send_request()
            await talk.send_message(ask(CLUSTER, node="db"))
            await hear(talk)
            assert door.asked == [(os.getpid(), "db")]

    play(tmp_path, story)
