"""An Alertmanager configuration from a topology: each owner's pages and tickets to the receivers that the file names.

Rules: one group an owner and route, as everyhop itself sends them. Inhibition is that of the alerts. Secrets stay in
files: what the topology calls a credential is expected where systemd puts those of ``alertmanager.service``.
"""

from __future__ import annotations

from typing import Any

from everyhop.core.alerts import ALERTS
from everyhop.core.alerts.alert import Alert
from everyhop.core.alerts.state import Route
from everyhop.core.export.text import as_yaml
from everyhop.core.literals import is_email
from everyhop.core.telling import Smtp, Webhook
from everyhop.core.topology import Owner, Topology

CONFIG_FILE = "alertmanager.yml"
_MADE_BY = "everyhop export alertmanager"
_CREDENTIAL, _CREDENTIALS = "credential:", "/run/credentials/alertmanager.service/"
_REPEAT = {Route.PAGE: "4h", Route.TICKET: "24h"}
_WAIT = {Route.PAGE: "10s", Route.TICKET: "5m"}


def configuration(topology: Topology) -> str:
    """The configuration file."""
    owners = [_owner_route(name) for name in topology.owners]
    shared = [_way("everybody", route) for route in Route]
    value = {
        "route": {
            "receiver": "everybody-ticket",
            "group_by": ["owner", "route"],
            "group_interval": "5m",
            "routes": [*owners, *shared],
        },
        "receivers": [
            *(_receiver(topology, name, owner, route) for name, owner in topology.owners.items() for route in Route),
            *(_receiver(topology, "everybody", None, route) for route in Route),
        ],
        "inhibit_rules": [_inhibition(alert, name) for alert in ALERTS.values() for name in alert.inhibited_by],
    }
    return as_yaml(value, made_by=_MADE_BY)


def receiver_name(owner: str, route: Route) -> str:
    """The receiver of an owner's alerts of one route."""
    return f"{owner}-{route}"


def _owner_route(owner: str) -> dict[str, Any]:
    return {
        "matchers": [f'owner="{owner}"'],
        "receiver": receiver_name(owner, Route.TICKET),
        "routes": [_way(owner, route) for route in Route],
    }


def _way(owner: str, route: Route) -> dict[str, Any]:
    return {
        "matchers": [f'route="{route}"'],
        "receiver": receiver_name(owner, route),
        "group_wait": _WAIT[route],
        "repeat_interval": _REPEAT[route],
    }


def _receiver(topology: Topology, name: str, owner: Owner | None, route: Route) -> dict[str, Any]:
    page = route is Route.PAGE
    own = (owner.page if page else owner.ticket) if owner else ()
    names = own or (topology.notify.page if page else topology.notify.ticket)
    chosen = [topology.notify.receivers[one] for one in dict.fromkeys(names)]
    webhooks = [_webhook(one.webhook) for one in chosen if one.webhook]
    mails = [_mail(one.smtp, owner) for one in chosen if one.smtp]
    return {
        "name": receiver_name(name, route),
        **({"webhook_configs": webhooks} if webhooks else {}),
        **({"email_configs": mails} if mails else {}),
    }


def _webhook(webhook: Webhook) -> dict[str, Any]:
    trust = {"http_config": {"tls_config": {"ca_file": webhook.authorities}}} if webhook.authorities else {}
    return {"url": webhook.url, "send_resolved": True, **trust}


def _mail(smtp: Smtp, owner: Owner | None) -> dict[str, Any]:
    contact = owner.contact if owner and is_email(owner.contact) else smtp.to
    login = {"auth_username": smtp.user, "auth_password_file": _place(smtp.password)} if smtp.password else {}
    trust = {"tls_config": {"ca_file": smtp.authorities}} if smtp.authorities else {}
    # Alertmanager speaks TLS from the first byte on port 465 only; anywhere else it has to upgrade, or not to send.
    implicit = smtp.security == "tls" and smtp.server.endswith(":465")
    head = {"to": contact, "from": smtp.sender, "smarthost": smtp.server, "require_tls": not implicit}
    return {**head, **login, "send_resolved": True, **trust}


def _place(secret: str) -> str:
    return _CREDENTIALS + secret.removeprefix(_CREDENTIAL) if secret.startswith(_CREDENTIAL) else secret


def _inhibition(alert: Alert, source: str) -> dict[str, Any]:
    same = {"equal": [alert.subject_label]} if ALERTS[source].subject_label else {}
    return {
        "source_matchers": [f'alertname="{source}"'],
        "target_matchers": [f'alertname="{alert.name}"'],
        **same,
    }
