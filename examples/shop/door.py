"""How both web and api are served: plain HTTP on the one address that their sidecar talks to.

Rules: no TLS here, and no trust in forwarding headers either; encryption and identity are the sidecar's work.
"""

from __future__ import annotations

import os

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request

KEEP_ALIVE = 2 * 60 * 60
"""Seconds an idle connection stays open. Longer than Envoy keeps one (1 hour): the side that *sends* requests has
to be the one that closes, or a request can meet a connection that is just being closed."""


def setting(name: str) -> str:
    """A setting from the environment; ends the program with a sentence if it is missing."""
    value = os.environ.get(name, "")
    if not value:
        raise SystemExit(f"expected {name} in the environment, got nothing\nhint: see examples/shop/everyhop.yaml")
    return value


def host_and_port(address: str) -> tuple[str, int]:
    """Split ``host:port``; ends the program with a sentence if it is something else."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SystemExit(f"expected host:port or unix:/path, got {address!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def serve(app: Starlette, listen: str) -> None:
    """Serve on ``host:port`` or ``unix:/path`` until SIGTERM; requests in flight are finished first."""
    host, port, path = None, 0, None
    if listen.startswith("unix:"):
        path = listen.removeprefix("unix:")
    else:
        host, port = host_and_port(listen)
    uvicorn.run(
        app,
        host=host or "127.0.0.1",
        port=port,
        uds=path,
        access_log=False,  # the sidecar keeps one, with identities
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=5,
    )


async def read_body(request: Request, limit: int) -> bytes | None:
    """The whole request body, or None as soon as it is longer than ``limit`` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)
