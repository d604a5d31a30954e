"""From facts to findings: every rule looks at one case, and running exceptions are marked.

Rules: nothing is left out and nothing is added: a rule that had something to look at gives exactly one finding, pass or
not. Judging is pure and never raises, whatever a server has sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from everyhop.core.endpoint.excuse import Excuse
from everyhop.core.endpoint.facts import EndpointFacts
from everyhop.core.endpoint.path import Stores, walk
from everyhop.core.endpoint.rules import RULES, Case
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
    served = Served.of(facts.certificate) if facts.certificate and facts.certificate.chain else None
    readable = served if served and served.leaf else None
    case = Case(
        facts=facts,
        guideline=guideline,
        now=now,
        stores=stores,
        expected_identity=expected_identity,
        served=readable,
        path=walk(readable.chain, stores) if readable else None,
        logs=logs,
    )
    excuses = tuple(exceptions)
    found = (rule.judge(case) for rule in RULES.values())
    return tuple(_marked(finding, excuses, now) for finding in found if finding is not None)


def _marked(finding: Finding, excuses: Sequence[Excuse], now: datetime) -> Finding:
    excuse = next((each for each in excuses if each.covers(finding, now)), None)
    return excuse.mark(finding) if excuse else finding
