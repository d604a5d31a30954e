"""Objectives, error budgets and how fast they burn.

Rules: an objective has a reason. A burn-rate alert is used only where it can fire at all: ``factor x (1 - objective)``
must be below 1, since no more than everything can fail (Google SRE workbook, chapter 5; for 80 % and a factor of 14.4
the threshold would be 288 %). Everywhere else there are plain thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from everyhop.core.topology import Criticality

C = Criticality


@dataclass(frozen=True, slots=True)
class Objective:
    """What an indicator should reach, by criticality, and why."""

    sli: str
    targets: Mapping[Criticality, float]
    reason: str

    def target(self, criticality: str) -> float:
        """The target for a criticality."""
        return self.targets[Criticality(criticality)]


def _by(critical: float, high: float, medium: float, low: float) -> Mapping[Criticality, float]:
    return MappingProxyType({C.CRITICAL: critical, C.HIGH: high, C.MEDIUM: medium, C.LOW: low})


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        one.sli: one
        for one in (
            Objective(
                "M1", _by(0.999, 0.99, 0.95, 0.95), "leaves room for exceptions that end, and for what is unknown"
            ),
            Objective(
                "M2", _by(0.9999, 0.9995, 0.999, 0.99), "a failed handshake is a failed request: four nines at most"
            ),
            Objective("M3", _by(0.999, 0.99, 0.95, 0.95), "as M1, for connections between services"),
            Objective("M4", _by(0.1, 0.1, 0.1, 0.1), "a tenth of its life is what a certificate must never undercut"),
            Objective("M5", _by(1.0, 1.0, 0.99, 0.95), "what policy permits is known: critical hops use nothing else"),
            Objective(
                "M6", _by(0.05, 0.1, 0.25, 0.5), "seconds for 95 of 100 handshakes, the network's own delay included"
            ),
            Objective("M7", _by(0.8, 0.8, 0.8, 0.8), "a hint where handshakes are many; nobody is woken for it"),
            Objective("M8", _by(0.999, 0.999, 0.999, 0.999), "one failed order of a thousand, after its retries"),
            Objective("M9", _by(0.999, 0.999, 0.999, 0.999), "a check without an answer is a hole in revocation"),
            Objective("M10", _by(0, 0, 0, 0), "no flow in plaintext but those with an exception that runs"),
        )
    }
)

Overrides = Mapping[str, Mapping[Criticality, float]]
"""Targets that a topology sets itself, by indicator."""


def target(sli: str, criticality: str, overrides: Overrides | None = None) -> float:
    """What an indicator should reach for a criticality; the topology's own word goes first."""
    own = (overrides or {}).get(sli, {}).get(Criticality(criticality))
    return OBJECTIVES[sli].target(criticality) if own is None else own


@dataclass(frozen=True, slots=True)
class Burn:
    """One pair of windows: the long one says that it matters, the short one that it is still so."""

    factor: float
    long: timedelta
    short: timedelta


def _hours(number: float) -> timedelta:
    return timedelta(hours=number)


FAST = (Burn(14.4, _hours(1), timedelta(minutes=5)), Burn(6, _hours(6), timedelta(minutes=30)))
"""2 % of a 30-day budget in an hour, or 5 % in six: somebody is woken."""
SLOW = (Burn(3, _hours(24), _hours(2)), Burn(1, _hours(72), _hours(6)))
"""10 % in a day, or in three: somebody looks tomorrow."""
LEAST_FAILURES = 10
"""With fewer failures a ratio says nothing: one alone crosses 14.4 x 0.0001 unless there are 695 attempts."""
ESCALATE_AT = 7.5
"""The burn rate that spends a quarter of a 30-day budget in one day."""


def burn_rate_possible(objective: float, factor: float) -> bool:
    """Whether a budget can burn so fast at all: ``factor x (1 - objective)`` lies strictly between 0 and 1."""
    return 0 < factor * (1 - objective) < 1


def burn_rate(failures: int, attempts: int, objective: float) -> float | None:
    """How many times faster than allowed a budget burns; None without events or without a budget."""
    if not attempts or objective >= 1:
        return None
    return failures / attempts / (1 - objective)


def budget_left(failures: int, attempts: int, objective: float) -> float | None:
    """The part of the error budget that is left over a period, 1 to below 0; None without events or budget."""
    rate = burn_rate(failures, attempts, objective)
    return None if rate is None else 1 - rate
