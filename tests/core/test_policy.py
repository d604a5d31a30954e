"""What may be signed for whom: the drafted bytes decide, and nobody can write down a token."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from tests.fakes.world import policy

from everyhop.core.certificate import (
    Authorised,
    CertificateRequest,
    Draft,
    Issuer,
    Linted,
    NameScope,
    draft,
    mint_authorised,
)
from everyhop.core.policy import SYSTEM, IssuancePolicy, authorise
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.core.rules import lint
from everyhop.drivers.keys.algorithms import make, public_bytes
from everyhop.errors import EveryhopError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = policy()
DB, WEB = (POLICY.trust_domain.identity("test", name) for name in ("db", "web"))
WIDE = replace(POLICY.scope, dns_suffixes=(*POLICY.scope.dns_suffixes, "example"))
CA, ISSUER, LEAF = (make(KeyAlgorithm.P256) for _ in range(3))


def _authority(name: str, profile: str, key: Any, issuer: Issuer, signer: Any, scope: NameScope) -> Issuer:
    request = CertificateRequest(
        name, PROFILES[profile], public_bytes(key), timedelta(days=30), SYSTEM, SYSTEM, name, scope=scope
    )
    made = draft(request, issuer, serial=1 << 158, now=NOW, backdate=timedelta(days=1), throw_away_key=signer)
    return Issuer(name, name, KeyAlgorithm.P256, made.copy)


# An issuer that may vouch for more than the policy allows: so it is the policy that refuses, and not the linter.
ROOT = _authority("root", "root", CA, Issuer("root", "root", KeyAlgorithm.P256), CA, WIDE)
INTERMEDIATE = _authority("intermediate", "intermediate", ISSUER, ROOT, CA, WIDE)


def request(profile: str = "service", **fields: Any) -> CertificateRequest:
    """A request that is allowed, but for what is given."""
    allowed: dict[str, dict[str, Any]] = {
        "service": {"identity": DB},
        "edge": {"dns_names": ("shop.localhost",), "owner": "shop"},
        "probe": {"identity": POLICY.probe_identity, "actor": SYSTEM, "lifetime": timedelta(minutes=5)},
        "evidence": {"identity": POLICY.evidence_identity, "actor": SYSTEM},
        "root": {"common_name": "root", "scope": POLICY.scope, "actor": SYSTEM},
        "intermediate": {"common_name": "intermediate", "scope": POLICY.scope, "actor": SYSTEM},
    }
    given: dict[str, Any] = {"lifetime": timedelta(hours=1), "owner": "data", "actor": "test"}
    given |= allowed[profile] | fields
    return CertificateRequest("r", PROFILES[profile], given.pop("public_key", public_bytes(LEAF)), **given)


def drafted(asked: CertificateRequest) -> Draft:
    signer = {"self": Issuer("root", "root", KeyAlgorithm.P256), "root": ROOT}
    issuer = signer.get(asked.profile.signer, INTERMEDIATE)
    return draft(asked, issuer, serial=1 << 158, now=NOW, backdate=timedelta(minutes=5), throw_away_key=LEAF)


def decide(asked: CertificateRequest, allowed: IssuancePolicy = POLICY) -> str:
    return authorise(lint(drafted(asked)), allowed).decision


# --- tokens -------------------------------------------------------------------------------------------------------


def test_nobody_can_write_down_a_token() -> None:
    right = drafted(request())
    with pytest.raises(TypeError, match="from lint"):
        Linted(right, object())
    with pytest.raises(TypeError, match="from lint"):
        replace(lint(right), minted=None)
    with pytest.raises(TypeError, match="from authorise"):
        Authorised(lint(right), "because I say so", object())
    with pytest.raises(TypeError, match="from authorise"):
        Authorised(lint(right), "because I say so", lint(right).minted)


def test_a_token_shows_the_draft_it_stands_for() -> None:
    linted = lint(drafted(request()))
    assert mint_authorised(linted, "why").draft is linted.draft


# --- what is allowed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "decision"),
    [
        ("service", f"service {DB} of data"),
        ("edge", "edge host shop.localhost"),
        ("probe", "everyhop's own probe"),
        ("evidence", "everyhop's own seal"),
        ("root", "root of shop.internal"),
        ("intermediate", "intermediate of shop.internal"),
    ],
)
def test_what_the_topology_names_is_allowed_and_the_decision_says_why(profile: str, decision: str) -> None:
    assert decide(request(profile)) == decision


def test_the_longest_life_is_allowed_exactly() -> None:
    longest = POLICY.max_lifetimes["service"]
    assert decide(request(lifetime=longest))
    with pytest.raises(EveryhopError, match=r"expected a life of at most 1 day, 0:00:00, got 1 day, 0:00:01"):
        decide(request(lifetime=longest + timedelta(seconds=1)))


# --- what is refused ----------------------------------------------------------------------------------------------

REFUSED = {
    "another owner's service": (request(owner="shop"), "belongs to data, not to shop"),
    "a service that is not there": (
        request(identity=POLICY.trust_domain.identity("test", "nobody")),
        "is not a service of this topology",
    ),
    "another environment": (
        request(identity=POLICY.trust_domain.identity("prod", "db")),
        "is not a service of this topology",
    ),
    "a name that is not its own": (request(dns_names=("web.shop.internal",)), "may not carry the name"),
    "the edge's name": (request(dns_names=("shop.localhost",)), "may not carry the name"),
    "too long a life": (request(lifetime=timedelta(days=2)), "expected a life of at most"),
    "another type of key": (
        request(public_key=public_bytes(make(KeyAlgorithm.P384))),
        "expected a key of type p256, got p384",
    ),
    "another type of key at the edge": (
        request("edge", public_key=public_bytes(make(KeyAlgorithm.P384))),
        "expected a key of type p256, got p384",
    ),
    "another owner's host": (request("edge", owner="data"), "no edge host of data"),
    "a host that is not there": (request("edge", dns_names=("other.shop.localhost",)), "no edge host"),
    "one host of two that is not there": (request("edge", dns_names=("shop.localhost", "x.shop.localhost")), "x.shop"),
    "the probe of a person": (request("probe", actor="mallory"), "may not be used as a probe"),
    "a service as a probe": (request("probe", identity=DB), "may not be used as a probe"),
    "a probe that lives long": (request("probe", lifetime=timedelta(hours=1)), "expected a life of at most"),
    "the seal of a person": (request("evidence", actor="mallory"), "may not sign evidence"),
    "a service that seals": (request("evidence", identity=DB), "may not sign evidence"),
    "a person's authority": (request("intermediate", actor="mallory"), "mallory may not make authorities"),
    "a person's root": (request("root", actor="mallory"), "mallory may not make authorities"),
    "an authority for more": (request("intermediate", scope=WIDE), "wider than the topology's names"),
    "an authority that is also a host": (
        request("intermediate", dns_names=("shop.localhost",)),
        "carries no alternative names",
    ),
}


@pytest.mark.parametrize(("asked", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_allowed_is_refused_with_a_way_out(asked: CertificateRequest, why: str) -> None:
    # Some of these the linter would refuse as well; here the policy has to, alone.
    wide = replace(asked, profile=replace(asked.profile, allows_dns=True))
    with pytest.raises(EveryhopError) as refusal:
        decide(wide if asked.profile.is_ca else asked)
    assert refusal.value.code.name == "policy-refused"
    assert why in refusal.value.message
    assert refusal.value.hint


def test_a_profile_without_a_policy_or_a_life_is_refused() -> None:
    with pytest.raises(EveryhopError, match="no lifetime"):
        decide(request(), replace(POLICY, max_lifetimes={}))
    strange = replace(PROFILES["service"], name="strange")
    with pytest.raises(EveryhopError, match="no policy"):
        decide(replace(request(), profile=strange), replace(POLICY, max_lifetimes={"strange": timedelta(days=1)}))


# --- the bytes decide, not the request ----------------------------------------------------------------------------


def smuggled(asked: CertificateRequest, *extra: x509.GeneralName, scope: NameScope | None = None) -> Draft:
    """The draft of an honest request, with more in its bytes than was asked for: as a CSR copied blindly would have."""
    honest = drafted(asked)
    copy = honest.copy
    builder = (
        x509.CertificateBuilder()
        .subject_name(copy.subject)
        .issuer_name(copy.issuer)
        .public_key(copy.public_key())
        .serial_number(copy.serial_number)
        .not_valid_before(copy.not_valid_before_utc)
        .not_valid_after(copy.not_valid_after_utc)
    )
    for one in copy.extensions:
        value = one.value
        if isinstance(value, x509.SubjectAlternativeName):
            value = x509.SubjectAlternativeName([*value, *extra])
        if isinstance(value, x509.NameConstraints) and scope is not None:
            value = scope.extension()
        builder = builder.add_extension(value, one.critical)
    return Draft(asked, honest.issuer, builder.sign(LEAF, copy.signature_hash_algorithm))  # pyright: ignore[reportArgumentType]  # P-256 has one of those


def test_extra_names_in_the_bytes_are_refused() -> None:
    with pytest.raises(EveryhopError, match=r"may not carry the name web\.shop\.internal"):
        authorise(lint(smuggled(request(), x509.DNSName("web.shop.internal"))), POLICY)
    with pytest.raises(EveryhopError, match=r"spiffe\.one_uri"):
        lint(smuggled(request(), x509.UniformResourceIdentifier(str(WEB))))
    with pytest.raises(EveryhopError, match="no edge host"):
        authorise(lint(smuggled(request("edge"), x509.DNSName("db.shop.internal"))), POLICY)


def test_a_wider_scope_in_the_bytes_is_refused_though_a_narrow_one_was_asked_for() -> None:
    with pytest.raises(EveryhopError, match="wider than the topology's names"):
        authorise(lint(smuggled(request("intermediate"), scope=WIDE)), POLICY)


def test_another_services_identity_in_the_bytes_is_judged_by_its_own_grant() -> None:
    honest = request()
    disguised = Draft(honest, INTERMEDIATE, drafted(request(identity=WEB)).copy)
    with pytest.raises(EveryhopError, match="belongs to shop, not to data"):
        authorise(lint(disguised), POLICY)
