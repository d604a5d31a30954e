"""nginx with as many TLS servers as a test wants, each on its own port with its own directives."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers import need
from tests.servers.certificates import certificates
from tests.servers.process import running
from tests.stories.ports import free_port

RSA = "ssl_certificate {home}/rsa.pem; ssl_certificate_key {home}/rsa.key;"
EC = "ssl_certificate {home}/ec.pem; ssl_certificate_key {home}/ec.key;"
BOTH = RSA + EC
WIDE_OPEN = (
    BOTH + "ssl_protocols SSLv3 TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers ALL:eNULL@SECLEVEL=0;"
    "ssl_dhparam {home}/dh2048.pem; ssl_ecdh_curve auto;"
)

# RFC 3526, 3: the group of 2048 bits. Generating one would take a minute.
DH_2048 = """-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA///////////JD9qiIWjCNMTGYouA3BzRKQJOCIpnzHQCC76mOxOb
IlFKCHmONATd75UZs806QxswKwpt8l8UN0/hNW1tUcJF5IW1dmJefsb0TELppjft
awv/XLb0Brft7jhr+1qJn6WunyQRfEsf5kkoZlHs5Fs9wgB8uKFjvwWY2kg2HFXT
mmkWP6j9JM9fg2VdI9yjrZYcYvNWIIVSu57VKQdwlpZtZww1Tkq8mATxdGwIyhgh
fDKQXkYuNs474553LBgOhgObJ4Oi7Aeij7XFXfBvTFLJ3ivL9pVYFxg5lUl86pVq
5RXSJhiY+gUQFXKOWoqsqmj//////////wIBAg==
-----END DH PARAMETERS-----
"""

_CONFIGURATION = """
daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log info;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3;
  uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  {servers}
}}
"""


@contextmanager
def nginx(home: Path, servers: Mapping[str, str]) -> Generator[dict[str, int]]:
    """Run nginx with these servers (name to directives, ``{home}`` is filled in); the port of each by its name.

    A name with ``plain`` in it is a server without TLS.
    """
    binary = need("nginx", package="nginx-light")
    certificates().write(home)
    home.joinpath("dh2048.pem").write_text(DH_2048)
    ports = {name: free_port() for name in servers}
    blocks = [
        f"server {{ listen 127.0.0.1:{ports[name]}{'' if 'plain' in name else ' ssl'}; "
        f"{text.format(home=home)} location / {{ return 200 'ok'; }} }}"
        for name, text in servers.items()
    ]
    file = home / "nginx.conf"
    file.write_text(_CONFIGURATION.format(home=home, servers="\n  ".join(blocks)))
    with running([binary, "-p", str(home), "-e", str(home / "error.log"), "-c", str(file)], home, list(ports.values())):
        yield ports
