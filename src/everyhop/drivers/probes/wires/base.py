"""What the classifier knows of a wire protocol: how to recognise it, and what to ask it.

Rules: a question is harmless (it reads, or begins what it does not finish), is known to be harmless to a server of any
*other* protocol, and says ``everyhop`` where there is a place for a name. No credential is ever sent, not even a
made-up password, unless the protocol has no other way to refuse plaintext. Plaintext counts as refused when the server
said so to somebody who tried.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from everyhop.core.endpoint.facts import Encryption
from everyhop.core.endpoint.target import Target, Wire
from everyhop.drivers.probes.dialogue import Dialogue, shown
from everyhop.drivers.probes.wire import Ended

NAME = b"everyhop"
"""Who asks."""

_LONGEST_ANSWER = 4 << 10


@dataclass(frozen=True, slots=True)
class Said:
    """What an endpoint made known in its own protocol, and the words that prove it."""

    encryption: Encryption
    evidence: str


class Caller(Protocol):
    """Opens connections to one target, each for one question."""

    @property
    def target(self) -> Target:
        """Where the connections go."""
        ...

    def call(self) -> AbstractAsyncContextManager[Dialogue]:
        """A fresh connection; its end is the context's. Entering raises :class:`Ended`."""
        ...


class Words(Protocol):
    """One wire protocol."""

    @property
    def wire(self) -> Wire:
        """Which."""
        ...

    @property
    def mixes(self) -> bool:
        """Its servers, or proxies before them, may take TLS and plaintext on one port: having seen one, ask for the
        other."""
        ...

    @property
    def speaks_first(self) -> bool:
        """The server greets before the client has said anything."""
        ...

    def recognise(self, banner: bytes) -> bool:
        """Is this how its servers begin, or how they answer to what they do not understand?"""
        ...

    async def ask(self, caller: Caller) -> Said | None:
        """Find out whether plaintext is served. None: this is no server of the protocol. Lets :class:`Ended`
        through if nothing was learned."""
        ...


@dataclass(frozen=True, slots=True)
class OneQuestion:
    """A protocol in which the client speaks first and one answer tells all: whoever answers serves plaintext."""

    wire: Wire
    question: bytes
    answers: Callable[[bytes], bool]
    """Is this, or does it begin, an answer of such a server to the question?"""
    banner: Callable[[bytes], bool] = lambda _: False
    goodbye: bytes = b""
    mixes: bool = False
    speaks_first: bool = False
    show: Callable[[bytes], str] = shown

    def recognise(self, banner: bytes) -> bool:
        """By its answers to strangers."""
        return self.banner(banner)

    async def ask(self, caller: Caller) -> Said | None:
        """One connection, one question."""
        async with caller.call() as dialogue:
            await dialogue.say(self.question)
            answer = b""
            try:
                while not self.answers(answer) and len(answer) < _LONGEST_ANSWER:
                    answer += await dialogue.some()
            except Ended:
                if not answer:
                    raise
            if not self.answers(answer):
                return None
            if self.goodbye:
                await dialogue.say(self.goodbye)
            return Said(Encryption.PLAINTEXT, self.show(answer))
