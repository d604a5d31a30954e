"""What changed since an earlier scan: new failures, mended ones, and those that are still there.

Rules: a failure is told apart by its rule and its subject, never by its words. Mended is only what was looked at again
and passed, or does not apply any more; what could not be told this time, or was not looked at, is *unseen*, and says
nothing good. Advice is compared like everything else.
"""

from __future__ import annotations

from everyhop.core.report.document import Change, Difference, Endpoint, Result, ScanDocument
from everyhop.core.report.endpoint import fails
from everyhop.core.verdict import Verdict

_Key = tuple[str, str]


def compare(before: ScanDocument, after: ScanDocument) -> Difference:
    """What became of every failure."""
    old, now = _by_key(before), _by_key(after)
    failed_then = {key for key, result in old.items() if fails(result)}
    failing = {key for key, result in now.items() if fails(result)}
    answered = {key for key, result in now.items() if result.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE)}
    return Difference(
        new=_changes(failing - failed_then, now),
        mended=_changes(failed_then & answered, old),
        still=_changes(failing & failed_then, now),
        unseen=_changes(failed_then - failing - answered, old),
    )


def _by_key(document: ScanDocument) -> dict[_Key, Result]:
    """Every result by subject and rule; of an endpoint that was asked under several names each is a subject."""
    return {
        (_subject(endpoint), result.rule): result for endpoint in document.endpoints for result in endpoint.findings
    }


def _subject(endpoint: Endpoint) -> str:
    host = endpoint.subject.rpartition(":")[0]
    return endpoint.subject if endpoint.name in ("", host) else f"{endpoint.subject} ({endpoint.name})"


def _changes(keys: set[_Key], results: dict[_Key, Result]) -> tuple[Change, ...]:
    return tuple(
        Change(subject, rule, results[subject, rule].severity, results[subject, rule].statement)
        for subject, rule in sorted(keys)
    )
