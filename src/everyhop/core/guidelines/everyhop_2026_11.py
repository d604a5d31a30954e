"""everyhop's own guideline for hops between services: both ends are ours, so nothing old has to be permitted."""

from __future__ import annotations

from datetime import date

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import HYBRIDS, TLS13_AES_AND_CHACHA, groups
from everyhop.core.tls.versions import TLS13

EVERYHOP = Guideline(
    name="everyhop",
    version="2026-11",
    published=date(2026, 11, 22),
    source="everyhop documentation, stories/scan",
    versions=(TLS13,),
    suites_tls13=TLS13_AES_AND_CHACHA,
    suites_tls12=(),
    groups=(*HYBRIDS, *groups("x25519 secp256r1 secp384r1")),
    preferred_groups=HYBRIDS,
    required_versions=(TLS13,),
    certificate_days_max=90,
    certificate_days_recommended=7,
    notes="between services: TLS 1.3 only, a post-quantum hybrid preferred, certificates renewed by machine",
)
