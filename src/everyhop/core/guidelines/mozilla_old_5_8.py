"""Mozilla old 5.8: for clients of another age; kept so that old verdicts can be read."""

from __future__ import annotations

from datetime import date

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import TLS13_AES_AND_CHACHA, groups, suites
from everyhop.core.tls.versions import TLS10, TLS11, TLS12, TLS13

MOZILLA_OLD_5_8 = Guideline(
    name="mozilla-old",
    version="5.8",
    published=date(2026, 4, 6),
    source="mozilla/ssl-config-generator, src/static/guidelines/5.8.json",
    versions=(TLS13, TLS12, TLS11, TLS10),
    suites_tls13=TLS13_AES_AND_CHACHA,
    suites_tls12=suites(
        """
        ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256
        ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384
        ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305
        ECDHE-ECDSA-AES128-SHA256 ECDHE-RSA-AES128-SHA256
        ECDHE-ECDSA-AES128-SHA ECDHE-RSA-AES128-SHA
        ECDHE-ECDSA-AES256-SHA384 ECDHE-RSA-AES256-SHA384
        ECDHE-ECDSA-AES256-SHA ECDHE-RSA-AES256-SHA
        AES128-GCM-SHA256 AES256-GCM-SHA384 AES128-SHA256 AES256-SHA256
        AES128-SHA AES256-SHA DES-CBC3-SHA
        """
    ),
    groups=groups("X25519MLKEM768 x25519 secp256r1 secp384r1"),
    preferred_groups=groups("X25519MLKEM768"),
    certificate_keys=("rsa-2048",),
    certificate_days_max=366,
    certificate_days_recommended=90,
    hsts_seconds_min=63_072_000,
    server_order=True,
    notes="for clients of another age; kept so that old verdicts can be read",
)
