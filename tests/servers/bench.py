"""Where servers of every kind are started, one at a time, each by one function that says how it is set up.

Rules: what OpenSSL would choose by itself is fixed for every server by :data:`OPENSSL_CONF`, so that the answers are
the same on every machine. What takes long to make is made once, when it is first needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from tests.servers.caddy import caddy
from tests.servers.envoy import envoy
from tests.servers.haproxy import haproxy
from tests.servers.mariadb import MariaDb
from tests.servers.mosquitto import mosquitto
from tests.servers.nginx import nginx
from tests.servers.openssl import s_server
from tests.servers.postgresql import Postgresql, postgresql
from tests.servers.redis import redis
from tests.servers.smtp import smtp

SOURCE = "127.0.0.9"
"""Where the probes come from."""

OPENSSL_CONF = """openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = defaults
[defaults]
MinProtocol = TLSv1.2
CipherString = DEFAULT@SECLEVEL=2
Groups = X25519:P-256:P-384
"""

_PROBE_ACCOUNT = f"create or replace user everyhop@{SOURCE} identified by '';\n"


class Bench:
    """Where servers are started."""

    def __init__(self, stack: ExitStack, home: Callable[[str], Path]) -> None:
        """``home`` makes a new directory; ``stack`` ends what was made."""
        self._stack = stack
        self.home = home

    @contextmanager
    def serving(self, start: Start) -> Generator[int]:
        """One server; its port."""
        with ExitStack() as stack:
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("OPENSSL_CONF", str(self._openssl_conf))
                port = stack.enter_context(start(self))
            yield port

    @cached_property
    def postgresql(self) -> Postgresql:
        return self._stack.enter_context(postgresql())

    @cached_property
    def mariadb(self) -> MariaDb:
        return MariaDb(self._short())

    @cached_property
    def _openssl_conf(self) -> Path:
        """Servers that do not run as we do read it, too."""
        home = self._short()
        home.chmod(0o755)
        file = home / "openssl.cnf"
        file.write_text(OPENSSL_CONF)
        return file

    def _short(self) -> Path:
        """A directory whose path leaves room for a socket's name."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="eh-")))


Start = Callable[[Bench], AbstractContextManager[int]]


# --- how each kind is started -------------------------------------------------------------------------------------


def an_nginx(directives: str) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        name = "tls" if "ssl_certificate" in directives else "plain"
        with nginx(bench.home("nginx"), {name: directives}) as ports:
            yield ports[name]

    return start


def an_envoy(parameters: Mapping[str, Any]) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        with envoy(bench.home("envoy"), {"one": parameters}) as ports:
            yield ports["one"]

    return start


def a_haproxy(bind: str) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        with haproxy(bench.home("haproxy"), {"one": bind}) as ports:
            yield ports["one"]

    return start


def a_caddy(tls: str) -> Start:
    return lambda bench: caddy(bench.home("caddy"), tls)


def an_openssl(*arguments: str) -> Start:
    return lambda bench: s_server(bench.home("openssl"), *arguments)


def a_postgresql(rules: list[str], *, tls: bool = True, more: Mapping[str, str] | None = None) -> Start:
    return lambda bench: bench.postgresql.serving(rules, tls=tls, more=more)


def a_mariadb(*options: str, tls: bool = True) -> Start:
    """Abandoned handshakes count as errors of the client's host there: here they may."""

    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        script = bench.home("accounts") / "init.sql"
        script.write_text(_PROBE_ACCOUNT)
        fixed = (f"--init-file={script}", "--max-connect-errors=1000000")
        with bench.mariadb.serving(*fixed, *options, tls=tls) as port:
            yield port

    return start


def a_redis(*, tls: bool) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        with redis(bench.home("redis"), more={"tls-protocols": "TLSv1.3"}) as server:
            yield server.tls if tls else server.plain

    return start


def a_mosquitto(*, tls: bool) -> Start:
    @contextmanager
    def start(bench: Bench) -> Generator[int]:
        with mosquitto(bench.home("mosquitto"), "tls_version tlsv1.3") as server:
            yield server.tls if tls else server.plain

    return start


def an_smtp(*, tls: bool, required: bool = False) -> Start:
    """sslscan reads an answer once: it has to come in one piece."""
    return lambda _: smtp(tls=tls, required=required, whole=True)
