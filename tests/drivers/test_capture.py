"""The capture on the real loopback interface, where permitted; its bookkeeping everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import ssl
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.pki import CA

from everyhop.drivers.probes.capture import Capture
from everyhop.drivers.probes.streams import Run, Stream
from everyhop.errors import EveryhopError

MARKER = b"the-secret-order-4711"


def permitted() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
    except PermissionError:
        return False
    return True


needs_right = pytest.mark.skipif(not permitted(), reason="capturing needs CAP_NET_RAW")


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Without capabilities for as long as the test runs, also when it is run by root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.usefixtures("unprivileged")
def test_without_the_right_the_error_says_what_is_needed() -> None:
    async def story() -> None:
        async with Capture(ports=[1]):
            pass

    with pytest.raises(EveryhopError, match="CAP_NET_RAW") as caught:
        asyncio.run(story())
    assert caught.value.code.name == "probe-failed"


async def talk(
    message: bytes,
    *,
    host: str = "127.0.0.1",
    tls: bool = False,
    capture_limit: int = 1 << 26,
    also: int | None = None,
    late: bool = False,
) -> tuple[Capture, int]:
    """An echo of the message over loopback under a capture; with ``late`` the connection is older than the capture."""
    ca = CA()
    context = ca.issue("echo.test").server_context() if tls else None
    trusting = ssl.create_default_context(cadata=ca.pem.decode()) if tls else None

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100_000):
            writer.write(data)
        writer.close()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(message)
        assert await reader.readexactly(len(message)) == message

    server = await asyncio.start_server(echo, host, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    name = "echo.test" if tls else None
    capture = Capture(ports=[port, *([also] if also else [])], limit=capture_limit)
    if late:
        reader, writer = await asyncio.open_connection(host, port, ssl=trusting, server_hostname=name)
        await say(reader, writer)
        async with capture:
            await say(reader, writer)
            writer.close()
            await writer.wait_closed()
    else:
        async with capture:
            reader, writer = await asyncio.open_connection(host, port, ssl=trusting, server_hostname=name)
            await say(reader, writer)
            writer.close()
            await writer.wait_closed()
    server.close()
    return capture, port


@needs_right
@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1"])
def test_plaintext_is_seen_once_and_called_so(host: str) -> None:
    capture, port = asyncio.run(talk(b"GET /" + MARKER, host=host))
    traffic = capture.port(port)
    assert capture.complete
    assert traffic.bytes_seen == 2 * len(b"GET /" + MARKER), "there and back, each packet counted once"
    assert (traffic.streams, traffic.tls_streams, traffic.is_tls) == (2, 0, False)
    assert capture.contains(MARKER)


@needs_right
@pytest.mark.parametrize("late", [False, True])
def test_tls_is_recognised_and_hides_the_marker(late: bool) -> None:
    capture, port = asyncio.run(talk(MARKER * 5000, tls=True, late=late))
    traffic = capture.port(port)
    assert capture.complete
    assert traffic.bytes_seen > 2 * len(MARKER) * 5000
    assert (traffic.streams, traffic.tls_streams, traffic.is_tls) == (2, 2, True)
    assert not capture.contains(MARKER)


@needs_right
def test_a_marker_is_found_across_packets_in_a_connection_older_than_the_capture() -> None:
    capture, port = asyncio.run(talk(os.urandom(300_000) + MARKER + os.urandom(300_000), late=True))
    assert capture.contains(MARKER)
    assert not capture.port(port).is_tls


@needs_right
def test_other_ports_are_not_looked_at() -> None:
    async def story() -> None:
        elsewhere = Capture(ports=[9])
        async with elsewhere:
            capture, port = await talk(MARKER, also=10)
        assert capture.contains(MARKER)
        assert capture.port(10).bytes_seen == capture.port(10).streams == 0
        assert not capture.port(10).is_tls, "no traffic is no evidence"
        assert not elsewhere.contains(MARKER)
        assert elsewhere.port(port).bytes_seen == 0

    asyncio.run(story())


@needs_right
def test_memory_is_bounded_and_the_gap_is_admitted() -> None:
    capture, port = asyncio.run(talk(bytes(2_000_000) + MARKER, capture_limit=100_000))
    assert not capture.complete
    assert capture.port(port).bytes_seen >= 2 * 2_000_000
    assert not capture.contains(MARKER)


@needs_right
def test_it_ends_while_the_port_stays_busy() -> None:
    async def story() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            port = listening.getsockname()[1]
            client = socket.create_connection(("127.0.0.1", port))
            served, _ = listening.accept()
            busy = True

            def chatter() -> None:
                while busy:
                    client.send(b"x")
                    served.recv(100)

            with client, served:
                chattering = asyncio.create_task(asyncio.to_thread(chatter))
                capture = Capture(ports=[port])
                try:
                    async with asyncio.timeout(30), capture:
                        while not capture.port(port).bytes_seen:
                            await asyncio.sleep(0.01)
                finally:
                    busy = False
                    await chattering

    asyncio.run(story())


@pytest.mark.parametrize("count", [0, 501])
def test_a_senseless_number_of_ports_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="expected from 1 to 500 ports"):
        Capture(ports=range(1, count + 1))


# --- bookkeeping ----------------------------------------------------------------------------------------------


def record(length: int, kind: int = 23) -> bytes:
    return bytes([kind, 3, 3]) + length.to_bytes(2, "big") + os.urandom(length)


@settings(max_examples=200, deadline=None, database=None)
@given(
    data=st.binary(min_size=1, max_size=300),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    again=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 100)), max_size=5),
    beginning=st.sampled_from([0, 5, 2**31, 2**32 - 1, 2**32 - 100]),
    seen=st.booleans(),
    shuffle=st.randoms(use_true_random=False),
)
def test_pieces_late_and_twice_and_over_the_wrap_are_put_in_order(
    data: bytes,
    cuts: list[int],
    again: list[tuple[int, int]],
    beginning: int,
    seen: bool,
    shuffle: random.Random,
) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    spans = list(itertools.pairwise(edges))
    spans += [(start, min(len(data), start + length)) for start, length in again if start < len(data)]
    shuffle.shuffle(spans)
    stream = Stream(beginning if seen else None)
    for start, end in spans:
        stream.add((beginning + start) % 2**32, data[start:end])
    assert stream.runs() == [Run(data, first=seen)]


def test_a_gap_begins_a_new_run() -> None:
    stream = Stream(100)
    stream.add(100, b"ab")
    stream.add(105, b"fg")
    assert stream.runs() == [Run(b"ab", first=True), Run(b"fg", first=False)]


def test_records_from_the_first_byte() -> None:
    hello = record(300, 22)
    assert Run(hello + record(1) + record(16640), first=True).is_tls
    assert Run((hello + record(500))[:-3], first=True).is_tls, "the last one may be cut off"
    assert Run(hello + b"\x17\x03", first=True).is_tls
    assert not Run(b"GET / HTTP/1.1\r\n\r\n", first=True).is_tls
    assert not Run(hello + b"plaintext after all", first=True).is_tls
    assert not Run(b"\x16\x03\x03\xff\xff" + bytes(65535), first=True).is_tls, "longer than a record can be"
    assert not Run(b"\x16\x03\x03\x00\x00", first=True).is_tls
    assert not Run(b"x" + hello, first=True).is_tls, "not in step from the beginning"


def test_records_from_the_middle() -> None:
    records = record(8000) + record(16640) + record(50)
    for start in (0, 1, 4, 5, 7000, 9000, 20_000):
        assert Run(records[start:], first=False).is_tls
    assert Run(record(50), first=False).is_tls
    assert not Run(record(50)[:-1], first=False).is_tls, "one header alone may be chance"
    assert not Run(b"POST /order HTTP/1.1\r\n\r\n" * 100, first=False).is_tls
    assert not Run(b"x" * 20_000 + record(50) + record(50), first=False).is_tls, "longer out of step than any record"


@needs_right
def test_what_our_own_probes_say_is_not_kept() -> None:
    """A probe speaks plaintext to a TLS port so that it is refused: that is no plaintext on the hop."""

    async def play() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Capture(ports=[port], ignored=("127.69.72.1",)) as capture:
            for source in ("127.69.72.1", "127.0.0.1"):
                _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
                writer.write(f"said from {source}".encode())
                await writer.drain()
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        server.close()
        assert capture.contains(b"said from 127.0.0.1")
        assert not capture.contains(b"said from 127.69.72.1")

    asyncio.run(play())
