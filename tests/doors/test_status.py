"""The status door: both formats are what Prometheus' own parsers read, and say what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import cast

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as plain
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.fakes.clock import START, MovedClock

from everyhop.core import metrics as m
from everyhop.core.metrics import METRICS, MetricKind, Sample, sample
from everyhop.doors.status.routes import routes

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
HOSTILE = 'a "quoted"\nline \\ and \u2192'


def openmetrics(text: str) -> Iterable[Metric]:
    return cast("Iterable[Metric]", openmetrics_parser.text_string_to_metric_families(text))  # pyright: ignore[reportUnknownMemberType]  # untyped


class Measured:
    """A meter that measured this."""

    def __init__(self) -> None:
        self.judged_at: datetime | None = None
        self.all: list[Sample] = []

    def samples(self) -> Sequence[Sample]:
        return self.all


def everything() -> list[Sample]:
    """A sample of every metric."""
    found: list[Sample] = []
    for metric in METRICS.values():
        labels = tuple(HOSTILE if name == "owner" else f"{name}-1" for name in metric.labels)
        buckets = ((0.001, 3), (0.002, 5), (math.inf, 6)) if metric.kind is MetricKind.HISTOGRAM else ()
        found.append(Sample(metric, labels, 1.5 if buckets else 7, buckets))
    return found


@pytest.fixture
def scene() -> tuple[TestClient, Measured, MovedClock]:
    measured, clock = Measured(), MovedClock()
    return TestClient(Starlette(routes=routes(measured, clock))), measured, clock


@pytest.mark.parametrize("accept", ["text/plain;version=0.0.4", OPENMETRICS, ""])
def test_every_metric_is_read_back(scene: tuple[TestClient, Measured, MovedClock], accept: str) -> None:
    client, measured, _ = scene
    measured.all = everything()
    answer = client.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(accept.partition(";")[0] or "text/plain")
    read = openmetrics if accept == OPENMETRICS else plain
    families = {family.name: family for family in read(answer.text)}
    for metric in METRICS.values():
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind.value
        assert family.documentation == metric.help
        value = next(one for one in family.samples if one.name in (metric.name, f"{metric.name}_sum"))
        assert set(value.labels) == set(metric.labels)
        assert value.labels.get("owner", HOSTILE) == HOSTILE
        assert value.value == (1.5 if metric.kind is MetricKind.HISTOGRAM else 7)
    buckets = [one for one in families[m.TLS_HANDSHAKE_SECONDS.name].samples if one.name.endswith("_bucket")]
    assert [(one.labels["le"], one.value) for one in buckets] == [("0.001", 3), ("0.002", 5), ("+Inf", 6)]


def test_nothing_measured_is_an_empty_page(scene: tuple[TestClient, Measured, MovedClock]) -> None:
    client, _, _ = scene
    assert client.get("/metrics").text == ""
    assert client.get("/metrics", headers={"accept": OPENMETRICS}).text == "# EOF\n"
    assert client.post("/metrics").status_code == 405


def test_health_and_readiness(scene: tuple[TestClient, Measured, MovedClock]) -> None:
    client, measured, clock = scene
    assert (client.get("/readyz").status_code, client.get("/healthz").status_code) == (503, 200)
    measured.judged_at = START
    assert (client.get("/readyz").status_code, client.get("/healthz").text) == (200, "ok\n")
    clock.move(timedelta(minutes=3))
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (503, "the last judgement is 180 s old\n")
    assert answer.headers["cache-control"] == "no-store"


def test_a_sample_has_exactly_its_labels() -> None:
    assert sample(m.HOP_OK, True, hop="web -> api").labels == ("web -> api",)
    with pytest.raises(KeyError):
        sample(m.HOP_OK, 1)
