"""AWS ELBSecurityPolicy-TLS13-1-2-Res-2021-06: forward secrecy and GCM only."""

from __future__ import annotations

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import SOUND_GROUPS, TLS13_AES_AND_CHACHA, suites
from everyhop.core.tls.versions import TLS12, TLS13

AWS_ELB_TLS13_1_2_RES = Guideline(
    name="aws-elb-tls13-1-2-res",
    version="2021-06",
    published=None,
    source="AWS documentation, Application Load Balancer policies: ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
    versions=(TLS13, TLS12),
    suites_tls13=TLS13_AES_AND_CHACHA,
    suites_tls12=suites(
        """
        ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256
        ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384
        """
    ),
    groups=SOUND_GROUPS,
    notes="forward secrecy and GCM only; the policy leaves the groups open",
)
