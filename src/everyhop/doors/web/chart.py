"""Charts: an indicator over time as lines on a page. Geometry only; a template draws it.

Rules: what was not measured is a gap. The axis does not begin at zero where a share lives near one, and says where it
begins. Every point has its value and moment in words, and the numbers stand in a table below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from everyhop.doors.web.words import measured
from everyhop.services.evidence import Point, Series

WIDTH, HEIGHT = 560.0, 168.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 10.0, 12.0, 26.0
_GAP = timedelta(minutes=90)
"""A longer silence is a gap: what is kept has a value for every hour."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A label at an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A value that can be pointed at."""

    x: float
    y: float
    width: float
    """Of the strip in which one points at it."""
    value: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Chart:
    """A line chart."""

    title: str
    unit: str
    line: str
    """SVG path data."""
    area: str
    dots: tuple[Dot, ...]
    heights: tuple[Mark, ...]
    times: tuple[Mark, ...]
    objective: float | None
    """Its height."""
    objective_text: str
    last: str
    words: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


def chart(title: str, unit: str, series: Series, now: datetime, *, hours: int = 24) -> Chart:
    """Draw a series over the last ``hours``."""
    begin = now - timedelta(hours=hours)
    points = [point for point in series.points if begin <= point.at <= now]
    values = [point.value for point in points if point.value is not None]
    objective = series.objective
    low, high = _range(values, unit, objective)
    scale = _Scale(begin, now, low, high)
    runs = _runs(points)
    dots = _dots([point for run in runs for point in run], scale, unit)
    last = measured(values[-1], unit) if values else "no value"
    words = f"{title}: {last} now" if values else f"{title}: nothing was measured"
    if values:
        words += f", between {measured(min(values), unit)} and {measured(max(values), unit)} in {hours} hours"
    shown = objective is not None and low <= objective <= high
    return Chart(
        title=title,
        unit=unit,
        line=" ".join(_line(run, scale) for run in runs),
        area=" ".join(_area(run, scale) for run in runs),
        dots=dots,
        heights=tuple(Mark(scale.y(level), measured(level, unit)) for level in _levels(low, high, unit)),
        times=_times(begin, now, scale),
        objective=scale.y(objective) if objective is not None and shown else None,
        objective_text=f"objective {measured(objective, unit)}" if objective is not None else "",
        last=last,
        words=words,
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    begin: datetime
    end: datetime
    low: float
    high: float

    def x(self, at: datetime) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * ((at - self.begin) / (self.end - self.begin))

    def y(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * part


def _range(values: Sequence[float], unit: str, objective: float | None) -> tuple[float, float]:
    known = [*values, *((objective,) if objective is not None else ())]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    if unit == "ratio":
        # From the nearest mark below the worst value to the whole: 0, 50, 80, 90, 99, 99.9 per cent.
        floor = next((mark for mark in (0.999, 0.99, 0.9, 0.8, 0.5) if low >= mark), 0.0)
        return floor, 1.0
    step = _step(high if high > _NOTHING else 1.0)
    return 0.0, max(math.ceil(high * 1.05 / step) * step, step)


_NOTHING = 1e-9
"""No indicator is finer than that; what is below is drawn as nothing."""


def _step(high: float) -> float:
    """A round step: 1, 2 or 5 times a power of ten, three or four of which reach ``high``."""
    rough = high / 3
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _levels(low: float, high: float, unit: str) -> list[float]:
    if unit == "ratio":
        return [low, (low + high) / 2, high]
    step = _step(high)
    return [step * count for count in range(math.floor(high / step + 1e-9) + 1)]


def _times(begin: datetime, now: datetime, scale: _Scale) -> tuple[Mark, ...]:
    """Marks at whole hours, about six of them, far enough from the edges to be read."""
    every = max(1, round((now - begin) / timedelta(hours=1) / 6))
    first = begin.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    moments = [first + timedelta(hours=hour) for hour in range(int((now - first) / timedelta(hours=1)) + 1)]
    return tuple(
        Mark(scale.x(at), f"{at:%H:%M}") for at in moments if at.hour % every == 0 and scale.x(at) < WIDTH - 24
    )


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Points that belong together: a missing value or a long silence divides them."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point.value is None or (runs[-1] and point.at - runs[-1][-1].at > _GAP):
            runs.append([])
        if point.value is not None:
            runs[-1].append(point)
    return [run for run in runs if run]


def _line(run: Sequence[Point], scale: _Scale) -> str:
    spots = [f"{scale.x(point.at):.1f} {scale.y(point.value or 0.0):.1f}" for point in run]
    return "M" + " L".join(spots) if len(spots) > 1 else f"M{spots[0]} h0.1"


def _area(run: Sequence[Point], scale: _Scale) -> str:
    bottom = HEIGHT - _BOTTOM
    return f"{_line(run, scale)} L{scale.x(run[-1].at):.1f} {bottom:.1f} L{scale.x(run[0].at):.1f} {bottom:.1f} Z"


def _dots(points: Sequence[Point], scale: _Scale, unit: str) -> tuple[Dot, ...]:
    places = [scale.x(point.at) for point in points]
    dots: list[Dot] = []
    for index, (point, x) in enumerate(zip(points, places, strict=True)):
        before = places[index - 1] if index else x - 10
        after = places[index + 1] if index + 1 < len(places) else x + 10
        width = min(after - before, 48.0) / 2
        value = point.value or 0.0
        dots.append(Dot(x, scale.y(value), width, measured(point.value, unit), point.at))
    return tuple(dots)
