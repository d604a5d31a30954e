"""A corpus of endpoints with one thing wrong each (``tests/corpus/endpoints``): every one yields exactly its findings.

Each file is served for real, looked at with every probe, and judged by every rule. ``expected.json`` holds what fails
and what stays unknown; everything else must pass or not apply. The good ones yield nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import yaml
from tests.servers.badssl import Corpus, Endpoint, Pki, Spec, corpus, has_suite

from everyhop.core.endpoint.facts import EndpointFacts
from everyhop.core.endpoint.judge import judge
from everyhop.core.finding import Finding
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.mozilla_intermediate_6_0 import MOZILLA_INTERMEDIATE_6_0
from everyhop.core.guidelines.registry import find
from everyhop.core.verdict import Verdict
from everyhop.drivers.host.machine import SystemClock
from everyhop.drivers.probes.endpoint import EndpointLooks
from everyhop.drivers.probes.manners import Limits, Manners

CORPUS = Path(__file__).parent.parent / "corpus" / "endpoints"
FILES = {path.stem: path for path in sorted(CORPUS.glob("*/*.yaml"))}
EXPECTED = cast("dict[str, list[str]]", json.loads((CORPUS / "expected.json").read_text(encoding="utf-8")))

GUIDELINE: Guideline = replace(MOZILLA_INTERMEDIATE_6_0, preferred_groups=())
"""The published one, but for post-quantum groups: the OpenSSL behind Debian's nginx has none."""

WRONG = (Verdict.FAIL, Verdict.UNKNOWN)

TIMEOUT = 10.0
"""Seconds for one look: this machine may be busy."""


def _spec(name: str) -> Spec:
    return Spec.model_validate(yaml.safe_load(FILES[name].read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Corpus, Pki]]:
    specs = {name: _spec(name) for name in FILES}
    here = {name: spec for name, spec in specs.items() if not spec.needs_suite or has_suite(spec.needs_suite)}
    with corpus(tmp_path_factory.mktemp("endpoints"), here) as made:
        yield made


def test_the_corpus_and_its_expectations_are_the_same_files() -> None:
    assert set(EXPECTED) == {path.name for path in CORPUS.glob("wrong/*")}
    assert len(FILES) == len(list(CORPUS.glob("*/*"))), "a name is used twice"


@pytest.mark.parametrize("name", FILES)
def test_an_endpoint_yields_exactly_its_findings(name: str, served: tuple[Corpus, Pki]) -> None:
    spec = _spec(name)
    if spec.needs_suite and not has_suite(spec.needs_suite):
        pytest.skip(f"not applicable here: the local OpenSSL has no {spec.needs_suite}")
    made, pki = served
    stores = {"own": [pki.root.certificate]}
    with made.endpoint(name, spec) as endpoint:
        facts = asyncio.run(_look(endpoint, EndpointLooks(SystemClock(), manners=_unhurried(), roots=stores)))
    found = judge(facts, _guideline(spec), now=SystemClock().now(), stores=stores, expected_identity=spec.identity)
    wanted = EXPECTED.get(FILES[name].name, [])
    assert _summary(found) == sorted(wanted), _told(found)


def _guideline(spec: Spec) -> Guideline:
    return find(spec.guideline) if spec.guideline else GUIDELINE


def _unhurried() -> Manners:
    """These servers are ours: no politeness, no waiting."""
    return Manners(Limits(at_once=None, per_second=None))


async def _look(endpoint: Endpoint, looks: EndpointLooks) -> EndpointFacts:
    """Everything that can be found out; what a file leaves out is not asked."""
    target, left_out = endpoint.target, endpoint.spec.without
    facts = EndpointFacts(target, SystemClock().now(), plain=await looks.plain(target, timeout=TIMEOUT))
    facts = replace(facts, tls=await looks.verify(target, _guideline(endpoint.spec), timeout=TIMEOUT))
    certificate = await looks.certificate(target, timeout=TIMEOUT)
    facts = replace(facts, certificate=certificate)
    revocation = await looks.revocation(target, certificate.chain, certificate.staple, timeout=TIMEOUT)
    facts = replace(facts, revocation=revocation)
    if endpoint.credentials:
        return replace(facts, enforcement=await looks.enforcement(target, endpoint.credentials, timeout=TIMEOUT))
    if "session" not in left_out:
        facts = replace(facts, session=await looks.session(target, timeout=TIMEOUT))
    if target.wire == "http" and "http" not in left_out:
        facts = replace(facts, http=await looks.http(target, plain_port=endpoint.plain_port, timeout=TIMEOUT))
    return facts


def _summary(found: tuple[Finding, ...]) -> list[str]:
    return sorted(f"{each.verdict}: {each.rule}" for each in found if each.verdict in WRONG)


def _told(found: tuple[Finding, ...]) -> str:
    """For the reader of a failure."""
    return "\n".join(f"{each.rule}: {each.statement} [{each.evidence}]" for each in found if each.verdict in WRONG)
