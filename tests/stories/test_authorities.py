"""Every type of authority key works on real Envoy, from the root to the wire."""

from __future__ import annotations

import pytest
from cryptography import x509
from tests.stories.harness import until
from tests.stories.small import Small

from everyhop.core.certificate import algorithm_of
from everyhop.core.profile import KeyAlgorithm

pytestmark = pytest.mark.story

CLASSIC = (KeyAlgorithm.P384, KeyAlgorithm.RSA3072, KeyAlgorithm.ED25519)


@pytest.mark.parametrize("algorithm", [*CLASSIC, KeyAlgorithm.MLDSA44, KeyAlgorithm.MLDSA65, KeyAlgorithm.MLDSA87])
def test_hops_are_proved_under_every_type_of_authority(algorithm: KeyAlgorithm) -> None:
    """Envoys verify each other under an authority of this type, and it can be rotated.

    A client with the system's OpenSSL 3.0 is asked, too, but not about ML-DSA, which it does not know.
    """
    with Small(policy=f"authority_key: {algorithm}, rotation_overlap: 0s") as mesh:
        mesh.file.write_text(mesh.file.read_text().replace("  rotation_overlap: 1s\n", ""))
        mesh.up().ready()
        assert algorithm_of(x509.load_pem_x509_certificate(mesh.roots.encode()).public_key()) is algorithm
        mesh.run("rotate", "root")
        until(lambda: mesh.status().ok, "every hop to be seen under the new root")
        assert {one.authority for one in mesh.status().certificates} == {"intermediate-2"}
        if algorithm in CLASSIC:
            mesh.send()
