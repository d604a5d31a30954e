"""everyhop's own guideline for the edge: TLS 1.3 for everybody, and browsers that come back over TLS only."""

from __future__ import annotations

from datetime import date

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.numbers import HYBRIDS, TLS13_AES_AND_CHACHA, groups
from everyhop.core.tls.versions import TLS13

EVERYHOP_EDGE = Guideline(
    name="everyhop-edge",
    version="2026-11",
    published=date(2026, 11, 22),
    source="everyhop documentation, stories/scan",
    versions=(TLS13,),
    suites_tls13=TLS13_AES_AND_CHACHA,
    suites_tls12=(),
    groups=(*HYBRIDS, *groups("x25519 secp256r1 secp384r1")),
    preferred_groups=HYBRIDS,
    required_versions=(TLS13,),
    certificate_days_max=200,
    certificate_days_recommended=90,
    hsts_seconds_min=31_536_000,
    notes="for browsers and partners: TLS 1.3 only, HSTS for a year; public authorities issue for 200 days at most",
)
