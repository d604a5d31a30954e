"""Who called? Reads the ``x-forwarded-client-cert`` header that Envoy sets.

Rules: pure; the header is somebody's text until a sidecar of ours has set it, so nothing in it is believed that
does not have the right shape. Our inbound sidecar discards what a caller sent and writes one element of its own
(SANITIZE_SET); where a proxy appends instead, the *last* element is the nearest caller and the only one that our
own sidecar vouches for.

Source: Envoy, "HTTP header manipulation", x-forwarded-client-cert: elements are joined by ``,``, pairs by ``;``;
a value that holds one of ``, ; =`` is quoted, with ``\\"`` for a quote. Keys may repeat (``URI``, ``DNS``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADER = "x-forwarded-client-cert"

_PAIR = re.compile(r'[ \t]*([A-Za-z]{1,16})=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))([;,]|\Z)')
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]{1,128}){1,8}\Z")


@dataclass(frozen=True, slots=True)
class Element:
    """What one proxy said about the client in front of it: key and value pairs, in the order they came."""

    pairs: tuple[tuple[str, str], ...]

    def values(self, key: str) -> tuple[str, ...]:
        """Every value of a key; keys are compared without regard to case."""
        return tuple(value for name, value in self.pairs if name.lower() == key.lower())

    @property
    def identity(self) -> str:
        """The SPIFFE identity of the client, or ``""`` unless there is exactly one URI and it is well-formed."""
        uris = self.values("URI")
        return uris[0] if len(uris) == 1 and _SPIFFE.match(uris[0]) else ""


def parse(header: str) -> tuple[Element, ...]:
    """The elements of a header, farthest proxy first; an empty header has none.

    Raises ``ValueError`` with the position at which it stopped to be ``key=value`` pairs.
    """
    elements: list[Element] = []
    pairs: list[tuple[str, str]] = []
    position, end = 0, ""
    while position < len(header) or end:
        pair = _PAIR.match(header, position)
        if pair is None:
            raise ValueError(f"expected key=value at character {position + 1} of {HEADER}")
        key, quoted, bare, end = pair.groups(default="")
        pairs.append((key, re.sub(r"\\(.)", r"\1", quoted) if quoted else bare.strip(" \t")))
        if end != ";":
            elements.append(Element(tuple(pairs)))
            pairs = []
        position = pair.end()
    return tuple(elements)


def caller(header: str) -> str:
    """The identity of the nearest caller, or ``""`` when the header proves none: absent, odd, or without one."""
    try:
        elements = parse(header)
    except ValueError:
        return ""
    return elements[-1].identity if elements else ""
