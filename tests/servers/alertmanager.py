"""Alertmanager: groups alerts and routes them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import need
from tests.servers.process import running
from tests.stories.ports import free_port


@contextmanager
def alertmanager(home: Path, configuration: str) -> Generator[int]:
    """Run Alertmanager, alone, with this configuration; its port."""
    binary = need("prometheus-alertmanager")
    home.mkdir(parents=True, exist_ok=True)
    (home / "alertmanager.yml").write_text(configuration)
    port = free_port()
    command = [
        binary,
        "--config.file=alertmanager.yml",
        "--storage.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with running(command, home, [port]):
        yield port
