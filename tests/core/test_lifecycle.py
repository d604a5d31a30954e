"""The tables are whole, and renewal is decided from stored state and the clock alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from everyhop.core.lifecycle import (
    CREDENTIAL,
    ROTATION,
    TABLES,
    CredentialEvent,
    CredentialState,
    Decision,
    Held,
    RenewalPolicy,
    Rotation,
    RotationEvent,
    RotationState,
    SeenOnWire,
    Slot,
    close_renewal,
    due_at,
    renewal_decision,
    retry_delay,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = RenewalPolicy(lifetime=DAY)


def held(serial: str, at: datetime = NOW, authority: str = "intermediate-1") -> Held:
    return Held(serial, f"leaf/{serial}", serial, authority, "PEM", at, at - timedelta(minutes=5), at + DAY)


def slot(state: CredentialState = CredentialState.SERVED, **fields: Any) -> Slot:
    given: dict[str, Any] = {"since": NOW, "due_at": NOW + DAY / 2, "shape": "s", "current": held("1")} | fields
    return Slot("db", "identity", state, 1, request_id="db/identity@1", **given)


def decide(one: Slot, now: datetime, shape: str = "s", signer: str = "intermediate-1") -> Decision:
    return renewal_decision(one, shape, signer, now)[0]


# --- tables -------------------------------------------------------------------------------------------------------

WHOLE: list[tuple[type[StrEnum], type[StrEnum], Mapping[tuple[Any, Any], Any], StrEnum, frozenset[Any]]] = [
    (CredentialState, CredentialEvent, CREDENTIAL.transitions, CREDENTIAL.initial, CREDENTIAL.final),
    (RotationState, RotationEvent, ROTATION.transitions, ROTATION.initial, ROTATION.final),
]


@pytest.mark.parametrize(("states", "events", "transitions", "initial", "final"), WHOLE, ids=["credential", "rotation"])
def test_a_table_is_whole(states: Any, events: Any, transitions: Any, initial: Any, final: Any) -> None:
    reached, edge = {initial}, {initial}
    while edge:
        edge = {after for (state, _), after in transitions.items() if state in edge} - reached
        reached |= edge
    assert reached == set(states), "a state that nothing leads to"
    assert {event for _, event in transitions} == set(events), "an event that means nothing anywhere"
    stuck = set(states) - {state for state, _ in transitions} - set(final)
    assert not stuck, "a state without a way out"


def test_nothing_leads_out_of_a_rotation_that_has_ended() -> None:
    assert not [state for state, _ in ROTATION.transitions if state in ROTATION.final]
    assert ROTATION.final == {RotationState.DONE, RotationState.GIVEN_UP}


def test_from_every_state_a_good_end_can_be_reached() -> None:
    for table, end in ((CREDENTIAL, CredentialState.SERVED), (ROTATION, RotationState.GIVEN_UP)):
        good = {end}
        for _ in range(20):
            good |= {state for (state, _), after in table.transitions.items() if after in good}  # pyright: ignore[reportUnhashable, reportUnknownVariableType]
        assert good >= {state for state, _ in table.transitions}


def test_an_event_that_a_state_does_not_know_is_an_error_that_says_which_it_knows() -> None:
    with pytest.raises(ValueError, match=r"credential: expected one of \['due'\] in state served, got acknowledged"):
        CREDENTIAL.after(CredentialState.SERVED, CredentialEvent.ACKNOWLEDGED)
    assert set(TABLES) == {"credential", "rotation"}


def test_a_rotation_keeps_the_proof_of_every_step() -> None:
    begun = Rotation("root", 1, RotationState.CREATING, NOW, NOW, "old", "intermediate-2", "root-2")
    moved = begun.moved(RotationEvent.ROOT_CREATED, NOW + DAY, "root-2 made")
    assert (moved.state, moved.since, moved.progress) == (RotationState.DISTRIBUTING, NOW + DAY, "")
    assert moved.history == (("creating", "2026-03-02T12:00:00.000+00:00 new root created: root-2 made"),)
    assert not moved.finished
    assert moved.moved(RotationEvent.OUTLIVED, NOW, "too old").finished


# --- decisions ----------------------------------------------------------------------------------------------------


def test_what_is_served_waits_until_it_is_due() -> None:
    assert decide(slot(), NOW) is Decision.WAIT
    assert decide(slot(), NOW + DAY / 2 - timedelta(seconds=1)) is Decision.WAIT
    assert decide(slot(), NOW + DAY / 2) is Decision.ISSUE


@pytest.mark.parametrize("state", [CredentialState.SERVED, CredentialState.DEPLOYING, CredentialState.PROVING])
@pytest.mark.parametrize(
    ("jump", "shape", "signer", "why"),
    [
        (DAY, "s", "intermediate-1", "expired"),
        (DAY * 400, "s", "intermediate-1", "expired"),
        (-timedelta(minutes=6), "s", "intermediate-1", "the clock went back before the certificate's life"),
        (-DAY * 400, "s", "intermediate-1", "the clock went back before the certificate's life"),
        (timedelta(0), "other", "intermediate-1", "its names or profile changed"),
        (timedelta(0), "s", "intermediate-2", "signed by intermediate-1, which signs no more"),
    ],
)
def test_what_is_no_longer_right_is_issued_anew(
    state: CredentialState, jump: timedelta, shape: str, signer: str, why: str
) -> None:
    one = slot(state, pending=None if state is CredentialState.SERVED else held("2"))
    assert renewal_decision(one, shape, signer, NOW + jump) == (Decision.ISSUE, why)


def test_what_was_asked_for_is_issued_now_but_does_not_interrupt_what_is_under_way() -> None:
    assert decide(slot(asked=True), NOW) is Decision.ISSUE
    assert decide(slot(CredentialState.FAILED, asked=True, retry_at=NOW + DAY), NOW) is Decision.ISSUE
    assert decide(slot(CredentialState.PROVING, asked=True, pending=held("2")), NOW) is Decision.CONTINUE


def test_a_clock_that_goes_back_within_the_backdate_changes_nothing() -> None:
    assert decide(slot(), NOW - timedelta(minutes=4)) is Decision.WAIT


@pytest.mark.parametrize("state", [CredentialState.DEPLOYING, CredentialState.PROVING])
def test_what_is_under_way_goes_on_but_does_not_grow_old_waiting(state: CredentialState) -> None:
    one = slot(state, pending=held("2"), due_at=NOW + DAY / 2)
    assert decide(one, NOW + DAY / 4) is Decision.CONTINUE
    assert decide(one, NOW + DAY / 2) is Decision.ISSUE
    assert decide(slot(CredentialState.ISSUING, current=None), NOW + DAY * 9) is Decision.CONTINUE
    assert decide(slot(state, current=None), NOW) is Decision.ISSUE, "nothing is held: begin again"


def test_a_failure_is_retried_at_its_time_and_whenever_the_clock_went_back() -> None:
    one = slot(CredentialState.FAILED, retry_at=NOW + timedelta(minutes=10), fault="no", attempts=3)
    assert decide(one, NOW) is Decision.WAIT
    assert decide(one, NOW + timedelta(minutes=10)) is Decision.ISSUE
    assert decide(one, NOW - DAY * 30) is Decision.ISSUE, "the retry is a month away by this clock"
    assert decide(replace(one, retry_at=None), NOW) is Decision.ISSUE


moments = st.integers(-(10**8), 10**8).map(lambda seconds: NOW + timedelta(seconds=seconds))


@given(now=moments, state=st.sampled_from(CredentialState), has=st.booleans(), pending=st.booleans())
def test_at_no_moment_is_a_bad_certificate_left_alone(
    now: datetime, state: CredentialState, has: bool, pending: bool
) -> None:
    """Whatever the clock shows: to wait is allowed only while a good certificate is served, or for a retry soon."""
    one = slot(state, current=held("1") if has else None, pending=held("2") if pending else None)
    if state is CredentialState.FAILED:
        one = replace(one, retry_at=NOW + timedelta(minutes=10))
    decision = decide(one, now)
    if decision is Decision.WAIT:
        if state is CredentialState.FAILED:
            assert NOW <= now < NOW + timedelta(minutes=10)
        else:
            assert one.current is not None
            assert one.current.not_before <= now < one.due_at
    if decision is Decision.ISSUE:
        known = CREDENTIAL.events(state)
        assert CredentialEvent.DUE in known or CredentialEvent.RETRY in known


# --- when ---------------------------------------------------------------------------------------------------------


@given(
    life=st.integers(2, 90 * 86400),
    share=st.floats(0.1, 0.9, exclude_min=True, exclude_max=True),
    jitter=st.floats(0, 0.3),
    fraction=st.floats(0, 1, exclude_max=True),
)
def test_a_renewal_falls_due_inside_the_life_whatever_the_backdate(
    life: int, share: float, jitter: float, fraction: float
) -> None:
    policy = RenewalPolicy(timedelta(seconds=life), share, jitter)
    due = due_at(NOW, NOW + policy.lifetime, policy, fraction)
    assert NOW < due < NOW + policy.lifetime
    low, high = (min(max(share + side * jitter, 0.05), 0.95) for side in (-1, 1))
    slack = timedelta(milliseconds=1)
    assert NOW + policy.lifetime * low - slack <= due <= NOW + policy.lifetime * high + slack


def test_jitter_moves_a_renewal_both_ways() -> None:
    dues = [due_at(NOW, NOW + DAY, POLICY, fraction) - NOW for fraction in (0, 0.5, 0.999999)]
    assert dues[:2] == [DAY * 0.4, DAY / 2]
    assert dues[2] > DAY * 0.59


def test_the_ladder_of_retries_doubles_to_its_end() -> None:
    rungs = [retry_delay(n, POLICY, DAY).total_seconds() for n in range(12)]
    assert rungs == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]
    assert retry_delay(10**6, POLICY, DAY) == timedelta(minutes=10)


@given(attempts=st.integers(0, 10**4), seconds=st.integers(-(10**6), 10**6))
def test_a_retry_comes_before_the_certificate_ends(attempts: int, seconds: int) -> None:
    remaining = timedelta(seconds=seconds)
    delay = retry_delay(attempts, POLICY, remaining)
    assert timedelta(seconds=1) <= delay <= timedelta(minutes=10)
    if remaining > timedelta(seconds=4):
        assert delay <= remaining / 4


# --- a slot's life ------------------------------------------------------------------------------------------------


class SlotLife(RuleBasedStateMachine):
    """Whatever happens in whatever order: what is offered is what was issued last or what was seen last."""

    def __init__(self) -> None:
        super().__init__()
        self.slot: Slot = slot()
        self.count = 1

    @rule(event=st.sampled_from(CredentialEvent))
    def happen(self, event: CredentialEvent) -> None:
        before = self.slot
        if (before.state, event) not in CREDENTIAL.transitions:
            with pytest.raises(ValueError, match="expected one of"):
                before.moved(event, NOW)
            return
        if event is CredentialEvent.SEEN:
            assert before.pending is not None
            with pytest.raises(ValueError, match="expected to see"):
                close_renewal(before, SeenOnWire("0", NOW, "a test"), NOW)
            self.slot = close_renewal(before, SeenOnWire(before.pending.serial, NOW, "a test"), NOW)
            assert self.slot.current == before.pending
            return
        self.slot = before.moved(event, NOW)
        if event is CredentialEvent.ISSUED:
            self.count += 1
            self.slot = replace(self.slot, pending=held(str(self.count)))
        elif event in (CredentialEvent.DUE, CredentialEvent.REFUSED, CredentialEvent.RETRY):
            self.slot = replace(self.slot, pending=None)

    @invariant()
    def something_is_always_offered(self) -> None:
        assert self.slot.offered is not None
        if self.slot.state in (CredentialState.DEPLOYING, CredentialState.PROVING):
            assert self.slot.offered == self.slot.pending
        else:
            assert self.slot.offered == self.slot.current
            assert self.slot.pending is None


TestSlotLife = SlotLife.TestCase
TestSlotLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)


def test_a_closed_renewal_forgets_its_failures() -> None:
    one = slot(CredentialState.PROVING, pending=held("2"), attempts=4, fault="once", retry_at=NOW)
    closed = close_renewal(one, SeenOnWire("2", NOW, "a test"), NOW + DAY)
    assert (closed.attempts, closed.fault, closed.retry_at, closed.seen_at) == (0, "", None, NOW)
    assert closed.key == "db/identity"
