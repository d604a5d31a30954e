"""Closed-loop load from one process: each connection sends its next request when it has the answer to its last.

Rules: an epoll loop in Python costs about 15 µs a request, less than any proxy; it is told as JSON on standard output:
``count``, ``seconds``, ``p50`` and ``p99`` in milliseconds. Anything but a 200 ends it with an error. Not corrected
for coordinated omission, as closed loops never are.

``python -m benchmarks._generator plain PORT HOST CONNECTIONS SECONDS``
``python -m benchmarks._generator tls PORT HOST BUNDLE SECONDS``: a TLS 1.3 connection for every request, one at a time
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks._report import percentile

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TIMEOUT = 10.0


def request(host: str, *, last: bool = False) -> bytes:
    """A small GET."""
    end = "connection: close\r\n" if last else ""
    return f"GET / HTTP/1.1\r\nhost: {host}\r\n{end}\r\n".encode()


def complete(answer: bytes) -> bool:
    """Whether the answer is there as a whole; raises ``RuntimeError`` unless it is a 200 with a length."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    length = _LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 200") or length is None:
        raise RuntimeError(f"expected a 200, got {head[:200]!r}")
    return len(body) >= int(length[1])


@dataclass(slots=True)
class Connection:
    """One kept connection and the request under way on it."""

    socket: socket.socket
    began: float = 0.0
    answer: bytes = b""


def connect(port: int) -> socket.socket:
    """A TCP connection that sends at once."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def plain(port: int, host: str, connections: int, seconds: float) -> list[float]:
    """Seconds of each request over kept connections."""
    asked, took = request(host), list[float]()
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        one = Connection(connect(port))
        selector.register(one.socket, selectors.EVENT_READ, one)
        one.began = time.perf_counter()
        one.socket.sendall(asked)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for key, _ in selector.select(_TIMEOUT):
            one: Connection = key.data
            data = one.socket.recv(65536)
            if not data:
                raise RuntimeError("the server ended a connection")
            one.answer += data
            if complete(one.answer):
                moment = time.perf_counter()
                took.append(moment - one.began)
                one.began, one.answer = moment, b""
                one.socket.sendall(asked)
    for key in list(selector.get_map().values()):
        key.data.socket.close()
    selector.close()
    return took


def tls(port: int, host: str, bundle: Path, seconds: float) -> list[float]:
    """Seconds of each request with its own TCP connection and full TLS 1.3 handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=bundle.read_text())
    asked, took = request(host, last=True), list[float]()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began, answer = time.perf_counter(), b""
        with context.wrap_socket(connect(port), server_hostname=host) as secure:
            secure.sendall(asked)
            while not complete(answer):
                data = secure.recv(65536)
                if not data:
                    raise RuntimeError("the answer broke off")
                answer += data
        took.append(time.perf_counter() - began)
    return took


def main(kind: str, port: str, host: str, how: str, seconds: str) -> None:
    """Make load and tell."""
    modes: dict[str, Callable[[], list[float]]] = {
        "plain": lambda: plain(int(port), host, int(how), float(seconds)),
        "tls": lambda: tls(int(port), host, Path(how), float(seconds)),
    }
    began = time.perf_counter()
    took = modes[kind]()
    result = {
        "count": len(took),
        "seconds": time.perf_counter() - began,
        "p50": percentile(took, 0.5) * 1e3,
        "p99": percentile(took, 0.99) * 1e3,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
