"""Who a service is: SPIFFE identities and trust domains.

Rules: a trust domain has one root and one environment; an identity is ``spiffe://<trust domain>/<environment>/
<service>`` and is compared as an exact string. Source: SPIFFE-ID.md sections 2 and 3 (character sets, 255 and
2048 byte limits), RFC 1123 labels for the DNS use of a trust domain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TRUST_DOMAIN = re.compile(r"(?=.{1,255}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


@dataclass(frozen=True, slots=True, order=True)
class TrustDomain:
    """A trust domain: also a DNS name, so that it can stand in URI name constraints (RFC 5280, 4.2.1.10)."""

    name: str

    def __post_init__(self) -> None:
        """Raise ``ValueError`` unless the name is a lower-case DNS name of at most 255 characters."""
        if not _TRUST_DOMAIN.match(self.name):
            raise ValueError(f"expected a lower-case DNS name as trust domain, got {self.name!r}")

    def __str__(self) -> str:
        return self.name

    def identity(self, environment: str, service: str) -> SpiffeId:
        """The identity of a service in this trust domain."""
        return SpiffeId(self, (environment, service))


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """A workload identity: ``str()`` gives the URI that stands in certificates and matchers."""

    trust_domain: TrustDomain
    path: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for an empty path, a dot segment or a character outside SPIFFE's set."""
        if not self.path:
            raise ValueError("expected a path in a workload identity, got none")
        for segment in self.path:
            if not _SEGMENT.match(segment) or segment in (".", ".."):
                raise ValueError(f"expected letters, digits, '.', '_' or '-' in an identity's path, got {segment!r}")
        if len(str(self)) > 2048:
            raise ValueError("expected a SPIFFE ID of at most 2048 bytes")

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/{'/'.join(self.path)}"

    @property
    def service(self) -> str:
        """The last path segment: the service's name in a topology."""
        return self.path[-1]

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Read a SPIFFE ID from its URI; raises ``ValueError`` with what was expected and what came."""
        scheme, found, rest = text.partition("://")
        if not found or scheme != "spiffe":
            raise ValueError(f"expected spiffe://<trust domain>/<path>, got {text!r}")
        domain, _, path = rest.partition("/")
        return cls(TrustDomain(domain), tuple(path.split("/")) if path else ())
