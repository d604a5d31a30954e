"""Validity: from when, until when, how much of it is left, and was it made too long.

Rules: every certificate of the path counts, since the first that expires breaks it; a needless root does not. What is
left is judged as a share of the whole life, so that a certificate of a day and one of a year are held to the same
promise. The moments of both ends are inside (RFC 5280, 4.1.2.5).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed
from everyhop.core.endpoint.served import Certificate
from everyhop.core.finding import Severity

NEARLY_SPENT = 0.1
"""Less than this share of a life is left: every renewal that works has come before."""

NEARLY_SPENT_AT_MOST = timedelta(days=14)
"""And never earlier than this before the end: a tenth of a year is more than five weeks, which nobody acts on."""


def _expired(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    gone = [each for each in case.path.links if case.now > each.not_after]
    if gone:
        return failed(
            f"expected a valid certificate, got one that expired {_ago(case.now - gone[0].not_after)} ago",
            _until(gone),
        )
    return passed("nothing on the path has expired", _until(case.path.links))


def _not_yet_valid(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    early = [each for each in case.path.links if case.now < each.not_before]
    if early:
        wait = _ago(early[0].not_before - case.now)
        return failed(
            f"expected a valid certificate, got one that becomes valid in {wait}",
            ", ".join(f"{each.title} from {_text(each.not_before)}" for each in early),
        )
    return passed("everything on the path is valid already")


def _nearly_spent(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    valid = [each for each in case.path.links if each.not_before <= case.now <= each.not_after]
    if not valid:
        return not_applicable("nothing on the path is valid now")
    late = [each for each in valid if each.not_after - case.now < margin(each.lifetime)]
    if late:
        left = _ago(late[0].not_after - case.now)
        return failed(
            f"expected a renewal by now, got {left} left of a life of {_ago(late[0].lifetime)}",
            _until(late),
        )
    return passed("enough of every life on the path is left", _until(valid))


def margin(lifetime: timedelta) -> timedelta:
    """How much of a life must be left: a tenth, but at most two weeks."""
    return min(lifetime * NEARLY_SPENT, NEARLY_SPENT_AT_MOST)


def _too_long(case: Case) -> Outcome | None:
    if case.served is None or case.served.leaf is None:
        return None
    most, advised = case.guideline.certificate_days_max, case.guideline.certificate_days_recommended
    if most is None:
        return not_applicable(f"{case.guideline} does not bound the life of a certificate")
    life = max(leaf.lifetime for leaf in (case.served.leaf, *case.served.more_leaves))
    if life > timedelta(days=most):
        advice = f" ({advised} are recommended)" if advised else ""
        return failed(f"expected a life of at most {most} days{advice}, got {_ago(life)}")
    return passed(f"its life of {_ago(life)} is within {most} days")


def _until(certificates: tuple[Certificate, ...] | list[Certificate]) -> str:
    return ", ".join(f"{each.title} until {_text(each.not_after)}" for each in certificates)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _ago(span: timedelta) -> str:
    """A span in its largest sensible unit."""
    for seconds, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if span >= timedelta(seconds=2 * seconds) or (span >= timedelta(seconds=seconds) and unit == "minute"):
            count = round(span.total_seconds() / seconds)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{round(span.total_seconds())} seconds"


RULES = (
    Rule(
        "certificate-expired",
        Severity.CRITICAL,
        "RFC 5280, 4.1.2.5",
        "an expired certificate is refused by every client that verifies, and trains the others not to",
        _expired,
    ),
    Rule(
        "certificate-not-yet-valid",
        Severity.HIGH,
        "RFC 5280, 4.1.2.5",
        "a certificate from the future is refused; often a wrong clock is behind it",
        _not_yet_valid,
    ),
    Rule(
        "certificate-nearly-spent",
        Severity.MEDIUM,
        "docs/defaults.md",
        "less than a tenth of its life is left (two weeks for long lives): its renewal is overdue",
        _nearly_spent,
    ),
    Rule(
        "certificate-lifetime-long",
        Severity.LOW,
        "the guideline's maximum",
        "a long life is the time for which a stolen key is worth something",
        _too_long,
    ),
)
