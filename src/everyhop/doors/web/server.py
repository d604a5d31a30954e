"""The dashboard's listener: TLS 1.3 with a certificate of our own authority, inside the running event loop.

Rules: without TLS only loopback is served. A new certificate is taken in while connections go on; tickets are off, so
that nobody resumes past a change of trust. One address gets only a part of the connections, and each request only so
long to come: who may not read does not keep out those who may. The private key passes from memory to the TLS library
through an anonymous file that never has a name or a place on a disk (memfd_create(2)). No signal handler is touched:
the loop is not ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from everyhop.core.hop import Address
from everyhop.doors.web.log import taken_in
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Event, Reporter

PEER = "peer"
"""Where the app finds the client's verified certificate (DER) in a connection's state."""

_REQUEST_SECONDS = 10.0
_MOST_CONNECTIONS = 200
_MOST_FROM_ONE_PLACE = 40
_LONGEST_HEAD = 16_384
_GRACE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class ServedCredential:
    """What the dashboard serves, and whose clients it believes."""

    chain: bytes
    """PEM, leaf first."""
    key: bytes = field(repr=False)
    """PKCS#8 PEM, in memory only."""
    roots: bytes = b""
    """PEM: the authorities whose client certificates are verified."""


CredentialProvider = Callable[[], Awaitable[ServedCredential]]
"""Gives the credential that should be served now; asked again every few seconds."""


class WebServer:
    """Serves an ASGI app on one address."""

    def __init__(self, app: ASGIApp, clock: Clock, report: Reporter, *, look_every: float = 5.0) -> None:
        """``look_every``: how often the credential is asked for, in seconds."""
        self._app = app
        self._clock = clock
        self._report = report
        self._look_every = look_every
        self._provider: CredentialProvider | None = None
        self._served: ServedCredential | None = None
        self._context: ssl.SSLContext | None = None
        self._asks = False
        self._server: _Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._log = contextlib.ExitStack()

    async def start(
        self, address: Address, provider: CredentialProvider | None, *, ask_for_certificates: bool = False
    ) -> Address:
        """Listen, and return the address (with the port that was chosen for port 0).

        Without a ``provider`` it speaks plain http, on loopback only. ``ask_for_certificates``: clients may show a
        certificate, and one that does not verify is refused. Raises ``address-in-use``, or what the provider raises.
        """
        if provider is None and not address.is_loopback:
            raise EveryhopError("policy-refused", f"expected a certificate to serve the dashboard on {address}")
        self._provider, self._asks = provider, ask_for_certificates
        base = None
        if provider is not None:
            await self.refresh()
            base = self._context
            if base is None:
                raise EveryhopError("internal", "no TLS context was made")
            base.sni_callback = self._choose
        listener = _bind(address)
        config = uvicorn.Config(
            self._app,
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            h11_max_incomplete_event_size=_LONGEST_HEAD,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ssl_context_factory=(lambda _config, _default: base) if base else None,
        )
        self._server = _Server(config)
        self._log.enter_context(taken_in(self._report, self._clock))
        serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait((serving, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        self._tasks = [serving]
        if serving.done():
            self._log.close()
            await serving
        if provider is not None:
            self._tasks.append(asyncio.create_task(self._follow()))
        host, port = listener.getsockname()[:2]
        return Address(host, port)

    async def stop(self) -> None:
        """Finish what is being answered, at most two seconds, and end."""
        if self._server is None:
            return
        serving, *others = self._tasks
        for one in others:
            one.cancel()
        self._server.should_exit = True
        await asyncio.gather(serving, *others, return_exceptions=True)
        self._log.close()
        self._server, self._tasks = None, []

    async def refresh(self) -> bool:
        """Ask for the credential and serve it from the next handshake on; True if it is another one."""
        if self._provider is None:
            return False
        credential = await self._provider()
        if credential == self._served:
            return False
        self._context, self._served = server_context(credential, ask=self._asks), credential
        return True

    async def _follow(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(self._look_every)
            try:
                if await self.refresh():
                    self._report(Event("dashboard.renewed", self._clock.now()))
                told = ""
            except (EveryhopError, OSError) as error:  # the old certificate goes on being served
                if str(error) != told:
                    told = str(error)
                    self._report(Event("fault", self._clock.now(), {"code": "dashboard", "why": told}))

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _base: ssl.SSLContext) -> None:
        """Called in every handshake, with and without a server name: the newest context takes over. Certificate, key
        and trust follow it; whether a certificate is asked for was fixed with the first one (SSL_set_SSL_CTX(3))."""
        if self._context is not None:
            connection.context = self._context


class _Server(uvicorn.Server):
    """A uvicorn that says when it is up and leaves the signals alone: whoever runs the loop has handlers of its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Connection(H11Protocol):
    """One connection: tells the app who is on the other side, and waits only so long for each whole request."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        place = _place(self.client)
        if sum(_place(cast("_Connection", one).client) == place for one in self.connections) > _MOST_FROM_ONE_PLACE:
            transport.abort()
            return
        secured = transport.get_extra_info("ssl_object")
        peer = secured.getpeercert(binary_form=True) if secured is not None else None
        state: dict[str, Any] = {**self.app_state, PEER: peer}
        self.app_state = state
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        """Begin to wait for the next request. uvicorn's own wait ends with the first byte of it, this one does not."""
        if self._patience is not None:
            self._patience.cancel()
        if not self.transport.is_closing():
            self._patience = self.loop.call_later(_REQUEST_SECONDS, self._give_up)

    def _give_up(self) -> None:
        asked = cast("RequestResponseCycle | None", self.cycle)  # None until the first request, despite its annotation
        if asked is None or asked.response_complete:
            self.transport.abort()


def _place(client: tuple[str, int] | None) -> str:
    """Where somebody calls from: an address, and of IPv6 the network, whose addresses one machine has at will."""
    if client is None:
        return ""
    try:
        ip = ipaddress.ip_address(client[0])
    except ValueError:
        return client[0]
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((int(ip), 64), strict=False))


def server_context(credential: ServedCredential, *, ask: bool) -> ssl.SSLContext:
    """TLS 1.3 only, no tickets; raises ``key-unavailable`` if certificate and key do not go together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        with _nameless_file(credential.chain + b"\n" + credential.key) as path:
            context.load_cert_chain(path)
        if ask:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=credential.roots.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise EveryhopError(
            "key-unavailable", "expected a certificate, its key and the roots in PEM for the dashboard"
        ) from error
    return context


@contextlib.contextmanager
def _nameless_file(content: bytes) -> Generator[str, None, None]:
    """A path to bytes in memory, for a library that reads files only."""
    descriptor = os.memfd_create("everyhop", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _bind(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise EveryhopError(
            "address-in-use", f"the dashboard cannot listen on {address}: {error.strerror}", hint="choose another port"
        ) from error
    listener.setblocking(False)
    return listener
