"""Mozilla modern 5.7: for services whose clients all speak TLS 1.3."""

from __future__ import annotations

from datetime import date

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import TLS13_AES_AND_CHACHA, groups
from everyhop.core.tls.versions import TLS13

MOZILLA_MODERN_5_7 = Guideline(
    name="mozilla-modern",
    version="5.7",
    published=date(2023, 5, 15),
    source="mozilla/ssl-config-generator, src/static/guidelines/5.7.json",
    versions=(TLS13,),
    suites_tls13=TLS13_AES_AND_CHACHA,
    suites_tls12=(),
    groups=groups("x25519 secp256r1 secp384r1"),
    required_versions=(TLS13,),
    certificate_keys=("ecdsa-p256", "ecdsa-p384"),
    certificate_days_max=90,
    certificate_days_recommended=90,
    hsts_seconds_min=63_072_000,
    server_order=False,
    notes="for services whose clients all speak TLS 1.3",
)
