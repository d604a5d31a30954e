"""Azure Application Gateway AppGwSslPolicy20220101S: GCM only."""

from __future__ import annotations

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import SOUND_GROUPS, suites
from everyhop.core.tls.versions import TLS12, TLS13

AZURE_APPGW_20220101S = Guideline(
    name="azure-appgw-s",
    version="2022-01-01",
    published=None,
    source="Azure documentation, Application Gateway TLS policy overview: AppGwSslPolicy20220101S",
    versions=(TLS13, TLS12),
    suites_tls13=suites("TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384"),
    suites_tls12=suites(
        """
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        """
    ),
    groups=SOUND_GROUPS,
    notes="forward secrecy and GCM only; the policy leaves the groups open",
)
