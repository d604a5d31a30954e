"""AWS CloudFront TLSv1.2_2021: between viewers and CloudFront."""

from __future__ import annotations

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import HYBRIDS, TLS13_AES_AND_CHACHA, groups, suites
from everyhop.core.tls.versions import TLS12, TLS13

AWS_CLOUDFRONT_TLS12_2021 = Guideline(
    name="aws-cloudfront-tls12",
    version="2021",
    published=None,
    source="Amazon CloudFront Developer Guide, supported protocols and ciphers between viewers and CloudFront",
    versions=(TLS13, TLS12),
    suites_tls13=TLS13_AES_AND_CHACHA,
    suites_tls12=suites(
        """
        ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305
        ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-CHACHA20-POLY1305
        """
    ),
    groups=(*HYBRIDS, *groups("x25519 secp256r1 secp384r1")),
    notes="the guide names prime256v1, secp384r1 and X25519; hybrids are permitted here because they are no weaker",
)
