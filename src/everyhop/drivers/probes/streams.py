"""Was it TLS? Pieces of TCP streams put in order, and read as TLS records.

Rules: pure bookkeeping, no sockets. Pieces may come twice, late, overlapping or not at all. A stream whose beginning
was seen must consist of TLS records from its first byte; one that was caught in the middle, or has a gap, must fall
into step within one record's length and stay in step. Source: RFC 8446, 5.1 and 5.2; RFC 9293, 3.4 for sequence
numbers, which wrap at 2^32.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_TYPES = frozenset((20, 21, 22, 23))
_VERSIONS = frozenset((b"\x03\x01", b"\x03\x02", b"\x03\x03"))
_LONGEST = (1 << 14) + 256
_HEADER = 5
_WRAP = 1 << 32


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of a stream without a gap. ``first``: they are the stream's first."""

    data: bytes
    first: bool

    @property
    def is_tls(self) -> bool:
        """True if the bytes are TLS records; the last one may be cut off."""
        if self.first:
            return _in_step(self.data, 0)
        # The tail of one record, then headers in step: two, or one whose record ends exactly here. A lone header
        # could be chance.
        furthest = min(len(self.data), _LONGEST + _HEADER)
        return any(_in_step(self.data, start, surely=True) for start in range(furthest))


def _in_step(data: bytes, start: int, *, surely: bool = False) -> bool:
    """True if records follow one another from ``start`` to the end; ``surely``: and that can hardly be chance."""
    headers, at = 0, start
    while at < len(data):
        header = data[at : at + _HEADER]
        if header[0] not in _TYPES or not any(version.startswith(header[1:3]) for version in _VERSIONS):
            return False
        if len(header) < _HEADER:
            break
        length = int.from_bytes(header[3:5], "big")
        if not 0 < length <= _LONGEST:
            return False
        headers += 1
        at += _HEADER + length
    return not surely or headers > 1 or (headers == 1 and at == len(data))


@dataclass(slots=True)
class Stream:
    """One direction of one connection, as it was seen."""

    beginning: int | None = None
    """The sequence number of the first byte, if its SYN was seen."""
    _pieces: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])

    def add(self, sequence: int, payload: bytes) -> None:
        """Keep a piece of the stream."""
        self._pieces.append((sequence, payload))

    def runs(self) -> list[Run]:
        """What was seen, in order, without repetitions; a new run after each gap."""
        if not self._pieces:
            return []
        origin = self._pieces[0][0] if self.beginning is None else self.beginning
        placed = sorted((_distance(origin, sequence), payload) for sequence, payload in self._pieces)
        runs: list[Run] = []
        current, end = bytearray(), placed[0][0]
        first = self.beginning is not None and end == 0
        for offset, payload in placed:
            if offset > end:
                runs.append(Run(bytes(current), first))
                current, end, first = bytearray(), offset, False
            current += payload[end - offset :]
            end = max(end, offset + len(payload))
        return [*runs, Run(bytes(current), first)]


def _distance(origin: int, sequence: int) -> int:
    """How far a sequence number lies after (or, if negative, before) another, on the circle of 2^32."""
    return (sequence - origin + _WRAP // 2) % _WRAP - _WRAP // 2
