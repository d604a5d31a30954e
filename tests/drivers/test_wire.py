"""One connection when the process has no file descriptor left: an end like any other, and nobody's fault but ours."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from everyhop.core.hop import Address
from everyhop.drivers.probes.wire import Ended, connect


@contextmanager
def _no_descriptor_left() -> Generator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("address", [Address("127.0.0.1", 9), Address("::1", 9)])
def test_without_a_descriptor_the_connection_ends(address: Address) -> None:
    async def story() -> None:
        with _no_descriptor_left(), pytest.raises(Ended) as ended:
            await connect(address, limit=100)
        assert ended.value.reason == "unreachable: too many open files"

    asyncio.run(story())
