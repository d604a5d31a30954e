"""The shop's front: server-rendered pages for browsers, nothing that needs JavaScript.

Rules: no TLS and no certificates here; the sidecar has them. Whatever came from outside reaches a page only through
Jinja's escaping. Every fault of the api becomes a page that a person can read. The api is called on a new loopback
connection each time, so no request can meet one that was just closed; the sidecar keeps the encrypted ones.

Environment: ``SHOP_LISTEN`` and ``SHOP_API``, each ``host:port`` or ``unix:/path``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import httpx2
from door import read_body, serve, setting
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from wire import MAX_BODY, MAX_NAME, MAX_QUANTITY, ORDERS, PRODUCTS, Fault, NewOrder, Order, Whoami
from xfcc import HEADER, caller

T = TypeVar("T")

HERE = Path(__file__).parent
API_PATIENCE = 8.0
"""Seconds; more than the api waits for its database, so that its own answer arrives first."""

GUARDS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}

ADVICE = {
    "product": "Please choose one of the things on the shelf.",
    "quantity": f"Please order between 1 and {MAX_QUANTITY} pieces.",
    "name": f"Please give a name of 1 to {MAX_NAME} characters.",
    "key": "This form was not made by this shop. Please use the new one below.",
}
"""What to tell a person about each field that could not be read."""


REFUSALS = {
    "sold-out": "Fewer are left than you asked for. Nothing was ordered.",
    "key-reused": "This form was already used for another order. Please check it and send it again.",
    "unknown-product": ADVICE["product"],
}
"""What to tell a person about each refusal of the api."""


class ApiAwayError(Exception):
    """The api gave no answer that can be used."""


class NotThereError(Exception):
    """The api says that there is no such thing."""


class Api:
    """The internal API, through our own sidecar."""

    def __init__(self, address: str) -> None:
        socket = address.removeprefix("unix:") if address.startswith("unix:") else None
        self._client = httpx2.AsyncClient(
            base_url="http://api" if socket else f"http://{address}",
            transport=httpx2.AsyncHTTPTransport(uds=socket, limits=httpx2.Limits(max_keepalive_connections=0)),
            timeout=API_PATIENCE,
            trust_env=False,
        )

    async def ask(self, path: str, read: Callable[[bytes], T]) -> T:
        """What ``read`` makes of the answer to a GET. Raises ``NotThereError`` or ``ApiAwayError``."""
        answer = await self._send("GET", path)
        if answer.status_code == 404:
            raise NotThereError
        if answer.status_code != 200:
            raise ApiAwayError(f"the api answered {answer.status_code}")
        return _readable(read, answer.content)

    async def order(self, wanted: NewOrder) -> Order | Fault:
        """Place an order: the order as it stands, or why the shop refuses it. Raises ``ApiAwayError``."""
        answer = await self._send("POST", "/orders", wanted.model_dump_json())
        if answer.status_code in (200, 201):
            return _readable(Order.model_validate_json, answer.content)
        if answer.status_code in (409, 422):
            return _readable(Fault.model_validate_json, answer.content)
        raise ApiAwayError(f"the api answered {answer.status_code}")

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, content: str | None = None) -> httpx2.Response:
        try:
            return await self._client.request(method, path, content=content)
        except httpx2.HTTPError as error:
            raise ApiAwayError(f"the api gave no answer ({type(error).__name__})") from error


def _readable(read: Callable[[bytes], T], body: bytes) -> T:
    try:
        return read(body)
    except ValidationError as error:
        raise ApiAwayError("the api answered something that cannot be read") from error


def same_site(headers: Headers) -> bool:
    """Whether a form was sent by a page of this very host, or by something that is not a browser.

    Browsers name the origin of every POST (Fetch standard, "append a request Origin header"); a request that names
    none has no browser, and so no borrowed rights, behind it. No page can set or suppress these two headers.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


