"""redis-server, in the clear and with TLS, each on a port of its own."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import certificates
from tests.servers.process import running
from tests.stories.ports import free_port


@dataclass(frozen=True)
class Redis:
    plain: int
    tls: int
    log: Path


@contextmanager
def redis(home: Path, *, password: str = "", more: Mapping[str, str] | None = None) -> Generator[Redis]:
    """One server on two ports, with ``more`` settings; with ``password`` it takes nobody without."""
    binary = need("redis-server")
    certificates().write(home)
    ports = Redis(free_port(), free_port(), home / "output.log")
    options = {
        "bind": "127.0.0.1",
        "port": ports.plain,
        "tls-port": ports.tls,
        "tls-cert-file": home / "rsa.pem",
        "tls-key-file": home / "rsa.key",
        "tls-ca-cert-file": home / "ca.pem",
        "tls-auth-clients": "no",
        "protected-mode": "no",
        "save": "",
        "appendonly": "no",
        "dir": home,
        **(more or {}),
    }
    if password:
        options["requirepass"] = password
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with running([binary, *words], home, [ports.plain, ports.tls]):
        yield ports
