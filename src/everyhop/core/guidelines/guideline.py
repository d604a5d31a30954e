"""What a guideline is: the versions, suites, groups and certificates that an endpoint may accept.

Rules: a guideline is data with a name and a version, and every finding cites both. It says what is *permitted*; what
is not permitted must be *refused* by the endpoint, and the refusal is the proof. Published guidelines are never edited
after their release: a new version is a new file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Guideline:
    """One version of one guideline. Code points are integers as on the wire."""

    name: str
    """``mozilla-intermediate``, ``aws-elb-tls13-1-2-2021-06``, ``everyhop``."""
    version: str
    published: date | None
    source: str
    """Where it is published (a document's name or address), for people."""
    versions: tuple[int, ...]
    """Permitted protocol versions, best first (0x0304, 0x0303)."""
    suites_tls13: tuple[int, ...]
    suites_tls12: tuple[int, ...]
    """Permitted suites for TLS 1.2 and older."""
    groups: tuple[int, ...]
    """Permitted groups (curves, hybrids, finite fields), best first."""
    preferred_groups: tuple[int, ...] = ()
    """At least one of these should be accepted (post-quantum hybrids); a miss is a low finding, not a violation."""
    required_versions: tuple[int, ...] = ()
    """These must be accepted, not only may."""
    certificate_keys: tuple[str, ...] = ()
    """Permitted public keys: ``ecdsa-p256``, ``ecdsa-p384``, ``rsa-2048`` (at least), ``ed25519``, ``ml-dsa-65``...;
    empty: any that is not weak."""
    certificate_days_max: int | None = None
    certificate_days_recommended: int | None = None
    hsts_seconds_min: int | None = None
    dh_bits_min: int = 2048
    server_order: bool | None = None
    """True: the server's order must decide; False: the client's; None: either."""
    notes: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"
