"""What services are told by their surroundings: variables and arguments, wherever they are written down.

Rules: Compose and Kubernetes spell variables differently and mean the same, so what is wrong with one is said here
once. A setting has a name, a text and a place; names decide only where everybody uses them so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from everyhop.core.finding import Severity
from everyhop.core.lint.commands import unverified_commands
from everyhop.core.lint.hops import plain_hops
from everyhop.core.lint.rule import Hit, Place

_SWITCHES = {
    "NODE_TLS_REJECT_UNAUTHORIZED": re.compile(r"0|false", re.IGNORECASE),
    "PYTHONHTTPSVERIFY": re.compile(r"0|false", re.IGNORECASE),
    "GIT_SSL_NO_VERIFY": re.compile(r"1|true|yes", re.IGNORECASE),
    "NPM_CONFIG_STRICT_SSL": re.compile(r"0|false", re.IGNORECASE),
    "VAULT_SKIP_VERIFY": re.compile(r"1|true|yes", re.IGNORECASE),
    "CONSUL_HTTP_SSL_VERIFY": re.compile(r"0|false", re.IGNORECASE),
    "NOMAD_SKIP_VERIFY": re.compile(r"1|true|yes", re.IGNORECASE),
    "DOCKER_TLS_VERIFY": re.compile(r"0?|false", re.IGNORECASE),
    "SSL_VERIFY": re.compile(r"0|false|no|none", re.IGNORECASE),
    "VERIFY_SSL": re.compile(r"0|false|no|none", re.IGNORECASE),
    "TLS_SKIP_VERIFY": re.compile(r"1|true|yes", re.IGNORECASE),
    "TLS_INSECURE": re.compile(r"1|true|yes", re.IGNORECASE),
    "INSECURE_SKIP_VERIFY": re.compile(r"1|true|yes", re.IGNORECASE),
    "PGSSLMODE": re.compile(r"disable|allow|prefer", re.IGNORECASE),
}
"""Variables that switch verification off, each with the values that do."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable or argument."""

    name: str
    """Empty for an argument."""
    value: str
    place: Place


def plain_settings(settings: Iterable[Setting]) -> Iterator[Hit]:
    """Addresses to which plaintext goes."""
    for one in settings:
        for hop in plain_hops(one.value):
            named = f"{one.name}: " if one.name else ""
            yield Hit(one.place, hop.statement, f"{named}{hop.what}", hop.severity)


def unverified_settings(settings: Iterable[Setting]) -> Iterator[Hit]:
    """Switches that leave the other side unverified."""
    for one in settings:
        switch = _SWITCHES.get(one.name.upper())
        if switch and switch.fullmatch(one.value.strip()):
            yield Hit(one.place, f"expected verification to stay on, got {one.name}={one.value}", one.name)
        if not one.name:
            for command in unverified_commands(one.value):
                yield Hit(one.place, command.statement, command.what, command.severity)


def key_logs(settings: Iterable[Setting]) -> Iterator[Hit]:
    """Variables that have the keys of connections written down."""
    for one in settings:
        if one.name == "SSLKEYLOGFILE" and one.value.strip():
            yield Hit(one.place, "expected no key log, got SSLKEYLOGFILE", one.name, Severity.CRITICAL)
