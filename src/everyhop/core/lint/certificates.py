"""Certificate files as configurations name them: who made them, and who renews them?

Rules: only the path is looked at, and the words of the configuration around it. A path that says snakeoil or
self-signed means it. Nobody can prove from a file that nothing renews a certificate, so that is advice.
"""

from __future__ import annotations

import re

_SELF_SIGNED = re.compile(r"(?i)snake-?oil|self-?_?signed|(?:^|[/_.-])(?:dummy|fake|localhost)[/_.-]")
_RENEWED = re.compile(
    r"(?i)acme|let'?s-?_?encrypt|certbot|cert-?manager|everyhop|dehydrated|\blego\b|spiffe|spire|vault-agent|"
    r"MDomain|MDCertificate|step-ca|smallstep|caddy|traefik"
)


def is_self_signed(path: str) -> bool:
    """True if a path's own words say that nobody vouches for the certificate."""
    return _SELF_SIGNED.search(path) is not None


def says_renewal(text: str) -> bool:
    """True if a text names something that renews certificates."""
    return _RENEWED.search(text) is not None
