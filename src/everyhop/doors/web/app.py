"""The dashboard as an ASGI app: what a request gets to see.

Rules: every page is one reading of the store, rendered here. The script that keeps a page fresh asks for the same
address and gets its main part alone; without scripts the whole page comes. Nothing is written but a login's session,
in memory. What comes from a topology, a peer or a log is text, and is escaped as such.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from everyhop.core.finding import Severity
from everyhop.core.verdict import Verdict
from everyhop.doors.web import assets
from everyhop.doors.web.access import COOKIE, SESSION_LIFE, Access, Reader
from everyhop.doors.web.chart import chart
from everyhop.doors.web.map import hop_map
from everyhop.doors.web.pages import templates
from everyhop.doors.web.security import Guard
from everyhop.doors.web.server import PEER
from everyhop.errors import EveryhopError
from everyhop.ports import Clock, Store
from everyhop.services.evidence import Series, hop_evidence, latest, seals, trends
from everyhop.services.overview import Overview, overview, refusals_of

PAGES = (
    ("/", "Hops"),
    ("/summary", "Summary"),
    ("/oncall", "On call"),
    ("/certificates", "Certificates"),
    ("/findings", "Findings"),
    ("/hosts", "Hosts"),
    ("/debug", "Debug"),
    ("/about", "About"),
)
CHARTED = (("M1", "TLS usage"), ("M3", "mTLS coverage"), ("M10", "Plaintext flows"), ("M2", "Handshake success"))
_FRESH = timedelta(seconds=1)
_TRENDS_FRESH = timedelta(seconds=20)
_LONGEST_FORM = 4_096
_FORM_SECONDS = 5.0

Context = dict[str, Any]  # what a template is given: any value of ours
_Page = Callable[[Request, Overview], Awaitable[Context]]


@dataclass(frozen=True, slots=True)
class About:
    """What the dashboard says of itself."""

    version: str
    names: tuple[str, ...] = ()
    """Host names it is called by, besides this machine's own."""
    runbooks: str = ""
    """Where the pages of the documentation are, as an address that ends with a slash; empty: paths are shown."""


