"""Mosquitto (MQTT), in the clear and with TLS, each on a port of its own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import certificates
from tests.servers.process import running
from tests.stories.ports import free_port


@dataclass(frozen=True)
class Mosquitto:
    plain: int
    tls: int


@contextmanager
def mosquitto(home: Path, tls: str = "", *, anonymous: bool = True) -> Generator[Mosquitto]:
    """One broker on two ports, with these lines for that with TLS; not ``anonymous``: it takes nobody without a
    password."""
    binary = need("mosquitto")
    certificates().write(home)
    ports = Mosquitto(free_port(), free_port())
    file = home / "mosquitto.conf"
    file.write_text(
        f"user root\npersistence false\nallow_anonymous {str(anonymous).lower()}\n"
        f"listener {ports.plain} 127.0.0.1\n"
        f"listener {ports.tls} 127.0.0.1\ncertfile {home}/rsa.pem\nkeyfile {home}/rsa.key\n{tls}\n"
    )
    with running([binary, "-c", str(file)], home, [ports.plain, ports.tls]):
        yield ports
