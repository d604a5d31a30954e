"""Mozilla intermediate 5.7: for almost every server, whoever its clients are."""

from __future__ import annotations

from datetime import date

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import TLS13_AES_AND_CHACHA, groups, suites
from everyhop.core.tls.versions import TLS12, TLS13

MOZILLA_INTERMEDIATE_5_7 = Guideline(
    name="mozilla-intermediate",
    version="5.7",
    published=date(2023, 5, 15),
    source="mozilla/ssl-config-generator, src/static/guidelines/5.7.json",
    versions=(TLS13, TLS12),
    suites_tls13=TLS13_AES_AND_CHACHA,
    suites_tls12=suites(
        """
        ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256
        ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384
        ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305
        DHE-RSA-AES128-GCM-SHA256 DHE-RSA-AES256-GCM-SHA384 DHE-RSA-CHACHA20-POLY1305
        """
    ),
    groups=groups("x25519 secp256r1 secp384r1"),
    required_versions=(TLS13,),
    certificate_keys=("ecdsa-p256", "ecdsa-p384", "rsa-2048"),
    certificate_days_max=366,
    certificate_days_recommended=90,
    hsts_seconds_min=63_072_000,
    server_order=False,
    notes="for almost every server, whoever its clients are",
)
