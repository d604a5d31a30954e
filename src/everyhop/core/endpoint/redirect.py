"""Does a redirect of a plaintext port lead to the same place over https?

Rules: one redirect proves little: a login page elsewhere has one too, and everything beside it may be served in the
clear. So two paths are asked, ``/`` and one that nobody can know, and both must lead to https at the host that was
asked (with or without ``www.``): to the same path, or to the site's front page. Where only an address was asked, the
host's name is not known and any will do.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from everyhop.core.endpoint.target import Target

REDIRECTS = (301, 302, 303, 307, 308)
"""Statuses whose ``Location`` a client follows (RFC 9110, 15.4)."""


def leads_to_tls(target: Target, path: str, status: int, location: str) -> bool:
    """True if this answer to a plaintext GET of ``path`` leads to the same place over https. Never raises: a location
    that cannot be read leads nowhere."""
    if status not in REDIRECTS:
        return False
    try:
        to = urlsplit(location)
        host = to.hostname
    except ValueError:
        return False
    if to.scheme.lower() != "https" or not host or (to.path or "/") not in (path, "/"):
        return False
    return not target.name or _bare(host) == _bare(target.name)


def _bare(host: str) -> str:
    """A name as it is compared: without case, closing dot and ``www.``."""
    return host.lower().rstrip(".").removeprefix("www.")
