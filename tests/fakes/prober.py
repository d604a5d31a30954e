"""A prober without sockets: each address answers as a test scripts it; what was not scripted is unreachable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from everyhop.core.hop import Address
from everyhop.ports import ClientCredential, Clock, Handshake, PlainAnswer


@dataclass(frozen=True)
class Asked:
    """One handshake that was asked for."""

    address: Address
    server_name: str = ""
    credential: ClientCredential | None = None
    alpn: tuple[str, ...] = ()


Answer = Callable[[Asked, datetime], Handshake]


class FakeProber:
    """Implements ``ports.Prober`` by script. ``asked`` tells what was asked for, in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: dict[Address, Answer] = {}
        self._plain: dict[Address, PlainAnswer] = {}
        self.asked: list[Asked] = []

    def answer(self, address: Address, how: Answer) -> None:
        """Every handshake with this address goes so from now on."""
        self._answers[address] = how

    def serve(self, address: Address, *chain: bytes, needs_credential: bool = False) -> None:
        """This address serves a chain (DER) over TLS 1.3 and X25519MLKEM768, perhaps to holders of any credential."""

        def how(asked: Asked, at: datetime) -> Handshake:
            usable = asked.credential is not None or not needs_credential
            return Handshake(
                address=address,
                at=at,
                usable=usable,
                refused="" if usable else "alert certificate required",
                version="TLSv1.3",
                cipher="TLS_AES_256_GCM_SHA384",
                group="X25519MLKEM768",
                alpn=asked.alpn[0] if asked.alpn else "",
                chain=chain,
                handshake_seconds=0.001,
            )

        self.answer(address, how)

    def speak_plainly(self, address: Address, answer: bytes) -> None:
        """This address answers bytes that are not TLS; scripted ones without this hang up."""
        self._plain[address] = PlainAnswer(address, self._clock.now(), connected=True, answer=answer, closed=True)

    async def handshake(
        self,
        address: Address,
        *,
        server_name: str = "",
        credential: ClientCredential | None = None,
        alpn: Sequence[str] = (),
        timeout: float = 5.0,
    ) -> Handshake:
        asked = Asked(address, server_name, credential, tuple(alpn))
        self.asked.append(asked)
        if how := self._answers.get(address):
            return how(asked, self._clock.now())
        return Handshake(address, self._clock.now(), usable=False, refused="unreachable: connection refused")

    async def plaintext(self, address: Address, payload: bytes, *, timeout: float = 5.0) -> PlainAnswer:
        known = address in self._answers
        return self._plain.get(address) or PlainAnswer(address, self._clock.now(), connected=known, closed=known)
