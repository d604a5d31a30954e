"""From a served leaf to a trusted root: our own walk, and the strict validator's word on it.

Rules: the walk explains and the validator decides nothing alone. The walk goes by names and signatures only, so that
it can say what exactly is missing, out of order or unknown, also where a date or a digest is wrong; dates, names and
strength have rules of their own. Every store is tried, and the trusting ones are named. An issuer that is neither
served nor trusted after the leaf itself is a gap; after an authority it is an unknown root, since servers rightly
leave roots out (RFC 8446, 4.4.2). The strict validator (RFC 5280, 6, as ``cryptography`` does it) then looks for what
a walk does not see: constraints, usages, critical extensions. It takes no Ed25519; that is said, and not held
against the chain.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.x509 import verification

from everyhop.core.endpoint.served import Certificate
from everyhop.core.endpoint.signatures import UNREADABLE, issued

Stores = Mapping[str, Sequence[x509.Certificate]]
"""Named sets of trusted roots: ``own``, ``system``, ``mozilla``... A chain is trusted if any of them anchors it."""


class Ending(StrEnum):
    """How the walk ended."""

    TRUSTED = "trusted"
    SELF_SIGNED = "self-signed"
    """The leaf signed itself, and nobody trusts it."""
    UNTRUSTED_ROOT = "untrusted root"
    """The server sent the root itself, and nobody trusts it."""
    UNKNOWN_ISSUER = "unknown issuer"
    """An authority whose issuer was not sent and is in no store."""
    GAP = "gap"
    """The leaf's own issuer was not sent and is in no store."""


@dataclass(frozen=True, slots=True)
class Path:
    """The walk from the leaf upwards."""

    links: tuple[Certificate, ...]
    """Served certificates that lead to the end, leaf first; with an anchor, up to what the anchor signed."""
    ending: Ending
    anchors: dict[str, x509.Certificate] = field(default_factory=dict[str, x509.Certificate])
    """The root of each store that trusts it."""
    impostor: str = ""
    """A trusted root of the right name whose key did not sign: a copy, or a renewed authority."""

    @property
    def leaf(self) -> Certificate:
        """The server's own certificate."""
        return self.links[0]

    @property
    def issuer(self) -> x509.Certificate | None:
        """Who signed the leaf, if that is known."""
        for above in self.links[1:]:
            return above.x509
        return next(iter(self.anchors.values()), None)

    @property
    def trusted(self) -> bool:
        """True if a store anchors it."""
        return self.ending is Ending.TRUSTED


def walk(chain: Sequence[Certificate], stores: Stores) -> Path:
    """Walk from the first certificate of a chain, which must not be empty. Never raises."""
    links, anchors, impostor = [chain[0]], dict[str, x509.Certificate](), ""
    left = list(chain[1:])
    reach = 0
    while True:
        last = links[-1]
        for name, roots in stores.items():
            anchor, copy = _anchor(last, roots)
            impostor = impostor or copy
            if anchor is not None and name not in anchors:
                anchors[name] = anchor
                reach = reach or len(links)
        parent = None if _signs_itself(last) else next((each for each in left if issued(last.x509, each.x509)), None)
        if parent is None:
            break
        left = left[left.index(parent) + 1 :] if left[0] is parent else [each for each in left if each is not parent]
        links.append(parent)
    if anchors:
        return Path(tuple(links[:reach]), Ending.TRUSTED, anchors)
    return Path(tuple(links), _ending(links), impostor=impostor)


def _ending(links: Sequence[Certificate]) -> Ending:
    last = links[-1]
    if _signs_itself(last):
        return Ending.SELF_SIGNED if len(links) == 1 else Ending.UNTRUSTED_ROOT
    return Ending.UNKNOWN_ISSUER if last.authority else Ending.GAP


def _signs_itself(certificate: Certificate) -> bool:
    return certificate.self_issued and issued(certificate.x509, certificate.x509)


def _anchor(last: Certificate, roots: Sequence[x509.Certificate]) -> tuple[x509.Certificate | None, str]:
    """The root that is ``last`` or signed it; and the name of one that only bears its issuer's name."""
    copy = ""
    for root in roots:
        if root == last.x509:
            return root, ""
        if root.subject == last.x509.issuer:
            if issued(last.x509, root):
                return root, ""
            copy = last.issuer
    return None, copy


def strict_fault(path: Path, now: datetime) -> str:
    """What the strict validator has against a trusted path, in its words; empty: nothing. Raises ``ValueError`` with
    a sentence where it cannot judge (Ed25519).

    Names and dates are left to their own rules: the leaf's own name is asked for, at a moment when all were valid.
    """
    leaf, others = path.links[0], path.links[1:]
    if any(each.key.kind in ("ed25519", "ed448") for each in path.links):
        raise ValueError("the strict validator does not take Ed25519 or Ed448 keys")
    moment = _common_moment(path, now)
    if moment is None:
        return ""
    store = verification.Store(list(path.anchors.values()))
    builder = verification.PolicyBuilder().store(store).time(moment)
    name = _own_name(leaf)
    try:
        if name is None:
            policy = verification.ExtensionPolicy.permit_all()
            builder = builder.extension_policies(
                ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(), ee_policy=policy
            )
            builder.build_client_verifier().verify(leaf.x509, [each.x509 for each in others])
        else:
            builder.build_server_verifier(name).verify(leaf.x509, [each.x509 for each in others])
    except (verification.VerificationError, *UNREADABLE) as error:
        return " ".join(str(error).split())[:200]
    return ""


def _common_moment(path: Path, now: datetime) -> datetime | None:
    """``now`` if everything on the path is valid then; else a moment when it was; None if there never was one."""
    roots = path.anchors.values()
    begin = max(*(each.not_before for each in path.links), *(each.not_valid_before_utc for each in roots))
    end = min(*(each.not_after for each in path.links), *(each.not_valid_after_utc for each in roots))
    if begin <= now <= end:
        return now
    return begin if begin <= end else None


def _own_name(leaf: Certificate) -> x509.DNSName | x509.IPAddress | None:
    """A name that the leaf itself claims, without wildcards."""
    for name in leaf.dns_names:
        try:
            return x509.DNSName(name.replace("*", "wildcard", 1) if name.startswith("*.") else name)
        except ValueError:
            continue
    return x509.IPAddress(ipaddress.ip_address(leaf.addresses[0])) if leaf.addresses else None
