"""AWS ELBSecurityPolicy-TLS13-1-3-2021-06: TLS 1.3 only."""

from __future__ import annotations

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import SOUND_GROUPS, TLS13_AES_AND_CHACHA
from everyhop.core.tls.versions import TLS13

AWS_ELB_TLS13_1_3 = Guideline(
    name="aws-elb-tls13-1-3",
    version="2021-06",
    published=None,
    source="AWS documentation, Application Load Balancer policies: ELBSecurityPolicy-TLS13-1-3-2021-06",
    versions=(TLS13,),
    suites_tls13=TLS13_AES_AND_CHACHA,
    suites_tls12=(),
    groups=SOUND_GROUPS,
    notes="TLS 1.3 only; the policy leaves the groups open",
)
