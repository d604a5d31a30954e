"""The HTTP probe: headers, cookies, mixed content and the redirect, from honest servers and hostile ones."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.servers.certificates import certificates
from tests.servers.conversation import Reader, Served, Talk, Writer, closed_port, serving, until_end
from tests.servers.nginx import RSA, nginx

from everyhop.core.endpoint.facts import Cookie, HttpFacts
from everyhop.core.endpoint.target import Target
from everyhop.drivers.probes.dialogue import Dialogue
from everyhop.drivers.probes.http import HttpProbe
from everyhop.drivers.probes.page import MOST, insecure_references
from everyhop.drivers.probes.response import LARGEST_BODY, Response, read_response
from everyhop.drivers.probes.wire import Ended

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TLS = certificates().rsa.server_context()
LONG = 30.0


class FixedClock:
    def now(self) -> datetime:
        return NOW


def answering(head: str, body: bytes = b"") -> Talk:
    """One answer to a whole request; ``head`` has lines that end in a newline."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n" + body)
        await writer.drain()

    return talk


def look(talk: Talk, plain: Talk | None = None, *, timeout: float = LONG) -> tuple[HttpFacts, Served]:
    async def story() -> tuple[HttpFacts, Served]:
        async with serving(talk, tls=TLS) as served, serving(plain or until_end) as sister:
            target = Target("127.0.0.1", served.port, server_name="probe.test")
            port = sister.port if plain else None
            return await HttpProbe(FixedClock()).look(target, plain_port=port, timeout=timeout), sister

    return asyncio.run(story())


# --- honest servers ---------------------------------------------------------------------------------------------


def test_everything_that_a_site_says() -> None:
    page = b'<html><script src="http://cdn.test/x.js?token=1"></script><a href="http://other.test/">link</a></html>'
    facts, sister = look(
        answering(
            "HTTP/1.1 200 OK\nContent-Type: text/html; charset=utf-8\n"
            "strict-transport-security: max-age=63072000; includeSubDomains; preload\n"
            "Strict-Transport-Security: max-age=1\n"
            "Set-Cookie: session=unguessable; Path=/; Secure; HttpOnly; SameSite=lax\n"
            "Set-Cookie: theme=dark\nSet-Cookie: nameless\n"
            f"Content-Length: {len(page)}\n",
            page,
        ),
        answering("HTTP/1.1 301 Moved\nLocation: https://probe.test/?code=secret\nContent-Length: 0\n"),
    )
    assert facts == HttpFacts(
        target=facts.target,
        at=NOW,
        status=200,
        strict_transport_security="max-age=63072000; includeSubDomains; preload",
        cookies=(
            Cookie("session", secure=True, http_only=True, same_site="Lax"),
            Cookie("theme", secure=False, http_only=False),
            Cookie("", secure=False, http_only=False),
        ),
        insecure_references=("http://cdn.test/x.js",),
        plain_port=facts.plain_port,
        plain_status=301,
        plain_location="https://probe.test/",
        plain_leads_to_tls=True,
    )
    assert "unguessable" not in repr(facts)
    asked = sister.received[0].decode()
    assert asked.startswith("GET / HTTP/1.1\r\nHost: probe.test:")
    assert "User-Agent: everyhop\r\n" in asked
    assert len(sister.received) == 2, "no redirect is followed"
    assert sister.received[1].startswith(b"GET /everyhop-")


def test_a_site_that_says_nothing() -> None:
    facts, _ = look(answering("HTTP/1.0 404 No\n", b"gone"))
    assert (facts.status, facts.strict_transport_security, facts.cookies, facts.fault) == (404, None, (), "")
    assert (facts.plain_port, facts.plain_status, facts.plain_location) == (None, None, "")


def test_nginx(tmp_path: Path) -> None:
    servers = {
        "strict": RSA + "add_header Strict-Transport-Security max-age=31536000 always;",
        "plain": "return 308 https://probe.test/;",
    }
    with nginx(tmp_path, servers) as ports:
        target = Target("127.0.0.1", ports["strict"], server_name="probe.test")
        facts = asyncio.run(HttpProbe(FixedClock()).look(target, plain_port=ports["plain"], timeout=LONG))
    assert (facts.status, facts.strict_transport_security) == (200, "max-age=31536000")
    assert (facts.plain_status, facts.plain_location) == (308, "https://probe.test/")


def routed(routes: dict[str, str], otherwise: str) -> Talk:
    """Heads by path, in the clear."""

    async def talk(reader: Reader, writer: Writer) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        head = routes.get(path, otherwise).replace("{path}", path)
        writer.write(head.replace("\n", "\r\n").encode() + b"Content-Length: 0\r\n\r\n")
        await writer.drain()

    return talk


ON = "HTTP/1.1 301 Moved\nLocation: https://probe.test{path}\n"
SERVED = "HTTP/1.1 200 OK\n"


