"""Counts over time: the last minutes exactly, the last month by the day, in bounded memory.

Rules: pure; the moment is an argument. A window is looked up in the finest grid that reaches back far enough and is
rounded outwards to whole steps of it, so that nothing that happened in it is left out.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from everyhop.core.sli.counts import Counts

Key = tuple[str, str]
"""A hop (or a flow) and who counted it."""

MINUTE, TEN_MINUTES, HOUR, DAY = timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)
PERIOD = timedelta(days=30)
"""What an error budget is for."""


class Grid:
    """Sums by steps of equal length."""

    def __init__(self, step: timedelta, reach: timedelta) -> None:
        """``reach`` is how far back sums are kept."""
        self.step = step
        self.reach = reach
        self._cells: dict[int, dict[Key, Counts]] = {}

    def add(self, at: datetime, key: Key, counts: Counts) -> None:
        """Add what was counted in an interval that ended at ``at``; what is out of reach by then is dropped."""
        cell = self._cell(at)
        if cell not in self._cells:
            self._cells[cell] = {}
            self.forget(at)
        self._cells[cell].setdefault(key, Counts()).add(counts)

    def over(self, now: datetime, window: timedelta) -> dict[Key, Counts]:
        """The sums of a window that ends now, by key."""
        oldest = self._cell(now - window)
        found: dict[Key, Counts] = {}
        for cell, sums in self._cells.items():
            if cell >= oldest:
                for key, counts in sums.items():
                    found.setdefault(key, Counts()).add(counts)
        return found

    def forget(self, now: datetime) -> None:
        """Drop what is out of reach."""
        oldest = self._cell(now - self.reach)
        for cell in [cell for cell in self._cells if cell < oldest]:
            del self._cells[cell]

    def _cell(self, at: datetime) -> int:
        """The step that an interval's end belongs to: a minute that ends at 12:00:00 is the last one of its hour."""
        seconds = self.step.total_seconds()
        return int(-(-at.timestamp() // seconds))


class History:
    """Four grids: minutes for the last hour, tens of minutes for the last six, hours for three days, days for a month.
    Of hours and days only the results are kept: error budgets need no more."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._fine = (Grid(MINUTE, HOUR), Grid(TEN_MINUTES, 6 * HOUR))
        self._coarse = (Grid(HOUR, 3 * DAY), Grid(DAY, PERIOD))

    def add(self, at: datetime, key: Key, counts: Counts, *, hour_too: bool = True) -> None:
        """Add a minute's counts; ``hour_too`` is False if the hour's sum was added already."""
        for grid in self._fine:
            grid.add(at, key, counts)
        if hour_too:
            self.add_hour(at, key, counts)

    def add_hour(self, at: datetime, key: Key, counts: Counts) -> None:
        """Add the sum of an hour that ended at ``at``."""
        results = counts.results_only()
        for grid in self._coarse:
            grid.add(at, key, results)

    def over(self, now: datetime, window: timedelta) -> dict[Key, Counts]:
        """The sums of a window that ends now, by key."""
        grids = (*self._fine, *self._coarse)
        return next((one for one in grids if window <= one.reach), grids[-1]).over(now, window)

    def forget(self, now: datetime) -> None:
        """Drop what no window reaches any more."""
        for grid in (*self._fine, *self._coarse):
            grid.forget(now)
