"""Exports: Prometheus, Alertmanager and Grafana take what we write, and it says what everyhop itself does."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from tests.servers import need

from everyhop.core.alerts import ALERTS
from everyhop.core.export import alertmanager, grafana, prometheus, promtests
from everyhop.core.metrics import METRICS, MetricKind
from everyhop.core.validation import read

TOPOLOGY = """\
everyhop: 1
trust_domain: shop.internal
environment: test
owners:
  storefront: {contact: storefront@shop.example, page: [front, mail]}
  data: {contact: room 4}
services:
  web: {owner: storefront, listen: "127.0.0.1:7001", calls: [db]}
  db: {owner: data, listen: "127.0.0.1:7002"}
notify:
  receivers:
    front: {webhook: {url: "https://hooks.example/front", authorities: /etc/ssl/own.pem}}
    oncall: {webhook: {url: "https://hooks.example/oncall", secret: "credential:hook"}}
    mail:
      smtp:
        {server: "mail.example:587", sender: e@x.example, to: all@shop.example, user: e, password: "credential:smtp"}
  page: [oncall]
  ticket: [mail]
"""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- Prometheus -----------------------------------------------------------------------------------------------


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / prometheus.RULES_FILE).write_text(prometheus.rules(runbooks="https://docs.example/"))
    (tmp_path / promtests.TESTS_FILE).write_text(promtests.rule_tests(runbooks="https://docs.example/"))
    return tmp_path


def test_promtool_takes_the_rules_and_their_tests_pass(rules: Path) -> None:
    promtool = need("promtool", package="prometheus")
    assert f"{len(all_rules())} rules found" in run(promtool, "check", "rules", rules / prometheus.RULES_FILE)
    assert "SUCCESS" in run(promtool, "test", "rules", promtests.TESTS_FILE, cwd=rules)


def test_promtool_fails_where_a_rule_is_changed(rules: Path) -> None:
    """The tests that come along are worth something."""
    promtool = need("promtool", package="prometheus")
    file = rules / prometheus.RULES_FILE
    file.write_text(file.read_text().replace("> 20", "> 200"))
    done = subprocess.run(
        [promtool, "test", "rules", promtests.TESTS_FILE], cwd=rules, capture_output=True, check=False
    )
    assert done.returncode != 0


def all_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(prometheus.rules())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_alert_is_exported_and_fires_in_a_test() -> None:
    exported = {rule["alert"]: rule for rule in all_rules() if "alert" in rule}
    assert set(exported) == set(ALERTS)
    assert exported["HopNotSeen"]["annotations"]["runbook_url"] == "runbooks/HopNotSeen.md"
    assert exported["HopNotSeen"]["for"] == "5m"
    fired = {one.alert for case in promtests.CASES for one in case.expected if one.labels}
    quiet = {one.alert for case in promtests.CASES for one in case.expected if not one.labels}
    assert fired == set(ALERTS)
    assert len(quiet) > 10


# --- Alertmanager ---------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / alertmanager.CONFIG_FILE
    file.write_text(alertmanager.configuration(read(TOPOLOGY, file="f", today=date(2026, 3, 1))))
    return file


def test_amtool_takes_the_configuration_and_routes_by_owner(config: Path) -> None:
    amtool = need("amtool", package="prometheus-alertmanager")
    assert "SUCCESS" in run(amtool, "check-config", config)

    def routed(*labels: str) -> str:
        return run(amtool, "config", "routes", "test", f"--config.file={config}", *labels).strip()

    assert routed("owner=storefront", "route=page") == "storefront-page"
    assert routed("owner=storefront", "route=ticket") == "storefront-ticket"
    assert routed("owner=data", "route=page", "alertname=HopPostureWrong") == "data-page"
    assert routed("route=page") == "everybody-page"
    assert routed("owner=gone", "route=ticket") == "everybody-ticket"


def test_receivers_are_those_of_the_owner_and_hold_no_secret(config: Path) -> None:
    receivers = {one["name"]: one for one in yaml.safe_load(config.read_text())["receivers"]}
    assert [one["url"] for one in receivers["storefront-page"]["webhook_configs"]] == ["https://hooks.example/front"]
    assert receivers["storefront-page"]["email_configs"][0]["to"] == "storefront@shop.example"
    assert [one["url"] for one in receivers["data-page"]["webhook_configs"]] == ["https://hooks.example/oncall"]
    mail = receivers["data-ticket"]["email_configs"][0]
    assert (mail["to"], mail["require_tls"]) == ("all@shop.example", True)
    assert mail["auth_password_file"] == "/run/credentials/alertmanager.service/smtp"


def test_inhibition_is_that_of_the_alerts(config: Path) -> None:
    rules = yaml.safe_load(config.read_text())["inhibit_rules"]
    pairs = {(one["source_matchers"][0], one["target_matchers"][0]): one.get("equal") for one in rules}
    assert pairs['alertname="CertExpiry1d"', 'alertname="CertExpiry7d"'] == ["cert"]
    assert pairs['alertname="ObserverBlind"', 'alertname="HopNotSeen"'] is None
    assert len(pairs) == sum(len(alert.inhibited_by) for alert in ALERTS.values())


def test_a_topology_without_receivers_still_gives_a_configuration(tmp_path: Path) -> None:
    amtool = need("amtool", package="prometheus-alertmanager")
    file = tmp_path / "am.yml"
    plain = TOPOLOGY.partition("notify:")[0].replace(", page: [front, mail]", "")
    file.write_text(alertmanager.configuration(read(plain, file="f", today=date(2026, 3, 1))))
    run(amtool, "check-config", file)


# --- Grafana --------------------------------------------------------------------------------------------------


def panels() -> list[dict[str, Any]]:
    return [panel for text in grafana.dashboards().values() for panel in json.loads(text)["panels"]]


def test_every_query_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    promtool = need("promtool", package="prometheus")
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    rules = [{"record": f"panel:{number}:query", "expr": expr} for number, expr in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", file)
    recorded = {rule["record"] for rule in all_rules() if "record" in rule}
    known = set(METRICS) | {f"{name}_bucket" for name, one in METRICS.items() if one.kind is MetricKind.HISTOGRAM}
    for expr in queries:
        assert set(re.findall(r"\beveryhop_\w+", expr)) <= known
        assert set(re.findall(r"\b[a-z]+:[a-z0-9_]+:[a-z0-9_]+", expr)) <= recorded


def test_dashboards_fit_together() -> None:
    texts = grafana.dashboards()
    assert set(texts) == {"everyhop-executive.json", "everyhop-on-call.json", "everyhop-debug.json"}
    for text in texts.values():
        board = json.loads(text)
        places = [cast("dict[str, int]", panel["gridPos"]) for panel in board["panels"]]
        assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
        taken = {(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])}
        assert len(taken) == sum(place["w"] * place["h"] for place in places), "panels overlap"
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        assert "http" not in text, "nothing comes from elsewhere"
