"""Endpoints to scan: nginx with Mozilla's intermediate configuration on many ports, or on thousands of addresses.

Rules: loopback only. nginx counts the connections that it accepts, so that every scanner's are counted by the other
end.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from tests.fakes.pki import CA

from benchmarks import _mesh
from benchmarks._peers import running
from benchmarks._scanner import NAME

HALF = 2500
"""Addresses that one nginx listens on: each is a socket of its own."""

_CONFIGURATION = """
daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log error;
worker_rlimit_nofile 16384;
events {{ worker_connections 12000; }}
http {{
  access_log off;
  client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3;
  uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  ssl_certificate {home}/chain.pem; ssl_certificate_key {home}/key.pem;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers off; ssl_ecdh_curve X25519:prime256v1:secp384r1;
  ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
  server {{
    {listens}
    server_name {name};
    location / {{ return 200 "ok"; }}
  }}
  server {{
    listen 127.0.0.1:{status};
    location / {{ stub_status; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What listens, as ``host:port``."""

    addresses: tuple[str, ...]
    status: int

    def accepted(self) -> int:
        """Connections that nginx has accepted so far, without the one that asks."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.status}/", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(r"requests\s+(\d+) \d+ (\d+)", text)
        if not found:
            raise RuntimeError(f"nginx said {text!r}")
        return int(found[1])


@contextmanager
def ports(binary: str, home: Path, count: int) -> Generator[Endpoints]:
    """One nginx on so many ports."""
    *taken, status = _mesh.free_ports(count + 1)
    with _nginx(binary, home, [f"127.0.0.1:{port}" for port in taken], status) as endpoints:
        yield endpoints


@contextmanager
def addresses(binary: str, home: Path, first: int, count: int) -> Generator[Endpoints]:
    """One nginx on so many addresses of 127.0.0.0/8, all on one port."""
    port, status = _mesh.free_ports(2)
    found = [
        f"127.{10 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}:{port}"
        for number in range(first, first + count)
    ]
    with _nginx(binary, home, found, status) as endpoints:
        yield endpoints


@contextmanager
def _nginx(binary: str, home: Path, listens: Sequence[str], status: int) -> Generator[Endpoints]:
    home.mkdir()
    leaf = CA("bench").issue(NAME, key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    (home / "chain.pem").write_bytes(leaf.chain_pem)
    (home / "key.pem").touch(mode=0o600)
    (home / "key.pem").write_bytes(leaf.key_pem)
    lines = "\n    ".join(f"listen {one} ssl;" for one in listens)
    file = home / "nginx.conf"
    file.write_text(_CONFIGURATION.format(home=home, listens=lines, status=status, name=NAME))
    command = [binary, "-p", str(home), "-e", str(home / "error.log"), "-c", str(file)]
    with running(command, home / "nginx.log", status):
        yield Endpoints(tuple(listens), status)
