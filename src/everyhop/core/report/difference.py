"""What changed since an earlier scan: new failures, mended ones, and those that are still there.

Rules: a failure is told apart by its rule and its subject, never by its words. Mended is only what was looked at again
and passed, or does not apply any more; what could not be told this time, or was not looked at, is *unseen*, and says
nothing good. Advice is compared like everything else. Of both scans only the failures are kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from everyhop.core.report.document import Change, Difference, Endpoint, Result, Scan
from everyhop.core.report.endpoint import fails
from everyhop.core.verdict import Verdict

_Key = tuple[str, str]
_Failures = dict[_Key, Result]


def compare(before: Scan, after: Scan) -> Difference:
    """What became of every failure."""
    failed = {key: result for key, result in _results(before) if fails(result)}
    new, still, mended = _Failures(), _Failures(), _Failures()
    for key, result in _results(after):
        if fails(result):
            (still if key in failed else new)[key] = result
        elif key in failed and result.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE):
            mended[key] = failed[key]
    unseen = {key: result for key, result in failed.items() if key not in still and key not in mended}
    return Difference(_changes(new), _changes(mended), _changes(still), _changes(unseen))


def _results(scan: Scan) -> Iterator[tuple[_Key, Result]]:
    """Every result by subject and rule; of an endpoint that was asked under several names each is a subject."""
    for endpoint in scan.endpoints:
        subject = _subject(endpoint)
        for result in endpoint.findings:
            yield (subject, result.rule), result


def _subject(endpoint: Endpoint) -> str:
    host = endpoint.subject.rpartition(":")[0]
    return endpoint.subject if endpoint.name in ("", host) else f"{endpoint.subject} ({endpoint.name})"


def _changes(results: _Failures) -> tuple[Change, ...]:
    found = ((subject, rule, results[subject, rule]) for subject, rule in sorted(results))
    return tuple(Change(subject, rule, result.severity, result.statement) for subject, rule, result in found)
