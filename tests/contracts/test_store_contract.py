"""What every ``ports.Store`` promises, run on each implementation.

A new driver joins by one line in ``WORLDS``: a world opens stores that share one durable state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.fakes.store import Disk, MemoryStore

from everyhop.core.ledger import leaf, root
from everyhop.core.observation import Kind, Observation, Source, Stream
from everyhop.core.verdict import Verdict
from everyhop.drivers.store.sqlite import SqliteStore
from everyhop.errors import EveryhopError
from everyhop.ports import AuditEntry, Issuance, IssuanceState, Json, Lease, Seal, Store

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LARGEST_SERIAL = (1 << 159) - 1


class World(Protocol):
    """A durable state, and stores on it."""

    async def open(self) -> Store: ...


class MemoryWorld:
    def __init__(self, folder: Path) -> None:
        self.disk = Disk()

    async def open(self) -> Store:
        return MemoryStore(self.disk)


class SqliteWorld:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"

    async def open(self) -> Store:
        return await SqliteStore.open(self.path)


WORLDS: dict[str, Callable[[Path], World]] = {"memory": MemoryWorld, "sqlite": SqliteWorld}

Story = Callable[["Stage"], Awaitable[None]]


class Stage:
    """Opens stores for one test and closes them after it."""

    def __init__(self, world: World, stack: AsyncExitStack) -> None:
        self._world = world
        self._stack = stack

    async def open(self) -> Store:
        store = await self._world.open()
        self._stack.push_async_callback(store.close)
        return store


@pytest.fixture(params=WORLDS)
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Story], None]:
    """Runs a story on one implementation."""

    async def run(story: Story) -> None:
        async with AsyncExitStack() as stack:
            await story(Stage(WORLDS[request.param](tmp_path), stack))

    return lambda story: asyncio.run(run(story))


Play = Callable[[Story], None]


def intent(number: int, request_id: str = "") -> Issuance:
    return Issuance(
        request_id=request_id or f"request-{number}",
        serial=number,
        issuer="prod-1",
        profile="service",
        profile_digest="ab" * 32,
        subject="spiffe://shop.example/prod/web",
        owner="team-web",
        names=("uri:spiffe://shop.example/prod/web", "dns:web.example"),
        tbs=b"\x30\x00tbs" + bytes(range(256)),
        algorithm=b"\x30\x0a",
        decision="allowed: profile service",
        not_before=NOW - MINUTE,
        not_after=NOW + timedelta(hours=24),
        intended_at=NOW,
    )


async def refused(code: str, call: Awaitable[Any]) -> None:
    with pytest.raises(EveryhopError) as caught:
        await call
    assert caught.value.code.name == code


async def held(store: Store, name: str, holder: str, now: datetime = NOW) -> Lease:
    lease = await store.acquire(name, holder, MINUTE, now)
    assert lease is not None
    return lease


# --- documents ------------------------------------------------------------------------------------------------


def test_a_document_is_found_as_it_was_put(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        value: dict[str, Json] = {"text": 'é "\u2028', "number": -1.5, "list": [None, True, {"deep": []}], "empty": {}}
        assert await store.get("hop", "a") is None
        first = await store.put("hop", "a", value)
        assert (first.version, first.value) == (1, value)
        value["text"] = "changed by the caller afterwards"
        found = await store.get("hop", "a")
        assert found == first
        assert found is not None
        found.value.clear()
        assert await store.get("hop", "a") == first
        assert (await store.put("hop", "a", {})).version == 2
        assert await store.get("other", "a") is None

    play(story)


def test_all_of_a_kind_come_sorted_by_key(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        for key in ("b", "a/2", "B", "a", "ä", "a-1"):
            await store.put("hop", key, {})
        await store.put("endpoint", "c", {})
        assert [document.key for document in await store.all("hop")] == ["B", "a", "a-1", "a/2", "b", "ä"]
        assert await store.all("nothing") == []

    play(story)


def test_what_json_cannot_say_is_refused_and_changes_nothing(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        with pytest.raises(ValueError):
            await store.put("hop", "a", {"x": float("nan")})
        assert await store.get("hop", "a") is None

    play(story)


def test_put_and_delete_compare_and_swap(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        await refused("store-conflict", store.put("hop", "a", {}, expect=1))
        await store.put("hop", "a", {"n": 1}, expect=0)
        await refused("store-conflict", store.put("hop", "a", {"n": 2}, expect=0))
        await store.put("hop", "a", {"n": 2}, expect=1)
        await refused("store-conflict", store.delete("hop", "a", expect=1))
        assert (await store.put("hop", "a", {"n": 3}, expect=2)).version == 3
        await store.delete("hop", "a", expect=3)
        assert await store.get("hop", "a") is None
        await store.delete("hop", "a")
        await store.delete("hop", "a", expect=0)
        await refused("store-conflict", store.delete("hop", "a", expect=3))

    play(story)


def test_of_many_writers_one_wins_each_version(play: Play) -> None:
    async def story(stage: Stage) -> None:
        stores = [await stage.open(), await stage.open()]
        won: list[int] = []

        async def write(number: int) -> None:
            store = stores[number % 2]
            while True:
                found = await store.get("counter", "c")
                version = found.version if found else 0
                with suppress(EveryhopError):
                    won.append((await store.put("counter", "c", {"by": number}, expect=version)).version)
                    return

        await asyncio.gather(*(write(number) for number in range(40)))
        assert sorted(won) == list(range(1, 41))

        outcomes = await asyncio.gather(
            *(stores[number % 2].put("counter", "d", {"by": number}, expect=0) for number in range(200)),
            return_exceptions=True,
        )
        refusals = [outcome.code.name for outcome in outcomes if isinstance(outcome, EveryhopError)]
        assert refusals == ["store-conflict"] * 199

    play(story)


# --- leases ---------------------------------------------------------------------------------------------------


def test_a_lease_is_held_extended_and_taken_over(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        first = await held(store, "rotate", "a")
        assert first == Lease("rotate", "a", 1, NOW + MINUTE)
        assert await store.acquire("rotate", "b", MINUTE, NOW + 0.999 * MINUTE) is None
        longer = await held(store, "rotate", "a", NOW + 0.5 * MINUTE)
        assert (longer.token, longer.expires_at) == (1, NOW + 1.5 * MINUTE)
        assert await store.acquire("rotate", "b", MINUTE, NOW + MINUTE) is None
        taken = await held(store, "rotate", "b", NOW + 1.5 * MINUTE)
        assert (taken.holder, taken.token) == ("b", 2)
        assert await store.acquire("rotate", "a", MINUTE, NOW + 1.5 * MINUTE) is None
        assert (await held(store, "another", "a")).token == 1

    play(story)


def test_a_token_is_never_given_twice_not_even_after_release(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        tokens: list[int] = []
        for holder in ("a", "a", "b", "a"):
            lease = await held(store, "rotate", holder)
            tokens.append(lease.token)
            await store.release(lease)
        assert tokens == [1, 2, 3, 4]
        late = await held(store, "rotate", "c")
        await store.release(replace(late, token=3))  # lost long ago: nothing happens
        assert await store.acquire("rotate", "d", MINUTE, NOW) is None
        await store.release(Lease("unknown", "a", 1, NOW))

    play(story)


def test_a_fenced_write_changes_nothing(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        old = await held(store, "rotate", "a")
        await store.put("rotation", "r", {"step": 1}, fence=old)
        # Expired but not taken over: nobody else can have written, so it still counts.
        new = await held(store, "rotate", "b", NOW + 2 * MINUTE)
        await refused("store-fenced", store.put("rotation", "r", {"step": 2}, fence=old))
        await refused("store-fenced", store.put("rotation", "s", {"step": 2}, expect=0, fence=old))
        await refused("store-fenced", store.delete("rotation", "r", fence=old))
        assert [document.value for document in await store.all("rotation")] == [{"step": 1}]
        await refused("store-conflict", store.put("rotation", "r", {}, expect=7, fence=new))
        assert (await store.put("rotation", "r", {"step": 3}, expect=1, fence=new)).version == 2
        await store.release(new)
        await refused("store-fenced", store.delete("rotation", "r", fence=new))
        await refused("store-fenced", store.put("rotation", "r", {}, fence=Lease("never", "a", 1, NOW)))

    play(story)


def test_of_many_holders_one_gets_the_lease(play: Play) -> None:
    async def story(stage: Stage) -> None:
        stores = [await stage.open(), await stage.open()]
        leases = await asyncio.gather(
            *(stores[number % 2].acquire("rotate", f"h{number}", MINUTE, NOW) for number in range(50))
        )
        assert sum(lease is not None for lease in leases) == 1

    play(story)


# --- issuance journal -----------------------------------------------------------------------------------------


def test_an_issuance_goes_from_intent_to_certificate(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        line = intent(LARGEST_SERIAL)
        assert await store.intend(line) == line
        assert await store.issuance(serial=LARGEST_SERIAL) == line
        done = await store.complete(LARGEST_SERIAL, b"certificate", NOW + MINUTE)
        assert done == replace(line, state=IssuanceState.ISSUED, certificate=b"certificate", finished_at=NOW + MINUTE)
        assert await store.issuance(request_id=line.request_id) == done
        assert await store.issuance(serial=1) is None
        assert await store.issuance(request_id="unknown") is None

    play(story)


def test_one_way_of_asking_for_a_line(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        with pytest.raises(ValueError):
            await store.issuance()
        with pytest.raises(ValueError):
            await store.issuance(request_id="a", serial=1)

    play(story)


def test_moments_come_back_aware_in_utc_and_naive_ones_are_refused(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
        await store.intend(replace(intent(1), intended_at=elsewhere))
        found = await store.issuance(serial=1)
        assert found is not None
        assert found.intended_at == NOW
        assert found.intended_at.tzinfo is UTC
        naive = NOW.replace(tzinfo=None)
        with pytest.raises(TypeError):
            await store.intend(replace(intent(2), not_after=naive))
        with pytest.raises(TypeError):
            await store.complete(1, b"c", naive)
        with pytest.raises(TypeError):
            await store.acquire("rotate", "a", MINUTE, naive)
        with pytest.raises(TypeError):
            await store.audit(AuditEntry(naive, "a", "b", "c", "d"))
        assert [line.serial for line in await store.issuances()] == [1]

    play(story)


def test_who_intends_twice_gets_the_stored_line(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        first = await store.intend(intent(1, "same"))
        assert await store.intend(intent(2, "same")) == first
        done = await store.complete(1, b"c", NOW)
        assert await store.intend(intent(3, "same")) == done
        assert [line.serial for line in await store.issuances()] == [1]

    play(story)


def test_a_taken_serial_is_a_conflict(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        await store.intend(intent(1, "a"))
        await refused("store-conflict", store.intend(intent(1, "b")))
        await store.abandon(1, "gone", NOW)
        await refused("store-conflict", store.intend(intent(1, "a")))
        assert await store.issuance(request_id="b") is None

    play(story)


def test_only_intents_with_a_lawful_serial_are_journaled(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        for wrong in (0, -1, LARGEST_SERIAL + 1):
            with pytest.raises(ValueError):
                await store.intend(intent(wrong, "a"))
        with pytest.raises(ValueError):
            await store.intend(replace(intent(1), state=IssuanceState.ISSUED, certificate=b"c"))
        assert await store.issuances() == []

    play(story)


def test_completing_twice_is_harmless_with_the_same_bytes_only(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        await store.intend(intent(1))
        done = await store.complete(1, b"c", NOW)
        assert await store.complete(1, b"c", NOW + MINUTE) == done
        await refused("store-conflict", store.complete(1, b"other", NOW))
        await refused("unknown-name", store.complete(2, b"c", NOW))
        await refused("store-conflict", store.abandon(1, "too late", NOW))
        assert await store.issuance(serial=1) == done

    play(story)


def test_an_abandoned_line_is_replaced_and_stays_as_history(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        await store.intend(intent(1, "same"))
        await store.abandon(1, "policy changed", NOW)
        await store.abandon(1, "again", NOW + MINUTE)
        gone = await store.issuance(request_id="same")
        assert gone == replace(
            intent(1, "same"), state=IssuanceState.ABANDONED, reason="policy changed", finished_at=NOW
        )
        await refused("store-conflict", store.complete(1, b"c", NOW))
        await refused("unknown-name", store.abandon(9, "unknown", NOW))
        second = await store.intend(intent(2, "same"))
        assert await store.issuance(request_id="same") == second
        await store.abandon(2, "and again", NOW)
        latest = await store.issuance(request_id="same")
        assert latest is not None
        assert latest.serial == 2
        assert await store.issuance(serial=1) == gone

    play(story)


def test_lines_come_newest_first_by_state_and_limit(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        for serial in (5, 3, 9, 1):
            await store.intend(intent(serial))
        await store.complete(3, b"c", NOW)
        await store.abandon(9, "no", NOW)
        assert [line.serial for line in await store.issuances()] == [1, 9, 3, 5]
        assert [line.serial for line in await store.issuances(limit=2)] == [1, 9]
        assert [line.serial for line in await store.issuances(state=IssuanceState.INTENDED)] == [1, 5]
        assert [line.serial for line in await store.issuances(state=IssuanceState.ISSUED)] == [3]
        assert [line.serial for line in await store.issuances(state=IssuanceState.ABANDONED)] == [9]
        assert await store.issuances(limit=0) == []
        assert await store.issuances(limit=-1) == []

    play(story)


def test_300_intents_at_once_from_two_sides(play: Play) -> None:
    async def story(stage: Stage) -> None:
        stores = [await stage.open(), await stage.open()]
        # Each request is asked for three times, with three different serials: one line each.
        lines = await asyncio.gather(
            *(stores[number % 2].intend(intent(number, f"request-{number % 100}")) for number in range(1, 301))
        )
        kept = {line.serial for line in lines}
        assert len(kept) == 100
        assert {line.serial for line in await stores[0].issuances()} == kept
        await asyncio.gather(*(stores[serial % 2].complete(serial, b"c", NOW) for serial in kept))
        assert len(await stores[1].issuances(state=IssuanceState.ISSUED)) == 100

    play(story)


# --- audit, restart, revision ---------------------------------------------------------------------------------


def test_the_audit_log_has_no_gaps_even_beside_failures(play: Play) -> None:
    async def story(stage: Stage) -> None:
        stores = [await stage.open(), await stage.open()]

        async def note(number: int) -> AuditEntry | None:
            store = stores[number % 2]
            if number % 3 == 0:
                await refused("store-conflict", store.put("hop", "none", {}, expect=99))
                return None
            return await store.audit(AuditEntry(NOW, "cli", "issue", f"s{number}", "ok", {"n": [number]}))

        entries = [entry for entry in await asyncio.gather(*map(note, range(150))) if entry]
        assert sorted(entry.sequence for entry in entries) == list(range(1, 101))
        log = await stores[0].audit_log()
        assert [entry.sequence for entry in log] == list(range(100, 0, -1))
        assert sorted(entries, key=lambda entry: -entry.sequence) == log
        assert len(await stores[1].audit_log(limit=7)) == 7

    play(story)


def test_a_restart_keeps_everything(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        document = await store.put("hop", "a", {"n": 1})
        lease = await held(store, "rotate", "a")
        await store.intend(intent(1))
        done = await store.complete(1, b"c", NOW)
        entry = await store.audit(AuditEntry(NOW, "cli", "issue", "web", "ok"))
        await store.close()
        await refused("store-unavailable", store.get("hop", "a"))
        await refused("store-unavailable", store.put("hop", "a", {}))

        again = await stage.open()
        assert await again.get("hop", "a") == document
        assert await again.issuance(serial=1) == done
        assert await again.audit_log() == [entry]
        assert await again.acquire("rotate", "b", MINUTE, NOW) is None
        await again.release(lease)
        assert (await held(again, "rotate", "b")).token == 2

    play(story)


def test_the_revision_changes_when_anybody_writes(play: Play) -> None:
    async def story(stage: Stage) -> None:
        mine, other = await stage.open(), await stage.open()
        before = await mine.revision()
        assert await mine.revision() == before
        await mine.put("hop", "a", {})
        after_mine = await mine.revision()
        assert after_mine != before
        seen_there = await other.revision()
        await other.audit(AuditEntry(NOW, "cli", "issue", "web", "ok"))
        assert await mine.revision() not in (before, after_mine)
        assert await other.revision() != seen_there
        last = await mine.revision()
        await mine.get("hop", "a")
        assert await mine.revision() == last

    play(story)


# --- observations ---------------------------------------------------------------------------------------------


def fact(number: int, *, stream: Stream = Stream.RECORD, subject: str = "web -> api") -> Observation:
    body: dict[str, Any] = {"count": number, "version": "TLSv1.3", "é": [1, None, {"deep": True}]}
    at = NOW + number * MINUTE
    return Observation(at, Kind.POSTURE, Source.SERVER, subject, "envoy of api", Verdict.PASS, body, stream)


def sealed(observations: list[Observation], number: int, previous: bytes = b"") -> Seal:
    first, last, stream = observations[0].sequence, observations[-1].sequence, observations[0].stream
    hashes = [leaf(one) for one in observations]
    return Seal(stream, number, first, last, root(hashes), previous, NOW, f"seal {number}".encode())


def test_observations_are_numbered_per_stream_and_found_as_they_were(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        given = await store.observe([fact(1), fact(2, stream=Stream.DETAIL), fact(3, subject="api -> db")])
        assert [one.sequence for one in given] == [1, 1, 2]
        found = await store.observations()
        assert list(found) == [given[0], given[2]]
        assert await store.observations(stream=Stream.DETAIL) == [given[1]]
        assert await store.observations(subject="api -> db") == [given[2]]
        assert not await store.observations(kind=Kind.ALERT)
        assert await store.observations(since=given[2].at, kind=Kind.POSTURE) == [given[2]]
        assert await store.observations(until=given[2].at) == [given[0]]
        assert await store.observations(after=1) == [given[2]]
        assert await store.observations(newest_first=True, limit=1) == [given[2]]
        assert await store.leaves(Stream.RECORD, first=1, last=9) == [leaf(given[0]), leaf(given[2])]

    play(story)


def test_documents_beside_observations_are_written_with_them_or_not_at_all(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        lease = await store.acquire("work", "a", MINUTE, NOW)
        assert lease is not None
        await store.observe([fact(1)], beside={("offset", "web"): {"at": 7}}, fence=lease)
        await store.release(lease)
        with pytest.raises(EveryhopError, match="work"):
            await store.observe([fact(2)], beside={("offset", "web"): {"at": 8}}, fence=lease)
        with pytest.raises((ValueError, TypeError)):
            await store.observe([fact(2)], beside={("offset", "web"): {"at": float("nan")}})
        document = await store.get("offset", "web")
        assert document is not None
        assert (document.value, document.version) == ({"at": 7}, 1)
        assert len(await store.observations()) == 1

    play(story)


def test_observations_that_json_cannot_say_change_nothing(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        with pytest.raises((ValueError, TypeError)):
            await store.observe([fact(1), replace(fact(2), body={"count": float("nan")})])
        assert not await store.observations()
        assert (await store.observe([fact(1)]))[0].sequence == 1

    play(story)


def test_seals_continue_one_another(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        facts = list(await store.observe([fact(number) for number in range(5)]))
        first = sealed(facts[:2], 1)
        await store.seal(first)
        for wrong in (sealed(facts[:2], 2), sealed(facts[3:], 2), sealed(facts[2:], 3), first):
            with pytest.raises(EveryhopError, match="expected"):
                await store.seal(wrong)
        with pytest.raises(EveryhopError, match="expected"):
            await store.seal(replace(sealed(facts[2:], 2), last=6))
        await store.seal(sealed(facts[2:], 2, b"x" * 32))
        assert [one.number for one in await store.seals(Stream.RECORD)] == [1, 2]
        assert (await store.seals(Stream.RECORD, newest_first=True, limit=1))[0].last == 5
        assert (await store.seals(Stream.RECORD, after=1))[0].previous == b"x" * 32
        assert not await store.seals(Stream.DETAIL)

    play(story)


def test_only_sealed_observations_are_forgotten_and_numbers_go_on(play: Play) -> None:
    async def story(stage: Stage) -> None:
        store = await stage.open()
        facts = list(await store.observe([fact(number) for number in range(4)]))
        assert await store.forget(Stream.RECORD, through=9, at=NOW) == 0
        await store.seal(sealed(facts[:2], 1))
        await store.seal(sealed(facts[2:], 2))
        assert await store.forget(Stream.RECORD, through=1, at=NOW) == 2
        assert [one.sequence for one in await store.observations()] == [3, 4]
        assert [one.forgotten_at for one in await store.seals(Stream.RECORD)] == [NOW, None]
        assert await store.forget(Stream.RECORD, through=2, at=NOW + MINUTE) == 2
        assert [one.forgotten_at for one in await store.seals(Stream.RECORD)] == [NOW, NOW + MINUTE]
        assert (await store.observe([fact(9)]))[0].sequence == 5

    play(story)


def test_many_observers_leave_no_gap(play: Play) -> None:
    async def story(stage: Stage) -> None:
        stores = [await stage.open(), await stage.open()]
        await asyncio.gather(*(stores[number % 2].observe([fact(number), fact(number)]) for number in range(100)))
        found = await stores[0].observations()
        assert [one.sequence for one in found] == list(range(1, 201))
        assert all(one.body == two.body for one, two in zip(found[::2], found[1::2], strict=True))

    play(story)
