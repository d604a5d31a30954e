"""Dovecot: IMAP and POP3, with TLS offered, required, or absent."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import certificates
from tests.servers.nginx import DH_2048
from tests.servers.process import running
from tests.stories.ports import free_port

_CONFIGURATION = """
protocols = imap pop3
base_dir = {home}/run
state_dir = {home}/state
log_path = /dev/stderr
ssl = {ssl}
ssl_cert = <{home}/rsa.pem
ssl_key = <{home}/rsa.key
ssl_dh = <{home}/dh.pem
disable_plaintext_auth = {strict}
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
auth_mechanisms = plain login
mail_location = maildir:{home}/mail
passdb {{
  driver = static
  args = nopassword=n password=unguessable
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={home}
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {imaps}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""


@dataclass(frozen=True)
class Dovecot:
    imap: int
    imaps: int
    pop3: int


@contextmanager
def dovecot(*, ssl: str, strict: bool) -> Generator[Dovecot]:
    """``ssl`` is ``no``, ``yes`` or ``required``; ``strict``: no passwords without TLS (from other machines)."""
    binary = need("dovecot", package="dovecot-imapd")
    home = Path(tempfile.mkdtemp(prefix="eh-dc-"))  # short: there are Unix sockets in it
    try:
        home.chmod(0o755)
        certificates().write(home)
        home.joinpath("dh.pem").write_text(DH_2048)
        ports = Dovecot(free_port(), free_port() if ssl != "no" else 0, free_port())
        own = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        file = home / "dovecot.conf"
        yes = "yes" if strict else "no"
        group = "nogroup" if os.geteuid() == 0 else grp.getgrgid(os.getegid()).gr_name
        text = _CONFIGURATION.format(home=home, ssl=ssl, strict=yes, user=own, group=group, **vars(ports))
        file.write_text(text)
        with running([binary, "-F", "-c", str(file)], home, [port for port in vars(ports).values() if port]):
            yield ports
    finally:
        shutil.rmtree(home, ignore_errors=True)
