"""What may be signed for whom.

Rules: the policy looks at the *drafted bytes*, never at the request that led to them: whatever door a request came
through, and whatever a CSR tried to smuggle in, only what stands in the certificate counts. A refusal names the first
thing that is not allowed and what would be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from everyhop.core.certificate import Authorised, Draft, Linted, NameScope, mint_authorised
from everyhop.core.identity import SpiffeId, TrustDomain
from everyhop.core.profile import KeyAlgorithm
from everyhop.errors import EveryhopError

SYSTEM = "everyhop"
"""The actor that alone may ask for authorities, probes and seals."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one identity may have: who owns it, and which DNS names may stand beside it."""

    owner: str
    dns_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class IssuancePolicy:
    """What the topology allows, in the terms of certificates."""

    trust_domain: TrustDomain
    environment: str
    scope: NameScope
    identities: Mapping[str, Grant] = field(default_factory=dict[str, Grant])
    """By SPIFFE ID."""
    hosts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Edge host -> owner."""
    max_lifetimes: Mapping[str, timedelta] = field(default_factory=dict[str, timedelta])
    """By profile name."""
    leaf_key: KeyAlgorithm = KeyAlgorithm.P256
    """The only type that leaves have: one type to measure, to rotate and to reason about."""
    authority_key: KeyAlgorithm = KeyAlgorithm.P256
    backdate: timedelta = timedelta(minutes=5)

    @property
    def probe_identity(self) -> SpiffeId:
        """The identity that everyhop shows when it tests that a stranger is refused."""
        return self.trust_domain.identity(self.environment, "everyhop-probe")

    @property
    def evidence_identity(self) -> SpiffeId:
        """The identity under which everyhop seals observations and signs evidence packs."""
        return self.trust_domain.identity(self.environment, "everyhop-evidence")

    @property
    def dashboard(self) -> tuple[str, ...]:
        """The host names of everyhop's own dashboard: below every name that the authority may vouch for."""
        return tuple(f"everyhop.{name}" for name in self.scope.dns_suffixes)


def authorise(linted: Linted, policy: IssuancePolicy) -> Authorised:
    """Allow the drafted bytes, or raise ``EveryhopError('policy-refused')`` with the reason."""
    draft = linted.draft
    _check_lifetime(draft, policy)
    check = _CHECKS.get(draft.request.profile.name)
    if check is None:
        raise _refusal(
            f"profile {draft.request.profile.name} has no policy", "use one of " + ", ".join(sorted(_CHECKS))
        )
    return mint_authorised(linted, check(draft, policy))


def _refusal(message: str, hint: str) -> EveryhopError:
    return EveryhopError("policy-refused", message, hint=hint)


def _check_lifetime(draft: Draft, policy: IssuancePolicy) -> None:
    name = draft.request.profile.name
    limit = policy.max_lifetimes.get(name)
    if limit is None:
        raise _refusal(f"profile {name} has no lifetime in the policy", "set it under `policy:` in the topology")
    life = draft.facts.not_after - draft.facts.not_before
    if life > limit + policy.backdate:
        raise _refusal(f"expected a life of at most {limit}, got {life - policy.backdate}", "ask for a shorter life")


def _check_key(draft: Draft, policy: IssuancePolicy) -> None:
    algorithm = draft.facts.key_algorithm
    if algorithm is not policy.leaf_key:
        raise _refusal(
            f"expected a key of type {policy.leaf_key}, got {algorithm}", "change `policy.leaf_key` or the key"
        )


def _authorise_service(draft: Draft, policy: IssuancePolicy) -> str:
    uris, names = draft.facts.uris, draft.facts.dns_names
    grant = policy.identities.get(uris[0])
    if grant is None:
        raise _refusal(f"{uris[0]} is not a service of this topology", "add the service to everyhop.yaml and apply it")
    if draft.request.owner != grant.owner:
        raise _refusal(
            f"{uris[0]} belongs to {grant.owner}, not to {draft.request.owner}", "only its owner may ask for it"
        )
    for name in names:
        if name not in grant.dns_names:
            raise _refusal(f"{uris[0]} may not carry the name {name}", "list it under the service's `dns:`")
    _check_key(draft, policy)
    return f"service {uris[0]} of {grant.owner}"


def _authorise_edge(draft: Draft, policy: IssuancePolicy) -> str:
    names = draft.facts.dns_names
    if draft.request.actor == SYSTEM and set(names) <= set(policy.dashboard) and draft.request.owner == SYSTEM:
        _check_key(draft, policy)
        return "everyhop's own dashboard"
    for name in names:
        if policy.hosts.get(name) != draft.request.owner:
            raise _refusal(
                f"{name} is no edge host of {draft.request.owner}", "list it under `edge.hosts:` in everyhop.yaml"
            )
    _check_key(draft, policy)
    return f"edge host {', '.join(names)}"


def _authorise_probe(draft: Draft, policy: IssuancePolicy) -> str:
    uris = draft.facts.uris
    if draft.request.actor != SYSTEM or uris != (str(policy.probe_identity),):
        raise _refusal(
            f"{uris[0]} may not be used as a probe", f"only everyhop itself probes, as {policy.probe_identity}"
        )
    _check_key(draft, policy)
    return "everyhop's own probe"


def _authorise_evidence(draft: Draft, policy: IssuancePolicy) -> str:
    uris = draft.facts.uris
    if draft.request.actor != SYSTEM or uris != (str(policy.evidence_identity),):
        raise _refusal(f"{uris[0]} may not sign evidence", f"only everyhop itself seals, as {policy.evidence_identity}")
    return "everyhop's own seal"


def _authorise_authority(draft: Draft, policy: IssuancePolicy) -> str:
    if draft.request.actor != SYSTEM:
        raise _refusal(f"{draft.request.actor} may not make authorities", "authorities are made by rotation only")
    scope = draft.facts.scope
    if scope is None or not policy.scope.covers(scope):
        raise _refusal("the authority's scope is wider than the topology's names", "see `policy.names`")
    if draft.facts.names:
        raise _refusal("an authority carries no alternative names", "leave them out")
    return f"{draft.request.profile.name} of {policy.trust_domain}"


_CHECKS: Mapping[str, Callable[[Draft, IssuancePolicy], str]] = MappingProxyType(
    {
        "service": _authorise_service,
        "edge": _authorise_edge,
        "probe": _authorise_probe,
        "evidence": _authorise_evidence,
        "root": _authorise_authority,
        "intermediate": _authorise_authority,
    }
)
