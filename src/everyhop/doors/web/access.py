"""Who may read the dashboard.

Rules: without a login only programs of our own user (or of root) read, over this machine's loopback, by a name or
address of ours (the guard refuses all others), and only if no header says that somebody passes the request on; the
topology can close this way, too. Who passes on without saying so, as the same user, counts as that user: a proxy,
`ssh -L`. Everybody else shows a certificate of our own authority with an identity, or of an owner, that may read; or a
token, in a header or once at the login. A session holds no more than a token did: it ends with it. Secrets are compared
in constant time and kept as hashes.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from starlette.requests import HTTPConnection

from everyhop.core.hop import Address
from everyhop.ports import Clock, Random, Store
from everyhop.services.admit import TOKENS, admitted

COOKIE = "__Host-everyhop"
"""RFC 6265bis, 4.1.3.2: the prefix binds it to this host, to https and to the whole site."""
SESSION_LIFE = timedelta(hours=12)
MOST_SESSIONS = 1_000
LONGEST_TOKEN = 200

_PASSED_ON_NAMES = ("forwarded", "via", "x-varnish", "x-request-start")
_PASSED_ON_BEGINNINGS = ("x-forwarded", "x-real-", "x-original-", "x-envoy-", "cf-", "x-amz", "x-azure-", "x-arr-")
_PASSED_ON_ENDS = ("client-ip", "user-ip")
"""Headers that proxies add, and programs that ask for themselves do not."""

OwnerOf = Callable[[str], Awaitable[str]]
"""Who owns the service with an identity; empty: nobody."""
IsOurs = Callable[[Address, Address], Awaitable[bool]]
"""Whether the socket at the first address, connected to the second, belongs to our own user or to root."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Who may read, besides those with a token."""

    identities: frozenset[str] = frozenset()
    """SPIFFE IDs, exactly."""
    owners: frozenset[str] = frozenset()
    """Owners of the topology: the identities of their services may read."""
    local: bool = True
    """Whether programs of our own user on this machine read without a login."""

    @property
    def by_certificate(self) -> bool:
        """True if a certificate can admit anybody."""
        return bool(self.identities or self.owners)


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads, and what admitted them."""

    name: str
    by: str
    """``loopback``, ``certificate``, ``token`` or ``session``."""


@dataclass(frozen=True, slots=True)
class _Session:
    token: str
    """The name of the token it came from."""
    digest: str
    expires_at: datetime


class Access:
    """Decides who reads."""

    def __init__(self, store: Store, clock: Clock, random: Random, readers: Readers, is_ours: IsOurs) -> None:
        """Sessions live in memory: a restart ends them. ``is_ours`` is asked about connections over loopback."""
        self._store = store
        self._clock = clock
        self._random = random
        self._readers = readers
        self._is_ours = is_ours
        self._sessions: dict[str, _Session] = {}

    async def reader(self, request: HTTPConnection, peer: bytes | None, owner_of: OwnerOf) -> Reader | None:
        """Who asks, if they may read. ``peer`` is the certificate (DER) that the TLS layer has verified."""
        if await self._is_local(request):
            return Reader("everyhop's own user on this machine", "loopback")
        identity = self._identity(peer)
        if identity and await self._is_named(identity, owner_of):
            return Reader(identity, "certificate")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and 0 < len(token) <= LONGEST_TOKEN:
            found = await admitted(self._store, token.strip(), self._clock.now())
            return Reader(found.name, "token") if found else None
        return await self._by_session(request.cookies.get(COOKIE, ""))

    async def log_in(self, token: str) -> str | None:
        """A new session's secret for a living token, or None."""
        now = self._clock.now()
        found = await admitted(self._store, token, now) if 0 < len(token) <= LONGEST_TOKEN else None
        if found is None:
            return None
        self._sessions = {key: one for key, one in self._sessions.items() if now < one.expires_at}
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        secret = f"{self._random.token()}{self._random.token()}"
        ends = min(now + SESSION_LIFE, found.expires_at)
        self._sessions[_digest(secret)] = _Session(found.name, found.digest, ends)
        return secret

    def log_out(self, request: HTTPConnection) -> None:
        """End the session that a request shows, if any."""
        self._sessions.pop(_digest(request.cookies.get(COOKIE, "")), None)

    async def _is_local(self, request: HTTPConnection) -> bool:
        ends = _loopback_ends(request)
        if not self._readers.local or ends is None or _is_passed_on(request):
            return False
        return await self._is_ours(*ends)

    async def _is_named(self, identity: str, owner_of: OwnerOf) -> bool:
        if identity in self._readers.identities:
            return True
        return bool(self._readers.owners) and await owner_of(identity) in self._readers.owners

    async def _by_session(self, secret: str) -> Reader | None:
        # A dictionary of hashes is looked up, not compared: its timing says nothing about the secret.
        session = self._sessions.get(_digest(secret)) if 0 < len(secret) <= LONGEST_TOKEN else None
        now = self._clock.now()
        if session is None or now >= session.expires_at:
            return None
        token = await TOKENS.get(self._store, session.token)
        alive = token is not None and token.value.digest == session.digest and now < token.value.expires_at
        return Reader(session.token, "session") if alive else None

    def _identity(self, peer: bytes | None) -> str:
        """The one SPIFFE ID of a certificate that is valid now; empty otherwise (SPIFFE X.509-SVID, 2 and 5.2)."""
        if peer is None or not self._readers.by_certificate:
            return ""
        try:
            certificate = x509.load_der_x509_certificate(peer)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
            return ""
        if not certificate.not_valid_before_utc <= self._clock.now() <= certificate.not_valid_after_utc:
            return ""  # the connection may be older than the certificate's life
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        return uris[0] if len(uris) == 1 and uris[0].startswith("spiffe://") else ""


def _loopback_ends(request: HTTPConnection) -> tuple[Address, Address] | None:
    """The addresses of the caller and of us, if both are loopback."""
    server = request.scope.get("server")
    if request.client is None or not server:
        return None
    caller, us = _loopback(request.client.host), _loopback(server[0])
    return (Address(caller, request.client.port), Address(us, server[1] or 0)) if caller and us else None


def _loopback(host: str) -> str:
    """A loopback address, empty if it is none. IPv4 that an IPv6 socket took is IPv4 (RFC 4291, 2.5.5.2)."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return ""
    ip = (ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None) or ip
    return str(ip) if ip.is_loopback else ""


def _is_passed_on(request: HTTPConnection) -> bool:
    """True if a header says that the request came through somebody else."""
    return any(
        name in _PASSED_ON_NAMES or name.startswith(_PASSED_ON_BEGINNINGS) or name.endswith(_PASSED_ON_ENDS)
        for name in request.headers
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
