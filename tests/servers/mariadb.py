"""MariaDB: one data directory, and servers on it one after the other with other settings of TLS."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import certificates
from tests.servers.process import logged, running
from tests.stories.ports import free_port


class MariaDb:
    """``MariaDb(home)`` makes the data (some seconds); ``with database.serving(...) as port:`` starts a server."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._server = need("mariadbd", package="mariadb-server")
        certificates().write(home)
        install = [need("mariadb-install-db", package="mariadb-server"), "--no-defaults", f"--datadir={home}/data"]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db", *_user()]
        subprocess.run(install, check=True, capture_output=True, timeout=120)

    @contextmanager
    def serving(self, *options: str, tls: bool = True) -> Generator[int]:
        """A server with these options; its port."""
        port = free_port()
        home = self._home
        secured = [f"--ssl-cert={home}/rsa.pem", f"--ssl-key={home}/rsa.key"] if tls else ["--skip-ssl"]
        command = [self._server, "--no-defaults", f"--datadir={home}/data", f"--socket={home}/s", *_user()]
        command += [f"--pid-file={home}/pid", "--bind-address=127.0.0.1", f"--port={port}"]
        command += ["--innodb-buffer-pool-size=8M", "--skip-log-bin", *secured, *options]
        with running(command, home, [port]):
            logged(home / "output.log", "ready for connections")
            yield port


def _user() -> list[str]:
    """It does not run as root unless told to."""
    return [f"--user={pwd.getpwuid(os.geteuid()).pw_name}"] if os.geteuid() == 0 else []
