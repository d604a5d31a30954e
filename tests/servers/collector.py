"""A collector on loopback: it takes OTLP over HTTP as the specification says, and tells what came.

Rules: what it answers can be changed while it runs; what it took is decoded with OpenTelemetry's own messages, so that
what cannot be decoded fails the test. It runs in a thread of its own, and ends with its ``with``.
"""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Answer:
    """What a collector says to the next requests."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/x-protobuf"
    headers: dict[str, str] = field(default_factory=dict[str, str])


def rejecting(count: int) -> Callable[[str], Answer]:
    """Takes a part: so many were refused."""

    def answer(path: str) -> Answer:
        metrics, traces = ExportMetricsServiceResponse(), ExportTraceServiceResponse()
        metrics.partial_success.rejected_data_points = count
        traces.partial_success.rejected_spans = count
        return Answer(body=(metrics if path.endswith("metrics") else traces).SerializeToString())

    return answer


class Collector:
    """``with Collector() as collector: collector.url``."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """With ``context`` over TLS."""
        self.answer: Callable[[str], Answer] = lambda _path: Answer()
        self.held = threading.Event()
        """While it is clear, nothing is answered."""
        self.held.set()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._scheme = "https" if context else "http"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                outer.take(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name is given
                """Quiet."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Those who hang up are part of the tests."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        if handler.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.held.wait(30)
        answer = self.answer(handler.path)
        if answer.status == 200:
            self.requests.append((handler.path, {key.lower(): value for key, value in handler.headers.items()}, body))
        handler.send_response(answer.status)
        for name, value in {"Content-Type": answer.kind, **answer.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)

    @property
    def url(self) -> str:
        return f"{self._scheme}://localhost:{self._server.server_address[1]}"

    @property
    def headers(self) -> dict[str, str]:
        """Those of the last request, by their names in lower case."""
        return self.requests[-1][1]

    def _metrics(self) -> list[ExportMetricsServiceRequest]:
        taken = [body for path, _, body in list(self.requests) if path == "/v1/metrics"]
        return [ExportMetricsServiceRequest.FromString(body) for body in taken]

    def _traces(self) -> list[ExportTraceServiceRequest]:
        taken = [body for path, _, body in list(self.requests) if path == "/v1/traces"]
        return [ExportTraceServiceRequest.FromString(body) for body in taken]

    @property
    def about(self) -> list[dict[str, str | int]]:
        """The resource attributes of everything that came, one after the other."""
        metrics = [one.resource for request in self._metrics() for one in request.resource_metrics]
        traces = [one.resource for request in self._traces() for one in request.resource_spans]
        return [attributes(one.attributes) for one in (*metrics, *traces)]

    def metrics(self) -> dict[str, Metric]:
        """The newest of each metric by its name."""
        return {
            metric.name: metric
            for request in self._metrics()
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def spans(self) -> list[Span]:
        """Every span in the order in which they came."""
        return [
            span
            for request in self._traces()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.held.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def attributes(given: Any) -> dict[str, str | int]:
    """Attributes as a mapping."""
    pairs: list[KeyValue] = list(given)
    return {
        one.key: one.value.int_value if one.value.HasField("int_value") else one.value.string_value for one in pairs
    }
