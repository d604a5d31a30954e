"""One TLS handshake as a client, and what became of it.

Rules: the server is not verified here (its chain is reported, for others to judge), nothing is resumed, no key touches
a disk. ``usable`` needs proof. In TLS 1.2 the server's Finished comes last and is the proof. In TLS 1.3 the client is
done before the server has looked at its certificate, and a server without session tickets then says nothing at all.
So the probe ends the connection politely, at once: it sends ``close_notify`` behind its Finished, and reads. A server
that refused the certificate answers with its fatal alert; one that accepted it gets to read our ``close_notify`` and
answers with its own (RFC 8446, 6.1), which only an established connection can. This needs no word of the protocol
inside, so it works for HTTP and for PostgreSQL alike, reaches no application as a request, and costs one round trip.
Application data or a session ticket is proof too. An end without ``close_notify`` is not: some servers refuse so.
A ticket cannot be asked for, as OpenSSL skips it once we have said goodbye; but it is what a record that decrypts and
is neither data nor alert must be (or a key update, which proves as much).

``usable`` speaks of the TLS connection: an authorisation above it (a 403) is another question.

``refused`` is one of: ``alert <name>`` (RFC 8446, 6.2), ``closed``, ``reset``, ``timeout``, ``too much data``,
``not tls: <reason>`` and ``unreachable: <reason>``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from everyhop.core.hop import Address
from everyhop.drivers.probes.alerts import Alerts
from everyhop.drivers.probes.secured import openssl_reason
from everyhop.drivers.probes.wire import Ended, Wire, connect
from everyhop.errors import EveryhopError
from everyhop.ports import ClientCredential, Clock, Handshake, PlainAnswer

LIMIT = 256 << 10
"""Bytes a server may send us: a handshake has a few thousand, with post-quantum chains some ten thousand."""

_ANSWER_LIMIT = 512
_SMALLEST_RECORD = 5 + 1 + 1 + 16
"""A TLS 1.3 record: header, one byte, its type, the tag (RFC 8446, 5.2). What came and is shorter, is none."""

_CIPHERS = b"DEFAULT:!DHE:!kRSA@SECLEVEL=1"
"""For TLS 1.2. Finite-field groups are left out: a hostile one of 10,000 bits would hold up the event loop. Nor does a
key exchange without forward secrecy belong on any hop; a server with nothing else shows as ``handshake failure``."""

GROUPS = {"x25519": "X25519", "x448": "X448", "secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
"""OpenSSL's names to Envoy's, so that what both ends saw can be compared; others are spelled alike."""

_T = TypeVar("_T")


class WireProber:
    """Looks at endpoints over real sockets (implements ``ports.Prober``)."""

    def __init__(self, clock: Clock, *, source: str = "") -> None:
        """``source`` is the loopback address that probes of this machine come from (see :func:`.wire.connect`)."""
        self._clock = clock
        self._source = source

    async def handshake(
        self,
        address: Address,
        *,
        server_name: str = "",
        credential: ClientCredential | None = None,
        alpn: Sequence[str] = (),
        timeout: float = 5.0,
    ) -> Handshake:
        """One TLS handshake; see the rules above for ``usable`` and ``refused``. ``timeout`` (seconds) bounds the
        whole call. An IP address as ``server_name`` is not sent (RFC 6066, 3). Raises ``('probe-failed')`` only for
        what the caller got wrong: a credential, name or ALPN list that cannot be used."""
        at = self._clock.now()
        conversation = _Conversation(_connection(server_name, credential, alpn), self._source)
        refused = ""
        try:
            async with asyncio.timeout(timeout):
                await conversation.hold(address)
        except TimeoutError:
            refused = "timeout"
        except Ended as ended:
            refused = ended.reason
        usable = conversation.proven and not conversation.alert and refused in ("", "closed", "timeout")
        seen = conversation.facts()
        return Handshake(
            address=address,
            at=at,
            usable=usable,
            refused="" if usable else conversation.alert or refused,
            version=seen.version,
            cipher=seen.cipher,
            group=seen.group,
            alpn=seen.alpn,
            chain=seen.chain,
            handshake_seconds=conversation.seconds,
        )

    async def plaintext(self, address: Address, payload: bytes, *, timeout: float = 5.0) -> PlainAnswer:
        """Send bytes that are not TLS and read until the endpoint ends the connection, has sent 512 bytes, or
        ``timeout`` seconds are over. ``closed`` is also true after a reset."""
        at, answer, wire, closed = self._clock.now(), b"", None, False
        try:
            async with asyncio.timeout(timeout):
                wire = await connect(address, limit=_ANSWER_LIMIT, source=self._source)
                await wire.send(payload)
                while True:
                    answer += await wire.receive()
        except TimeoutError:
            pass
        except Ended as ended:
            closed = ended.reason in ("closed", "reset")
        finally:
            if wire:
                wire.close()
        return PlainAnswer(address=address, at=at, connected=wire is not None, answer=answer, closed=closed)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What was seen of a handshake, also of one that failed halfway."""

    version: str = ""
    cipher: str = ""
    group: str = ""
    alpn: str = ""
    chain: tuple[bytes, ...] = ()


