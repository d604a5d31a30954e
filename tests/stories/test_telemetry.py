"""A real mesh sends to a collector; the collector goes away and comes back, everyhop is killed, and nothing is lost."""

from __future__ import annotations

import pytest
from tests.servers.collector import Answer, Collector, attributes
from tests.stories.harness import Everyhop, filled, served, until
from tests.stories.ports import free_port

from everyhop.core.metrics import METRICS, TLS_HANDSHAKE_SECONDS

pytestmark = pytest.mark.story

TOPOLOGY = """\
everyhop: 1
trust_domain: small.internal
environment: test
owners:
  us: {contact: us@small.example}
services:
  web: {owner: us, listen: "127.0.0.1:$web", calls: [api]}
  api: {owner: us, listen: "127.0.0.1:$api", protocol: tcp}
policy:
  heartbeat: 200ms
telemetry:
  otlp:
    endpoint: "$collector"
    headers: {authorization: token}
    every: 1s
"""
STEPS = {"intend", "sign", "push and acknowledge", "see on the wire"}


def renewals(collector: Collector) -> dict[str, str]:
    """Traces of renewals by their requests."""
    wholes = [one for one in collector.spans() if one.name == "renewal"]
    return {str(attributes(one.attributes)["everyhop.request"]): one.trace_id.hex() for one in wholes}


def rotated(collector: Collector) -> bool:
    return any(one.name == "rotation of the intermediate" for one in collector.spans())


def test_metrics_and_traces_of_a_real_mesh_reach_a_collector() -> None:
    with Collector() as collector, Everyhop(filled(TOPOLOGY, collector=collector.url)) as mesh:
        token = mesh.home / "token"
        token.touch(mode=0o600)
        token.write_text("Bearer s3cret")
        mesh.up()
        until(lambda: (found := mesh.look()) is not None and served(found), "every certificate to be served")
        until(lambda: len(renewals(collector)) == 2, "the traces of both certificates")
        until(lambda: TLS_HANDSHAKE_SECONDS.name in collector.metrics(), "the metrics")
        assert set(collector.metrics()) <= set(METRICS)
        assert collector.headers["authorization"] == "Bearer s3cret"
        about = collector.about[-1]
        assert about["everyhop.trust_domain"] == "small.internal"
        assert about["deployment.environment.name"] == "test"

        collector.answer = lambda _: Answer(503)
        mesh.run("rotate", "intermediate")
        until(lambda: served(mesh.status()) and mesh.status().rotation is not None, "the rotation to end")
        mesh.kill9()
        mesh.up()
        collector.answer = lambda _: Answer()
        until(lambda: rotated(collector), "the trace of the rotation", seconds=60)
        spans = collector.spans()
        (whole,) = [one for one in spans if one.name == "rotation of the intermediate"]
        states = [one.name for one in spans if one.trace_id == whole.trace_id and one.parent_span_id]
        assert states == ["creating", "reissuing", "retiring"]
        found = renewals(collector)
        assert len(found) == len(set(found.values())) == 4
        for trace in found.values():
            assert {one.name for one in spans if one.trace_id.hex() == trace} == {"renewal", *STEPS}
        assert "s3cret" not in mesh.logs() + (mesh.data / "everyhop.log").read_text()


def test_a_mesh_whose_collector_is_down_says_so_once_and_goes_on() -> None:
    with Everyhop(filled(TOPOLOGY, collector=f"http://127.0.0.1:{free_port()}")) as mesh:
        token = mesh.home / "token"
        token.touch(mode=0o600)
        token.write_text("Bearer s3cret")
        mesh.up()
        until(lambda: (found := mesh.look()) is not None and served(found), "every certificate to be served")
        log = mesh.data / "everyhop.log"
        until(
            lambda: log.read_text().count('"telemetry-failed"') == 2,
            "a fault for metrics and one for traces",
            seconds=90,
        )
        mesh.stop()
        assert log.read_text().count('"telemetry-failed"') == 2
        assert "Traceback" not in mesh.output.read_text()
