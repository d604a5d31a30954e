"""OTLP against a collector on loopback: what arrives is what was measured, and its troubles stay its own."""

from __future__ import annotations

import asyncio
import gzip
import logging
import math
import resource
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from tests.core.test_spans import RENEWAL
from tests.fakes.clock import START
from tests.fakes.pki import CA
from tests.servers.collector import Answer, Collector, attributes, rejecting

from everyhop import __version__
from everyhop.app.sending import header_values, telemetry
from everyhop.core import metrics as m
from everyhop.core.metrics import METRICS, MetricKind, Sample, sample
from everyhop.core.sending import Otlp
from everyhop.core.spans import renewal_spans
from everyhop.drivers.telemetry.otlp import OtlpTelemetry
from everyhop.errors import EveryhopError

ABOUT = {"service.name": "everyhop", "service.version": "0", "everyhop.trust_domain": "shop.internal"}
BEGAN, AT = START, START + timedelta(minutes=5, microseconds=1)
SPANS = renewal_spans(RENEWAL, "here")
GAUGE = sample(m.HOP_OK, 1, hop="web -> api")
SECRET = "tr0ub4dor"
BOMB = gzip.compress(bytes(50_000_000))


def one_of(metric: m.Metric) -> Sample:
    """A sample of any metric."""
    labels = tuple(f"a {name}" for name in metric.labels)
    if metric.kind is MetricKind.HISTOGRAM:
        return Sample(metric, labels, 0.75, ((0.001, 2), (0.01, 2), (0.1, 5), (math.inf, 7)))
    return Sample(metric, labels, 3)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def nanoseconds(after: timedelta) -> int:
    return int(START.timestamp()) * 10**9 + after // timedelta(microseconds=1) * 1000


def send(way: OtlpTelemetry, *, traces: bool = False) -> int:
    return asyncio.run(way.spans(SPANS) if traces else way.metrics([GAUGE], began_at=BEGAN, at=AT))


def refusal(way: OtlpTelemetry, *, traces: bool = False) -> str:
    with pytest.raises(EveryhopError) as refused:
        send(way, traces=traces)
    assert refused.value.code.name == "telemetry-failed"
    return str(refused.value)


# --- what arrives ---------------------------------------------------------------------------------------------


def test_every_metric_arrives_with_its_type_its_times_and_its_labels(collector: Collector) -> None:
    way = OtlpTelemetry(collector.url, ABOUT)
    assert asyncio.run(way.metrics([one_of(one) for one in METRICS.values()], began_at=BEGAN, at=AT)) == 0
    came = collector.metrics()
    assert set(came) == set(METRICS)
    for name, metric in METRICS.items():
        got = came[name]
        assert got.description == metric.help
        assert got.unit == ("s" if name.endswith("_seconds") else "")
        labels = {label: f"a {label}" for label in metric.labels}
        if metric.kind is MetricKind.HISTOGRAM:
            (histogram,) = got.histogram.data_points
            assert got.histogram.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            assert list(histogram.explicit_bounds) == [0.001, 0.01, 0.1]
            assert list(histogram.bucket_counts) == [2, 0, 3, 2]
            assert (histogram.count, histogram.sum) == (7, 0.75)
            assert not histogram.HasField("min")
            assert not histogram.HasField("max")
            assert histogram.start_time_unix_nano == nanoseconds(timedelta(0))
            point = histogram
        elif metric.kind is MetricKind.COUNTER:
            (point,) = got.sum.data_points
            assert got.sum.is_monotonic
            assert got.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            assert point.start_time_unix_nano == nanoseconds(timedelta(0))
            assert point.as_double == 3
        else:
            (point,) = got.gauge.data_points
            assert point.as_double == 3
        assert point.time_unix_nano == nanoseconds(timedelta(minutes=5, microseconds=1))
        assert attributes(point.attributes) == labels
    assert collector.about == [ABOUT]
    assert collector.headers["content-type"] == "application/x-protobuf"


def test_spans_arrive_with_their_own_ids_and_times(collector: Collector) -> None:
    way = OtlpTelemetry(collector.url, ABOUT)
    failed = replace(RENEWAL, request="other", fault="the proxy refused it")
    asyncio.run(way.spans([*SPANS, *renewal_spans(failed, "here")]))
    came = collector.spans()
    assert [(one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex()) for one in came[: len(SPANS)]] == [
        (one.trace, one.span, one.parent) for one in SPANS
    ]
    assert [one.name for one in came[:5]] == [one.name for one in SPANS]
    assert attributes(came[0].attributes) == dict(SPANS[0].attributes)
    assert came[0].start_time_unix_nano == nanoseconds(timedelta(0))
    assert came[0].end_time_unix_nano == nanoseconds(timedelta(seconds=5))
    assert came[0].status.code == Status.STATUS_CODE_UNSET
    assert (came[5].status.code, came[5].status.message) == (Status.STATUS_CODE_ERROR, "the proxy refused it")
    assert collector.about == [ABOUT]


