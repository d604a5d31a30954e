"""PostgreSQL: one cluster, and servers on it one after the other with other settings of TLS and ``pg_hba.conf``.

Debian's, because the one that comes by pip is built without TLS. It does not run as root: then it runs as ``nobody``,
in a directory that ``nobody`` can reach.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import certificates
from tests.servers.process import logged, running
from tests.stories.ports import free_port


class Postgresql:
    """Make it with :func:`postgresql`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._as: list[str] = []
        self._programs = _programs()
        if os.geteuid() == 0:
            self._as = [need("setpriv", package="util-linux"), "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(home, "nobody")
        self._run("initdb", "-D", str(home / "data"), "--username=postgres", "--no-locale", "--no-sync")
        for name, content in (("pem", certificates().rsa.chain_pem), ("key", certificates().rsa.key_pem)):
            file = home / f"rsa.{name}"
            file.touch(mode=0o600)
            file.write_bytes(content)
            if os.geteuid() == 0:
                shutil.chown(file, "nobody")

    @property
    def log(self) -> str:
        """What the newest server has logged."""
        return (self._home / "output.log").read_text(errors="replace")

    @contextmanager
    def serving(self, hba: Sequence[str], *, tls: bool, more: Mapping[str, str] | None = None) -> Generator[int]:
        """A server with these lines of pg_hba.conf and ``more`` settings; its port."""
        port = free_port()
        rules = self._home / "pg_hba.conf"
        rules.write_text("".join(f"{line}\n" for line in hba))
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "hba_file": rules,
            "fsync": "off",
            "ssl": "on" if tls else "off",
            "ssl_cert_file": self._home / "rsa.pem",
            "ssl_key_file": self._home / "rsa.key",
            "ssl_ca_file": self._home / "rsa.pem",
            **(more or {}),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [*self._as, str(self._programs / "postgres"), "-D", str(self._home / "data"), "-p", str(port)]
        with running([*command, *options], self._home, [port], environment={"LC_ALL": "C"}):
            logged(self._home / "output.log", "ready to accept connections")
            yield port

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, cwd="/", capture_output=True, timeout=120)


def _programs() -> Path:
    """Debian keeps them by version, out of the PATH; the newest."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return versions[-1].parent if versions else Path(need("postgres", package="postgresql")).parent


@contextmanager
def postgresql() -> Generator[Postgresql]:
    """A cluster in a directory of its own, which goes with it."""
    home = Path(tempfile.mkdtemp(prefix="eh-pg-"))
    try:
        yield Postgresql(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
