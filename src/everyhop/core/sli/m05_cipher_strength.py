"""M5, cipher strength: of all finished handshakes, how many used only what is strong.

Pitfalls, answered: what was *used* is not what is *allowed*: the prober's refusals tell that
(``everyhop_policy_compliant``). Who used it stands in the observations. OpenSSL names TLS 1.2 suites, IANA names those
of TLS 1.3: both spellings are known here. A handshake whose group was not logged is unknown, and counts in the total.
The strong ones are those of Mozilla's intermediate guideline 6.0 (2026-04-06).
"""

from __future__ import annotations

from everyhop.core.sli.counts import Counts
from everyhop.core.sli.indicator import Indicator, Scope
from everyhop.core.sli.value import SliValue

SUITES = {
    "TLSv1.3": frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}),
    "TLSv1.2": frozenset(
        name
        for key in ("ECDSA", "RSA")
        for name in (
            f"ECDHE-{key}-AES128-GCM-SHA256",
            f"ECDHE-{key}-AES256-GCM-SHA384",
            f"ECDHE-{key}-CHACHA20-POLY1305",
            f"TLS_ECDHE_{key}_WITH_AES_128_GCM_SHA256",
            f"TLS_ECDHE_{key}_WITH_AES_256_GCM_SHA384",
            f"TLS_ECDHE_{key}_WITH_CHACHA20_POLY1305_SHA256",
        )
    ),
}
"""Strong suites by version."""
GROUPS = frozenset({"X25519MLKEM768", "X25519", "x25519", "P-256", "P-384", "prime256v1", "secp256r1", "secp384r1"})

CIPHER_STRENGTH = Indicator(
    code="M5",
    name="cipher strength",
    unit="ratio",
    higher_is_better=True,
    definition="finished handshakes with a strong version, suite and group, of all finished handshakes",
    expr='sum by (hop) (rate(everyhop_tls_handshakes_total{strong="true"}[1h]))'
    " / sum by (hop) (rate(everyhop_tls_handshakes_total[1h]))",
)


def strong(version: str, cipher: str, group: str) -> bool | None:
    """Whether what a handshake agreed on is strong; None if the log left its group out."""
    if cipher not in SUITES.get(version, ()):
        return False
    return group in GROUPS if group else None


def post_quantum(group: str) -> bool:
    """Whether a group keeps its secret from a quantum computer: the hybrids with ML-KEM (FIPS 203)."""
    return "MLKEM" in group.upper()


def cipher_strength(scope: Scope, counts: Counts) -> SliValue:
    """The share of strong handshakes, with the post-quantum share in its note."""
    judged = {kind: strong(*kind) for kind in counts.kinds}
    good = sum(count for kind, count in counts.kinds.items() if judged[kind])
    unknown = sum(count for kind, count in counts.kinds.items() if judged[kind] is None)
    total = sum(counts.kinds.values())
    hybrid = sum(count for kind, count in counts.kinds.items() if post_quantum(kind[2]))
    note = f"{hybrid / total:.1%} with a post-quantum group" if total else ""
    return CIPHER_STRENGTH.ratio(scope, good, total, unknown=unknown, note=note)
