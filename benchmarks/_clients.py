"""Clients outside the mesh, each a process of its own: constant load on the edge, every request with its outcome.

Rules: a client of fresh connections trusts what the published bundle says at that moment: it reads the file for each
connection, accepts TLS 1.3 only and resumes nothing. A failure is anything but a complete 200. The client of one
kept connection opens another when the server ends it between two requests, as every HTTP client does, and counts it.

One line a request on standard output: moment (Unix seconds), seconds, serial of the served certificate in
hexadecimal, ``fresh``, ``kept`` or ``reopened`` (kept, but the server had ended the connection), and the failure or
nothing; separated by tabs.
"""

from __future__ import annotations

import signal
import socket
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where and for whom to ask."""

    port: int
    host: str
    path: str
    bundle: Path

    @property
    def request(self) -> bytes:
        """The request."""
        return f"GET {self.path} HTTP/1.1\r\nhost: {self.host}\r\nuser-agent: everyhop-bench\r\n\r\n".encode()

    def connect(self) -> tuple[ssl.SSLSocket, str]:
        """A new connection, and the serial that was served."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=self.bundle.read_text())
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=_TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            secure = context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
        served = secure.getpeercert(binary_form=True)
        return secure, f"{x509.load_der_x509_certificate(served).serial_number:x}" if served else ""


class EndedError(Exception):
    """The server ended a connection on which nothing of the answer had come."""


def ask(connection: ssl.SSLSocket, request: bytes) -> tuple[str, bool]:
    """One request; what went wrong, and whether the connection can be used again."""
    try:
        connection.sendall(request)
        data = connection.recv(65536)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
        raise EndedError from error
    if not data:
        raise EndedError
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
    }
    if b"content-length" in fields:
        length = int(fields[b"content-length"])
        while len(body) < length:
            body += _more(connection)
    else:
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection)
    status = head.split(b" ", 2)[1]
    fault = "" if status == b"200" else f"status {status.decode()}: {body[:80].decode(errors='replace')}"
    return fault, fields.get(b"connection", b"").lower() != b"close"


def _more(connection: ssl.SSLSocket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the answer broke off")
    return data


def fresh(server: Server) -> tuple[str, str]:
    """A request over a connection of its own: the serial served, and the failure."""
    serial = ""
    try:
        connection, serial = server.connect()
        with connection:
            return serial, ask(connection, server.request)[0]
    except (OSError, EndedError, ValueError) as error:
        return serial, f"{type(error).__name__}: {error}"


@dataclass(slots=True)
class Kept:
    """A client with one connection."""

    server: Server
    connection: ssl.SSLSocket | None = None
    serial: str = ""
    reopened: int = 0

    def __call__(self) -> tuple[str, str]:
        """A request over the kept connection; a second one over a new connection if the server had ended it."""
        try:
            is_reused = self.connection is not None
            try:
                return self.serial, self._ask()
            except EndedError:
                self._close()
                if not is_reused:
                    raise
                self.reopened += 1
                return self.serial, self._ask()
        except (OSError, EndedError, ValueError) as error:
            self._close()
            return self.serial, f"{type(error).__name__}: {error}"

    def _ask(self) -> str:
        if self.connection is None:
            self.connection, self.serial = self.server.connect()
        fault, is_usable = ask(self.connection, self.server.request)
        if not is_usable:
            self._close()
        return fault

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def main(kind: str, port: str, host: str, path: str, bundle: str, rate: str) -> None:
    """Ask ``rate`` times a second until SIGTERM."""
    going = True

    def stop(_number: int, _frame: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = Server(int(port), host, path, Path(bundle))
    kept, pause = Kept(server), 1 / float(rate)
    due = time.monotonic()
    while going:
        moment, began = time.time(), time.perf_counter()  # noqa: TID251  # compared with the log of another process
        reopened = kept.reopened
        serial, fault = kept() if kind == "kept" else fresh(server)
        how = "reopened" if kept.reopened > reopened else kind
        print(f"{moment:.6f}\t{time.perf_counter() - began:.6f}\t{serial}\t{how}\t{' '.join(fault.split())}")
        due = max(due + pause, time.monotonic() - 1)  # a slow second is caught up with, a longer one is not
        time.sleep(max(0.0, due - time.monotonic()))
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
