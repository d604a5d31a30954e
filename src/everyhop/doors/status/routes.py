"""The routes of the status door.

Rules: ``/healthz`` says whether this process works (its last judgement is fresh), ``/readyz`` whether it has something
to say at all; both answer 200 or 503 with one line. Answers are never cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from everyhop.core.metrics import Sample
from everyhop.doors.status.exposition import expose
from everyhop.ports import Clock

STALE = timedelta(minutes=2)
"""An older judgement means that the control loop does not turn."""
_HEADERS = {"Cache-Control": "no-store"}


class Measured(Protocol):
    """What this door needs of services/measure.py."""

    def samples(self) -> Sequence[Sample]:
        """Every metric as of the last judgement."""
        ...

    @property
    def judged_at(self) -> datetime | None:
        """When that was; None: never yet."""
        ...


def routes(meter: Measured, clock: Clock) -> list[Route]:
    """The routes, to be mounted wherever a server is."""

    async def metrics(request: Request) -> Response:
        body, content_type = expose(meter.samples(), request.headers.get("accept", ""))
        return Response(body, headers={**_HEADERS, "Content-Type": content_type})

    async def healthz(_: Request) -> Response:
        age = None if meter.judged_at is None else clock.now() - meter.judged_at
        if age is not None and age > STALE:
            return _line(503, f"the last judgement is {int(age.total_seconds())} s old")
        return _line(200, "ok")

    async def readyz(_: Request) -> Response:
        return _line(200, "ok") if meter.judged_at is not None else _line(503, "nothing was judged yet")

    return [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]


def _line(status: int, text: str) -> Response:
    return PlainTextResponse(text + "\n", status, headers=_HEADERS)