def test_nothing_of_the_environment_is_told_or_obeyed(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "stolen=yes")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    way = OtlpTelemetry(collector.url, ABOUT)
    send(way)
    send(way, traces=True)
    assert collector.about == [ABOUT, ABOUT]


def test_headers_are_read_at_each_delivery(collector: Collector) -> None:
    values = {"authorization": "Bearer one"}
    way = OtlpTelemetry(collector.url, ABOUT, headers=lambda: values)
    send(way)
    assert collector.headers["authorization"] == "Bearer one"
    values["authorization"] = "Bearer two"
    send(way, traces=True)
    assert collector.headers["authorization"] == "Bearer two"


# --- collectors in trouble ------------------------------------------------------------------------------------


def test_a_collector_that_refuses_or_sends_elsewhere_did_not_take_it(collector: Collector) -> None:
    way = OtlpTelemetry(collector.url, ABOUT, seconds=0.5)
    for status in (302, 307, 400, 401, 404, 429, 500, 503):
        collector.answer = lambda _, status=status: Answer(status, headers={"Location": "/elsewhere"})
        for traces in (False, True):
            assert f"got status {status}" in refusal(way, traces=traces)
    assert not collector.requests
    collector.answer = lambda _: Answer()
    assert send(way) == send(way, traces=True) == 0, "it is taken as soon as the collector takes it"


def test_what_a_collector_refuses_for_good_is_counted(collector: Collector) -> None:
    collector.answer = rejecting(7)
    way = OtlpTelemetry(collector.url, ABOUT)
    assert send(way) == 7
    assert send(way, traces=True) == 7


@pytest.mark.parametrize("body", [b"", b"\xff" * 100, b"{}", bytes(range(256))])
def test_an_answer_that_cannot_be_read_is_no_matter(collector: Collector, body: bytes) -> None:
    collector.answer = lambda _: Answer(body=body)
    assert send(OtlpTelemetry(collector.url, ABOUT)) == 0


@pytest.mark.parametrize("answer", [Answer(body=b"<html>", kind="text/html"), Answer(body=b"x" * 2_000_000)])
def test_a_web_page_or_an_endless_answer_is_no_collector_s(collector: Collector, answer: Answer) -> None:
    collector.answer = lambda _: answer
    assert "got an answer that no collector gives" in refusal(OtlpTelemetry(collector.url, ABOUT))


def test_packed_answers_neither_hurt_nor_grow(collector: Collector) -> None:
    """Garbage, fifty megabytes of nothing, and packed garbage."""
    way = OtlpTelemetry(collector.url, ABOUT, seconds=0.5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for body in (b"not gzip", BOMB):
        collector.answer = lambda _, body=body: Answer(body=body, headers={"Content-Encoding": "gzip"})
        assert "expected the collector at localhost to take metrics" in refusal(way)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000, "kilobytes more"
    collector.answer = lambda _: Answer(body=gzip.compress(b"\xff" * 99), headers={"Content-Encoding": "gzip"})
    assert send(way) == 0


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300))
def test_whatever_a_collector_answers_is_read_without_harm(body: bytes) -> None:
    with Collector() as collector:
        collector.answer = lambda _: Answer(body=body)
        assert send(OtlpTelemetry(collector.url, ABOUT)) >= 0


def test_who_does_not_speak_http_is_no_collector() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        async def story() -> None:
            async def answer() -> None:
                while True:
                    peer, _ = await asyncio.get_running_loop().sock_accept(server)
                    peer.send(b"SSH-2.0-garbage\r\n\x00\xff")
                    peer.close()

            server.setblocking(False)
            garbage = asyncio.create_task(answer())
            with pytest.raises(EveryhopError, match="got no connection"):
                await OtlpTelemetry(url, ABOUT, seconds=0.5).metrics([GAUGE], began_at=BEGAN, at=AT)
            garbage.cancel()

        asyncio.run(story())


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = refusal(OtlpTelemetry(f"http://127.0.0.1:{port}", ABOUT, seconds=0.5))
    assert "expected the collector at 127.0.0.1 to take metrics, got no connection" in told


def test_a_collector_that_never_answers_holds_one_thread_and_no_loop(collector: Collector) -> None:
    """Deliveries are given up; while the first one hangs, no other begins; the loop goes on all the time."""
    collector.held.clear()
    way = OtlpTelemetry(collector.url, ABOUT, seconds=0.3)

    async def story() -> None:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        heart = asyncio.create_task(beat())
        with pytest.raises(EveryhopError, match="got no answer in time"):
            await way.metrics([GAUGE], began_at=BEGAN, at=AT)
        assert beats > 3
        heart.cancel()

    asyncio.run(story())


