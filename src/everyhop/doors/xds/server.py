"""The delta ADS server on a Unix socket.

Rules: a proxy's secrets go to the very process that everyhop started for that node, and to nobody else: the kernel
tells the peer's pid, and the pid must be that node's. A stream that fails is ended with a status; the proxy keeps what
it has and comes back.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

from google.protobuf.message import Message
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from everyhop.doors.xds.messages import DeltaRequest, message_class
from everyhop.doors.xds.session import Key, Push, Session
from everyhop.doors.xds.translate import Resource, resources
from everyhop.errors import EveryhopError
from everyhop.services.deploy import Deployment, NodeTarget

_PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_REQUEST = message_class("envoy.service.discovery.v3.DeltaDiscoveryRequest")
_RESPONSE = message_class("envoy.service.discovery.v3.DeltaDiscoveryResponse")
_LONGEST_PATH = 107
"""sun_path holds 108 bytes, with the closing zero (unix(7))."""

_LISTENER_RETRY_SECONDS = 5.0
"""How long a refused listener waits for its next try: whoever held its address may have ended."""

MayServe = Callable[[int, str], bool]
"""Whether the process with this pid is the proxy of this node."""
LogPath = Callable[[str], str]
"""Where a node's proxy logs its connections."""


class XdsServer:
    """Serves every node's resources to that node's proxy."""

    def __init__(self, deployment: Deployment, *, may_serve: MayServe, log_path: LogPath) -> None:
        """``deployment`` holds what is wanted and takes the answers."""
        self._deployment = deployment
        self._may_serve = may_serve
        self._log_path = log_path
        self._server = Server([self])
        self._translated: dict[str, tuple[NodeTarget, dict[Key, Resource]]] = {}

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib serves."""
        return {_PATH: Handler(self._stream, Cardinality.STREAM_STREAM, _REQUEST, _RESPONSE)}

    async def start(self, path: Path) -> None:
        """Listen on a Unix socket that only this user can reach. A stale socket file is replaced."""
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise EveryhopError(
                "store-unavailable",
                f"expected a socket path of at most {_LONGEST_PATH} bytes, got {path}",
                hint="choose a shorter data directory with --data",
            )
        await asyncio.to_thread(path.unlink, missing_ok=True)
        before = os.umask(0o177)
        try:
            await self._server.start(path=str(path))
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Stop listening and end the streams; the proxies keep what they have."""
        self._server.close()
        await self._server.wait_closed()

    async def _stream(self, stream: Stream[Message, Message]) -> None:
        first = await stream.recv_message()
        if first is None:
            return
        node = cast("DeltaRequest", first).node.id
        if self._deployment.target(node) is None:
            raise GRPCError(Status.NOT_FOUND, f"no node {node!r} is planned")
        if not self._may_serve(peer_pid(stream), node):
            raise GRPCError(Status.PERMISSION_DENIED, f"this process is not the proxy of node {node!r}")
        session, news = Session(), asyncio.Event()
        self._deployment.connected(node)
        reader = asyncio.create_task(self._read(stream, node, session, news, cast("DeltaRequest", first)))
        try:
            await self._write(stream, node, session, news, reader)
        finally:
            reader.cancel()
            self._translated.pop(node, None)  # it holds keys; a proxy that comes back has it translated again
            self._deployment.disconnected(node)

    async def _read(
        self, stream: Stream[Message, Message], node: str, session: Session, news: asyncio.Event, first: DeltaRequest
    ) -> None:
        request: DeltaRequest | None = first
        while request is not None:
            for answer in session.heard(request):
                if answer.fault:
                    self._deployment.refuse(node, answer.name, answer.version, answer.fault)
                else:
                    self._deployment.acknowledge(node, answer.name, answer.version)
            news.set()
            request = cast("DeltaRequest | None", await stream.recv_message())

    async def _write(
        self,
        stream: Stream[Message, Message],
        node: str,
        session: Session,
        news: asyncio.Event,
        reader: asyncio.Task[None],
    ) -> None:
        while not reader.done():
            news.clear()
            changed = asyncio.create_task(self._deployment.changed(node))
            heard = asyncio.create_task(news.wait())
            try:
                while (push := session.next(self._wanted(node))) is not None:
                    await stream.send_message(_response(push))
                pause = _LISTENER_RETRY_SECONDS if session.refused else None
                done, _ = await asyncio.wait(
                    {changed, heard, reader}, timeout=pause, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    session.retry_listeners()
            finally:
                changed.cancel()
                heard.cancel()
        reader.result()

    def _wanted(self, node: str) -> dict[Key, Resource]:
        target = self._deployment.target(node)
        if target is None:
            raise GRPCError(Status.NOT_FOUND, f"node {node!r} is not planned any more")
        known = self._translated.get(node)
        if known is None or known[0] is not target:
            known = (target, resources(target, self._log_path(node)))
            self._translated[node] = known
        return known[1]


def _response(push: Push) -> Message:
    return _RESPONSE(
        type_url=push.type_url,
        nonce=push.nonce,
        removed_resources=list(push.removed),
        resources=[
            {
                "name": one.name,
                "version": one.version,
                "resource": {"type_url": one.type_url, "value": one.body},
            }
            for one in push.resources
        ],
    )


def peer_pid(stream: Stream[Message, Message]) -> int:
    """The pid of the process at the other end of a Unix socket, as the kernel recorded it (unix(7), SO_PEERCRED).

    grpclib keeps the transport private; this one function is all that depends on it, and a test holds it to account.
    """
    transport: asyncio.BaseTransport = stream.peer._transport  # pyright: ignore[reportPrivateUsage]
    connection = transport.get_extra_info("socket")
    if connection is None:
        raise GRPCError(Status.PERMISSION_DENIED, "the peer's process is not known")
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, _, _ = struct.unpack("3i", packed)
    return int(pid)
