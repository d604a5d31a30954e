"""Admit: who may read the dashboard with a token.

Rules: a token is 256 random bits, shown once; the store holds its SHA-256 alone. A hash without salt and stretching is
enough for a secret that nobody can guess. Every known token is compared, each in constant time, so that the time of
an answer tells nothing. A token ends by its date, or when it is withdrawn.
"""

from __future__ import annotations

import hashlib
import hmac
import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta

from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry, Random, Store
from everyhop.services.records import Records

_LONGEST_NAME = 60
PREFIX = "evhp_"
"""How a token begins, so that scanners for leaked secrets find it."""


@dataclass(frozen=True, slots=True)
class Token:
    """The right to read, by the hash of its secret."""

    name: str
    """For people: whose it is, or what for."""
    digest: str
    """SHA-256 of the token, hexadecimal."""
    created_at: datetime
    expires_at: datetime


TOKENS = Records("web-token", Token)


async def grant(store: Store, random: Random, name: str, lifetime: timedelta, *, actor: str, now: datetime) -> str:
    """Make a token and return it: it is not kept and cannot be shown again. Raises ``store-conflict`` if the name is
    taken, ``policy-refused`` for a lifetime that is not between a minute and a year, or a name that is no short line
    of printable characters."""
    if not timedelta(minutes=1) <= lifetime <= timedelta(days=366):
        raise EveryhopError(
            "policy-refused",
            f"expected a lifetime from 1 minute to 366 days, got {lifetime}",
            hint="for example --for 8h or --for 30d",
        )
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise EveryhopError(
            "policy-refused",
            f"expected a name of 1 to {_LONGEST_NAME} printable characters for a token, got {name[:_LONGEST_NAME]!r}",
            hint="say whose it is or what for, for example: prometheus",
        )
    token = f"{PREFIX}{random.token()}{random.token()}"
    try:
        await TOKENS.put(store, name, Token(name, digest_of(token), now, now + lifetime), expect=0)
    except EveryhopError as error:
        if error.code.name != "store-conflict":
            raise
        raise EveryhopError(
            "store-conflict",
            f"expected a new name for a token, there is one called {name!r}",
            hint=f"choose another name, or end that one: everyhop token withdraw {shlex.quote(name)}",
        ) from None
    await store.audit(AuditEntry(now, actor, "grant token", name, "granted", {"until": (now + lifetime).isoformat()}))
    return token


async def withdraw(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """End a token; raises ``unknown-name`` if there is none."""
    if await TOKENS.get(store, name) is None:
        raise EveryhopError("unknown-name", f"expected the name of a token, got {name!r}")
    await store.delete(TOKENS.kind, name)
    await store.audit(AuditEntry(now, actor, "withdraw token", name, "withdrawn"))


async def admitted(store: Store, token: str, now: datetime) -> Token | None:
    """The living token that this is, or None."""
    digest = digest_of(token)
    found: Token | None = None
    for one in await TOKENS.all(store):
        if hmac.compare_digest(one.value.digest, digest) and now < one.value.expires_at:
            found = one.value
    return found


def digest_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
