"""What travels between web and api: the shapes of the JSON, checked at both ends.

Rules: data only. Every limit of the shop stands here once; the database repeats it as a constraint.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

MAX_QUANTITY = 10
MAX_NAME = 60
MAX_BODY = 4096
"""Bytes of a request body; an order has a few hundred."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable characters only")
    return text


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME), AfterValidator(_printable)
]
ProductId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{0,30}$")]


class Message(BaseModel):
    """Base of all that travels: immutable, and strangers among the fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Product(Message):
    """Something on the shelf."""

    id: ProductId
    name: str
    note: str
    pence: int
    """Price of one."""
    stock: int


class NewOrder(Message):
    """An order as the customer asks for it."""

    key: UUID
    """Made with the form. The same key is the same order, so sending it twice never buys twice."""
    product: ProductId
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
    name: Name


class Order(Message):
    """An order that stands in the database."""

    number: int
    product: str
    """The product's name, for people."""
    quantity: int
    pence: int
    """What all of it costs."""
    name: str
    placed_at: datetime


class DatabaseAnswer(Message):
    """What PostgreSQL says about itself and about the connection it was asked on."""

    version: str
    role: str
    authenticated: str
    """How, and as whom, PostgreSQL recognised its client: ``peer:<operating-system user of the sidecar>``."""
    client: str
    """The client's address as the server sees it; empty on a Unix socket."""
    encrypted: bool
    """Whether PostgreSQL itself speaks TLS on this connection. It does not: its sidecar has ended it before."""


class Whoami(Message):
    """What the api knows about its own callers and callees."""

    caller: str
    """SPIFFE identity of whoever called the api; empty if no certificate proves one."""
    header: str
    """The header in which its sidecar said so, as it came."""
    database: DatabaseAnswer | None
    """None when the database did not answer."""


class Fault(Message):
    """Why the api did not do what it was asked."""

    code: str
    message: str


PRODUCTS = TypeAdapter(list[Product])
ORDERS = TypeAdapter(list[Order])
