"""HAProxy with as many TLS listeners as a test wants."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import certificates
from tests.servers.process import running
from tests.stories.ports import free_port

_CONFIGURATION = """
global
  maxconn 200
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
{frontends}
"""


@contextmanager
def haproxy(home: Path, listeners: Mapping[str, str]) -> Generator[dict[str, int]]:
    """Run HAProxy with these listeners (name to what stands behind ``ssl crt`` in ``bind``); each port by its name."""
    binary = need("haproxy")
    certificates().write(home)
    ports = {name: free_port() for name in listeners}
    frontends = [
        f"frontend {name}\n  bind 127.0.0.1:{ports[name]} ssl crt {home}/rsa.both {text.format(home=home)}\n"
        "  http-request return status 200"
        for name, text in listeners.items()
    ]
    file = home / "haproxy.cfg"
    file.write_text(_CONFIGURATION.format(frontends="\n".join(frontends)))
    with running([binary, "-db", "-f", str(file)], home, list(ports.values())):
        yield ports
