"""Caddy: TLS of Go."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import NAME, certificates
from tests.servers.process import running
from tests.stories.ports import free_port

_CONFIGURATION = """
{{
  admin off
  auto_https off
  skip_install_trust
}}
https://{name}:{port}, https://127.0.0.1:{port} {{
  bind 127.0.0.1
  tls {home}/{certificate}.pem {home}/{certificate}.key {{
    {tls}
  }}
  respond "ok"
}}
"""


@contextmanager
def caddy(home: Path, tls: str = "", *, certificate: str = "ec") -> Generator[int]:
    """Run Caddy with these lines in its ``tls`` block; its port."""
    binary = need("caddy")
    certificates().write(home)
    port = free_port()
    file = home / "Caddyfile"
    file.write_text(_CONFIGURATION.format(name=NAME, port=port, home=home, certificate=certificate, tls=tls))
    environment = {"XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    with running(
        [binary, "run", "--config", str(file), "--adapter", "caddyfile"], home, [port], environment=environment
    ):
        yield port
