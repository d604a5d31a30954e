"""From facts to findings: every rule looks at one case, and running exceptions are marked.

Rules: nothing is left out and nothing is added: a rule that had something to look at gives exactly one finding, pass or
not. Judging is pure and never raises, whatever a server has sent: a rule that fails is one unknown, and the others keep
their word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from everyhop.core.endpoint.excuse import Excuse
from everyhop.core.endpoint.facts import EndpointFacts
from everyhop.core.endpoint.path import Stores, walk
from everyhop.core.endpoint.rules import RULES, Case, Outcome, Rule
from everyhop.core.endpoint.rules.fault import fault_of, unanswered
from everyhop.core.endpoint.served import Served
from everyhop.core.endpoint.timestamps import Log
from everyhop.core.finding import Finding
from everyhop.core.guidelines.guideline import Guideline


def judge(
    facts: EndpointFacts,
    guideline: Guideline,
    *,
    now: datetime,
    stores: Stores,
    expected_identity: str = "",
    exceptions: Iterable[Excuse] = (),
    logs: Sequence[Log] = (),
) -> tuple[Finding, ...]:
    """Every rule's finding on what was seen, in the order of :data:`RULES`.

    ``stores`` are the trusted roots by the name of their store; ``expected_identity`` is the SPIFFE ID that the
    endpoint should show, if it is to have one; ``logs`` are the transparency logs whose keys are known.
    """
    case = Case(
        facts=facts, guideline=guideline, now=now, stores=stores, expected_identity=expected_identity, logs=logs
    )
    try:
        case = _with_chain(case)
    except Exception as error:  # noqa: BLE001 -- hostile bytes found a hole in the reading: one endpoint's unknown
        case = replace(case, facts=EndpointFacts(facts.target, facts.at, fault=fault_of(error)))
    excuses = tuple(exceptions)
    found = (_answer(rule, case) for rule in RULES.values())
    return tuple(_marked(finding, excuses, now) for finding in found if finding is not None)


def _with_chain(case: Case) -> Case:
    """The case with the served chain read, and where it leads."""
    seen = case.facts.certificate
    served = Served.of(seen) if seen and seen.chain else None
    if served is None or served.leaf is None:
        return case
    return replace(case, served=served, path=walk(served.chain, case.stores))


def _answer(rule: Rule, case: Case) -> Finding | None:
    try:
        return rule.judge(case)
    except Exception as error:  # noqa: BLE001 -- a fault in one rule is that rule's unknown
        return replace(rule, check=partial(_said, unanswered(error))).judge(case)


def _said(outcome: Outcome, _: Case) -> Outcome:
    return outcome


def _marked(finding: Finding, excuses: Sequence[Excuse], now: datetime) -> Finding:
    excuse = next((each for each in excuses if each.covers(finding, now)), None)
    return excuse.mark(finding) if excuse else finding
