"""Who may read the dashboard.

Rules: on this machine's own loopback everybody reads without a login, as with every command of everyhop, unless a
proxy stands between (it says so in a header). From anywhere else one shows a certificate of our own authority with an
identity, or of an owner, that may read; or a token, in a header or once at the login. A session holds no more than a
token did: it ends with it. Secrets are compared in constant time and kept as hashes.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from starlette.requests import HTTPConnection

from everyhop.ports import Clock, Random, Store
from everyhop.services.admit import TOKENS, admitted

COOKIE = "__Host-everyhop"
"""RFC 6265bis, 4.1.3.2: the prefix binds it to this host, to https and to the whole site."""
SESSION_LIFE = timedelta(hours=12)
MOST_SESSIONS = 1_000
LONGEST_TOKEN = 200

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")

OwnerOf = Callable[[str], str]
"""Who owns the service with an identity; empty: nobody."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Who may read from other machines, by certificate; those with a token come on top."""

    identities: frozenset[str] = frozenset()
    """SPIFFE IDs, exactly."""
    owners: frozenset[str] = frozenset()
    """Owners of the topology: the identities of their services may read."""

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

    def __init__(self, store: Store, clock: Clock, random: Random, readers: Readers) -> None:
        """Sessions live in memory: a restart ends them."""
        self._store = store
        self._clock = clock
        self._random = random
        self._readers = readers
        self._sessions: dict[str, _Session] = {}

    async def reader(self, request: HTTPConnection, peer: bytes | None, owner_of: OwnerOf) -> Reader | None:
        """Who asks, if they may read. ``peer`` is the certificate (DER) that the TLS layer has verified."""
        if is_local(request):
            return Reader("this machine", "loopback")
        identity = self._identity(peer)
        if identity and (identity in self._readers.identities or owner_of(identity) in self._readers.owners):
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


def is_local(request: HTTPConnection) -> bool:
    """True if it came over loopback, from end to end as far as one can tell."""
    server = request.scope.get("server")
    ends = (request.client.host if request.client else "", server[0] if server else "")
    return all(_is_loopback(end) for end in ends) and not any(name in request.headers for name in _FORWARDED)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