def test_one_that_drips_is_given_up_and_not_asked_a_second_time() -> None:
    """A byte now and then keeps every single wait short: only the whole has an end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        way = OtlpTelemetry(f"http://127.0.0.1:{server.getsockname()[1]}", ABOUT, seconds=0.3)

        async def story() -> None:
            loop = asyncio.get_running_loop()

            async def drip() -> None:
                peer, _ = await loop.sock_accept(server)
                with peer:
                    peer.setblocking(False)
                    await loop.sock_sendall(peer, b"HTTP/1.1 200 OK\r\nX: ")
                    while True:
                        await asyncio.sleep(0.05)
                        await loop.sock_sendall(peer, b"x")

            dripping = asyncio.create_task(drip())
            with pytest.raises(EveryhopError, match="got no answer in time"):
                await way.metrics([GAUGE], began_at=BEGAN, at=AT)
            with pytest.raises(EveryhopError, match="got no end of its former answer"):
                await way.metrics([GAUGE], began_at=BEGAN, at=AT)
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)

        asyncio.run(story())


# --- TLS ------------------------------------------------------------------------------------------------------


def test_the_collector_s_certificate_is_verified(tmp_path: Path) -> None:
    authority = CA("collectors")
    (tmp_path / "roots.pem").write_bytes(authority.pem)
    (tmp_path / "other.pem").write_bytes(CA("others").pem)
    with Collector(authority.issue("localhost").server_context()) as collector:
        for roots in (None, tmp_path / "other.pem"):
            told = refusal(OtlpTelemetry(collector.url, ABOUT, roots=roots, seconds=0.5))
            assert "got a certificate that does not verify" in told
        by_address = collector.url.replace("localhost", "127.0.0.1")
        told = refusal(OtlpTelemetry(by_address, ABOUT, roots=tmp_path / "roots.pem", seconds=0.5))
        assert "does not verify" in told
        assert not collector.requests
        assert send(OtlpTelemetry(collector.url, ABOUT, roots=tmp_path / "roots.pem")) == 0
    assert "telemetry.otlp" in refusal(OtlpTelemetry("https://localhost:9", ABOUT, roots=tmp_path / "gone.pem"))


# --- secrets --------------------------------------------------------------------------------------------------


def made(read: Callable[[str], str], places: Mapping[str, str], url: str) -> OtlpTelemetry:
    return OtlpTelemetry(url, ABOUT, headers=header_values(places, read), seconds=0.5)


def test_no_secret_is_told_whatever_goes_wrong(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for value in (f"{SECRET}\r\nX-Evil: 1", f"{SECRET}\x00", f"{SECRET}ü", f" {SECRET}"):
        way = made(lambda _, value=value: value, {"authorization": "/etc/secret"}, collector.url)
        told = refusal(way)
        assert "expected one line of ASCII for the header authorization" in told
        assert SECRET not in told
    collector.answer = lambda _: Answer(401, body=SECRET.encode())
    way = made(lambda _: SECRET, {"authorization": "/etc/secret"}, collector.url)
    assert SECRET not in refusal(way) + refusal(way, traces=True) + repr(way) + str(vars(way))
    assert SECRET not in caplog.text


def test_who_writes_the_secret_in_the_place_of_its_file_does_not_read_it_back(
    tmp_path: Path, collector: Collector
) -> None:
    otlp = Otlp(endpoint=collector.url, headers={"authorization": f"Bearer {SECRET}"})
    way = telemetry(otlp, ABOUT, tmp_path)
    with pytest.raises(EveryhopError) as refused:
        asyncio.run(way.metrics([GAUGE], began_at=BEGAN, at=AT))
    assert refused.value.code.name == "telemetry-failed"
    assert "expected the header authorization to name a file" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_topology_s_collector_gets_its_headers_from_files_that_only_we_can_read(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"Bearer {SECRET}\n")
    (tmp_path / "token").chmod(0o644)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    way = telemetry(Otlp(endpoint=collector.url, headers={"authorization": str(tmp_path / "token")}), ABOUT, tmp_path)
    with pytest.raises(EveryhopError, match="with mode 644"):
        asyncio.run(way.spans(SPANS))
    (tmp_path / "token").chmod(0o600)
    asyncio.run(way.spans(SPANS))
    assert collector.headers["authorization"] == f"Bearer {SECRET}"
    assert collector.about[-1]["service.version"] == __version__
    by_systemd = Otlp(endpoint=collector.url, headers={"x-token": "credential:token"})
    asyncio.run(telemetry(by_systemd, ABOUT, tmp_path).spans(SPANS))
    assert collector.headers["x-token"] == f"Bearer {SECRET}"


def test_without_the_extra_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "everyhop.drivers.telemetry.otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(EveryhopError) as refused:
        telemetry(Otlp(endpoint="https://collector.example:4318"), {}, Path("/"))
    assert refused.value.code.name == "telemetry-failed"
    assert "pip install 'everyhop[otlp]'" in refused.value.hint
