"""Whose a connection over loopback is, as a test wants it (``doors.web.access.IsOurs``)."""

from __future__ import annotations

from everyhop.core.hop import Address


async def ours(caller: Address, server: Address) -> bool:
    """Every caller is a program of our own user."""
    return True


async def strangers(caller: Address, server: Address) -> bool:
    """Every caller is another user's program."""
    return False
