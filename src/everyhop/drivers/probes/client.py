"""A TLS client that finishes handshakes with anybody, to see what comes of it.

Rules: the server is not verified and may be as old and weak as OpenSSL allows: what it shows is judged elsewhere.
Finite fields are not offered: a hostile prime of 10,000 bits would hold up the event loop. A refusal has the server's
own alert as its reason. A connection is *proven* when the server has shown that it is established on its side too: by
data, or by answering our ``close_notify`` (RFC 8446, 6.1); ``drivers.probes.tls`` tells the whole story.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass

from OpenSSL import SSL, crypto

from everyhop.core.endpoint.target import Target
from everyhop.core.hop import Address
from everyhop.drivers.probes import native
from everyhop.drivers.probes.alerts import Alerts, Request
from everyhop.drivers.probes.hello.ask import Upgrade, UpgradeRefused
from everyhop.drivers.probes.manners import Manners
from everyhop.drivers.probes.secured import Secured
from everyhop.drivers.probes.tls import GROUPS, LIMIT, is_ip, present
from everyhop.drivers.probes.wire import Ended, Wire, connect
from everyhop.ports import ClientCredential

CIPHERS = "ALL:COMPLEMENTOFALL:!aNULL:!PSK:!SRP:!DHE@SECLEVEL=0"
"""Everything that shows a certificate, the best first, and the weakest too."""

FALLBACK = 0x80
"""``SSL_MODE_SEND_FALLBACK_SCSV`` (RFC 7507)."""

_PIECE = 16 << 10
_RECEIVED_SHUTDOWN = 2
_SMALLEST_RECORD = 5 + 1 + 1 + 16
"""A TLS 1.3 record: header, one byte, its type, the tag (RFC 8446, 5.2)."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to get to an endpoint."""

    upgrade: Upgrade | None = None
    """What has to be said before TLS begins."""
    timeout: float = 5.0
    """Seconds for one connection, from connecting to its end. Waiting for one's turn does not count."""
    manners: Manners | None = None
    source: str = ""
    """The loopback address that probes of this machine come from (see :func:`.wire.connect`)."""


@dataclass(frozen=True, slots=True)
class Offer:
    """How the client presents itself."""

    lowest: int = SSL.TLS1_VERSION
    highest: int = SSL.TLS1_3_VERSION
    ciphers: str = CIPHERS
    """For TLS 1.2 and older."""
    signatures: str = ""
    """Signature schemes in OpenSSL's words; empty: all."""
    credential: ClientCredential | None = None
    alpn: tuple[bytes, ...] = ()
    staple: bool = False
    """Ask for a stapled OCSP answer."""
    tickets: bool = True
    fallback: bool = False
    """Mark the hello as a fallback to an older version (RFC 7507)."""


