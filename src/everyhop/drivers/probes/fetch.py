"""One small HTTP exchange in the clear, for CRLs and OCSP: they are signed themselves (RFC 6960, A.1; RFC 5280, 8).

Rules: the address comes out of a certificate, so a stranger chose it. Plain ``http`` only; no redirect is followed, to
nowhere; sizes are bounded, the caller bounds the time. A certificate from outside cannot send us to our own machines:
loopback, private and link-local addresses are asked only for an endpoint that is itself at such a place, and
link-local ones, where clouds keep their secrets, never. HTTP/1.0 is spoken, so that an answer is what comes until the
end.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from everyhop.core.hop import Address
from everyhop.drivers.probes.wire import Ended, connect

LONGEST_HEAD = 16 << 10
_OK = 200


class Unfetched(Exception):  # noqa: N818 -- not an error of ours: why nothing came
    """Nothing useful came; ``reason`` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def fetch(
    url: str, *, beside: str, body: bytes | None = None, content_type: str = "", limit: int, source: str = ""
) -> bytes:
    """GET ``url``, or POST ``body`` to it; the body of a 200. ``beside`` is the host whose certificate named the URL:
    it decides whether a private address may be asked. Raises :class:`Unfetched`."""
    host, port, path = _parts(url)
    address = await _permitted(host, port, beside)
    head = f"{'POST' if body is not None else 'GET'} {path} HTTP/1.0\r\nHost: {_host_header(host, port)}\r\n"
    head += "User-Agent: everyhop\r\nConnection: close\r\n"
    if body is not None:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    try:
        wire = await connect(address, limit=limit + LONGEST_HEAD, source=source)
    except Ended as ended:
        raise Unfetched(f"{host}: {ended.reason}") from None
    answer = bytearray()
    try:
        await wire.send(f"{head}\r\n".encode("ascii") + (body or b""))
        while True:
            answer += await wire.receive()
    except Ended as ended:
        if ended.reason != "closed":
            raise Unfetched(f"{host}: {ended.reason}") from None
        return _body(bytes(answer), host, limit)
    finally:
        wire.close()


def _parts(url: str) -> tuple[str, int, str]:
    """Host, port and path of an http URL."""
    try:
        split = urlsplit(url)
        host, port = split.hostname or "", split.port or 80
        path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    except ValueError:
        raise Unfetched("expected an http URL, got one that cannot be read") from None
    if split.scheme != "http":
        raise Unfetched(f"expected an http URL, got {split.scheme[:16] or 'no scheme'}")
    if not host or split.username is not None or not f"{host}{path}".isascii() or any(c <= " " for c in host + path):
        raise Unfetched("expected an http URL with a host and plain characters, got another")
    return host, port, path


async def _permitted(host: str, port: int, beside: str) -> Address:
    """The address to connect to. It is resolved once, here, so that what was checked is what is asked."""
    found = await _resolved(host, port)
    own = any(_is_private(each) for each in await _resolved(beside, port))
    for text in found:
        address = _plain(text)
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            continue
        if own or not _is_private(text):
            return Address(text, port)
    raise Unfetched(f"{host}: expected a public address, got {found[0]}")


def _is_private(text: str) -> bool:
    return not _plain(text).is_global


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address itself; an IPv4 address in IPv6's clothes (RFC 4291, 2.5.5.2) as what it is."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


async def _resolved(host: str, port: int) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unfetched(f"{host}: no address") from None
    return [str(address[0]).partition("%")[0] for *_, address in found]


def _host_header(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == 80 else f"{name}:{port}"


def _body(answer: bytes, host: str, limit: int) -> bytes:
    head, found, body = answer.partition(b"\r\n\r\n")
    first = head.split(b"\r\n", 1)[0].split()
    if not found or len(first) < 2 or not first[0].startswith(b"HTTP/1.") or not first[1].isdigit():
        raise Unfetched(f"{host}: expected an HTTP answer, got something else")
    if int(first[1][:3]) != _OK:
        raise Unfetched(f"{host}: status {int(first[1][:3])}")
    if b"\r\ntransfer-encoding:" in head.lower():
        raise Unfetched(f"{host}: expected an answer in one piece, got a transfer encoding")
    if len(body) > limit:
        raise Unfetched(f"{host}: expected at most {limit} bytes, got more")
    length = next(
        (line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")),
        b"",
    )
    if length.isdigit() and int(length[:12]) > len(body):
        raise Unfetched(f"{host}: the answer was cut off")
    return body
