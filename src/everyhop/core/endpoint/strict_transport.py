"""Reading the Strict-Transport-Security header (RFC 6797, 6.1) as a browser does.

Rules: a header that breaks the grammar protects nobody, because browsers ignore it as a whole (RFC 6797, 8.1). Unknown
directives are skipped. ``preload`` is no part of the RFC: browsers' lists ask for it and for more.
"""

from __future__ import annotations

from dataclasses import dataclass

PRELOAD_SECONDS = 31_536_000
"""A year: the least that the preload list takes (hstspreload.org, submission requirements)."""

_LONGEST = 4096
"""Characters of a header that are read; no real one has a tenth of this."""


@dataclass(frozen=True, slots=True)
class StrictTransport:
    """What a well-formed header promises."""

    seconds: int
    include_subdomains: bool = False
    preload: bool = False


def read_header(value: str) -> StrictTransport:
    """Read a header's value. Raises ``ValueError`` with a sentence if browsers would ignore it."""
    said: dict[str, str] = {}
    for part in value[:_LONGEST].split(";"):
        name, _, text = part.strip().partition("=")
        key = name.strip().lower()
        if not key:
            continue
        if key in said:
            raise ValueError(f"expected each directive once, got {key} again")
        said[key] = text.strip().strip('"')
    if "max-age" not in said:
        raise ValueError("expected max-age, got none")
    age = said["max-age"]
    if not age.isascii() or not age.isdigit() or len(age) > 18:
        raise ValueError(f"expected max-age in seconds, got {age[:20]!r}")
    return StrictTransport(int(age), "includesubdomains" in said, "preload" in said)