class _Conversation:
    """One connection with one server, from connecting to saying goodbye."""

    def __init__(self, tls: SSL.Connection, source: str) -> None:
        self._tls = tls
        self._source = source
        self._alerts = Alerts(tls)
        self._shaken = False
        self._answered = False
        self._after_goodbye = 0
        self.seconds = 0.0
        """From our first byte to our Finished."""

    @property
    def alert(self) -> str:
        """``alert <name>``, once the server has sent a fatal one."""
        return self._alerts.fatal

    @property
    def proven(self) -> bool:
        """The server has shown that the connection is established on its side too."""
        return self._answered or (self._after_goodbye >= _SMALLEST_RECORD and not self._alerts.came)

    async def hold(self, address: Address) -> None:
        """Connect, shake hands, and find out whether the server agrees. Raises :class:`Ended` if it came to nothing."""
        wire = await connect(address, limit=LIMIT, source=self._source)
        try:
            clock = asyncio.get_running_loop().time
            start = clock()
            await self._until_done(wire, self._tls.do_handshake)
            self.seconds = clock() - start
            self._shaken = True
            await self._until_done(wire, self._tls.shutdown)
            if self._tls.get_protocol_version() >= SSL.TLS1_3_VERSION:
                await self._listen(wire)
            self._answered = True
        except SSL.ZeroReturnError:  # its close_notify before the handshake was over
            raise Ended("alert close notify") from None
        except SSL.Error as error:
            raise Ended(f"not tls: {openssl_reason(error)}") from None
        finally:
            wire.close()

    async def _listen(self, wire: Wire) -> None:
        """Return when the server has answered our goodbye, by its own or by data."""
        before = wire.received
        try:
            await self._until_done(wire, lambda: self._tls.recv(1))
        except SSL.ZeroReturnError:
            return
        finally:
            self._after_goodbye = wire.received - before

    async def _until_done(self, wire: Wire, step: Callable[[], _T]) -> _T:
        """Repeat a step of OpenSSL's, carrying bytes both ways, until it is through or fails."""
        while True:
            try:
                outcome = step()
            except SSL.WantReadError:
                await self._flush(wire)
                self._tls.bio_write(await wire.receive())
            except SSL.Error:
                await self._flush(wire)  # our own alert: the server's log should say why, too
                raise
            else:
                await self._flush(wire)
                return outcome

    async def _flush(self, wire: Wire) -> None:
        while True:
            try:
                data = self._tls.bio_read(LIMIT)
            except SSL.WantReadError:
                return
            await wire.send(data)

    def facts(self) -> _Facts:
        """What OpenSSL knows of the handshake now."""
        tls = self._tls
        certificates = tls.get_peer_cert_chain() or []
        if not certificates and not self._shaken:
            return _Facts()
        # Asking for the group before a handshake is over crashes in OpenSSL.
        group = (tls.get_group_name() or "") if self._shaken else ""
        return _Facts(
            version=tls.get_protocol_version_name(),
            cipher=tls.get_cipher_name() or "",
            group=GROUPS.get(group, group),
            alpn=tls.get_alpn_proto_negotiated().decode("ascii", "replace"),
            chain=tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in certificates),
        )


def _connection(server_name: str, credential: ClientCredential | None, alpn: Sequence[str]) -> SSL.Connection:
    """A client that has not begun. Raises ``('probe-failed')`` if it cannot be made from these arguments."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # everyhop: allow python-verification-off until 2027-12-31 because rules judge the chain, not the handshake
    context.set_verify(SSL.VERIFY_NONE)
    if credential:
        present(context, credential)
    tls = SSL.Connection(context, None)
    tls.set_connect_state()
    try:
        if server_name and not is_ip(server_name):
            tls.set_tlsext_host_name(server_name.encode("ascii"))
        if alpn:
            tls.set_alpn_protos([name.encode("ascii") for name in alpn])
    except (UnicodeError, ValueError, SSL.Error, TypeError):
        raise EveryhopError(
            "probe-failed", f"expected ASCII names to send, got server name {server_name!r} and protocols {list(alpn)}"
        ) from None
    return tls


def present(context: SSL.Context, credential: ClientCredential) -> None:
    """Show this credential when asked. It goes from memory to memory."""
    try:
        leaf, *issuers = x509.load_pem_x509_certificates(credential.chain)
        key = load_pem_private_key(credential.key, None)
        if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
            raise TypeError  # what a service's leaf may have, see core.profile
        context.use_certificate(leaf)
        for issuer in issuers:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(key)
        context.check_privatekey()
    except (ValueError, TypeError, SSL.Error):
        raise EveryhopError(
            "probe-failed", "expected a PEM chain and the EC or RSA key of its leaf as the probe's credential"
        ) from None


def is_ip(name: str) -> bool:
    """True for an IP address, which no server name may be (RFC 6066, 3)."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False
