"""Spans tell what happened, when, and in which order; told twice they are the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.clock import START

from everyhop.core.lifecycle import Rotation, RotationEvent, RotationState
from everyhop.core.spans import Renewal, Span, renewal_spans, rotation_spans

SECOND = timedelta(seconds=1)
RENEWAL = Renewal(
    slot="web/identity",
    request="web/identity@2.abc",
    serial="0a",
    issuer="intermediate-1",
    owner="shop",
    began_at=START,
    intended_at=START + SECOND,
    signed_at=START + 2 * SECOND,
    acknowledged_at=START + 3 * SECOND,
    ended_at=START + 5 * SECOND,
)
STEPS = ["intend", "sign", "push and acknowledge", "see on the wire"]


def intermediate_rotation() -> Rotation:
    asked = Rotation(
        kind="intermediate",
        number=3,
        state=RotationState.CREATING,
        requested_at=START,
        since=START,
        reason="a test",
        new_intermediate="intermediate-2",
    )
    made = asked.moved(RotationEvent.INTERMEDIATE_CREATED, START + SECOND, "intermediate-2 signs")
    return made.moved(RotationEvent.ALL_SERVE_NEW, START + 9 * SECOND, "4 certificates seen")


def check(spans: tuple[Span, ...]) -> None:
    assert len({one.trace for one in spans}) == 1
    assert len({one.span for one in spans}) == len(spans)
    assert all(len(one.trace) == 32 and len(one.span) == 16 for one in spans)
    assert all(one.began_at <= one.ended_at for one in spans)


def test_a_renewal_is_one_trace_with_a_span_for_each_step() -> None:
    spans = renewal_spans(RENEWAL, "here")
    check(spans)
    whole, *steps = spans
    assert [one.name for one in steps] == STEPS
    assert {one.parent for one in steps} == {whole.span}
    assert (whole.name, whole.parent, whole.fault) == ("renewal", "", "")
    assert (whole.began_at, whole.ended_at) == (START, START + 5 * SECOND)
    assert [(one.ended_at - one.began_at) // SECOND for one in steps] == [1, 1, 1, 2]
    assert whole.attributes["everyhop.slot"] == "web/identity"
    assert whole.attributes["everyhop.serial"] == "0a"


def test_a_renewal_that_failed_says_why_and_how_far_it_came() -> None:
    failed = replace(RENEWAL, acknowledged_at=None, fault="the proxy refused it")
    whole, *steps = renewal_spans(failed, "here")
    assert [one.name for one in steps] == STEPS[:2]
    assert whole.fault == "the proxy refused it"
    assert whole.ended_at == RENEWAL.ended_at


def test_ids_follow_from_what_they_are_about() -> None:
    assert renewal_spans(RENEWAL, "here") == renewal_spans(RENEWAL, "here")
    others = [
        renewal_spans(RENEWAL, "there"),
        renewal_spans(replace(RENEWAL, request="web/identity@3.abc"), "here"),
        rotation_spans(intermediate_rotation(), "creating", "here"),
    ]
    assert len({one[0].trace for one in [renewal_spans(RENEWAL, "here"), *others]}) == 4


def test_states_of_a_rotation_are_told_as_they_end_and_the_whole_with_the_last() -> None:
    rotation = intermediate_rotation()
    (creating,) = rotation_spans(rotation, "creating", "here")
    (reissuing,) = rotation_spans(rotation, "reissuing", "here")
    assert (creating.began_at, creating.ended_at) == (START, START + SECOND)
    assert (reissuing.began_at, reissuing.ended_at) == (START + SECOND, START + 9 * SECOND)
    assert reissuing.attributes["everyhop.proof"] == "all seen serving the new: 4 certificates seen"
    with pytest.raises(ValueError):
        rotation_spans(rotation, "retiring", "here")
    done = rotation.moved(RotationEvent.ALL_DROPPED_OLD, START + 10 * SECOND, "3 of 3")
    whole, retiring = rotation_spans(done, "retiring", "here")
    check((whole, creating, reissuing, retiring))
    assert {creating.parent, reissuing.parent, retiring.parent} == {whole.span}
    assert (whole.began_at, whole.ended_at, whole.fault) == (START, START + 10 * SECOND, "")
    assert whole.name == "rotation of the intermediate"
    assert whole.attributes["everyhop.rotation.number"] == 3
    assert rotation_spans(done, "creating", "here") == (creating,)


def test_a_rotation_that_was_given_up_failed() -> None:
    gone = intermediate_rotation().moved(RotationEvent.OUTLIVED, START + 20 * SECOND, "it grew old")
    whole, _ = rotation_spans(gone, "retiring", "here")
    assert whole.fault == "outlived: it grew old"


MOMENTS = st.integers(-100, 100).map(lambda seconds: START + seconds * SECOND)


@given(MOMENTS, st.none() | MOMENTS, st.none() | MOMENTS, st.none() | MOMENTS, MOMENTS)
def test_whatever_the_clock_did_no_span_ends_before_it_begins(
    began: datetime, intended: datetime | None, signed: datetime | None, acknowledged: datetime | None, ended: datetime
) -> None:
    moved = replace(
        RENEWAL, began_at=began, intended_at=intended, signed_at=signed, acknowledged_at=acknowledged, ended_at=ended
    )
    whole, *steps = renewal_spans(moved, "here")
    check((whole, *steps))
    assert all(whole.began_at <= one.began_at and one.ended_at <= whole.ended_at for one in steps)
