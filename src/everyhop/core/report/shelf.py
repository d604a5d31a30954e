"""What a scan has found so far, kept small until it is rendered.

Rules: of an endpoint its published form is kept, and nothing else of its report. It is kept as compressed JSON, because
what rules say of one endpoint they say of most: the first one that says enough is the dictionary of those after it
(RFC 1950, 2.2). Endpoints come back one at a time, in the order of the document.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from everyhop.core.report.document import Difference, Endpoint, in_json, of_json
from everyhop.core.verdict import Verdict, worst

_Key = tuple[str, str, int]

_WINDOW = 32 << 10
"""Bytes of a dictionary that DEFLATE can look back to (RFC 1951, 2)."""
_ENOUGH = 6 << 10
"""Bytes of an endpoint that can serve as a dictionary: one where nobody listens says too little."""


class Shelf:
    """Endpoints, to be gone through as often as one likes: sorted by subject."""

    def __init__(self) -> None:
        self._kept: list[tuple[_Key, bytes, bytes]] = []
        """By key: with which dictionary, and packed."""
        self._dictionary = b""
        self._verdicts = set[Verdict]()

    def put(self, one: Endpoint) -> None:
        """Keep one more."""
        text = in_json(one)
        press = zlib.compressobj(zdict=self._dictionary)
        packed = press.compress(text) + press.flush()
        self._kept.append(((one.subject, one.name, one.line), self._dictionary, packed))
        if not self._dictionary and len(text) >= _ENOUGH:
            self._dictionary = text[-_WINDOW:]
        self._verdicts.add(one.verdict)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._kept)

    def __iter__(self) -> Iterator[Endpoint]:
        """Each of them, unpacked when its turn comes."""
        self._kept.sort()
        for _, dictionary, packed in self._kept:
            yield of_json(zlib.decompressobj(zdict=dictionary).decompress(packed))

    @property
    def verdict(self) -> Verdict:
        """The worst of all; of none it is unknown."""
        return worst(self._verdicts)


@dataclass(frozen=True, slots=True)
class ShelvedScan:
    """A scan whose endpoints stand on a shelf: rendered like a :class:`everyhop.core.report.document.ScanDocument`."""

    tool: str
    at: datetime
    endpoints: Shelf
    difference: Difference | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst of its endpoints."""
        return self.endpoints.verdict
