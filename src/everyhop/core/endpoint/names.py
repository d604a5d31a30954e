"""Does a certificate speak for the name we asked for? (RFC 9525, which replaces RFC 6125.)

Rules: only alternative names count, never the common name (RFC 9525, 2). A wildcard is the whole left-most label and
stands for exactly one label (6.3). An address matches an address entry by value only (6.4). Names are compared
without regard to case (6.4.1); international names come and are compared as A-labels.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def matches(reference: str, dns_names: Iterable[str], addresses: Iterable[str]) -> bool:
    """True if one of a certificate's names covers ``reference``, a host name or an IP address."""
    address = _address(reference)
    if address is not None:
        return any(_address(each) == address for each in addresses)
    return any(covers(pattern, reference) for pattern in dns_names)


def covers(pattern: str, host: str) -> bool:
    """True if a DNS name of a certificate, perhaps with a wildcard, covers a host name."""
    wanted, offered = _labels(host), _labels(pattern)
    if not wanted or len(wanted) != len(offered):
        return False
    if offered[0] == "*":
        # A wildcard right under a top-level domain would speak for a whole registry.
        return len(offered) > 2 and offered[1:] == wanted[1:]
    return "*" not in pattern and offered == wanted


def _labels(name: str) -> list[str]:
    """The labels in lower case without the root's trailing dot; empty if it is no name at all."""
    labels = name.strip().removesuffix(".").lower().split(".")
    return labels if all(labels) else []


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
