"""An ordinary HTTPS client: what a program outside the mesh gets that trusts the published roots.

Rules: Python's own TLS (OpenSSL of the system) and nothing of ours, so that the answer is an independent one. The name
and the chain are verified; TLS 1.2 is allowed here, since the edge decides.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from collections.abc import Mapping

from everyhop.core.hop import Address
from everyhop.ports import Visit

_LARGEST_BODY = 1 << 20


class HttpsVisitor:
    """Makes requests from outside (implements ``ports.Visitor``)."""

    def __init__(self, *, source: str = "") -> None:
        """``source`` is the loopback address that visits to this machine come from; empty: any."""
        self._source = source

    async def get(
        self, address: Address, host: str, path: str, *, roots: str, headers: Mapping[str, str], timeout: float = 10.0
    ) -> Visit:
        """One request on a connection of its own; reads at most 1 MiB of the answer."""
        come_from = (self._source, 0) if self._source and address.is_loopback and ":" not in address.host else None
        return await asyncio.to_thread(_get, address, host, path, roots, dict(headers), timeout, come_from)


class _Connection(http.client.HTTPSConnection):
    """To an address that need not be what the name resolves to."""

    def __init__(
        self, address: Address, host: str, context: ssl.SSLContext, timeout: float, source: tuple[str, int] | None
    ) -> None:
        super().__init__(host, address.port, timeout=timeout, context=context)
        self._address = address
        self._source = source
        self._tls = context
        self.version = ""

    def connect(self) -> None:
        raw = socket.create_connection(
            (self._address.host, self._address.port), timeout=self.timeout, source_address=self._source
        )
        secured = self._tls.wrap_socket(raw, server_hostname=self.host)
        self.version = secured.version() or ""
        self.sock = secured


def _get(
    address: Address,
    host: str,
    path: str,
    roots: str,
    headers: dict[str, str],
    timeout: float,
    source: tuple[str, int] | None,
) -> Visit:
    context = ssl.create_default_context(cadata=roots)
    connection = _Connection(address, host, context, timeout, source)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read(_LARGEST_BODY)
        return Visit(answer.status, connection.version)
    except (OSError, http.client.HTTPException) as error:
        return Visit(version=connection.version, fault=str(error) or type(error).__name__)
    finally:
        connection.close()
