"""What a topology file says about being looked at: where the dashboard listens, and who may read it; and what its
address is then."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from everyhop.core import literals as lit
from everyhop.core.hop import Address
from everyhop.core.section import Part, Reference


class Board(Part):
    """The dashboard and the metrics, over TLS with a certificate of everyhop's own authority. Programs
    of everyhop's own user on this machine may read them without a login; others only if they are named here or hold a
    token."""

    listen: Annotated[Address, lit.TCP_ADDRESS] | None = Field(default=None, examples=["127.0.0.1:9443"])
    """Where the dashboard listens. Default: a loopback port of `policy.mesh_ports`, chosen once and remembered."""
    owners: tuple[Reference, ...] = Field(default=(), examples=[["platform"]])
    """Owners whose services may read it with their certificates. Default: none."""
    services: tuple[Reference, ...] = Field(default=(), examples=[["prometheus"]])
    """Services that may read it with their certificates. Default: none."""
    local: Literal["open", "login"] = Field(default="open", examples=["login"])
    """open: programs of everyhop's own user (and of root) on this machine read without a login; login: nobody does.
    Default: open."""


def dashboard_url(address: Address, names: Sequence[str]) -> str:
    """Where a dashboard at an address is read, with a slash at the end; ``names`` are its host names, at least one.
    An address that stands for all of the machine's own is said by name."""
    local = [name for name in names if name.endswith(".localhost")]
    if address.is_loopback:
        return f"https://{min(local or names, key=len)}:{address.port}/"
    if ipaddress.ip_address(address.host).is_unspecified:
        named = [name for name in names if name not in local]
        return f"https://{min(named or names, key=len)}:{address.port}/"
    return f"https://{address}/"
