"""One writer thread; what waits together is committed together.

Rules: a durable commit costs a flush of the disk, so all operations that wait share one (at most ``BATCH``). Each
runs in a savepoint of its own: one that fails undoes only itself. Nobody is told anything before the commit has
returned; if the commit fails, everybody in the batch hears ``store-unavailable`` and nothing was changed. An
operation touches nothing but its cursor.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar, TypeVarTuple

from everyhop.errors import EveryhopError

BATCH = 256
"""Operations per transaction at most, so that the first waiter is not held up by an endless queue."""

_T = TypeVar("_T")
_Values = TypeVarTuple("_Values")

_Waiting = tuple["asyncio.Future[object]", Callable[..., object], tuple[object, ...]]
_Outcome = tuple["asyncio.Future[object]", object, Exception | None]


class GroupWriter:
    """Runs operations on its connection, one transaction for all that wait. Belongs to one event loop."""

    def __init__(self, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Takes over the connection, which must be in autocommit mode and free of thread checks."""
        self._connection = connection
        self._cursor = connection.cursor()
        self._loop = loop
        self._gathering: list[_Waiting] = []
        self._queue: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="everyhop-store-writer", daemon=True)
        self._thread.start()

    def run(self, operation: Callable[[sqlite3.Cursor, *_Values], _T], *arguments: *_Values) -> asyncio.Future[_T]:
        """The future result of ``operation(cursor, *arguments)``, known once it is durable."""
        if self._closed:
            raise EveryhopError("store-unavailable", "expected an open store, got a closed one")
        future: asyncio.Future[object] = self._loop.create_future()
        if not self._gathering:
            # All that this turn of the event loop asks for goes over in one go: one wake-up of the thread.
            self._loop.call_soon(self._hand_over)
        self._gathering.append((future, operation, arguments))
        return future  # pyright: ignore[reportReturnType]  # the queue holds futures of every type

    async def close(self) -> None:
        """Commit what was asked for, then end the thread and close the connection."""
        if self._closed:
            return
        self._closed = True
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _hand_over(self) -> None:
        gathered, self._gathering = self._gathering, []
        if gathered:
            self._queue.put(gathered)

    def _work(self) -> None:
        """The thread: take what waits, commit it, tell the event loop."""
        open_ended = True
        while open_ended:
            waiting: list[_Waiting] = []
            while open_ended and len(waiting) < BATCH and not (waiting and self._queue.empty()):
                gathered = self._queue.get()
                open_ended = gathered is not None
                waiting.extend(gathered or ())
            for start in range(0, len(waiting), BATCH):
                outcomes = self._transact(waiting[start : start + BATCH])
                with contextlib.suppress(RuntimeError):  # the event loop was closed: nobody waits any more
                    self._loop.call_soon_threadsafe(_settle, outcomes)

    def _transact(self, batch: Sequence[_Waiting]) -> list[_Outcome]:
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            outcomes = [self._attempt(*waiting) for waiting in batch]
            self._cursor.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._cursor.execute("ROLLBACK")
            return [(future, None, unavailable(error)) for future, _, _ in batch]
        return outcomes

    def _attempt(
        self, future: asyncio.Future[object], operation: Callable[..., object], arguments: tuple[object, ...]
    ) -> _Outcome:
        """Run one operation; its own failure is its outcome, the loss of the whole transaction raises."""
        cursor = self._cursor
        cursor.execute("SAVEPOINT operation")
        try:
            result = operation(cursor, *arguments)
        except Exception as error:  # whatever it is, it belongs to this caller alone
            if not self._connection.in_transaction:  # SQLite gave up the transaction (disk full, I/O error)
                raise sqlite3.OperationalError(str(error)) from error
            cursor.execute("ROLLBACK TO operation")
            cursor.execute("RELEASE operation")
            return future, None, unavailable(error) if isinstance(error, sqlite3.Error) else error
        cursor.execute("RELEASE operation")
        return future, result, None


def unavailable(error: sqlite3.Error) -> EveryhopError:
    """What the user hears when SQLite itself could not do it."""
    failure = EveryhopError(
        "store-unavailable",
        f"expected the store to answer, got: {error}",
        hint="nothing was changed; look at the disk's free space and the file's permissions, then try again",
    )
    failure.__cause__ = error
    return failure


def _settle(outcomes: Sequence[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():  # its caller was cancelled meanwhile
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
