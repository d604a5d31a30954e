"""What we issue, in the eyes of a linter that is not ours: pkilint's rules for RFC 5280."""

# pkilint carries no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader
from pkilint.pkix import certificate, extension, name
from tests.fakes.world import TEXT, World, policy, start

from everyhop.core.certificate import CertificateRequest
from everyhop.core.policy import SYSTEM
from everyhop.core.profile import PROFILES, KeyAlgorithm
from everyhop.drivers.keys.algorithms import make, public_bytes

FALSE = ("pkix.invalid_uri_syntax", 'Invalid URI syntax: "spiffe://')
"""pkilint 0.13 knows a list of URI schemes, and spiffe is not on it. RFC 5280, 4.2.1.6 asks for RFC 3986 only."""
SERIOUS = {"FATAL", "ERROR", "WARNING"}


@cache
def linter() -> Any:
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def complaints(der: bytes) -> set[tuple[str, str]]:
    """Every finding from a warning upwards."""
    document = loader.load_certificate(der, "")
    return {
        (one.finding.code, one.message or "")
        for result in linter().validate(document.root)
        for one in result.finding_descriptions
        if one.finding.severity.name in SERIOUS
        and not (one.finding.code == FALSE[0] and (one.message or "").startswith(FALSE[1]))
    }


async def one_of_each(key: KeyAlgorithm) -> dict[str, bytes]:
    text = TEXT.replace("protocol: postgres", "dns: [db.shop.internal]")
    world = World(text=text + f"policy: {{authority_key: {key}}}\n")
    life = await start(world)
    found = {line.profile: line.certificate for line in await life.store.issuances() if line.certificate}
    allowed = policy()
    signer = (await life.authorities.get("intermediate-1")).issuer()
    for profile, identity in {"probe": allowed.probe_identity, "evidence": allowed.evidence_identity}.items():
        public_key, life_time = public_bytes(make(KeyAlgorithm.P256)), timedelta(minutes=5)
        request = CertificateRequest(
            profile, PROFILES[profile], public_key, life_time, SYSTEM, SYSTEM, identity=identity
        )
        line = await life.gate.issue(request, signer, allowed)
        found[profile] = line.certificate or b""
    return found


@pytest.mark.parametrize("key", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.ED25519, KeyAlgorithm.RSA2048])
def test_another_linter_finds_nothing_in_what_we_issue(key: KeyAlgorithm) -> None:
    issued = asyncio.run(one_of_each(key))
    assert set(issued) == set(PROFILES)
    assert {profile: complaints(der) for profile, der in issued.items()} == {profile: set() for profile in issued}


def test_the_other_linter_finds_what_is_wrong() -> None:
    """It runs at all: a certificate without any extension does not pass."""
    private = make(KeyAlgorithm.P256)
    nobody = x509.Name([])
    world = World()
    bare = (
        x509.CertificateBuilder(nobody, nobody, private.public_key(), 1 << 70)
        .not_valid_before(world.clock.now())
        .not_valid_after(world.clock.now() + timedelta(days=1))
        .sign(make(KeyAlgorithm.ED25519), None)
    )
    assert complaints(bare.public_bytes(Encoding.DER))
