"""Rules from the SPIFFE X509-SVID standard."""

from __future__ import annotations

from cryptography import x509

from everyhop.core.certificate import Draft
from everyhop.core.identity import SpiffeId
from everyhop.core.rules.base import Rule


def _one_uri(draft: Draft) -> str:
    profile, found = draft.request.profile, draft.facts.uris
    if profile.needs_identity and len(found) != 1:
        return f"expected exactly one URI name, found {len(found)}"
    if not profile.allows_identity and found:
        return f"profile {profile.name} carries no identity, found {found[0][:80]!r}"
    return ""


def _identity_syntax(draft: Draft) -> str:
    for uri in draft.facts.uris:
        try:
            SpiffeId.parse(uri)
        except ValueError as error:
            return str(error)
    return ""


def _leaf_usage(draft: Draft) -> str:
    if not draft.facts.uris or draft.request.profile.is_ca:
        return ""
    usage = draft.facts.extension(x509.KeyUsage)
    if usage is None or not usage.critical or not usage.value.digital_signature:
        return "an SVID needs a critical key usage with digitalSignature"
    return "an SVID may not sign certificates or CRLs" if usage.value.key_cert_sign or usage.value.crl_sign else ""


SPIFFE = (
    Rule("spiffe.one_uri", "X509-SVID, 2", "an SVID carries exactly one URI: its identity", _one_uri),
    Rule("spiffe.identity", "SPIFFE-ID, 2", "the URI is a SPIFFE ID with trust domain and path", _identity_syntax),
    Rule("spiffe.leaf_usage", "X509-SVID, 4.3", "a leaf SVID signs handshakes, never certificates", _leaf_usage),
)
