"""Every lint rule refuses a draft that breaks it and nothing else; every right draft passes every rule.

Rules: ``draft()`` makes right certificates only, so what is broken here is built by hand. Each broken draft names the
codes that it must be refused for, and is refused for no other.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from everyhop.core.certificate import CertificateRequest, Draft, Issuer, NameScope, draft, signature_hash
from everyhop.core.identity import SpiffeId
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.core.rules import RULES, findings, lint
from everyhop.drivers.keys.algorithms import PrivateKey, make, public_bytes
from everyhop.errors import EveryhopError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIFE = timedelta(hours=1)
BACKDATE = timedelta(minutes=5)
SERIAL = (1 << 158) + 1
SCOPE = NameScope(("shop.internal",), ("shop.internal", "shop.localhost"))
DB = SpiffeId.parse("spiffe://shop.internal/test/db")


@cache
def key(algorithm: KeyAlgorithm, which: str = "") -> PrivateKey:
    """One key of a type for all tests; another by another name."""
    return make(algorithm)


@cache
def root(algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> Issuer:
    """A root that signed itself."""
    request = CertificateRequest(
        "root", PROFILES["root"], public_bytes(key(algorithm, "root")), LIFE * 100, "x", "x", "root", scope=SCOPE
    )
    made = _drafted(request, Issuer("root", "root", algorithm), "root")
    return Issuer("root", "root", algorithm, made.copy)


@cache
def intermediate(algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> Issuer:
    """An intermediate under :func:`root`."""
    public_key = public_bytes(key(algorithm, "intermediate"))
    request = CertificateRequest(
        "i", PROFILES["intermediate"], public_key, LIFE * 50, "x", "x", "intermediate", scope=SCOPE
    )
    return Issuer("i", "i", algorithm, _drafted(request, root(algorithm), "root").copy)


def _drafted(request: CertificateRequest, issuer: Issuer, signer: str) -> Draft:
    return draft(
        request, issuer, serial=SERIAL, now=NOW, backdate=BACKDATE, throw_away_key=key(issuer.algorithm, signer)
    )


def request_for(profile: str, algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> CertificateRequest:
    """What is asked for under each profile when all is right."""
    shape = PROFILES[profile]
    named: dict[str, Any] = {
        "root": {"common_name": "a root", "scope": SCOPE},
        "intermediate": {"common_name": "an intermediate", "scope": SCOPE},
        "service": {"identity": DB, "dns_names": ("db.shop.internal",)},
        "edge": {"dns_names": ("shop.localhost", "*.shop.localhost")},
        "probe": {"identity": SpiffeId.parse("spiffe://shop.internal/test/everyhop-probe")},
        "evidence": {"identity": SpiffeId.parse("spiffe://shop.internal/test/everyhop-evidence")},
    }
    return CertificateRequest("r", shape, public_bytes(key(algorithm)), LIFE, "data", "test", **named[profile])


def signer_of(profile: str, algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> Issuer:
    """Who signs under a profile."""
    issuers = {"self": Issuer("root", "root", algorithm), "root": root(algorithm)}
    return issuers.get(PROFILES[profile].signer) or intermediate(algorithm)


# --- what is right ------------------------------------------------------------------------------------------------

AUTHORITY_KEYS = list(KeyAlgorithm)


@pytest.mark.parametrize("algorithm", [one for one in AUTHORITY_KEYS if one is not KeyAlgorithm.RSA4096])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_passes_under_every_type_of_authority_key(profile: str, algorithm: KeyAlgorithm) -> None:
    subject = algorithm if PROFILES[profile].is_ca else KeyAlgorithm.P256
    issuer = signer_of(profile, algorithm)
    made = _drafted(request_for(profile, subject), issuer, PROFILES[profile].signer if issuer.certificate else "")
    assert findings(made) == ()
    assert lint(made).draft is made


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P384, KeyAlgorithm.RSA2048, KeyAlgorithm.RSA3072])
@pytest.mark.parametrize("profile", ["service", "edge", "probe"])
def test_every_type_of_leaf_key_passes(profile: str, algorithm: KeyAlgorithm) -> None:
    assert findings(_drafted(request_for(profile, algorithm), intermediate(), "intermediate")) == ()


# --- what is wrong ------------------------------------------------------------------------------------------------

KEEP = object()


@dataclass
class Broken:
    """A draft that differs from the right one of its profile in what is given; extensions by class, None: left out."""

    codes: Sequence[str]
    profile: str = "service"
    request: Mapping[str, Any] = field(default_factory=dict[str, Any])
    issuer: Issuer | None = None
    subject: str | None = None
    issuer_name: str | None = None
    serial: int = SERIAL
    begins: datetime = NOW - BACKDATE
    ends: datetime = NOW + LIFE
    public_key: Any = None
    digest: Any = KEEP
    extensions: Mapping[type, x509.ExtensionType | None] = field(default_factory=dict[type, x509.ExtensionType | None])
    critical: Mapping[type, bool] = field(default_factory=dict[type, bool])

    def draft(self) -> Draft:
        asked = replace(request_for(self.profile), **self.request)
        issuer = self.issuer or signer_of(self.profile)
        right = _drafted(request_for(self.profile), signer_of(self.profile), "any").copy
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(self.subject) if self.subject is not None else right.subject)
            .issuer_name(_name(self.issuer_name) if self.issuer_name is not None else right.issuer)
            .public_key(self.public_key or right.public_key())
            .serial_number(self.serial)
            .not_valid_before(self.begins)
            .not_valid_after(self.ends)
        )
        present: dict[type, tuple[x509.ExtensionType | None, bool]] = {
            type(one.value): (one.value, one.critical) for one in right.extensions
        }
        for kind, value in self.extensions.items():
            present[kind] = (value, present.get(kind, (None, kind is x509.NameConstraints))[1])
        for kind, (value, critical) in present.items():
            if value is not None:
                builder = builder.add_extension(value, critical=self.critical.get(kind, critical))
        digest = signature_hash(issuer.algorithm) if self.digest is KEEP else self.digest
        return Draft(asked, issuer, builder.sign(key(issuer.algorithm), digest))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def usage(*names: str) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
        " encipher_only decipher_only"
    )
    return x509.KeyUsage(**{one: one in names for one in every.split()})


def names(*values: x509.GeneralName) -> dict[type, x509.ExtensionType | None]:
    return {x509.SubjectAlternativeName: x509.SubjectAlternativeName(values)}


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


OTHER = ec.generate_private_key(ec.SECP256R1()).public_key()
WIDE = NameScope(("shop.internal",), ("shop.internal", "com"))
SAN, EKU = x509.SubjectAlternativeName, x509.ExtendedKeyUsage

BROKEN: dict[str, Broken] = {
    "serial that can be guessed": Broken(["house.serial_bits"], serial=1 << 63),
    "end before beginning": Broken(["rfc5280.validity"], ends=NOW - BACKDATE),
    "another issuer's name": Broken(["rfc5280.issuer_name"], issuer_name="somebody"),
    "no issuer's name": Broken(["rfc5280.issuer_name"], issuer_name=""),
    "no key identifier": Broken(["rfc5280.key_identifiers"], extensions={x509.SubjectKeyIdentifier: None}),
    "another issuer's key": Broken(
        ["rfc5280.key_identifiers"],
        extensions={x509.AuthorityKeyIdentifier: x509.AuthorityKeyIdentifier(b"elsewhere", None, None)},
    ),
    "no basic constraints": Broken(["rfc5280.basic_constraints"], extensions={x509.BasicConstraints: None}),
    "a leaf that is an authority": Broken(
        ["rfc5280.basic_constraints"], extensions={x509.BasicConstraints: x509.BasicConstraints(True, None)}
    ),
    "an intermediate with a longer path": Broken(
        ["rfc5280.basic_constraints"],
        "intermediate",
        extensions={x509.BasicConstraints: x509.BasicConstraints(True, 3)},
    ),
    "an authority under an issuing one": Broken(
        ["rfc5280.path_length", "house.signer"],
        "intermediate",
        issuer=intermediate(),
        issuer_name="intermediate",
        extensions={
            x509.AuthorityKeyIdentifier: x509.AuthorityKeyIdentifier(
                x509.SubjectKeyIdentifier.from_public_key(key(KeyAlgorithm.P256, "intermediate").public_key()).digest,
                None,
                None,
            )
        },
    ),
    "no key usage": Broken(["rfc5280.key_usage", "spiffe.leaf_usage"], extensions={x509.KeyUsage: None}),
    "a leaf that signs certificates": Broken(
        ["rfc5280.key_usage", "spiffe.leaf_usage"],
        extensions={x509.KeyUsage: usage("digital_signature", "key_cert_sign")},
    ),
    "an edge that signs revocations": Broken(
        ["rfc5280.key_usage"], "edge", extensions={x509.KeyUsage: usage("digital_signature", "crl_sign")}
    ),
    "basic constraints not critical": Broken(["rfc5280.criticality"], critical={x509.BasicConstraints: False}),
    "names not critical without a subject": Broken(["rfc5280.criticality"], critical={SAN: False}),
    "names critical beside a subject": Broken(["rfc5280.criticality", "house.leaf_subject"], subject="db"),
    "nobody": Broken(["rfc5280.subject", "spiffe.one_uri"], extensions={SAN: None}),
    "a name in capitals": Broken(
        ["rfc5280.dns_syntax", "house.issuer_scope"], extensions=names(uri(str(DB)), x509.DNSName("DB.Shop.Internal"))
    ),
    "a wildcard in the middle": Broken(
        ["rfc5280.dns_syntax"], extensions=names(uri(str(DB)), x509.DNSName("a.*.shop.internal"))
    ),
    "an e-mail address": Broken(
        ["rfc5280.name_kinds"], extensions=names(uri(str(DB)), x509.RFC822Name("db@shop.internal"))
    ),
    "name constraints in a leaf": Broken(
        ["rfc5280.name_constraints"], extensions={x509.NameConstraints: SCOPE.extension()}
    ),
    "two identities": Broken(["spiffe.one_uri"], extensions=names(uri(str(DB)), uri(f"{DB}2"))),
    "an identity at the edge": Broken(
        ["spiffe.one_uri"], "edge", extensions=names(uri(str(DB)), x509.DNSName("shop.localhost"))
    ),
    "an identity without a path": Broken(["spiffe.identity"], extensions=names(uri("spiffe://shop.internal"))),
    "a web address": Broken(["spiffe.identity"], extensions=names(uri("https://shop.internal/db"))),
    "something that is no address": Broken(["spiffe.identity", "house.issuer_scope"], extensions=names(uri("urn:db"))),
    "usage not critical": Broken(["rfc5280.criticality", "spiffe.leaf_usage"], critical={x509.KeyUsage: False}),
    "longer than its issuer": Broken(["house.issuer_life"], ends=NOW + LIFE * 1000),
    "earlier than its issuer": Broken(["house.issuer_life"], begins=NOW - LIFE),
    "a key that nobody handles": Broken(
        ["house.key_type"], public_key=ec.generate_private_key(ec.SECP521R1()).public_key()
    ),
    "a leaf's key that Envoy does not serve": Broken(
        ["house.key_type"], public_key=key(KeyAlgorithm.ED25519).public_key()
    ),
    "a weak digest": Broken(["house.signature"], digest=hashes.SHA224()),
    "an issuer whose key is another": Broken(
        ["house.signature"], issuer=replace(intermediate(), algorithm=KeyAlgorithm.P384), digest=hashes.SHA384()
    ),
    "a server only": Broken(["house.extended_usage"], extensions={EKU: EKU([ExtendedKeyUsageOID.SERVER_AUTH])}),
    "usable for code": Broken(
        ["house.extended_usage"],
        extensions={
            EKU: EKU(
                [
                    ExtendedKeyUsageOID.SERVER_AUTH,
                    ExtendedKeyUsageOID.CLIENT_AUTH,
                    ExtendedKeyUsageOID.CODE_SIGNING,
                ]
            )
        },
    ),
    "an edge without a host": Broken(["rfc5280.subject", "house.profile_names"], "edge", extensions={SAN: None}),
    "an address": Broken(
        ["house.profile_names", "house.issuer_scope"],
        extensions=names(uri(str(DB)), x509.IPAddress(ipaddress.ip_address("10.0.0.1"))),
    ),
    "a probe with a host name": Broken(
        ["house.profile_names"], "probe", extensions=names(uri(str(DB)), x509.DNSName("db.shop.internal"))
    ),
    "a foreign host": Broken(
        ["house.issuer_scope"], extensions=names(uri(str(DB)), x509.DNSName("db.shop.internal.example"))
    ),
    "a foreign trust domain": Broken(
        ["house.issuer_scope"], extensions=names(uri("spiffe://elsewhere.internal/test/db"))
    ),
    "an authority for more than its issuer": Broken(
        ["house.issuer_scope"], "intermediate", extensions={x509.NameConstraints: WIDE.extension()}
    ),
    "an authority for everything": Broken(
        ["house.constrained"], "intermediate", extensions={x509.NameConstraints: None}
    ),
    "an authority that excludes only": Broken(
        ["house.constrained"],
        "intermediate",
        extensions={x509.NameConstraints: x509.NameConstraints(None, [x509.DNSName("example")])},
    ),
    "a leaf by the root": Broken(
        ["house.signer"],
        issuer=root(),
        issuer_name="root",
        extensions={
            x509.AuthorityKeyIdentifier: x509.AuthorityKeyIdentifier(root().facts.key_identifier, None, None)  # type: ignore[union-attr]
        },
    ),
    "a leaf with a subject": Broken(["house.leaf_subject"], subject="db", critical={SAN: False}),
    "something unknown": Broken(
        ["house.extensions"],
        extensions={
            x509.UnrecognizedExtension: x509.UnrecognizedExtension(
                x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0"
            )
        },
    ),
}
UNREACHABLE = {"rfc5280.version", "rfc5280.serial"}
"""cryptography builds version 3 and serials of 1 to 159 bits only: the rules guard against other makers of bytes."""


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_draft_is_refused_for_exactly_what_it_breaks(broken: Broken) -> None:
    made = broken.draft()
    assert [one.code for one in findings(made)] == list(broken.codes)
    with pytest.raises(EveryhopError) as refusal:
        lint(made)
    assert refusal.value.code.name == "lint-refused"
    assert all(code in refusal.value.message for code in broken.codes)


def test_the_hand_that_breaks_is_steady() -> None:
    for profile in PROFILES:
        assert findings(Broken([], profile).draft()) == ()


def test_every_rule_is_broken_by_some_draft() -> None:
    alone = {code for broken in BROKEN.values() if len(broken.codes) == 1 for code in broken.codes}
    together = {code for broken in BROKEN.values() for code in broken.codes}
    assert set(RULES) - together == UNREACHABLE
    never_alone = {"rfc5280.subject", "rfc5280.path_length", "rfc5280.dns_syntax", "spiffe.leaf_usage"}
    assert set(RULES) - alone - UNREACHABLE <= never_alone


def test_rules_say_where_they_come_from() -> None:
    for code, rule in RULES.items():
        assert code.partition(".")[0] in ("rfc5280", "spiffe", "house")
        assert rule.citation
        assert rule.explanation[0].islower() or rule.explanation.startswith("DNS")
        assert not rule.explanation.endswith(".")
