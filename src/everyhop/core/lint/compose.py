"""What goes wrong in Compose files (compose-spec): what services are told, and how they are called.

Rules: a service's name is another host, because the network between containers is one; only loopback is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.manifest import Manifest, Node, parse_manifest
from everyhop.core.lint.reasons import (
    KEY_LOG,
    KEY_LOG_SOURCE,
    PLAIN_HOP,
    PLAIN_HOP_SOURCE,
    UNVERIFIED,
    UNVERIFIED_SOURCE,
)
from everyhop.core.lint.rule import File, Hit, Language, Rule
from everyhop.core.lint.surroundings import Setting, key_logs, plain_settings, unverified_settings

_SERVICES = re.compile(r"^services\s{0,9}:", re.MULTILINE)
_INSIDE = re.compile(r"^\s{1,9}(?:image|build|extends)\s{0,9}:", re.MULTILINE)


def _reads(file: File) -> bool:
    named = file.path.endswith((".yaml", ".yml"))
    return named and _SERVICES.search(file.text) is not None and _INSIDE.search(file.text) is not None


def settings(manifest: Manifest) -> Iterator[Setting]:
    """Every variable and argument of every service."""
    for document in manifest.documents:
        services = document.get("services")
        for _, service in services.items() if services else ():
            yield from _variables(service)
            for field in (("command",), ("entrypoint",), ("healthcheck", "test")):
                yield from _arguments(service, *field)


def _variables(service: Node) -> Iterator[Setting]:
    environment = service.get("environment")
    if environment is None:
        return
    for name, value in environment.items():
        yield Setting(name, value.text(), value.at())
    for one in environment.each():
        name, _, value = one.text().partition("=")
        yield Setting(name, value, one.at())


def _arguments(service: Node, *field: str) -> Iterator[Setting]:
    found = service.get(*field)
    if found is None:
        return
    words = [one.text() for one in found.each()]
    yield Setting("", " ".join(words) if words else found.text(), found.at())


def _on(check: Callable[[Iterator[Setting]], Iterator[Hit]]) -> Callable[[Manifest, Guideline], Iterator[Hit]]:
    return lambda manifest, guideline: check(settings(manifest))


def _service(variable: str) -> str:
    return f"services:\n  web:\n    image: shop/web\n    environment:\n      {variable}\n"


_GOOD = _service("DATABASE_URL: postgres://web@db/shop?sslmode=verify-full")

RULES: tuple[Rule[Manifest], ...] = (
    Rule(
        "compose-hop-plain",
        Severity.HIGH,
        PLAIN_HOP_SOURCE,
        PLAIN_HOP,
        "use the scheme with TLS (https, rediss, amqps, mqtts, sslmode=verify-full), or a sidecar on loopback",
        bad=_service("QUEUE: amqp://queue:5672"),
        good=_GOOD,
        check=_on(plain_settings),
    ),
    Rule(
        "compose-verification-off",
        Severity.HIGH,
        UNVERIFIED_SOURCE,
        UNVERIFIED,
        "take the switch out and give the service the authority's certificate instead",
        bad=_service('NODE_TLS_REJECT_UNAUTHORIZED: "0"'),
        good=_GOOD,
        check=_on(unverified_settings),
    ),
    Rule(
        "compose-keylog",
        Severity.CRITICAL,
        KEY_LOG_SOURCE,
        KEY_LOG,
        "take the variable out",
        bad=_service("SSLKEYLOGFILE: /tmp/keys.log"),
        good=_GOOD,
        check=_on(key_logs),
    ),
)

COMPOSE: Language[Manifest] = Language("Compose file", "compose.yaml", _reads, parse_manifest, RULES)
