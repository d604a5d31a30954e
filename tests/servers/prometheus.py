"""Prometheus: scrapes, evaluates rules, sends alerts."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import need
from tests.servers.process import DEADLINE, running
from tests.stories.ports import free_port


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    port: int

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The vector that an expression gives now: labels and values."""
        address = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(address, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return [(one["metric"], float(one["value"][1])) for one in found["data"]["result"]]


@contextmanager
def prometheus(home: Path, configuration: str) -> Generator[Prometheus]:
    """Run Prometheus with this configuration."""
    binary = need("prometheus")
    home.mkdir(parents=True, exist_ok=True)
    (home / "prometheus.yml").write_text(configuration)
    port = free_port()
    command = [
        binary,
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with running(command, home, [port]):
        until_ready(port)
        yield Prometheus(port)


def until_ready(port: int) -> None:
    """Wait until it answers queries: it listens before it does."""
    deadline = time.monotonic() + DEADLINE
    while True:
        with suppress(urllib.error.URLError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5):
            return
        assert time.monotonic() < deadline, "Prometheus does not get ready"
        time.sleep(0.05)
