"""``openssl s_server``: the reference, with any cipher list and any groups."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import certificates
from tests.servers.process import running
from tests.stories.ports import free_port


@contextmanager
def s_server(home: Path, *arguments: str, certificate: str = "rsa") -> Generator[int]:
    """Run it with these arguments and the ``rsa`` or ``ec`` certificate; its port."""
    certificates().write(home)
    port = free_port()
    own: Sequence[str] = ("-accept", f"127.0.0.1:{port}")
    keys = ("-cert", f"{home}/{certificate}.pem", "-key", f"{home}/{certificate}.key")
    with running([need("openssl"), "s_server", "-quiet", "-www", *own, *keys, *arguments], home, [port]):
        yield port
