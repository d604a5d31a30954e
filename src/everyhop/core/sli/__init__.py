"""Service level indicators M1 to M10, objectives and error budgets. One indicator, one small file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from everyhop.core.sli.indicator import Indicator
from everyhop.core.sli.m01_tls_usage import TLS_USAGE
from everyhop.core.sli.m02_handshake_success import HANDSHAKE_SUCCESS
from everyhop.core.sli.m03_mtls_coverage import MTLS_COVERAGE
from everyhop.core.sli.m04_expiry_lead import EXPIRY_LEAD
from everyhop.core.sli.m05_cipher_strength import CIPHER_STRENGTH
from everyhop.core.sli.m06_handshake_p95 import HANDSHAKE_P95
from everyhop.core.sli.m07_resumption import RESUMPTION
from everyhop.core.sli.m08_issuance import ISSUANCE
from everyhop.core.sli.m09_revocation import REVOCATION
from everyhop.core.sli.m10_plaintext_flows import PLAINTEXT_FLOWS

INDICATORS: Mapping[str, Indicator] = MappingProxyType(
    {
        one.code: one
        for one in (
            TLS_USAGE,
            HANDSHAKE_SUCCESS,
            MTLS_COVERAGE,
            EXPIRY_LEAD,
            CIPHER_STRENGTH,
            HANDSHAKE_P95,
            RESUMPTION,
            ISSUANCE,
            REVOCATION,
            PLAINTEXT_FLOWS,
        )
    }
)
"""Every indicator by its code, in order."""

__all__ = ["INDICATORS", "Indicator"]
