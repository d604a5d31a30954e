"""What a topology file says about sending: the collector that takes metrics and traces.

Rules: nothing is sent unless the file names a collector. No secret stands in the file: a header names the file that
holds its value, or a credential that systemd passes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from everyhop.core import literals as lit
from everyhop.core.section import InNameOrder, Part
from everyhop.core.telling import SecretPlace

HeaderName = Annotated[str, lit.HEADER]
Signal = Literal["metrics", "traces"]
METRICS: Signal = "metrics"
TRACES: Signal = "traces"


def _no_headers() -> Mapping[str, str]:
    return MappingProxyType({})


class Otlp(Part):
    """A collector that speaks OTLP over HTTP, as the OpenTelemetry Collector does. It needs the extra
    `everyhop[otlp]`."""

    endpoint: Annotated[str, lit.BASE_URL] = Field(examples=["https://collector.example:4318"])
    """The collector, to which `/v1/metrics` and `/v1/traces` are added: https, verified; http only to this machine."""
    headers: Annotated[Mapping[HeaderName, SecretPlace], InNameOrder] = Field(
        default_factory=_no_headers, examples=[{"authorization": "credential:otlp"}]
    )
    """Headers by name, each with the file that holds its value, or `credential:` and the name of a systemd credential.
    Default: none."""
    authorities: Annotated[str, lit.text("a file")] | None = Field(default=None, examples=["/etc/ssl/private-ca.pem"])
    """The roots (PEM) that the collector's certificate is verified against. Default: those of the system."""
    every: Annotated[timedelta, lit.duration("1s", "1h")] = Field(default=timedelta(seconds=15), examples=["15s"])
    """How often something is sent. Default: 15s, as often as indicators are measured."""
    signals: Annotated[tuple[Signal, ...], Field(min_length=1)] = Field(
        default=(METRICS, TRACES), examples=[["metrics", "traces"]]
    )
    """What is sent: metrics, traces. Default: both; some receivers take only one of them."""


class Telemetry(Part):
    """Where numbers and traces are sent. Without it nothing leaves the machine."""

    otlp: Otlp | None = Field(default=None)
    """A collector of OpenTelemetry. Default: nothing is sent."""
