"""memcached, in the clear."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import need
from tests.servers.process import running
from tests.stories.ports import free_port


@contextmanager
def memcached(home: Path) -> Generator[int]:
    """Its port."""
    port = free_port()
    command = [need("memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "8", "-t", "1", "-u", "root"]
    with running(command, home, [port]):
        yield port
