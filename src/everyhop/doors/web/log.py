"""What the web server and the event loop would print, as events.

Rules: strangers cause these lines, so they are short and few: one sentence without a traceback or a stranger's words,
and each at most once a minute. Warnings (a malformed request, a full house) are the stranger's own and are dropped.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Generator
from datetime import datetime, timedelta
from pathlib import PurePath

from everyhop.ports import Clock, Event, Reporter

_QUIET = timedelta(minutes=1)
_MOST_KNOWN = 100
_LONGEST = 200
_LOGGERS = {"uvicorn.error": "dashboard", "asyncio": "internal"}
"""Whose lines are taken, with the code under which they are reported."""


@contextlib.contextmanager
def taken_in(report: Reporter, clock: Clock) -> Generator[None]:
    """While it lasts, errors of the web server and the event loop are reported instead of printed."""
    handlers = [(logging.getLogger(name), _Told(report, clock, code)) for name, code in _LOGGERS.items()]
    for logger, handler in handlers:
        logger.addHandler(handler)  # with a handler of its own, nothing falls through to Python's last resort
    try:
        yield
    finally:
        for logger, handler in handlers:
            logger.removeHandler(handler)


class _Told(logging.Handler):
    def __init__(self, report: Reporter, clock: Clock, code: str) -> None:
        super().__init__(logging.ERROR)
        self._report = report
        self._clock = clock
        self._code = code
        self._last: dict[str, datetime] = {}

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # who logs must not be hurt by it
            line, now = _line(record), self._clock.now()
            before = self._last.get(line)
            if before is not None and abs(now - before) < _QUIET:
                return
            if len(self._last) >= _MOST_KNOWN:
                self._last.clear()
            self._last[line] = now
            self._report(Event("fault", now, {"code": self._code, "why": line}))


def _line(record: logging.LogRecord) -> str:
    said = record.getMessage().partition("\n")[0][:_LONGEST]
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return said
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{said}: {type(error).__name__}{place}"
