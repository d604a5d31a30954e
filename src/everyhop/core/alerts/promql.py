"""Pieces of PromQL that several alerts share."""

from __future__ import annotations

from datetime import timedelta

from everyhop.core.sli.counts import NO_ATTEMPTS
from everyhop.core.sli.objective import LEAST_FAILURES, Burn

_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)), ("s", timedelta(seconds=1)))

HOP_OWNER = "* on (hop) group_left (owner) everyhop_hop_info"
"""Gives an expression by hop the hop's owner."""

ATTEMPTS = f'result!~"{"|".join(NO_ATTEMPTS)}"'
"""Results that are attempts at a handshake."""

UNSEEN = 'max by (hop) (everyhop_hop_posture{seen="unknown"} == 1)'
"""Hops of which nothing is known now."""

STRANGERS_ONLY = 'unless on (hop) (everyhop_hop_ok{hop=~"client -> .*"} == 1)'
"""Leaves out hops of callers from outside where our own handshake succeeds: what fails there is strangers' trouble."""

_SIGN_OF_LIFE = "everyhop_flow_detector_blind"


def unless_known(alert: str, expr: str, unknown: str, *, on: str) -> str:
    """A condition that goes on firing while it cannot be told: where ``unknown`` is about the same ``on``, and while
    everyhop itself is silent. Prometheus keeps what fires as a series, which is taken up without the labels that it
    adds itself."""
    firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    unsure = f"({firing} and on ({on}) ({unknown})) or ({firing} unless on () {_SIGN_OF_LIFE})"
    return f"({expr}) or max without (alertname, alertstate, severity, route, sli) ({unsure})"


def span(window: timedelta) -> str:
    """A duration as Prometheus writes it, in its largest whole unit: ``5m``, ``1d``."""
    unit, size = next((unit, size) for unit, size in _UNITS if window % size == timedelta(0) and window >= size)
    return f"{window // size}{unit}"


def error_ratio(window: timedelta) -> str:
    """The name of the recorded share of failed handshakes over a window."""
    return f"hop:tls_errors:ratio_rate{span(window)}"


def by_end(function: str, window: timedelta, *, matching: str) -> str:
    """A sum of connections by hop: as the serving end counts them, or the calling end where that one is mute."""
    ends = [
        f'sum by (hop) ({function}(everyhop_tls_connections_total{{end="{end}",{matching}}}[{span(window)}]))'
        for end in ("server", "client")
    ]
    return f"(({ends[0]} > 0) or {ends[1]})"


def burns(pairs: tuple[Burn, ...], window: timedelta, *, but: str = "") -> str:
    """Whether an error budget burns, by any pair of windows, with enough failures in ``window`` to say so; ``but``
    leaves hops out."""
    parts = [f"({_above(one.long, one.factor)} and on (hop) {_above(one.short, one.factor)})" for one in pairs]
    failures = by_end("increase", window, matching=f'{ATTEMPTS},result!="ok"')
    enough = f"{failures} >= {LEAST_FAILURES}"
    left_out = f"{but} unless on (hop) (everyhop_maintenance == 1)".lstrip()
    return f"(({' or '.join(parts)}) and on (hop) ({enough}) {left_out}) {HOP_OWNER}"


def _above(window: timedelta, factor: float) -> str:
    return f'{error_ratio(window)} > on (hop) ({factor:g} * (1 - everyhop_slo_objective{{sli="M2"}}))'
