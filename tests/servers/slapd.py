"""OpenLDAP: ldap:// with StartTLS and ldaps://; with ``required`` no bind without TLS."""

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
class Slapd:
    ldap: int
    ldaps: int


@contextmanager
def slapd(home: Path, *directives: str, tls: bool = True, suffix: str = "") -> Generator[Slapd]:
    """A directory without entries; ``directives`` as in slapd.conf, e.g. ``security simple_bind=128``. With ``suffix``
    it holds a naming context."""
    binary = need("slapd")
    certificates().write(home)
    ports = Slapd(free_port(), free_port() if tls else 0)
    lines = ["include /etc/ldap/schema/core.schema", f"pidfile {home}/pid", *directives]
    if tls:
        lines += [f"TLSCertificateFile {home}/rsa.pem", f"TLSCertificateKeyFile {home}/rsa.key"]
    lines.append("database config")
    if suffix:
        lines += ["moduleload back_ldif", "database ldif", f'suffix "{suffix}"', f"directory {home}"]
    file = home / "slapd.conf"
    file.write_text("\n".join([*lines, ""]))
    urls = f"ldap://127.0.0.1:{ports.ldap}" + (f" ldaps://127.0.0.1:{ports.ldaps}" if tls else "")
    command = [binary, "-d", "0", "-f", str(file), "-h", urls]
    with running(command, home, [port for port in vars(ports).values() if port]):
        yield ports
