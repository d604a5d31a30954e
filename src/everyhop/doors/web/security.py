"""What every answer of the dashboard carries, and which requests it does not take.

Rules: a page loads nothing but its own files (CSP 3), is shown in no frame, tells no other site where it was, and is
kept in no cache. A request must name a host that we are (against DNS rebinding), must not come from another site
(Fetch Metadata), and can only read. Static files are public, named by their hash, and kept for ever.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Robots-Tag": "noindex",
}
HSTS = "max-age=31536000"
"""RFC 6797. Not for ``localhost`` and names below it (it would force https on every other port of the machine), nor
for addresses, to which it does not apply (8.1.1)."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_READING = ("GET", "HEAD")


class Guard:
    """Refuses what must not come in, and puts the headers on what goes out."""

    def __init__(self, app: ASGIApp, *, names: Iterable[str] = (), forms: Iterable[str] = ()) -> None:
        """``names`` are the host names we are called by, besides those of this machine itself; ``forms`` the paths
        that take a POST."""
        self._app = app
        self._names = LOCAL_NAMES | {name.lower() for name in names}
        self._forms = frozenset(forms)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        host = host_of(headers)

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_headers(message["headers"], scope["scheme"], host)}
            await send(message)

        refusal = self._refusal(scope, headers, host)
        await (refusal or self._app)(scope, receive, protected)

    def _refusal(self, scope: Scope, headers: Headers, host: str) -> Response | None:
        if not self._is_us(host, scope):
            return _refuse(HTTPStatus.MISDIRECTED_REQUEST, "expected a host name that this dashboard is called by")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_a_link(scope, headers):
            return _refuse(HTTPStatus.FORBIDDEN, "expected a request from the dashboard's own pages")
        if scope["method"] in _READING:
            return None
        if scope["method"] != "POST" or scope["path"] not in self._forms:
            return _refuse(HTTPStatus.METHOD_NOT_ALLOWED, "the dashboard only reads", {"Allow": "GET, HEAD"})
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope['scheme']}://{headers.get('host', '')}":
            return _refuse(HTTPStatus.FORBIDDEN, "expected a form of the dashboard's own pages")
        return None

    def _is_us(self, host: str, scope: Scope) -> bool:
        """A name we know, or the very address that was connected to: an address cannot be rebound."""
        if host in self._names:
            return True
        server = scope.get("server")
        return server is not None and _address(host) is not None and _address(host) == _address(server[0])


def host_of(headers: Headers) -> str:
    """The one host that a request names, lower case and without its port; empty if none or several."""
    given = headers.getlist("host")
    if len(given) != 1:
        return ""
    name = given[0].strip().lower()
    if name.startswith("["):
        inside, end, _ = name[1:].partition("]")
        return inside if end else ""
    return name.rpartition(":")[0] if name.count(":") == 1 else name


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_a_link(scope: Scope, headers: Headers) -> bool:
    """Somebody followed a link to a page: the answer is theirs to read, not the other site's."""
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return followed and scope["method"] in _READING


def _with_headers(given: Iterable[tuple[bytes, bytes]], scheme: str, host: str) -> list[tuple[bytes, bytes]]:
    wanted = dict(HEADERS)
    local = host in LOCAL_NAMES or host.endswith(".localhost")
    if scheme == "https" and not local and _address(host) is None:
        wanted["Strict-Transport-Security"] = HSTS
    kept = list(given)
    if not any(name.lower() == b"cache-control" for name, _ in kept):
        wanted["Cache-Control"] = "no-store"
    return [*kept, *((name.lower().encode(), value.encode()) for name, value in wanted.items())]


def _refuse(status: HTTPStatus, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=status, headers=headers)
