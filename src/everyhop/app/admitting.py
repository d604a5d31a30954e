"""Put together what decides who may read the dashboard from elsewhere: `everyhop token`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from everyhop.app.workspace import Workspace, now
from everyhop.drivers.host.machine import SystemRandom
from everyhop.services.admit import TOKENS, Token, grant, withdraw

_ACTOR = "cli"


async def granted(workspace: Workspace, name: str, lifetime: timedelta) -> str:
    """A new token; raises as :func:`everyhop.services.admit.grant`."""
    async with workspace.store() as store:
        return await grant(store, SystemRandom(), name, lifetime, actor=_ACTOR, now=now())


async def withdrawn(workspace: Workspace, name: str) -> None:
    """End a token; raises ``unknown-name``."""
    async with workspace.store() as store:
        await withdraw(store, name, actor=_ACTOR, now=now())


async def tokens(workspace: Workspace) -> Sequence[Token]:
    """Every token, by name; of each secret only its hash is known."""
    async with workspace.store() as store:
        return [one.value for one in await TOKENS.all(store)]
