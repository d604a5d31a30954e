"""AWS ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06: also without forward secrecy, and with SHA-1."""

from __future__ import annotations

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import SOUND_GROUPS, TLS13_AES_AND_CHACHA, suites
from everyhop.core.tls.versions import TLS12, TLS13

AWS_ELB_TLS13_1_2_EXT2 = Guideline(
    name="aws-elb-tls13-1-2-ext2",
    version="2021-06",
    published=None,
    source="AWS documentation, Application Load Balancer policies: ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06",
    versions=(TLS13, TLS12),
    suites_tls13=TLS13_AES_AND_CHACHA,
    suites_tls12=suites(
        """
        ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256
        ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384
        ECDHE-ECDSA-AES128-SHA256 ECDHE-RSA-AES128-SHA256
        ECDHE-ECDSA-AES256-SHA384 ECDHE-RSA-AES256-SHA384
        ECDHE-ECDSA-AES128-SHA ECDHE-RSA-AES128-SHA ECDHE-ECDSA-AES256-SHA ECDHE-RSA-AES256-SHA
        AES128-GCM-SHA256 AES128-SHA256 AES256-GCM-SHA384 AES256-SHA256
        AES128-SHA AES256-SHA
        """
    ),
    groups=SOUND_GROUPS,
    notes="also without forward secrecy, and with SHA-1; the policy leaves the groups open",
)
