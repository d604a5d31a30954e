"""Why a mistake is one, said once: the same mistake in another kind of file has the same reason and the same source."""

from __future__ import annotations

OLD_VERSION = "a version that is accepted can be forced upon both ends, with all that is broken in it"
OLD_VERSION_SOURCE = "RFC 8996, 2; RFC 9325, 3.1.1"

WEAK_SUITE = "a weak suite that is accepted is what an attacker, or an old client, will choose"
WEAK_SUITE_SOURCE = "RFC 9325, 4.1 and 4.2"

PLAIN_HOP = "whoever shares the network reads and changes what goes there in plaintext"
PLAIN_HOP_SOURCE = "RFC 9325, 3.2; NIST SP 800-207, 2.1"

UNVERIFIED = "who is not verified can be anybody on the way: encryption to a stranger protects nothing"
UNVERIFIED_SOURCE = "RFC 5280, 6; RFC 9525, 6"

NAME_UNCHECKED = "without a name every certificate of the authority will do, whoever holds it"
NAME_UNCHECKED_SOURCE = "RFC 9525, 6"

SELF_SIGNED = "nobody vouches for a self-signed certificate, and clients learn to click it away"
SELF_SIGNED_SOURCE = "RFC 5280, 6.1"
SELF_SIGNED_REMEDY = "have it issued by an authority that clients trust; the own one for internal services"

UNMANAGED = "a certificate that nothing renews ends on a day that nobody remembers"
UNMANAGED_SOURCE = "CA/B BR, 6.3.2"
UNMANAGED_REMEDY = "let ACME or everyhop renew it; name what does in a comment beside it"

NO_HSTS = "without HSTS the first request of every visit may go out in plaintext, and can be kept there"
NO_HSTS_SOURCE = "RFC 6797, 6.1 and 7.2"

NO_REDIRECT = "a plaintext port that serves pages keeps visitors on it who could be encrypted"
NO_REDIRECT_SOURCE = "RFC 6797, 7.2"

KEY_LOG = "the keys of every connection are written to a file: whoever reads it reads the traffic"
KEY_LOG_SOURCE = "RFC 9850, 4"
