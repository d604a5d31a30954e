"""Clients from outside of the mesh: requests over TLS with the published roots, a steady load, raw sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any

from everyhop.core.hop import Address
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.probes.tls import WireProber
from everyhop.ports import ClientCredential, Handshake, PlainAnswer

PATIENCE = 30.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, and the TLS it came over."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    version: str
    names: tuple[str, ...]
    """The DNS names of the server's certificate."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@lru_cache(maxsize=8)
def trusting(roots: str) -> ssl.SSLContext:
    """A client that trusts these roots and no others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=roots)
    return context


def request(
    port: int,
    host: str,
    path: str = "/",
    *,
    roots: str,
    method: str = "GET",
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a new connection to 127.0.0.1, with ``host`` as server name and Host header."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as raw,
        trusting(roots).wrap_socket(raw, server_hostname=host) as tls,
    ):
        version, names = tls.version(), (tls.getpeercert() or {}).get("subjectAltName", ())
        connection = http.client.HTTPConnection(host, port)
        connection.sock = tls
        connection.request(method, path, body, dict({"Connection": "close"}, **(headers or {})))
        answer = connection.getresponse()
        return Answer(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read(),
            version or "",
            tuple(str(value) for kind, value in names if kind == "DNS"),  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        )


def callers(headers: Mapping[str, list[str]]) -> list[str]:
    """The identities in what an app was told about its caller (x-forwarded-client-cert)."""
    elements = [part for value in headers.get("x-forwarded-client-cert", []) for part in value.split(";")]
    return [part.removeprefix("URI=") for element in elements for part in element.split(",") if part.startswith("URI=")]


def handshake(
    address: Address,
    *,
    server_name: str = "",
    credential: ClientCredential | None = None,
    alpn: tuple[str, ...] = (),
) -> Handshake:
    """One handshake from 127.0.0.1, as anybody on this machine could make it."""
    prober = WireProber(SystemClock())
    return asyncio.run(prober.handshake(address, server_name=server_name, credential=credential, alpn=alpn))


def plaintext(address: Address, payload: bytes) -> PlainAnswer:
    """Bytes that are not TLS, and what comes back."""
    return asyncio.run(WireProber(SystemClock()).plaintext(address, payload))


class Load:
    """Requests one after the other, each on a new connection, until the end of the ``with`` block."""

    def __init__(self, send: Callable[[], None], *, pause: float = 0.01) -> None:
        """``send`` makes one request and raises if it failed."""
        self._send = send
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="load", daemon=True)
        self.sent = 0
        self.failures: Counter[str] = Counter()

    def _work(self) -> None:
        while not self._over.wait(self._pause):
            try:
                self._send()
            except Exception as error:  # noqa: BLE001  # every failure is what is counted
                self.failures[f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}"] += 1
            self.sent += 1

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(2 * PATIENCE)
        if error is not None:
            error.add_note(f"load: {self.sent} requests, failures: {dict(self.failures)}")
