"""The shop's PostgreSQL: schema, products, orders.

Rules: every request opens a connection of its own and closes it again. That costs a few milliseconds, and buys that
no request ever meets a connection which the mesh has just closed: Envoy bounds the age of connections, and a pool
would have to guess and retry. Nothing here is retried, so a hop that fails is seen to fail.

The connection is unencrypted *by intention* (``sslmode=disable``): it ends at this service's own sidecar, on
loopback, and the sidecar carries it to the database's sidecar over mTLS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import PurePath

import psycopg
from door import host_and_port
from psycopg import AsyncConnection
from psycopg.errors import CheckViolation
from psycopg.rows import TupleRow, class_row, scalar_row
from wire import DatabaseAnswer, NewOrder, Order, Product

_log = logging.getLogger("uvicorn.error")

PATIENCE = 5.0
"""Seconds a request waits for the database in all, before the caller is told that it is away."""
MAX_CONNECTIONS = 24
"""Open at the same time; later requests wait their turn. The server allows 60."""

SHELF = (
    ("envelope", "Lined envelope", "Nobody reads what is inside.", 120, 1_000_000),
    ("wax", "Sealing wax", "Shows whether anybody tried.", 350, 500_000),
    ("padlock", "Brass padlock", "Turns green with age, and means well.", 1400, 120),
    ("key", "Spare key", "Changed every day, as it should be.", 250, 250_000),
    ("satchel", "Courier’s satchel", "Goes from door to door, never open.", 4800, 24),
    ("signet", "Signet ring", "Says who you are. There are only three.", 9500, 3),
)
"""id, name, note, pence, stock at the opening of the shop."""

SCHEMA = """
create table if not exists product (
    id       text primary key,
    place    integer not null,
    name     text not null,
    note     text not null,
    pence    integer not null check (pence > 0),
    stock    integer not null constraint stock_not_negative check (stock >= 0)
);
create table if not exists purchase (
    number    bigint generated always as identity primary key,
    key       uuid not null unique,
    product   text not null references product,
    quantity  integer not null check (quantity between 1 and 10),
    pence     integer not null,
    name      text not null check (char_length(name) between 1 and 60),
    placed_at timestamptz not null default now()
);
"""

_ORDER = """
select purchase.number, product.name as product, purchase.quantity, purchase.pence, purchase.name, purchase.placed_at
from purchase join product on product.id = purchase.product
"""


class SoldOutError(Exception):
    """There are fewer on the shelf than were ordered; nothing was written."""


class UnknownProductError(Exception):
    """Nothing of that name is sold here; nothing was written."""


class KeyReusedError(Exception):
    """The form's key already belongs to a different order; nothing was written."""


class DatabaseAwayError(Exception):
    """The database did not answer in time; nothing is known to have been written."""