@pytest.mark.parametrize(
    ("talk", "leads"),
    [
        (routed({}, ON), True),
        (routed({"/": "HTTP/1.1 302 Found\nLocation: https://login.elsewhere.test/sso\n"}, SERVED), False),
        (routed({"/": ON}, SERVED), False),
        (routed({"/": ON}, "HTTP/1.1 302 Found\nLocation: https://probe.test/login\n"), False),
        (routed({"/": ON}, "nothing that is HTTP\n"), None),
        (routed({"/": "HTTP/1.1 301 Moved\nLocation: https://[::bad\n"}, ON), False),
        (routed({}, SERVED), False),
    ],
)
def test_one_redirect_is_not_a_port_that_redirects(talk: Talk, leads: bool | None) -> None:
    facts, _ = look(answering("HTTP/1.1 200 OK\n"), talk)
    assert facts.plain_leads_to_tls is leads


def test_why_the_plaintext_port_could_not_be_read_is_kept() -> None:
    head = "HTTP/1.1 200 OK\n" + "".join(f"X-{number}: y\n" for number in range(1000))
    facts, _ = look(answering("HTTP/1.1 200 OK\n"), answering(head))
    assert (facts.plain_status, facts.plain_fault.partition(":")[0]) == (None, "garbled")
    facts, _ = look(answering("HTTP/1.1 200 OK\n"), until_end, timeout=1.0)
    assert (facts.plain_status, facts.plain_fault) == (None, "timeout")


def test_chunks_are_put_together() -> None:
    body = b"6\r\n<img s\r\n13;x=y\r\nrc='http://a.test/'>\r\n0\r\n\r\n"
    facts, _ = look(answering("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Type: text/html\n", body))
    assert facts.insecure_references == (), "0x13 is 19, and there are 20: what follows is garbled and ends the reading"
    body = b"7\r\n<img sr\r\n13;x=y\r\nc='http://a.test/'>\r\n0\r\n\r\n"
    facts, _ = look(answering("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Type: text/html\n", body))
    assert facts.insecure_references == ("http://a.test/",)


def test_interim_answers_are_skipped() -> None:
    facts, _ = look(answering("HTTP/1.1 103 Early Hints\nStrict-Transport-Security: no\n\nHTTP/1.1 200 OK\n"))
    assert (facts.status, facts.strict_transport_security) == (200, None)


# --- no answers -------------------------------------------------------------------------------------------------


def test_nobody_there() -> None:
    target = Target("127.0.0.1", closed_port())
    facts = asyncio.run(HttpProbe(FixedClock()).look(target, plain_port=closed_port(), timeout=LONG))
    assert (facts.status, facts.fault) == (0, "unreachable: connection refused")
    assert (facts.plain_status, facts.plain_location) == (None, "")
    assert facts.plain_fault == "unreachable: connection refused"


def test_no_tls() -> None:
    async def story() -> HttpFacts:
        async with serving(answering("HTTP/1.1 200 OK\n")) as served:
            return await HttpProbe(FixedClock()).look(Target("127.0.0.1", served.port), timeout=1)

    assert asyncio.run(story()).fault in ("not tls: wrong version number", "timeout")


def test_an_alert_is_tls_whatever_it_refuses() -> None:
    async def refuse(_: Reader, writer: Writer) -> None:
        writer.write(b"\x15\x03\x03\x00\x02\x02\x28")

    async def story() -> HttpFacts:
        async with serving(refuse) as served:
            return await HttpProbe(FixedClock()).look(Target("127.0.0.1", served.port), timeout=LONG)

    fault = asyncio.run(story()).fault
    assert fault.endswith("alert handshake failure")
    assert not fault.startswith("not tls")


def test_alerts_without_alert_in_openssls_words(tmp_path: Path) -> None:
    """OpenSSL calls this one ``tlsv1 unrecognized name``."""
    with nginx(tmp_path, {"nobody": RSA + "ssl_reject_handshake on;"}) as ports:
        target = Target("127.0.0.1", ports["nobody"], server_name="probe.test")
        facts = asyncio.run(HttpProbe(FixedClock()).look(target, timeout=LONG))
    assert facts.fault == "alert unrecognized name"


@pytest.mark.parametrize("number", [*range(10, 61), 70, 71, 80, 86, *range(109, 117), 120])
def test_every_alert_is_told_as_one(number: int) -> None:
    async def refuse(_: Reader, writer: Writer) -> None:
        writer.write(bytes((21, 3, 3, 0, 2, 2, number)))

    async def story() -> HttpFacts:
        async with serving(refuse) as served:
            return await HttpProbe(FixedClock()).look(Target("127.0.0.1", served.port), timeout=LONG)

    assert asyncio.run(story()).fault.startswith("alert ")