class Client:
    """One connection as a client. Make it with :func:`client`, use it in :func:`talk`."""

    def __init__(self, tls: SSL.Connection, staples: list[bytes]) -> None:
        self.tls = tls
        self.alerts = Alerts(tls)
        self._request = Request(tls)
        self._shaken = False
        self._staples = staples

    @property
    def alert(self) -> str:
        """``alert <name>``, once the server has sent a fatal one."""
        return self.alerts.fatal

    @property
    def asked(self) -> bool:
        """The server has asked for a client certificate, in the handshake or in a later one."""
        return self._request.came

    async def shake(self, secured: Secured) -> None:
        """The handshake. Raises :class:`Ended`."""
        await secured.shake()
        self._shaken = True

    async def hear(self, wire: Wire) -> None:
        """Take in what comes next, whatever it is, without waiting for data: a session ticket is none. Raises
        :class:`Ended`."""
        try:
            self.tls.bio_write(await wire.receive())
            self.tls.recv(_PIECE)
        except SSL.WantReadError:
            return
        except SSL.Error:
            raise Ended(self.alert or "closed") from None

    @property
    def shaken(self) -> bool:
        """The handshake is over on our side."""
        return self._shaken

    @property
    def staple(self) -> bytes | None:
        """The OCSP answer that was stapled, if any."""
        return self._staples[-1] if self._staples else None

    async def farewell(self, secured: Secured, wire: Wire) -> bool:
        """Say goodbye and listen; True if the server has proved that the connection was established.

        Below TLS 1.3 its Finished came last and is the proof. Raises ``TimeoutError`` through.
        """
        await secured.bye()
        if self.tls.get_protocol_version() < SSL.TLS1_3_VERSION:
            return self._shaken
        before = wire.received
        try:
            await secured.receive()
        except Ended:
            told = bool(self.tls.get_shutdown() & _RECEIVED_SHUTDOWN) and not self.alert
            return told or (wire.received - before >= _SMALLEST_RECORD and not self.alerts.came)
        return True

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates that came, DER, leaf first."""
        certificates = self.tls.get_peer_cert_chain() or []
        return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, each) for each in certificates)

    @property
    def version(self) -> str:
        """``TLSv1.3``; empty before anything was agreed on."""
        return self.tls.get_protocol_version_name() if self._shaken or self.chain else ""

    @property
    def group(self) -> str:
        """The key exchange of TLS 1.3. Asking before a handshake is over crashes in OpenSSL."""
        name = (self.tls.get_group_name() or "") if self._shaken else ""
        return GROUPS.get(name, name)


def client(
    target: Target, offer: Offer, *, context: SSL.Context | None = None, session: SSL.Session | None = None
) -> Client:
    """A client that has not begun. A ``session`` needs the ``context`` that it was made with. A name that cannot be
    sent is not. Raises ``('probe-failed')`` for a credential that cannot be used."""
    staples: list[bytes] = []
    tls = SSL.Connection(context or context_of(offer, staples), None)
    tls.set_connect_state()
    if offer.staple:
        tls.request_ocsp()
    if session is not None:
        tls.set_session(session)
    if target.name and not is_ip(target.name):
        with suppress(UnicodeError, ValueError, SSL.Error, TypeError):
            tls.set_tlsext_host_name(target.name.rstrip(".").encode("idna"))
    if offer.alpn:
        tls.set_alpn_protos(list(offer.alpn))
    return Client(tls, staples)


def context_of(offer: Offer, staples: list[bytes] | None = None) -> SSL.Context:
    """The context behind a client; stapled answers are appended to ``staples``."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(offer.lowest)
    context.set_max_proto_version(offer.highest)
    context.set_cipher_list(offer.ciphers.encode("ascii"))
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # everyhop: allow python-verification-off until 2027-12-31 because rules judge the chain, not the handshake
    context.set_verify(SSL.VERIFY_NONE)
    if offer.signatures:
        native.offer_signatures(context, offer.signatures)
    if not offer.tickets:
        context.set_options(SSL.OP_NO_TICKET)
    if offer.fallback:
        context.set_mode(FALLBACK)
    if offer.credential:
        present(context, offer.credential)
    kept: list[bytes] = staples if staples is not None else []

    def keep(_: SSL.Connection, answer: bytes, __: object) -> bool:
        if answer:
            kept.append(answer)
        return True

    context.set_ocsp_client_callback(keep)
    return context


@asynccontextmanager
async def talk(target: Target, client: Client, way: Way) -> AsyncGenerator[tuple[Secured, Wire]]:
    """Connect, say what comes before TLS, and hand out both channels. Raises :class:`Ended` (a server that does not
    want to upgrade ends as ``not tls: ...`` with its own words) and ``TimeoutError``, also from within the block. The
    connection is closed, whatever happens."""
    turn = way.manners.turn(target.host, target.port) if way.manners else nullcontext()
    async with turn as mine, asyncio.timeout(way.timeout):
        try:
            wire = await connect(Address(target.host, target.port), limit=LIMIT, source=way.source)
        except (Ended, TimeoutError):
            if mine is not None:
                mine.rebuffed = True
            raise
        try:
            if way.upgrade is not None:
                await _upgraded(way.upgrade, wire)
            yield Secured(wire, client.tls, client.alerts), wire
        finally:
            wire.close()


async def _upgraded(upgrade: Upgrade, wire: Wire) -> None:
    try:
        await upgrade(wire)
    except UpgradeRefused as refused:
        raise Ended(f"not tls: {refused.reason}") from None


def alpn_of(target: Target) -> tuple[bytes, ...]:
    """What to name in ALPN for what is spoken there: some servers refuse a hello without."""
    return (b"h2", b"http/1.1") if target.wire == "http" else ()