class Pages:
    """The pages, each with what it knows about how it reached its reader."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["price"] = _price

    async def form(
        self, request: Request, status: int = 200, problem: str = "", typed: Mapping[str, str] | None = None
    ) -> Response:
        """The shelf and the order form, with what was typed before and what was wrong with it."""
        products, whoami = await asyncio.gather(
            self._api.ask("/products", PRODUCTS.validate_json), self._api.ask("/whoami", Whoami.model_validate_json)
        )
        values = {"product": "", "quantity": "1", "name": ""} | dict(typed or {})
        return self._page(
            request,
            "form",
            status,
            products=products,
            limits={"quantity": MAX_QUANTITY, "name": MAX_NAME},
            values=values,
            problem=problem,
            key=uuid4(),
            whoami=whoami,
        )

    async def orders(self, request: Request, placed: Order | None = None) -> Response:
        """The recent orders, and thanks for the one that was just placed."""
        recent, whoami = await asyncio.gather(
            self._api.ask("/orders", ORDERS.validate_json), self._api.ask("/whoami", Whoami.model_validate_json)
        )
        return self._page(request, "orders", 200, placed=placed, orders=recent, whoami=whoami)

    def failure(self, request: Request, status: int, reason: str, retry: Mapping[str, str] | None = None) -> Response:
        """A page for what went wrong; with ``retry``, a button that sends the same order again."""
        return self._page(request, "failure", status, reason=reason, retry=retry, whoami=None)

    def _page(self, request: Request, template: str, status: int, **facts: object) -> Response:
        header = ",".join(request.headers.getlist(HEADER))
        reached = {
            "scheme": request.headers.get("x-forwarded-proto", ""),
            "host": request.headers.get("host", ""),
            "caller": caller(header),
            "header": header,
        }
        text = self._templates.get_template(f"{template}.html").render(reached=reached, status=status, **facts)
        return HTMLResponse(text, status, GUARDS)


def _price(pence: int) -> str:
    return f"£{pence // 100:,}.{pence % 100:02}"


def web(api: Api) -> Starlette:
    """The application, in front of an api that it closes when it ends."""
    pages = Pages(api)

    async def health(_: Request) -> Response:
        """The process is up. Says nothing about the api: restarting *us* would not mend *it*."""
        return PlainTextResponse("ok\n")

    async def home(request: Request) -> Response:
        """One program, two names: ``orders.`` shows the packers what to pack, every other name the shelf."""
        if request.headers.get("host", "").startswith("orders."):
            return await pages.orders(request)
        return await pages.form(request)

    async def recent(request: Request) -> Response:
        return await pages.orders(request)

    async def one(request: Request) -> Response:
        path = f"/orders/{request.path_params['number']}"
        return await pages.orders(request, await api.ask(path, Order.model_validate_json))

    async def place(request: Request) -> Response:
        if not same_site(request.headers):
            return pages.failure(request, 403, "This order was sent by another site. Nothing was ordered.")
        body = await read_body(request, MAX_BODY)
        if body is None:
            return pages.failure(request, 413, "That is far more than an order needs. Nothing was ordered.")
        sent = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        typed = {field: sent.get(field, "") for field in NewOrder.model_fields}
        try:
            wanted = NewOrder.model_validate(typed)
        except ValidationError as error:
            wrong = [str(item["loc"][0]) for item in error.errors()]
            return await pages.form(request, 422, " ".join(ADVICE[field] for field in wrong), typed)
        try:
            answer = await api.order(wanted)
        except ApiAwayError as error:
            return pages.failure(request, 502, f"{error}".capitalize(), typed)
        if isinstance(answer, Fault):
            return await pages.form(request, 409, REFUSALS.get(answer.code, ADVICE["product"]), typed)
        return RedirectResponse(f"/orders/{answer.number}", 303, GUARDS)

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ("style.css", "seal.svg"):
            raise HTTPException(404)
        return FileResponse(HERE / "static" / name, headers=GUARDS | {"cache-control": "no-cache"})

    async def away(request: Request, error: Exception) -> Response:
        return pages.failure(request, 502, f"{error}".capitalize())

    async def missing(request: Request, _: Exception) -> Response:
        return pages.failure(request, 404, "There is nothing at this address.")

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        reasons = {404: "There is nothing at this address.", 405: "This address does not take that kind of request."}
        return pages.failure(request, status, reasons.get(status, "Something went wrong in this page itself."))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        await api.close()

    return Starlette(
        routes=[
            Route("/", home),
            Route("/healthz", health),
            Route("/orders", recent),
            Route("/orders", place, methods=["POST"]),
            Route("/orders/{number:int}", one),
            Route("/static/{name}", static),
        ],
        exception_handlers={ApiAwayError: away, NotThereError: missing, HTTPException: refused, 500: refused},
        lifespan=lifespan,
    )


if __name__ == "__main__":
    serve(web(Api(setting("SHOP_API"))), setting("SHOP_LISTEN"))
