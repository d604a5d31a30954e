"""What a topology file says about being looked at: where the dashboard listens, and who may read it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from everyhop.core import literals as lit
from everyhop.core.hop import Address
from everyhop.core.section import Part, Reference


class Board(Part):
    """The dashboard and the metrics, over TLS with a certificate of everyhop's own authority. On this machine's
    loopback anybody may read them without a login; from elsewhere only those named here, and who holds a token."""

    listen: Annotated[Address, lit.TCP_ADDRESS] | None = Field(default=None, examples=["127.0.0.1:9443"])
    """Where the dashboard listens. Default: a loopback port of `policy.mesh_ports`, chosen once and remembered."""
    owners: tuple[Reference, ...] = Field(default=(), examples=[["platform"]])
    """Owners whose services may read it with their certificates. Default: none."""
    services: tuple[Reference, ...] = Field(default=(), examples=[["prometheus"]])
    """Services that may read it with their certificates. Default: none."""
