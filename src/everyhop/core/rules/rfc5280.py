"""Rules from RFC 5280: what makes a certificate well-formed for every verifier."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from everyhop.core.certificate import Draft
from everyhop.core.rules.base import Rule

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z)(\*\.)?{_LABEL}(\.{_LABEL})*\Z")
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)
_CRITICAL = {
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.NAME_CONSTRAINTS: True,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
}


def _serial(draft: Draft) -> str:
    serial = draft.copy.serial_number
    return "" if 0 < serial < 1 << 159 else "serial number is not positive or longer than 20 octets"


def _version(draft: Draft) -> str:
    return "" if draft.copy.version is x509.Version.v3 else "certificate is not version 3"


def _validity(draft: Draft) -> str:
    return "" if draft.facts.not_before < draft.facts.not_after else "life ends before it begins"


def _issuer_name(draft: Draft) -> str:
    issuer = draft.issuer.facts
    wanted = issuer.subject if issuer else draft.facts.subject
    if not draft.copy.issuer.rdns:
        return "issuer name is empty"
    return "" if draft.copy.issuer == wanted else "issuer name is not the issuer's subject"


def _key_identifiers(draft: Draft) -> str:
    own = draft.facts.extension(x509.SubjectKeyIdentifier)
    authority = draft.facts.extension(x509.AuthorityKeyIdentifier)
    if own is None or authority is None:
        return "a key identifier is missing"
    issuer = draft.issuer.facts
    wanted = issuer.key_identifier if issuer else own.value.digest
    return "" if authority.value.key_identifier == wanted else "authority key identifier is not the issuer's"


def _basic_constraints(draft: Draft) -> str:
    found = draft.facts.extension(x509.BasicConstraints)
    profile = draft.request.profile
    if found is None:
        return "basic constraints are missing"
    if (found.value.ca, found.value.path_length) != (profile.is_ca, profile.path_length):
        return f"basic constraints are not those of profile {profile.name}"
    return ""


def _path_length(draft: Draft) -> str:
    issuer = draft.issuer.facts
    if issuer is None:
        return ""
    limits = issuer.extension(x509.BasicConstraints)
    if limits is None or not limits.value.ca:
        return "issuer is not a certificate authority"
    if draft.request.profile.is_ca and limits.value.path_length == 0:
        return "issuer may not sign authorities"
    return ""


def _key_usage(draft: Draft) -> str:
    found = draft.facts.extension(x509.KeyUsage)
    if found is None:
        return "key usage is missing"
    usage = found.value
    if usage.key_cert_sign != draft.request.profile.is_ca:
        return "keyCertSign does not agree with basic constraints"
    seen = {name for name in _USAGES if getattr(usage, name)}
    profile = draft.request.profile
    return "" if seen == set(profile.key_usages) else f"key usage is not that of profile {profile.name}"


def _criticality(draft: Draft) -> str:
    wrong = [
        one.oid.dotted_string
        for one in draft.facts.extensions
        if one.oid in _CRITICAL and one.critical != _CRITICAL[one.oid]
    ]
    found = draft.facts.extension(x509.SubjectAlternativeName)
    if found and found.critical == bool(draft.facts.subject.rdns):
        wrong.append(found.oid.dotted_string)
    return f"criticality of {', '.join(wrong)} is wrong" if wrong else ""


def _subject_or_name(draft: Draft) -> str:
    return "" if draft.facts.subject.rdns or draft.facts.names else "neither subject nor alternative name"


def _dns_syntax(draft: Draft) -> str:
    wrong = [name for name in draft.facts.dns_names if not _DNS_NAME.match(name)]
    return f"not a lower-case DNS name: {wrong[0][:80]!r}" if wrong else ""


def _name_kinds(draft: Draft) -> str:
    wrong = [name.removeprefix("other:") for name in draft.facts.names if name.startswith("other:")]
    return f"alternative names of kind {wrong[0]} are not issued" if wrong else ""


def _constraints_place(draft: Draft) -> str:
    found = draft.facts.extension(x509.NameConstraints)
    return "name constraints in a leaf" if found and not draft.request.profile.is_ca else ""


RFC5280 = (
    Rule("rfc5280.serial", "RFC 5280, 4.1.2.2", "a serial is positive and at most 20 octets", _serial),
    Rule("rfc5280.version", "RFC 5280, 4.1.2.1", "extensions need version 3", _version),
    Rule("rfc5280.validity", "RFC 5280, 4.1.2.5", "notBefore comes before notAfter", _validity),
    Rule(
        "rfc5280.issuer_name",
        "RFC 5280, 4.1.2.4",
        "the issuer field is the issuer's subject, so that chains build",
        _issuer_name,
    ),
    Rule(
        "rfc5280.key_identifiers",
        "RFC 5280, 4.2.1.1 and 4.2.1.2",
        "key identifiers chain, so that the right issuer is found while two are in use",
        _key_identifiers,
    ),
    Rule(
        "rfc5280.basic_constraints",
        "RFC 5280, 4.2.1.9",
        "only an authority says it is one, with its path length",
        _basic_constraints,
    ),
    Rule(
        "rfc5280.path_length",
        "RFC 5280, 4.2.1.9",
        "an authority signs only what its own constraints allow",
        _path_length,
    ),
    Rule(
        "rfc5280.key_usage",
        "RFC 5280, 4.2.1.3",
        "keyCertSign and CA:TRUE go together, and a key may do what its profile says, nothing more",
        _key_usage,
    ),
    Rule(
        "rfc5280.criticality", "RFC 5280, 4.2", "an extension is critical exactly where the RFC says so", _criticality
    ),
    Rule("rfc5280.subject", "RFC 5280, 4.1.2.6", "a certificate names somebody", _subject_or_name),
    Rule(
        "rfc5280.dns_syntax",
        "RFC 5280, 4.2.1.6 and RFC 1123, 2.1",
        "DNS names are lower-case host names, a wildcard only as the whole first label",
        _dns_syntax,
    ),
    Rule("rfc5280.name_kinds", "RFC 5280, 4.2.1.6", "only names that everyhop can authorise are issued", _name_kinds),
    Rule(
        "rfc5280.name_constraints",
        "RFC 5280, 4.2.1.10",
        "name constraints stand in authorities only",
        _constraints_place,
    ),
)
