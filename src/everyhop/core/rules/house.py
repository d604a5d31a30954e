"""Rules of this house: what we promise beyond the standards."""

from __future__ import annotations

from cryptography import x509

from everyhop.core.certificate import EKU_OIDS, Draft
from everyhop.core.rules.base import Rule

_KNOWN_EXTENSIONS = frozenset(
    {
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.ExtendedKeyUsage,
        x509.SubjectKeyIdentifier,
        x509.AuthorityKeyIdentifier,
        x509.SubjectAlternativeName,
        x509.NameConstraints,
    }
)


def _serial_bits(draft: Draft) -> str:
    return "" if draft.copy.serial_number.bit_length() > 64 else "serial number holds less than 64 random bits"


def _within_issuer_life(draft: Draft) -> str:
    issuer, facts = draft.issuer.facts, draft.facts
    if issuer is None:
        return ""
    inside = issuer.not_before <= facts.not_before and facts.not_after <= issuer.not_after
    return "" if inside else "certificate would outlive its issuer"


def _key_type(draft: Draft) -> str:
    algorithm, profile = draft.facts.key_algorithm, draft.request.profile
    if algorithm is None:
        return "key type is not one that everyhop issues for (P-256, P-384, Ed25519, RSA 2048/3072/4096, ML-DSA)"
    return "" if algorithm in profile.key_algorithms else f"profile {profile.name} does not take {algorithm} keys"


def _signature_type(draft: Draft) -> str:
    issuer = draft.issuer.facts
    if issuer is not None and issuer.key_algorithm is not draft.issuer.algorithm:
        return "issuer's key type is not the one recorded"
    digest = draft.copy.signature_hash_algorithm
    return f"signature digest {digest.name} is too weak" if digest and digest.digest_size < 32 else ""


def _extended_usage(draft: Draft) -> str:
    found = draft.facts.extension(x509.ExtendedKeyUsage)
    wanted = {EKU_OIDS[usage] for usage in draft.request.profile.extended_key_usages}
    seen = set(found.value) if found else set[x509.ObjectIdentifier]()
    return "" if seen == wanted else f"extended key usage is not that of profile {draft.request.profile.name}"


def _name_kinds_of_profile(draft: Draft) -> str:
    profile, facts = draft.request.profile, draft.facts
    if facts.dns_names and not profile.allows_dns:
        return f"profile {profile.name} carries no DNS names"
    if not facts.dns_names and profile.needs_dns:
        return f"profile {profile.name} needs a DNS name"
    return "addresses are not issued" if any(name.startswith("ip:") for name in facts.names) else ""


def _within_issuer_scope(draft: Draft) -> str:
    issuer = draft.issuer.facts
    if issuer is None:
        return ""
    scope = issuer.scope
    if scope is None:
        return "issuer has no name constraints"
    outside = [name for name in draft.facts.dns_names if not scope.covers_dns(name)]
    outside += [uri for uri in draft.facts.uris if _host(uri) not in scope.uri_hosts]
    outside += [name.removeprefix("ip:") for name in draft.facts.names if name.startswith("ip:")]
    if outside:
        return f"{outside[0]} lies outside of the issuer's name constraints"
    own = draft.facts.scope
    return "authority's scope is wider than its issuer's" if own is not None and not scope.covers(own) else ""


def _host(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0]


def _constrained_authority(draft: Draft) -> str:
    if not draft.request.profile.is_ca:
        return ""
    found = draft.facts.extension(x509.NameConstraints)
    return "" if found and found.value.permitted_subtrees else "an authority without name constraints"


def _known_extensions(draft: Draft) -> str:
    unknown = [one.oid.dotted_string for one in draft.facts.extensions if type(one.value) not in _KNOWN_EXTENSIONS]
    return f"unexpected extension {unknown[0]}" if unknown else ""


def _signer(draft: Draft) -> str:
    profile, issuer = draft.request.profile, draft.issuer.facts
    if issuer is None:
        return "" if profile.signer == "self" else f"profile {profile.name} does not sign itself"
    limits = issuer.extension(x509.BasicConstraints)
    kind = "root" if limits is not None and limits.value.path_length else "intermediate"
    return (
        "" if profile.signer == kind else f"profile {profile.name} is signed by its {profile.signer}, not by a {kind}"
    )


def _leaf_subject(draft: Draft) -> str:
    named = not draft.request.profile.is_ca and list(draft.facts.subject)
    return "a leaf is named by its alternative names only" if named else ""


HOUSE = (
    Rule("house.serial_bits", "CA/B BR, 7.1", "a serial cannot be guessed", _serial_bits),
    Rule(
        "house.issuer_life",
        "promise 4",
        "no certificate outlives its issuer: chains never break in the middle",
        _within_issuer_life,
    ),
    Rule("house.signer", "SECURITY.md", "a root signs intermediates and nothing else", _signer),
    Rule(
        "house.leaf_subject",
        "RFC 6125, 2.3",
        "name constraints do not bind a subject, so a leaf has none",
        _leaf_subject,
    ),
    Rule("house.key_type", "docs/defaults.md", "keys are of a type that every peer can use", _key_type),
    Rule(
        "house.signature",
        "CA/B BR, 7.1.3.2",
        "no weak digest, and the issuer's key is the recorded one",
        _signature_type,
    ),
    Rule(
        "house.extended_usage",
        "RFC 5280, 4.2.1.12",
        "a certificate may be used for what its profile says, nothing more",
        _extended_usage,
    ),
    Rule(
        "house.profile_names",
        "docs/reference/profiles.md",
        "the kinds of names are those of the profile",
        _name_kinds_of_profile,
    ),
    Rule(
        "house.issuer_scope",
        "RFC 5280, 4.2.1.10",
        "every name lies inside the issuer's name constraints",
        _within_issuer_scope,
    ),
    Rule(
        "house.constrained",
        "docs/defaults.md",
        "every authority is name-constrained: trusting our root does not mean trusting it for the whole Internet",
        _constrained_authority,
    ),
    Rule(
        "house.extensions",
        "docs/reference/profiles.md",
        "nothing stands in a certificate that no rule looked at",
        _known_extensions,
    ),
)
