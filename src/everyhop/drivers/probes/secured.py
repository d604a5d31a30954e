"""A conversation under TLS, for what can only be asked there: HTTP's headers, a database's second answer.

Rules: the server is **not** verified. A probe asks what an endpoint does, and a wrong certificate must not hide that;
whether the certificate is right is another probe's question and judged elsewhere. So nothing that would hurt in wrong
hands is ever sent: no credential, no cookie. Nothing is resumed and no key touches a disk. pyOpenSSL, because it also
reaches endpoints that only take post-quantum groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from OpenSSL import SSL

from everyhop.drivers.probes.alerts import Alerts
from everyhop.drivers.probes.dialogue import Channel
from everyhop.drivers.probes.wire import Ended

_CIPHERS = b"DEFAULT:!DHE:@SECLEVEL=0"
"""Weak ones too: what is judged here is not the suite. No finite fields: a hostile one of 10,000 bits takes seconds."""

_PIECE = 16 << 10

_T = TypeVar("_T")


class Secured:
    """A channel inside TLS. Make it with :func:`secure`."""

    def __init__(self, below: Channel, tls: SSL.Connection, alerts: Alerts) -> None:
        self._below = below
        self._tls = tls
        self._alerts = alerts

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises :class:`Ended` if TLS has broken down."""
        view = memoryview(data)
        while view:
            sent = await self._until_done(lambda piece=bytes(view[:_PIECE]): self._tls.send(piece))
            view = view[sent:]

    async def receive(self) -> bytes:
        """At least one byte; raises :class:`Ended`, with ``closed`` also for an orderly end."""
        return await self._until_done(lambda: self._tls.recv(_PIECE))

    async def shake(self) -> None:
        """The handshake. Raises :class:`Ended`: with the server's alert, or with ``not tls: ...`` for what is none."""
        await self._until_done(self._tls.do_handshake)

    async def bye(self) -> None:
        """Say ``close_notify``, so that the other side logs an end and no fault; does not wait for an answer."""
        try:
            self._tls.shutdown()
            await self._flush()
        except (SSL.Error, Ended):
            return

    async def _until_done(self, step: Callable[[], _T]) -> _T:
        while True:
            try:
                outcome = step()
            except SSL.WantReadError:
                await self._flush()
                self._tls.bio_write(await self._below.receive())
            except (SSL.ZeroReturnError, SSL.SysCallError):
                raise Ended("closed") from None
            except SSL.Error as error:
                await self._flush()  # our alert, so that the server's log says why
                raise Ended(self._alerts.fatal or f"not tls: {openssl_reason(error)}") from None
            else:
                await self._flush()
                return outcome

    async def _flush(self) -> None:
        while True:
            try:
                data = self._tls.bio_read(_PIECE)
            except SSL.WantReadError:
                return
            await self._below.send(data)


async def secure(below: Channel, *, server_name: str = "", alpn: Sequence[bytes] = ()) -> Secured:
    """Shake hands over a channel, without verifying the server (see the rules above). An empty name is not sent.
    Raises :class:`Ended`, as :meth:`Secured.shake` does."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(_CIPHERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # everyhop: allow python-verification-off until 2027-12-31 because rules judge the chain, not the handshake
    context.set_verify(SSL.VERIFY_NONE)
    tls = SSL.Connection(context, None)
    tls.set_connect_state()
    if server_name:
        try:
            tls.set_tlsext_host_name(server_name.encode("ascii"))
        except (UnicodeError, TypeError, SSL.Error):
            raise Ended("unreachable: not a name that TLS can send") from None
    if alpn:
        tls.set_alpn_protos(list(alpn))
    secured = Secured(below, tls, Alerts(tls))
    await secured.shake()
    return secured


def hello(server_name: str = "") -> bytes:
    """A ClientHello as OpenSSL writes it, to see whether a port knows TLS at all."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(_CIPHERS)
    tls = SSL.Connection(context, None)
    tls.set_connect_state()
    if server_name:
        try:
            tls.set_tlsext_host_name(server_name.encode("ascii"))
        except (UnicodeError, TypeError, SSL.Error):
            pass  # then without a name: the question is about TLS, not about names
    try:
        tls.do_handshake()
    except SSL.WantReadError:
        pass
    return tls.bio_read(_PIECE)


def openssl_reason(error: SSL.Error) -> str:
    """The newest reason in OpenSSL's words, e.g. ``wrong version number``."""
    try:
        return str(error.args[0][-1][2])
    except (IndexError, TypeError, ValueError):
        return "no reason given"
