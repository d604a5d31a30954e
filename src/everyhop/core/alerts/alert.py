"""What an alert is: a condition over a snapshot, and the same condition in PromQL beside it.

Rules: an alert has a name that never changes, a severity, a route, how long it must hold, and a runbook of its own
name. Its two conditions say the same; tests hold one against the other where both can be played. It names whose it
is, so that only they are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from everyhop.core.alerts.snapshot import Snapshot
from everyhop.core.alerts.state import AlertState, Route
from everyhop.core.finding import Severity

EVERYTHING = "everyhop"
"""The subject of what concerns no single hop."""
AT_ONCE = timedelta(0)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A condition that is true of one subject."""

    subject: str
    owner: str
    summary: str
    """One sentence with the numbers of now."""
    suppressed: str = ""
    """Why nobody needs to be told of it."""
    rests_on: tuple[str, ...] = ()
    """Names of what must be seen well again before it is over; empty: the condition alone says so."""


def always_known(snapshot: Snapshot, state: AlertState) -> str:
    """Of most alerts it can always be told whether they are over."""
    del snapshot, state
    return ""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert."""

    name: str
    sli: str
    """The indicator it guards, or empty."""
    severity: Severity
    route: Route
    hold: timedelta
    """How long it must be true before anybody is told."""
    meaning: str
    """One sentence."""
    condition: Callable[[Snapshot], Iterable[Trouble]]
    expr: str
    """The condition in PromQL, with ``owner`` among its labels where there is one."""
    subject_label: str
    """Which label of the expression is the subject; empty: it concerns no single thing."""
    summary: str
    """The annotation of the exported rule, a Go template."""
    inhibited_by: tuple[str, ...] = ()
    """Alerts that say more: while one of them fires for the same subject, or for everything, nobody is told of this."""
    doubt: Callable[[Snapshot, AlertState], str] = always_known
    """Why it cannot be told whether an alert that fires is over; empty: it is. Not knowing is no all-clear."""

    @property
    def runbook(self) -> str:
        """Its page in the documentation, relative."""
        return f"runbooks/{self.name}.md"


@dataclass(frozen=True, slots=True)
class Silence:
    """Somebody decided not to be told of something, with a reason and an end."""

    alert: str
    about: str
    """A subject; empty: any."""
    reason: str
    until: date
    """The last day it holds."""

    def covers(self, alert: str, subject: str, today: date) -> bool:
        """Whether it silences this."""
        return self.alert == alert and self.about in ("", subject) and today <= self.until
