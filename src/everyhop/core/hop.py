"""What is encrypted: addresses, endpoints, hops and their posture.

Rules: a hop is a directed edge caller -> endpoint; *wanted* posture comes from the topology, *seen* posture from
dated observations only, and what was not seen is ``unknown``, never assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where something listens: host and TCP port, or a Unix socket's path."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``, ``[v6]:port`` or ``unix:/path``; raises ``ValueError`` saying what was expected."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/") or len(path.encode()) > 107:
                raise ValueError(f"expected unix:/absolute/path of at most 107 bytes, got {text!r}")
            return cls(path=path)
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise ValueError(f"expected host:port with a port from 1 to 65535, or unix:/path, got {text!r}")
        return cls(host=host, port=int(port))

    @property
    def is_loopback(self) -> bool:
        """True for what other machines cannot reach: a Unix socket, 127.0.0.0/8, ::1, localhost."""
        return bool(self.path) or self.host in ("localhost", "::1") or self.host.startswith("127.")


class Protocol(StrEnum):
    """What an application speaks behind its endpoint."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"
    POSTGRES = "postgres"

    @property
    def is_http(self) -> bool:
        """True where requests can be seen; otherwise bytes are carried as they come, whoever speaks first."""
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC)


class Posture(StrEnum):
    """How a hop is, or should be, protected."""

    MTLS = "mtls"
    TLS = "tls"
    PASSTHROUGH = "passthrough"
    EXEMPT = "exempt"
    PLAINTEXT = "plaintext"
    UNKNOWN = "unknown"


class End(StrEnum):
    """Which end of a hop saw something."""

    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, order=True)
class Hop:
    """A directed edge from a caller to an endpoint. ``caller`` is a service, ``edge`` or ``client``."""

    caller: str
    callee: str

    def __str__(self) -> str:
        return f"{self.caller} -> {self.callee}"
