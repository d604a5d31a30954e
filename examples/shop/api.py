"""The shop's internal API: JSON over plain HTTP, for its own sidecar only.

Rules: the sidecar has already refused everybody who may not call; this program only reports who did. Every answer
is JSON, every fault has a code, and no fault shows the inside of the program.

Environment: ``SHOP_LISTEN`` (``host:port`` or ``unix:/path``), ``SHOP_DATABASE`` (where its sidecar, or without a
mesh PostgreSQL itself, listens).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from door import read_body, serve, setting
from orders import DatabaseAwayError, KeyReusedError, Shop, SoldOutError, UnknownProductError
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from wire import MAX_BODY, ORDERS, PRODUCTS, Fault, NewOrder, Whoami
from xfcc import HEADER, caller

FAULTS: dict[type[Exception], tuple[int, str, str]] = {
    SoldOutError: (409, "sold-out", "fewer are left than were ordered"),
    KeyReusedError: (409, "key-reused", "this form was already used for another order"),
    UnknownProductError: (422, "unknown-product", "nothing of that name is sold here"),
    DatabaseAwayError: (503, "database-away", "the database does not answer"),
}
"""What the shop may refuse: status, code and sentence."""


def _answer(body: bytes | str, status: int = 200) -> Response:
    return Response(body, status, {"cache-control": "no-store"}, "application/json")


def _fault(status: int, code: str, message: str) -> Response:
    return _answer(Fault(code=code, message=message).model_dump_json(), status)


async def _refused(_: Request, error: Exception) -> Response:
    return _fault(*FAULTS[type(error)])


def api(shop: Shop) -> Starlette:
    """The application, on a shop that it opens when it starts."""

    async def health(_: Request) -> Response:
        """The process is up. Says nothing about the database: restarting *us* would not mend *it*."""
        return PlainTextResponse("ok\n")

    async def products(_: Request) -> Response:
        return _answer(PRODUCTS.dump_json(await shop.products()))

    async def recent(_: Request) -> Response:
        return _answer(ORDERS.dump_json(await shop.recent()))

    async def one(request: Request) -> Response:
        order = await shop.order(request.path_params["number"])
        return _answer(order.model_dump_json()) if order else _fault(404, "no-such-order", "there is no such order")

    async def place(request: Request) -> Response:
        body = await read_body(request, MAX_BODY)
        if body is None:
            return _fault(413, "too-long", f"expected at most {MAX_BODY} bytes")
        try:
            wanted = NewOrder.model_validate_json(body)
        except ValidationError as error:
            fields = sorted({".".join(str(part) for part in item["loc"]) or "body" for item in error.errors()})
            return _fault(422, "invalid", f"expected an order as JSON, could not read: {', '.join(fields)[:200]}")
        order, new = await shop.place(wanted)
        return _answer(order.model_dump_json(), 201 if new else 200)

    async def whoami(request: Request) -> Response:
        header = ",".join(request.headers.getlist(HEADER))
        try:
            database = await shop.answer()
        except DatabaseAwayError:
            database = None
        return _answer(Whoami(caller=caller(header), header=header, database=database).model_dump_json())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        opening = asyncio.create_task(shop.open())
        yield
        opening.cancel()

    return Starlette(
        routes=[
            Route("/healthz", health),
            Route("/products", products),
            Route("/orders", recent),
            Route("/orders", place, methods=["POST"]),
            Route("/orders/{number:int}", one),
            Route("/whoami", whoami),
        ],
        exception_handlers=dict.fromkeys(FAULTS, _refused),
        lifespan=lifespan,
    )


if __name__ == "__main__":
    serve(api(Shop(setting("SHOP_DATABASE"))), setting("SHOP_LISTEN"))
