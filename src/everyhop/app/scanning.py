"""Put together what looks at endpoints that everyhop may know nothing of: `everyhop scan`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from everyhop.core.endpoint.facts import Entrance
from everyhop.core.endpoint.fleet import Entry
from everyhop.core.endpoint.timestamps import Log
from everyhop.core.report.endpoint import EndpointReport
from everyhop.drivers.host.machine import SystemClock, SystemRandom
from everyhop.drivers.probes.endpoint import EndpointLooks
from everyhop.drivers.probes.roots import stores
from everyhop.drivers.probes.stranger import stranger
from everyhop.services.observe import PROBE_SOURCE
from everyhop.services.scan import Order, Scanner


async def endpoint_reports(
    entries: Sequence[Entry], order: Order, *, roots: bytes | None = None, logs: Sequence[Log] = ()
) -> AsyncGenerator[EndpointReport]:
    """Look at endpoints from outside and judge them; reports come as they are ready. Needs no data directory.

    ``roots`` (PEM) are trusted beside those of this machine; ``logs`` verify embedded timestamps. With
    ``order.enforcement`` a stranger's certificate is tried, too, beside the credentials of the order.
    """
    clock, random = SystemClock(), SystemRandom()
    trusted = stores(own=roots)
    if order.enforcement:
        unknown = {Entrance.FOREIGN_AUTHORITY.value: stranger(clock.now(), random)}
        order = replace(order, credentials={**unknown, **order.credentials})
    scanner = Scanner(EndpointLooks(clock, roots=trusted, source=PROBE_SOURCE), clock, trusted, logs=logs)
    async with contextlib.aclosing(scanner.fleet(entries, order)) as reports:
        async for report in reports:
            yield report
