"""What is reported to people and logs, and how time passes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from everyhop.ports.host import Json


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person or a log would like to know: a stable name, and fields without secrets."""

    name: str
    at: datetime
    fields: Mapping[str, Json] = field(default_factory=dict[str, Json])


Reporter = Callable[[Event], None]
"""Where events go: the console, the log file, a test's list."""

Sleep = Callable[[float], Coroutine[Any, Any, None]]
"""``asyncio.sleep``, as an argument: a test's sleep moves its clock instead."""
