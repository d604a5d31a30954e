"""OTLP over HTTP with protobuf (OpenTelemetry Protocol 1.x), by the exporters of the OpenTelemetry SDK.

Rules: each delivery runs in a thread of its own, at most one of a signal at a time, and is given up after a while: a
collector that answers never or for ever holds one thread and nothing else. Redirects are not followed, and count as
refused. An answer is read up to a bound. Proxies, netrc and roots of the environment are not looked at: the topology
says where everything goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from everyhop.core.metrics import Sample
from everyhop.core.spans import Span
from everyhop.drivers.telemetry.points import metrics_data, readable_spans
from everyhop.errors import EveryhopError

T = TypeVar("T")
M = TypeVar("M", ExportMetricsServiceResponse, ExportTraceServiceResponse)
Headers = Callable[[], Mapping[str, str]]

_SECONDS = 10.0
_LONGEST_ANSWER = 64 * 1024
_PROTOBUF = "application/x-protobuf"
# The exporters log what we say in our own words; without a handler it would go to the terminal.
logging.getLogger("opentelemetry.exporter.otlp").addHandler(logging.NullHandler())


class OtlpTelemetry:
    """``ports.Telemetry`` over HTTP."""

    def __init__(
        self,
        endpoint: str,
        about: Mapping[str, str],
        *,
        headers: Headers = dict,
        roots: Path | None = None,
        seconds: float = _SECONDS,
    ) -> None:
        """``about`` are the resource attributes. ``headers`` are asked for at each delivery; ``roots`` (PEM) replace
        those of the system. A delivery is tried again for ``seconds`` and given up after three times as long."""
        self._about = dict(about)
        self._seconds = seconds
        self._collector = urlsplit(endpoint).hostname or endpoint
        self._posts = {"metrics": _Post(headers), "traces": _Post(headers)}
        self._busy: set[str] = set()
        common: dict[str, Any] = {
            "certificate_file": str(roots) if roots else _system_roots(),
            "timeout": seconds,
            "compression": Compression.Gzip,
        }
        self._metrics = OTLPMetricExporter(f"{endpoint}/v1/metrics", session=self._posts["metrics"], **common)
        self._spans = OTLPSpanExporter(f"{endpoint}/v1/traces", session=self._posts["traces"], **common)

    async def metrics(self, samples: Sequence[Sample], *, began_at: datetime, at: datetime) -> int:
        """Send numbers; returns how many were refused. Raises ``telemetry-failed``."""

        def send() -> bool:
            data = metrics_data(samples, self._about, began_at, at)
            result = self._metrics.export(data)  # pyright: ignore[reportUnknownMemberType]  # untyped **kwargs
            return result is MetricExportResult.SUCCESS

        answer = await self._send("metrics", send)
        return max(0, _read(ExportMetricsServiceResponse, answer).partial_success.rejected_data_points)

    async def spans(self, spans: Sequence[Span]) -> int:
        """Send spans; returns how many were refused. Raises ``telemetry-failed``."""

        def send() -> bool:
            return self._spans.export(readable_spans(spans, self._about)) is SpanExportResult.SUCCESS

        answer = await self._send("traces", send)
        return max(0, _read(ExportTraceServiceResponse, answer).partial_success.rejected_spans)

    async def close(self) -> None:
        """Let go of connections; what is under way ends by itself."""
        self._metrics.shutdown()  # pyright: ignore[reportUnknownMemberType]  # untyped **kwargs
        self._spans.shutdown()

    async def _send(self, signal: str, send: Callable[[], bool]) -> bytes:
        """Send in a thread; returns the collector's answer."""
        if signal in self._busy:
            raise self._failed(signal, "no end of its former answer")
        post = self._posts[signal]
        self._busy.add(signal)
        post.forget()
        try:
            async with asyncio.timeout(3 * self._seconds):
                taken = await _apart(send, lambda: self._busy.discard(signal))
        except TimeoutError as error:
            raise self._failed(signal, "no answer in time") from error
        if not taken:
            raise post.fault or self._failed(signal, post.why or "nothing")
        return post.answer

    def _failed(self, signal: str, why: str) -> EveryhopError:
        return EveryhopError(
            "telemetry-failed",
            f"expected the collector at {self._collector} to take {signal}, got {why}",
            hint="is it up, its certificate one that we trust, and its headers right? telemetry.otlp says where it is",
        )


class _Post(requests.Session):
    """The exporters' HTTP, with headers that they never see, and a memory of what went wrong."""

    def __init__(self, headers: Headers) -> None:
        super().__init__()
        self.trust_env = False
        self._secret_headers = headers
        self.why = ""
        self.fault: EveryhopError | None = None
        self.answer = b""

    def forget(self) -> None:
        """Begin anew."""
        self.why, self.fault, self.answer = "", None, b""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send one request; raises for what counts as no answer."""
        self.forget()
        try:
            request.headers.update(self._secret_headers())
            response = super().send(request, **{**options, "stream": True})
            with contextlib.closing(response):
                self._judge(response)
            return response
        except Exception as error:
            self.fault = error if isinstance(error, EveryhopError) else None
            self.why = self.why or _reason(error)
            raise

    def _judge(self, response: requests.Response) -> None:
        """Raise for a redirect, and for what no collector says: the exporter would take both for success."""
        if not HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            self.why = f"status {response.status_code}"
            if response.status_code < HTTPStatus.BAD_REQUEST:
                raise requests.RequestException(self.why)
            return
        body: bytes = response.raw.read(_LONGEST_ANSWER + 1, decode_content=True)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if len(body) > _LONGEST_ANSWER or kind == "text/html":
            self.why = "an answer that no collector gives"
            raise requests.RequestException(self.why)
        self.answer = body if kind == _PROTOBUF else b""


def _read(message: type[M], answer: bytes) -> M:
    """A collector's answer; one that cannot be read said at least 200."""
    try:
        return message.FromString(answer)
    except DecodeError:
        return message()


def _system_roots() -> str | None:
    """What OpenSSL trusts on this machine; None: what comes with the client."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath


def _reason(error: Exception) -> str:
    """What went wrong, in words of ours: those of others may hold what we sent."""
    if isinstance(error, requests.exceptions.SSLError):
        return "a certificate that does not verify"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    return type(error).__name__


async def _apart(work: Callable[[], T], ended: Callable[[], None]) -> T:
    """Run something in a thread that nobody has to wait for, not even the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(value)  # pyright: ignore[reportArgumentType]  # no error: it is a T

    def run() -> None:
        value, fault = None, None
        try:
            value = work()
        except Exception as error:  # noqa: BLE001  # it is raised where it is waited for
            fault = error
        finally:
            ended()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, fault)

    threading.Thread(target=run, name="everyhop-otlp", daemon=True).start()
    return await done
