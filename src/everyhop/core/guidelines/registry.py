"""Every guideline by name and version.

Rules: a name alone means its newest version; ``name@version`` means exactly that one, for ever. The clouds' own names
are known too, because they are what stands in people's configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from everyhop.core.fault import did_you_mean
from everyhop.core.guidelines.aws_cloudfront_tls12_2021 import AWS_CLOUDFRONT_TLS12_2021
from everyhop.core.guidelines.aws_elb_tls13_1_2 import AWS_ELB_TLS13_1_2
from everyhop.core.guidelines.aws_elb_tls13_1_2_ext1 import AWS_ELB_TLS13_1_2_EXT1
from everyhop.core.guidelines.aws_elb_tls13_1_2_ext2 import AWS_ELB_TLS13_1_2_EXT2
from everyhop.core.guidelines.aws_elb_tls13_1_2_res import AWS_ELB_TLS13_1_2_RES
from everyhop.core.guidelines.aws_elb_tls13_1_3 import AWS_ELB_TLS13_1_3
from everyhop.core.guidelines.azure_appgw_20220101 import AZURE_APPGW_20220101
from everyhop.core.guidelines.azure_appgw_20220101s import AZURE_APPGW_20220101S
from everyhop.core.guidelines.everyhop_2026_11 import EVERYHOP
from everyhop.core.guidelines.everyhop_edge_2026_11 import EVERYHOP_EDGE
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.mozilla_intermediate_5_7 import MOZILLA_INTERMEDIATE_5_7
from everyhop.core.guidelines.mozilla_intermediate_5_8 import MOZILLA_INTERMEDIATE_5_8
from everyhop.core.guidelines.mozilla_intermediate_6_0 import MOZILLA_INTERMEDIATE_6_0
from everyhop.core.guidelines.mozilla_modern_5_7 import MOZILLA_MODERN_5_7
from everyhop.core.guidelines.mozilla_modern_5_8 import MOZILLA_MODERN_5_8
from everyhop.core.guidelines.mozilla_modern_6_0 import MOZILLA_MODERN_6_0
from everyhop.core.guidelines.mozilla_old_5_7 import MOZILLA_OLD_5_7
from everyhop.core.guidelines.mozilla_old_5_8 import MOZILLA_OLD_5_8
from everyhop.errors import EveryhopError

_NEWEST_FIRST = (
    EVERYHOP,
    EVERYHOP_EDGE,
    MOZILLA_MODERN_6_0,
    MOZILLA_MODERN_5_8,
    MOZILLA_MODERN_5_7,
    MOZILLA_INTERMEDIATE_6_0,
    MOZILLA_INTERMEDIATE_5_8,
    MOZILLA_INTERMEDIATE_5_7,
    MOZILLA_OLD_5_8,
    MOZILLA_OLD_5_7,
    AWS_ELB_TLS13_1_3,
    AWS_ELB_TLS13_1_2_RES,
    AWS_ELB_TLS13_1_2,
    AWS_ELB_TLS13_1_2_EXT1,
    AWS_ELB_TLS13_1_2_EXT2,
    AWS_CLOUDFRONT_TLS12_2021,
    AZURE_APPGW_20220101S,
    AZURE_APPGW_20220101,
)

GUIDELINES: Mapping[str, tuple[Guideline, ...]] = MappingProxyType(
    {one.name: tuple(other for other in _NEWEST_FIRST if other.name == one.name) for one in _NEWEST_FIRST}
)
"""Every name with its versions, newest first."""

DEFAULT = "mozilla-intermediate"
"""What an endpoint is held to that nobody said more of: right for almost every server, whoever its clients are."""

ALIASES: Mapping[str, Guideline] = MappingProxyType(
    {
        "ELBSecurityPolicy-TLS13-1-3-2021-06": AWS_ELB_TLS13_1_3,
        "ELBSecurityPolicy-TLS13-1-2-Res-2021-06": AWS_ELB_TLS13_1_2_RES,
        "ELBSecurityPolicy-TLS13-1-2-2021-06": AWS_ELB_TLS13_1_2,
        "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06": AWS_ELB_TLS13_1_2_EXT1,
        "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06": AWS_ELB_TLS13_1_2_EXT2,
        "TLSv1.2_2021": AWS_CLOUDFRONT_TLS12_2021,
        "AppGwSslPolicy20220101S": AZURE_APPGW_20220101S,
        "AppGwSslPolicy20220101": AZURE_APPGW_20220101,
    }
)
"""The clouds' own names for their policies."""


def find(name: str) -> Guideline:
    """A guideline by ``name`` (its newest version), ``name@version`` or a cloud's own name.

    Raises ``guideline-invalid`` with the nearest known name.
    """
    plain, _, version = name.partition("@")
    if not version and plain in ALIASES:
        return ALIASES[plain]
    versions = GUIDELINES.get(plain.lower())
    if versions is None:
        hint = did_you_mean(plain, [*GUIDELINES, *ALIASES], otherwise="`everyhop profiles` lists them")
        raise EveryhopError("guideline-invalid", f"expected a guideline that is known, got {name!r}", hint=hint)
    for one in versions:
        if version in ("", one.version):
            return one
    known = ", ".join(f"{one.name}@{one.version}" for one in versions)
    raise EveryhopError(
        "guideline-invalid", f"expected a version of {plain} that is known, got {version!r}", hint=f"there are {known}"
    )
