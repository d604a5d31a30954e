"""everyhop's command line, with a bomb in it: it kills itself with SIGKILL at one exact step.

``CRASH_AT`` is ``<when> <method> <n> [<text>]``: ``before`` or ``after`` the n-th call of a method of the store or the
keys (``intend``, ``sign``, ``complete``, ``put``) whose arguments contain the text. ``after`` means: the call has
returned, so what it promised is durable, and nothing that follows from it has happened.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from everyhop.cli import main
from everyhop.drivers.keys.file import FileKeys
from everyhop.drivers.store.sqlite import SqliteStore


def arm(when: str, method: str, count: int, text: str) -> None:
    """Put the bomb in its place."""
    owner: Any = FileKeys if method == "sign" else SqliteStore
    original: Callable[..., Awaitable[Any]] = getattr(owner, method)
    seen = 0

    @functools.wraps(original)
    async def armed(*arguments: Any, **options: Any) -> Any:
        nonlocal seen
        seen += text in repr((arguments[1:], options))
        is_it = seen == count and text in repr((arguments[1:], options))
        if is_it and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await original(*arguments, **options)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, method, armed)


if __name__ == "__main__":
    when, method, count, *text = os.environ.pop("CRASH_AT").split(" ", 3)
    arm(when, method, int(count), "".join(text))
    main(prog_name="everyhop")
