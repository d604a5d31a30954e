"""Who has had enough of us has refused nothing: TLS behind a rate limiter, which ends connections without a word."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.servers.limiter import limited
from tests.servers.openssl import s_server

from everyhop.core.endpoint.facts import EndpointFacts, TlsFacts
from everyhop.core.endpoint.judge import judge
from everyhop.core.endpoint.target import Target
from everyhop.core.guidelines.registry import find
from everyhop.core.verdict import Verdict
from everyhop.drivers.probes.enumerate import enumerate_tls
from everyhop.drivers.probes.hello.ask import Interview
from everyhop.drivers.probes.manners import Limits, Manners
from everyhop.drivers.probes.verify import verify_tls

NOW = datetime(2026, 1, 2, tzinfo=UTC)
INTERMEDIATE = find("mozilla-intermediate@6.0")
HURRIED = Limits(per_second=None, pause_first_seconds=0.001, pause_max_seconds=0.001)
PROOFS = ("tls-version-old", "tls-suite-forbidden", "tls-group-forbidden")
WIDE_OPEN = ("-cipher", "ALL@SECLEVEL=0", "-min_protocol", "TLSv1")
"""TLS 1.0 and every suite: each of the proofs fails."""
STRICT = ("-min_protocol", "TLSv1.2", "-cipher", "ECDHE+AESGCM", "-groups", "X25519:P-256")


def looked(port: int, mode: str, connections: int, how: str) -> TlsFacts:
    async def story() -> TlsFacts:
        async with limited(port, connections, how=how) as front:
            interview = Interview(Target("127.0.0.1", front), Manners(HURRIED), timeout=10)
            if mode == "verify":
                return await verify_tls(interview, INTERMEDIATE, NOW)
            return await enumerate_tls(interview, NOW)

    return asyncio.run(story())


def verdicts(facts: TlsFacts) -> dict[str, Verdict]:
    found = judge(EndpointFacts(facts.target, NOW, tls=facts), INTERMEDIATE, now=NOW, stores={})
    return {finding.rule: finding.verdict for finding in found}


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_rate_limiter_refuses_nothing(how: str, tmp_path: Path) -> None:
    with s_server(tmp_path, *WIDE_OPEN) as port:
        for mode, most in (("verify", 8), ("enumerate", 60)):
            for connections in {1, 2, 3, 4, 5, 6, 7, most // 2, most}:
                facts = looked(port, mode, connections, how)
                found = verdicts(facts)
                for rule in PROOFS:
                    assert found[rule] in (Verdict.FAIL, Verdict.UNKNOWN), (mode, connections, rule, facts)


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("mode", ["verify", "enumerate"])
def test_what_was_said_before_the_limit_still_counts(mode: str, how: str, tmp_path: Path) -> None:
    """All of a strict server's refusals are alerts: those that came stand, and the others are open questions."""
    with s_server(tmp_path, *STRICT) as port:
        unlimited = looked(port, mode, 1000, how)
        found = verdicts(looked(port, mode, 5, how))
    assert {verdicts(unlimited)[rule] for rule in PROOFS} == {Verdict.PASS}
    assert not unlimited.fault
    assert Verdict.FAIL not in {found[rule] for rule in PROOFS}
    assert Verdict.UNKNOWN in {found[rule] for rule in PROOFS}