class Dashboard:
    """Every page."""

    def __init__(
        self,
        store: Store,
        data: str,
        clock: Clock,
        access: Access,
        about: About,
        more: Sequence[Route] = (),
        runbook: Callable[[str], str | None] = lambda _: None,
        form_seconds: float = _FORM_SECONDS,
    ) -> None:
        """``data`` is the data directory, for its addresses; ``more`` are other doors' routes, for the same readers;
        ``form_seconds`` is how long a form may take to come."""
        self._form_seconds = form_seconds
        self._more = more
        self._runbook = runbook
        self._store = store
        self._data = data
        self._clock = clock
        self._access = access
        self._about = about
        self._assets = assets.load()
        self._reading = asyncio.Lock()
        self._seen: tuple[int, Overview] | None = None
        self._trends: tuple[datetime, Mapping[str, Series]] | None = None
        self._pages = templates(self._address_of_asset, about.runbooks)

    @property
    def asgi(self) -> ASGIApp:
        """The app, guarded."""
        pages: Iterable[tuple[str, str, _Page]] = (
            ("/", "hops.html", self._hops),
            ("/hops/{caller}/{callee}", "hop.html", self._hop),
            ("/summary", "summary.html", self._summary),
            ("/oncall", "oncall.html", self._plain),
            ("/certificates", "certificates.html", self._plain),
            ("/findings", "findings.html", self._findings),
            ("/hosts", "hosts.html", self._plain),
            ("/debug", "debug.html", self._debug),
            ("/about", "about.html", self._about_page),
            ("/runbooks/{name}.html", "runbook.html", self._runbook_page),
        )
        routes = [Route(path, self._serving(template, page), methods=["GET"]) for path, template, page in pages]
        routes += [
            Route("/static/{digest}/{name}", self._static, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
        ]
        routes += [Route(one.path, self._for_readers(one.endpoint), methods=["GET"]) for one in self._more]
        faults: Mapping[Any, Any] = {HTTPException: self._no_such_page, Exception: self._own_fault}
        app = Starlette(routes=routes, exception_handlers=faults)
        return Guard(app, names=self._about.names, forms=("/login", "/logout"))

    # --- reading --------------------------------------------------------------------------------------------------

    async def _overview(self) -> Overview:
        """One reading for everybody who asks within a second, unless something was written since."""
        async with self._reading:
            now, revision = self._clock.now(), await self._store.revision()
            if self._seen is None or self._seen[0] != revision or abs(now - self._seen[1].at) >= _FRESH:
                self._seen = (revision, await overview(self._store, self._data, now))
            return self._seen[1]

    async def _history(self, now: datetime) -> Mapping[str, Series]:
        async with self._reading:
            if self._trends is None or abs(now - self._trends[0]) >= _TRENDS_FRESH:
                self._trends = (now, await trends(self._store, now))
            return self._trends[1]

    # --- pages ----------------------------------------------------------------------------------------------------

    def _serving(self, template: str, page: _Page) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            reader = await self._reader(request)
            if reader is None:
                return self._login_page(request, HTTPStatus.UNAUTHORIZED)
            try:
                found = await self._overview()
            except EveryhopError as error:
                values: Context = {"fault": error, "reader": reader}
                return self._render(request, "fault.html", values, HTTPStatus.SERVICE_UNAVAILABLE)
            context = await page(request, found)
            return self._render(request, template, {**context, "found": found, "reader": reader})

        return serve

    async def _plain(self, _request: Request, _found: Overview) -> Context:
        return {}

    async def _hops(self, _request: Request, found: Overview) -> Context:
        return {"map": hop_map(found)}

    async def _hop(self, request: Request, found: Overview) -> Context:
        name = f"{request.path_params['caller']} -> {request.path_params['callee']}"
        hop = found.hop(name)
        if hop is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        evidence = await hop_evidence(self._store, hop, found.at)
        hours = Series("connections", evidence.hours)
        beside = [one for one in found.beside if (one.flow.caller, one.flow.callee) == (hop.caller, hop.callee)]
        return {
            "hop": hop,
            "evidence": evidence,
            "refused": refusals_of(found, hop),
            "beside": beside,
            "certificate": next(
                (one for one in found.status.certificates if one.name == f"{hop.callee}/identity"), None
            ),
            "chart": chart("Connections in an hour", "connections", hours, found.at) if evidence.hours else None,
        }

    async def _summary(self, _request: Request, found: Overview) -> Context:
        series = await self._history(found.at)
        units = {one.sli: one.unit for one in found.slis}
        drawn = [
            chart(title, units.get(code, "ratio"), series[code], found.at) for code, title in CHARTED if code in series
        ]
        return {"charts": drawn, "overall": [one for one in found.slis if one.scope == "all"]}

    async def _findings(self, request: Request, found: Overview) -> Context:
        asked = {name: request.query_params.get(name, "")[:100] for name in ("owner", "severity", "verdict")}
        verdict = asked["verdict"] or "open"
        shown = [
            one
            for one in found.findings
            if (not asked["owner"] or one.owner == asked["owner"])
            and (not asked["severity"] or str(one.severity) == asked["severity"])
            and (verdict == "all" or (one.counts if verdict == "open" else str(one.verdict) == verdict))
        ]
        owners = sorted({one.owner for one in found.findings if one.owner})
        choices = {"owner": owners, "severity": list(Severity), "verdict": ["open", *Verdict, "all"]}
        return {"shown": shown, "asked": {**asked, "verdict": verdict}, "choices": choices}

    async def _debug(self, _request: Request, _found: Overview) -> Context:
        revision = await self._store.revision()
        return {"stream": await latest(self._store), "seals": await seals(self._store), "revision": revision}

    async def _about_page(self, _request: Request, _found: Overview) -> Context:
        return {"about": self._about}

    async def _runbook_page(self, request: Request, _found: Overview) -> Context:
        text = self._runbook(request.path_params["name"])
        if text is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        # Our own pages, but rendered as if they were a stranger's: raw HTML in them stays text.
        html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
        return {"title": request.path_params["name"], "body": Markup(html)}  # noqa: S704  # see above

    # --- the door -------------------------------------------------------------------------------------------------

    async def _reader(self, request: Request) -> Reader | None:
        """Who asks; nothing is read for somebody who may not."""
        peer: bytes | None = getattr(request.state, PEER, None)
        return await self._access.reader(request, peer, self._owner_of)

    async def _owner_of(self, identity: str) -> str:
        try:
            return (await self._overview()).owner_of(identity)
        except EveryhopError:
            return ""

    def _for_readers(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
        """Another door's endpoint, for those who may read."""

        async def serve(request: Request) -> Response:
            if await self._reader(request) is None:
                return PlainTextResponse("a certificate or a token is needed\n", HTTPStatus.UNAUTHORIZED)
            return await endpoint(request)

        return serve

    async def _log_in(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(self._form_seconds):
                body = await _form(request)
        except TimeoutError:
            return _cut_off("expected the whole form at once", HTTPStatus.REQUEST_TIMEOUT)
        except ClientDisconnect:  # nobody is left to read an answer
            return _cut_off("expected the whole form", HTTPStatus.BAD_REQUEST)
        if len(body) > _LONGEST_FORM:
            return _cut_off("expected a token", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            given = parse_qs(body.decode("ascii"), max_num_fields=5).get("token", [""])
        except ValueError:  # not ASCII, or too many fields
            given = [""]
        secret = await self._access.log_in(given[0].strip()) if request.url.scheme == "https" else None
        if secret is None:
            return self._login_page(request, HTTPStatus.UNAUTHORIZED, refused=True)
        answer = RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            COOKIE, secret, max_age=int(SESSION_LIFE.total_seconds()), secure=True, httponly=True, samesite="strict"
        )
        return answer

    async def _log_out(self, request: Request) -> Response:
        self._access.log_out(request)
        answer = RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="strict")
        return answer

    def _login_page(self, request: Request, status: HTTPStatus, *, refused: bool = False) -> Response:
        context: Context = {"refused": refused, "secure": request.url.scheme == "https"}
        page = self._pages.get_template("login.html").render(context)
        return HTMLResponse(page, status_code=status, headers={"WWW-Authenticate": "Bearer"})

    async def _static(self, request: Request) -> Response:
        asset = self._assets.files.get(request.path_params["name"])
        if asset is None or request.path_params["digest"] != self._assets.digest:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        forever = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(asset.content, media_type=asset.media_type, headers=forever)

    def _address_of_asset(self, name: str) -> str:
        if name not in self._assets.files:
            raise KeyError(name)
        return f"/static/{self._assets.digest}/{name}"

    # --- answers --------------------------------------------------------------------------------------------------

    def _render(
        self, request: Request, template: str, context: Context, status: HTTPStatus = HTTPStatus.OK
    ) -> Response:
        part = request.headers.get("hx-request") == "true"
        here = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        values = {
            "layout": "part.html" if part else "page.html",
            "path": request.url.path,
            "here": here,
            "pages": PAGES,
            **context,
        }
        text = self._pages.get_template(template).render(values)
        return HTMLResponse(text, status_code=status, headers={"Vary": "HX-Request"})

    async def _no_such_page(self, _request: Request, error: HTTPException) -> Response:
        text = self._pages.get_template("lost.html").render({"pages": PAGES})
        return HTMLResponse(text, status_code=error.status_code, headers=error.headers)

    async def _own_fault(self, _request: Request, _error: Exception) -> Response:
        """What went wrong is logged by the server; a reader learns that it did."""
        return PlainTextResponse("a fault of everyhop itself; its log says more\n", status_code=500)


async def _form(request: Request) -> bytes:
    """A form's content, and no more of a longer one than shows that it is too long. Raises ``ClientDisconnect``."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            break
    return body


def _cut_off(why: str, status: HTTPStatus) -> Response:
    """An answer after which nothing more is read."""
    return PlainTextResponse(f"{why}\n", status_code=status, headers={"Connection": "close"})