def endless(*pieces: bytes) -> Talk:
    """The first once, and then the second for ever."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(pieces[0])
        while True:
            writer.write(pieces[1])
            await writer.drain()

    return talk


def dripping(piece: bytes) -> Talk:
    async def talk(_: Reader, writer: Writer) -> None:
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)

    return talk


async def reset(reader: Reader, writer: Writer) -> None:
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("talk", "fault"),
    [
        (endless(OK, b"X-Header: " + b"x" * 1000 + b"\r\n"), "garbled: expected at most"),
        (endless(OK, b"X: y\r\n"), "garbled: expected at most"),
        (endless(OK + b"X: ", b"y" * 1000), "garbled: expected a line"),
        (endless(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"), "garbled: expected a final"),
        (endless(b"", b"garbage\r\n"), "garbled: expected an HTTP/1 status line, got garbage"),
        (endless(b"", b"\r\n"), "garbled: expected an HTTP/1 status line, got an empty line"),
        (dripping(b"H"), "timeout"),
        (dripping(OK), "timeout"),
        (until_end, "timeout"),
        (reset, "reset"),
    ],
)
def test_hostile_heads(talk: Talk, fault: str) -> None:
    facts, _ = look(talk, timeout=1.0)
    assert facts.status == 0
    assert facts.fault.startswith(fault) or facts.fault == "closed"


HTML = OK + b"Content-Type: text/html\r\n"


@pytest.mark.parametrize(
    ("start", "forever"),
    [
        (HTML + b"\r\n", b"<p>" * 1000),
        (HTML + b"Content-Length: 99999999999999999999\r\n\r\n", b"x" * 1000),
        (HTML + b"Content-Length: -1\r\n\r\n", b"x" * 1000),
        (HTML + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HTML + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", b"x" * 1000),
        (HTML + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"),
    ],
)
def test_endless_bodies_are_cut(start: bytes, forever: bytes) -> None:
    tracemalloc.start()
    facts, _ = look(endless(start, forever), timeout=5.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (facts.status, facts.fault) == (200, "")
    assert peak < 16 << 20, "of both sides of the conversation"


def test_a_body_that_never_ends_and_never_comes_costs_only_the_time() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HTML + b"Content-Length: 100\r\n\r\n<img src=http://a.test/x>")
        await reader.read()

    facts, _ = look(talk, timeout=0.5)
    assert (facts.status, facts.insecure_references) == (200, ("http://a.test/x",))


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.binary(max_size=200), max_size=5), start=st.sampled_from([b"", OK, HTML + b"\r\n", HTML]))
def test_no_bytes_raise_anything_but_an_end(pieces: Sequence[bytes], start: bytes) -> None:
    class Canned:
        def __init__(self) -> None:
            self.left = [piece for piece in (start, *pieces) if piece]

        async def send(self, data: bytes) -> None:
            assert data

        async def receive(self) -> bytes:
            if not self.left:
                raise Ended("closed")
            return self.left.pop(0)

    try:
        response = asyncio.run(read_response(Dialogue(Canned())))
    except Ended:
        return
    assert isinstance(response, Response)
    assert len(response.body) <= LARGEST_BODY


# --- pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ("<script src=http://a.test/x.js></script>", ["http://a.test/x.js"]),
        ("<SCRIPT SRC='HTTP://A.test/x.js'>", ["HTTP://A.test/x.js"]),
        ('<img src="https://a.test/1" srcset="http://a.test/2 2x, //a.test/3 3x">', ["http://a.test/2"]),
        ('<link rel="stylesheet" href="http://a.test/c.css">', ["http://a.test/c.css"]),
        ('<link rel="canonical" href="http://a.test/">', []),
        ('<a href="http://a.test/">', []),
        ('<form action="http://a.test/login?x=1#y">', ["http://a.test/login"]),
        ('<video poster="http://a.test/p" src="/local">', ["http://a.test/p"]),
        ('<!-- <script src="http://a.test/"> -->', []),
        ('<script>let x = "<img src=http://a.test/>"</script>', []),
        ('<iframe src="h&#116;tp://a.test/">', ["http://a.test/"]),
        ("<img src=http://a.test/><img src=http://a.test/>", ["http://a.test/"]),
        ("<img src><link rel>", []),
    ],
)
def test_mixed_content(html: str, found: list[str]) -> None:
    assert list(insecure_references(html)) == found


def test_a_page_of_references_is_cut() -> None:
    assert len(insecure_references("".join(f"<img src=http://a.test/{n}>" for n in range(1000)))) == MOST


@pytest.mark.parametrize(
    "piece",
    ["<", "<!", "<!--", "<!-", "<a ", "<a b='", "</", "<?", "<![CDATA[", "&", "&#", "<script>", "<a b=c ", "<a<b "],
)
def test_no_page_holds_up_the_event_loop(piece: str) -> None:
    started = time.process_time()
    insecure_references((piece * LARGEST_BODY)[:LARGEST_BODY])
    assert time.process_time() - started < 5
