"""vsftpd, with TLS absent, offered or required."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import certificates
from tests.servers.process import running
from tests.stories.ports import free_port


@contextmanager
def vsftpd(home: Path, *, tls: bool, required: bool = False) -> Generator[int]:
    """Its port."""
    binary = need("vsftpd")
    certificates().write(home)
    port = free_port()
    home.joinpath("empty").mkdir()
    settings: dict[str, object] = {
        "listen": "YES",
        "listen_address": "127.0.0.1",
        "listen_port": port,
        "background": "NO",
        "run_as_launching_user": "YES",
        "anonymous_enable": "NO",
        "local_enable": "YES",
        "secure_chroot_dir": home / "empty",
        "seccomp_sandbox": "NO",
        "ssl_enable": "YES" if tls else "NO",
        "rsa_cert_file": home / "rsa.pem",
        "rsa_private_key_file": home / "rsa.key",
        "force_local_logins_ssl": "YES" if required else "NO",
        "force_local_data_ssl": "YES" if required else "NO",
        "ssl_tlsv1": "YES",
    }
    file = home / "vsftpd.conf"
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    with running([binary, str(file)], home, [port]):
        yield port
