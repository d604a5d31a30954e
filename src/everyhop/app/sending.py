"""Put together what sends metrics and traces.

Rules: as for the whole package: doors meet drivers here and nowhere else. The extra `everyhop[otlp]` is loaded only
when a topology names a collector.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from everyhop import __version__
from everyhop.core.sending import Otlp
from everyhop.drivers.notify.secret import CREDENTIAL, read_secret
from everyhop.errors import EveryhopError
from everyhop.ports import Telemetry

_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?\Z")
"""What may stand in a header (RFC 9110, 5.5), without what is not ASCII."""


def telemetry(otlp: Otlp, about: Mapping[str, str], base: Path) -> Telemetry:
    """A way to the collector of a topology, whose files are found beside it. Raises ``telemetry-failed`` if the extra
    is not installed."""
    try:
        from everyhop.drivers.telemetry.otlp import OtlpTelemetry
    except ImportError as error:
        raise EveryhopError(
            "telemetry-failed",
            f"expected the packages that speak OTLP, got none named {error.name}",
            hint="pip install 'everyhop[otlp]', or remove telemetry: from the topology",
        ) from error
    return OtlpTelemetry(
        otlp.endpoint,
        {**about, "service.version": __version__},
        headers=header_values(otlp.headers, lambda place: read_secret(place, base=base, environment=os.environ)),
        roots=base / otlp.authorities if otlp.authorities else None,
    )


def header_values(places: Mapping[str, str], read: Callable[[str], str]) -> Callable[[], Mapping[str, str]]:
    """The values of headers, read from their places whenever they are asked for.

    Raises ``telemetry-failed`` then; who wrote a value where its place belongs does not read it in the message.
    """

    def value(name: str, place: str) -> str:
        try:
            secret = read(place)
        except EveryhopError as error:
            known = place.startswith((CREDENTIAL, "/"))
            raise EveryhopError(
                "telemetry-failed",
                error.message if known else f"expected the header {name} to name a file that can be read, got none",
                hint=error.hint if known else "write its value to a file (mode 600), and that file's path here",
            ) from None
        if not _VALUE.match(secret):
            raise EveryhopError(
                "telemetry-failed",
                f"expected one line of ASCII for the header {name}, got something else",
                hint="check the file",
            )
        return secret

    return lambda: {name: value(name, place) for name, place in places.items()}