class Shop:
    """The shop as it stands in the database at ``host:port`` or ``unix:/directory/.s.PGSQL.<port>``."""

    def __init__(self, address: str) -> None:
        if address.startswith("unix:"):
            socket = PurePath(address.removeprefix("unix:"))
            self._host, self._port = str(socket.parent), int(socket.suffix.removeprefix("."))
        else:
            self._host, self._port = host_and_port(address)
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)
        self._open = asyncio.Event()

    async def open(self) -> None:
        """Create what is missing in the database. Tries until it answers, so services may start in any order."""
        pause = 0.1
        while not self._open.is_set():
            try:
                async with asyncio.timeout(PATIENCE), await self._connect() as connection:
                    # Two instances may start at once: "if not exists" alone is not safe against that.
                    await connection.execute("select pg_advisory_xact_lock(hashtext('shop schema'))")
                    await connection.execute(SCHEMA)
                    for place, (ident, *columns) in enumerate(SHELF):
                        await connection.execute(
                            "insert into product (id, place, name, note, pence, stock)"
                            " values (%s, %s, %s, %s, %s, %s) on conflict (id) do nothing",
                            (ident, place, *columns),
                        )
                self._open.set()
            except (psycopg.Error, OSError, TimeoutError) as error:
                _log.info("the database is not ready yet, trying again: %s", " ".join(str(error).split()))
                await asyncio.sleep(pause)
                pause = min(2 * pause, 1.0)

    async def products(self) -> list[Product]:
        """Everything on the shelf, in the shelf's order. Raises ``DatabaseAwayError``."""
        async with self._session() as connection, connection.cursor(row_factory=class_row(Product)) as cursor:
            await cursor.execute("select id, name, note, pence, stock from product order by place")
            return await cursor.fetchall()

    async def recent(self, limit: int = 12) -> list[Order]:
        """The newest orders, newest first. Raises ``DatabaseAwayError``."""
        async with self._session() as connection, connection.cursor(row_factory=class_row(Order)) as cursor:
            await cursor.execute(_ORDER + "order by purchase.number desc limit %s", (limit,))
            return await cursor.fetchall()

    async def order(self, number: int) -> Order | None:
        """One order by its number, or None. Raises ``DatabaseAwayError``."""
        async with self._session() as connection:
            return await self._find(connection, number)

    async def place(self, wanted: NewOrder) -> tuple[Order, bool]:
        """Write an order and take it from the shelf, both or neither. Returns it, and whether it is new.

        The same order sent again (same key, same content) is answered with the one that stands.
        Raises ``SoldOutError``, ``UnknownProductError``, ``KeyReusedError`` or ``DatabaseAwayError``.
        """
        async with self._session() as connection, connection.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(
                "insert into purchase (key, product, quantity, name, pence)"
                " select %s, id, %s, %s, %s * pence from product where id = %s"
                " on conflict (key) do nothing returning number",
                (wanted.key, wanted.quantity, wanted.name, wanted.quantity, wanted.product),
            )
            number = await cursor.fetchone()
            new = number is not None
            if new:
                await self._take(connection, wanted)
            else:
                await cursor.execute(
                    "select number from purchase where key = %s and product = %s and quantity = %s and name = %s",
                    (wanted.key, wanted.product, wanted.quantity, wanted.name),
                )
                number = await cursor.fetchone()
            if number is None:
                await cursor.execute("select exists (select from purchase where key = %s)", (wanted.key,))
                raise KeyReusedError if await cursor.fetchone() else UnknownProductError
            order = await self._find(connection, number)
            if order is None:
                raise LookupError(f"expected order {number} in its own transaction")
            return order, new

    async def answer(self) -> DatabaseAnswer:
        """Ask PostgreSQL who it is and whom it sees. Raises ``DatabaseAwayError``."""
        async with self._session() as connection, connection.cursor(row_factory=class_row(DatabaseAnswer)) as cursor:
            await cursor.execute(
                "select current_setting('server_version') as version, current_user::text as role,"
                " coalesce(system_user, '') as authenticated,"
                " coalesce(host(inet_client_addr()), '') as client,"
                " (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as encrypted"
            )
            row = await cursor.fetchone()
        if row is None:
            raise DatabaseAwayError("expected one row from PostgreSQL about itself, got none")
        return row

    @staticmethod
    async def _take(connection: AsyncConnection[TupleRow], wanted: NewOrder) -> None:
        try:
            await connection.execute(
                "update product set stock = stock - %s where id = %s", (wanted.quantity, wanted.product)
            )
        except CheckViolation as error:
            raise SoldOutError from error

    @staticmethod
    async def _find(connection: AsyncConnection[TupleRow], number: int) -> Order | None:
        async with connection.cursor(row_factory=class_row(Order)) as cursor:
            await cursor.execute(_ORDER + "where purchase.number = %s", (number,))
            return await cursor.fetchone()

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[AsyncConnection[TupleRow]]:
        """A fresh connection and a transaction on it: committed at the end, rolled back on an exception."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._open.wait()
                async with self._turns, await self._connect() as connection:
                    yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
            raise DatabaseAwayError(" ".join(str(error).split()) or "no answer in time") from error

    async def _connect(self) -> AsyncConnection[TupleRow]:
        return await AsyncConnection.connect(
            host=self._host,
            port=self._port,
            dbname="shop",
            user="shop",
            sslmode="disable",
            gssencmode="disable",
            application_name="shop-api",
            options="-c statement_timeout=4000",
            prepare_threshold=None,
        )
