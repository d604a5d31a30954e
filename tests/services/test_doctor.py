"""The doctor finds what is wrong, says what to do, and never takes what it could not see for healthy."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.clock import START, MovedClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import TEXT, World, start

from everyhop.core.health import EXAMINATIONS, Diagnosis
from everyhop.core.health.facts import FileFacts, Premises, SealFacts
from everyhop.core.lifecycle import CredentialState, Rotation, RotationState
from everyhop.core.observation import Kind, Observation, Source, Stream
from everyhop.core.verdict import Verdict, worst
from everyhop.drivers.host.premises import facts_of, seal_of, survey
from everyhop.ports import Seal
from everyhop.services.apply import apply
from everyhop.services.doctor import diagnose
from everyhop.services.flows import DETECTOR_KEY, DETECTORS, FlowDetector
from everyhop.services.operate import BEAT_KEY, BEATS, Beat
from everyhop.services.records import AUTHORITIES, ROTATIONS, SLOTS, TRUST, TRUST_KEY
from everyhop.services.supervise import PROCESSES, ProcessState

HEALTHY = Premises(
    directory=FileFacts("/data", 0o700, ours=True),
    open_files=(),
    clear_keys=(),
    keys=6,
    seal=SealFacts("key file", "/config/seal.key", FileFacts("/config/seal.key", 0o600, ours=True)),
    free_bytes=10 << 30,
    total_bytes=100 << 30,
    store_check="ok",
    logs={"web": 1000},
    envoy="1.40.0",
    holder=4711,
    xds=True,
)
EXCEPTION = """\
exceptions:
  - {hop: web -> db, posture: exempt, reason: the driver is old, owner: data, until: 2026-03-20}
"""


@dataclass
class Clinic:
    """A mesh that runs and is well, on a store in memory."""

    store: MemoryStore
    clock: MovedClock
    premises: Premises = HEALTHY

    def found(self) -> dict[str, Diagnosis]:
        answers = asyncio.run(diagnose(self.premises, self.store, "", self.clock.now()))
        return {one.code: one for one in answers}

    def run(self, work: Any) -> Any:
        return asyncio.run(work)


def clinic(text: str = TEXT) -> Clinic:
    async def make() -> Clinic:
        world = World(text=text)
        await start(world)
        store, now = MemoryStore(world.disk), world.clock.now()
        await apply(store, text, file="everyhop.yaml", file_dir="/shop", actor="test", now=now)
        await BEATS.put(store, BEAT_KEY, Beat(now, "running", "me"))
        await PROCESSES.put(store, "web", ProcessState("web", "up", 12, now, 0))
        await DETECTORS.put(store, DETECTOR_KEY, FlowDetector(now, 100, 10, 20, 0))
        return Clinic(store, world.clock)

    return asyncio.run(make())


def test_a_healthy_mesh_is_told_so() -> None:
    found = clinic().found()
    assert list(found) == list(EXAMINATIONS)
    assert {code: one.verdict for code, one in found.items() if one.verdict is not Verdict.PASS} == {
        "exceptions": Verdict.NOT_APPLICABLE,
        "seals": Verdict.NOT_APPLICABLE,
    }
    assert worst(one.verdict for one in found.values()) is Verdict.PASS


# --- the premises -------------------------------------------------------------------------------------------------

LOOSE = FileFacts("/data/keys/root-1.key", 0o644, ours=True)
PREMISES: list[tuple[str, dict[str, Any], Verdict]] = [
    ("data-directory", {"directory": FileFacts("/data", 0o755, ours=True)}, Verdict.FAIL),
    ("data-directory", {"directory": FileFacts("/data", 0o700, ours=False)}, Verdict.FAIL),
    ("private-files", {"open_files": (LOOSE,)}, Verdict.FAIL),
    ("keys-sealed", {"clear_keys": ("/data/keys/root-1.key",)}, Verdict.FAIL),
    ("seal-secret", {"seal": SealFacts("key file", "/config/seal.key")}, Verdict.FAIL),
    ("seal-secret", {"seal": SealFacts("key file", "/config/seal.key"), "keys": 0}, Verdict.NOT_APPLICABLE),
    ("seal-secret", {"seal": SealFacts("key file", "/s", FileFacts("/s", 0o640, ours=True))}, Verdict.FAIL),
    ("seal-secret", {"seal": SealFacts("passphrase")}, Verdict.PASS),
    ("seal-secret", {"seal": SealFacts("key file")}, Verdict.UNKNOWN),
    ("seal-apart", {"seal": SealFacts("key file", "/data/s", FileFacts("/data/s", 0o600, True), True)}, Verdict.FAIL),
    ("seal-apart", {"seal": SealFacts("systemd credential")}, Verdict.NOT_APPLICABLE),
    ("seal-apart", {"seal": SealFacts("key file")}, Verdict.UNKNOWN),
    ("disk-space", {"free_bytes": 1 << 20}, Verdict.FAIL),
    ("disk-space", {"free_bytes": 1 << 30}, Verdict.FAIL),
    ("store-whole", {"store_check": "row 5 missing from index"}, Verdict.FAIL),
    ("store-whole", {"store_check": None}, Verdict.NOT_APPLICABLE),
    ("logs", {"logs": {"web": 1 << 30}}, Verdict.FAIL),
    ("envoy", {"envoy": None}, Verdict.FAIL),
    ("xds-socket", {"xds": False}, Verdict.FAIL),
]


@pytest.mark.parametrize(("code", "change", "expected"), PREMISES)
def test_what_is_wrong_with_the_premises_is_found(code: str, change: dict[str, Any], expected: Verdict) -> None:
    hospital = clinic()
    hospital.premises = replace(HEALTHY, **change)
    found = hospital.found()
    assert found[code].verdict is expected
    assert bool(found[code].hint) is (expected is Verdict.FAIL)


def test_where_nothing_runs_nothing_is_said_of_what_runs() -> None:
    hospital = clinic()
    hospital.premises = replace(HEALTHY, holder=None, xds=None)
    hospital.clock.move(timedelta(seconds=30))
    found = hospital.found()
    silent = [code for code, one in found.items() if one.verdict is Verdict.NOT_APPLICABLE]
    assert {"control-loop", "processes", "xds-socket", "flow-detector", "sealing"} <= set(silent)


def test_a_store_that_cannot_be_read_leaves_its_questions_unknown() -> None:
    for store, why in ((None, "there is none yet"), (MemoryStore(), "expected an open store, got a closed one")):
        if store is not None:
            store.crash()
        found = {one.code: one for one in asyncio.run(diagnose(HEALTHY, store, why, START))}
        assert found["authority-life"].verdict is Verdict.UNKNOWN
        assert why in found["authority-life"].sentence
        assert found["disk-space"].verdict is Verdict.PASS


def test_a_record_that_nobody_can_read_is_no_crash() -> None:
    hospital = clinic()
    hospital.run(hospital.store.put("slot", "web/identity", {"node": "secret-word"}))
    found = hospital.found()
    assert found["renewals"].verdict is Verdict.UNKNOWN
    assert "secret-word" not in found["renewals"].sentence


# --- the books ----------------------------------------------------------------------------------------------------


def late_renewal(hospital: Clinic) -> None:
    hospital.clock.move(timedelta(hours=20))


def ended_leaf(hospital: Clinic) -> None:
    hospital.clock.move(timedelta(hours=25))


def failed_slot(hospital: Clinic) -> None:
    slot = hospital.run(SLOTS.get(hospital.store, "web/identity")).value
    failed = replace(slot, state=CredentialState.FAILED, fault="the proxy refused it")
    hospital.run(SLOTS.put(hospital.store, slot.key, failed))


def clock_behind(hospital: Clinic) -> None:
    hospital.clock.move(timedelta(days=-2))


def old_authority(hospital: Clinic) -> None:
    hospital.clock.move(timedelta(days=80))


def dead_authority(hospital: Clinic) -> None:
    hospital.clock.move(timedelta(days=91))


def untrusted_root(hospital: Clinic) -> None:
    trust = hospital.run(TRUST.get(hospital.store, TRUST_KEY)).value
    hospital.run(TRUST.put(hospital.store, TRUST_KEY, replace(trust, bundle=())))


def missing_root(hospital: Clinic) -> None:
    hospital.run(hospital.store.delete(AUTHORITIES.kind, "root-1"))


def foreign_root(hospital: Clinic) -> None:
    other = clinic()
    root = other.run(AUTHORITIES.get(other.store, "intermediate-1")).value
    hospital.run(AUTHORITIES.put(hospital.store, "root-1", replace(root, name="root-1", parent="root-1")))


def stuck_rotation(hospital: Clinic) -> None:
    now = hospital.clock.now()
    rotation = Rotation(
        "root", 1, RotationState.DISTRIBUTING, now, now - timedelta(hours=5), "asked", "i-2", progress="waits for web"
    )
    hospital.run(ROTATIONS.put(hospital.store, "root-1", rotation))


def silent_loop(hospital: Clinic) -> None:
    hospital.clock.move(timedelta(minutes=1))


def refused_configuration(hospital: Clinic) -> None:
    hospital.run(
        BEATS.put(hospital.store, BEAT_KEY, Beat(hospital.clock.now(), "running", "me", "web: no such cluster"))
    )


def waiting_process(hospital: Clinic) -> None:
    state = ProcessState("api", "waiting", 0, hospital.clock.now(), 3, "it ended with status 1")
    hospital.run(PROCESSES.put(hospital.store, "api", state))


def blind_detector(hospital: Clinic) -> None:
    blind = FlowDetector(hospital.clock.now(), 0, 0, 0, 0, fault="permission denied")
    hospital.run(DETECTORS.put(hospital.store, DETECTOR_KEY, blind))


def idle_detector(hospital: Clinic) -> None:
    old = FlowDetector(hospital.clock.now() - timedelta(hours=1), 0, 0, 0, 0)
    hospital.run(DETECTORS.put(hospital.store, DETECTOR_KEY, old))


def observation(hospital: Clinic, subject: str = "web -> db") -> Observation:
    return Observation(hospital.clock.now(), Kind.POSTURE, Source.SERVER, subject, "envoy-db", Verdict.PASS)


def unsealed_observations(hospital: Clinic) -> None:
    old = replace(observation(hospital), at=hospital.clock.now() - timedelta(hours=2))
    hospital.run(hospital.store.observe([old]))


def false_seal(hospital: Clinic) -> None:
    hospital.run(hospital.store.observe([observation(hospital)]))
    seal = Seal(Stream.RECORD, 1, 1, 1, b"\0" * 32, b"", hospital.clock.now(), b"no signed note")
    hospital.run(hospital.store.seal(seal))


BOOKS: list[tuple[str, Callable[[Clinic], None], str]] = [
    ("renewals", late_renewal, "overdue"),
    ("renewals", ended_leaf, "ended at"),
    ("renewals", failed_slot, "the proxy refused it"),
    ("clock", clock_behind, "the clock stands at 2026-02-27"),
    ("authority-life", old_authority, "11% of its life left"),
    ("authority-life", dead_authority, "intermediate-1 ended"),
    ("authority-chain", untrusted_root, "its root root-1 is not trusted"),
    ("authority-chain", missing_root, "not in the store: root-1"),
    ("authority-chain", foreign_root, "intermediate-1 is not signed by root-1"),
    ("rotation", stuck_rotation, "waits for web"),
    ("control-loop", silent_loop, "was silent for 60 s"),
    ("control-loop", refused_configuration, "no such cluster"),
    ("processes", waiting_process, "api is waiting it ended with status 1"),
    ("flow-detector", blind_detector, "permission denied"),
    ("flow-detector", idle_detector, "last looked for"),
    ("sealing", unsealed_observations, "record since"),
    ("seals", false_seal, "record"),
]


@pytest.mark.parametrize(("code", "harm", "said"), BOOKS, ids=[harm.__name__ for _, harm, _ in BOOKS])
def test_what_is_wrong_with_the_books_is_found(code: str, harm: Callable[[Clinic], None], said: str) -> None:
    hospital = clinic()
    harm(hospital)
    found = hospital.found()[code]
    assert (found.verdict, found.hint != "") == (Verdict.FAIL, True)
    assert said in found.sentence


@pytest.mark.parametrize(
    ("days", "expected", "said"),
    [
        (0, Verdict.PASS, "none ends within 14 days"),
        (10, Verdict.PASS, "exceptions end soon: web -> db on 2026-03-20"),
        (20, Verdict.FAIL, "exceptions have ended: web -> db on 2026-03-20"),
    ],
)
def test_exceptions_that_end_are_told_in_time(days: int, expected: Verdict, said: str) -> None:
    hospital = clinic()
    text = TEXT.replace('{service: db, at: "127.0.0.1:7101"}', "db") + EXCEPTION
    hospital.run(apply(hospital.store, text, file="a", file_dir="/", actor="test", now=hospital.clock.now()))
    hospital.clock.move(timedelta(days=days))
    found = hospital.found()["exceptions"]
    assert (found.verdict, found.sentence.endswith(said)) == (expected, True)


def test_every_examination_asks_one_question() -> None:
    assert all(one.question.endswith("?") and code == one.code for code, one in EXAMINATIONS.items())


# --- looking at real files ----------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for folder in (data, data / "keys", data / "logs"):
        folder.mkdir(mode=0o700)
    (data / "everyhop.db").touch(mode=0o600)
    (data / "keys" / "root-1.key").write_text('{"sealed": "..."}')
    (data / "keys" / "root-1.key").chmod(0o600)
    (data / "root.pem").touch(mode=0o644)
    return data


def looked_at(data: Path, **given: Any) -> Premises:
    facts: dict[str, Any] = {"seal": SealFacts("passphrase"), "store_check": "ok", "envoy": None, "holder": None}
    facts |= {"xds": data / "run" / "xds.sock"}
    return survey(data, **(facts | given))


def test_files_are_seen_as_they_lie(home: Path) -> None:
    found = looked_at(home)
    assert (found.directory.mode, found.directory.ours, found.keys) == (0o700, True, 1)
    assert (found.open_files, found.clear_keys) == ((), ())
    assert 0 < found.free_bytes < found.total_bytes
    (home / "keys" / "root-1.key").chmod(0o640)
    (home / "keys" / "stray.pem").write_text("-----BEGIN EC PRIVATE KEY-----\n")
    (home / "logs" / "web.log").write_bytes(b"x" * 100)
    found = looked_at(home)
    assert sorted(Path(one.path).name for one in found.open_files) == ["root-1.key", "stray.pem", "web.log"]
    assert [Path(path).name for path in found.clear_keys] == ["stray.pem"]
    assert found.logs == {"web": 100}


def test_the_seal_is_looked_for_where_everyhop_looks(home: Path, tmp_path: Path) -> None:
    def found(key_file: Path | None, **environment: str) -> SealFacts:
        return seal_of(home, key_file, environment, "everyhop-seal", "PASSPHRASE_FILE")

    outside, inside = tmp_path / "seal.key", home / "seal.key"
    for path in (outside, inside):
        path.touch(mode=0o600)
    (tmp_path / "everyhop-seal").touch()
    assert found(outside) == SealFacts("key file", str(outside), facts_of(outside), beside_keys=False)
    assert found(inside).beside_keys
    assert found(tmp_path / "none").file is None
    assert found(None) == SealFacts("key file")
    assert found(outside, PASSPHRASE_FILE="/p").origin == "passphrase"
    assert found(outside, CREDENTIALS_DIRECTORY=str(tmp_path)).origin == "systemd credential"
    assert found(outside, CREDENTIALS_DIRECTORY=str(home)).origin == "key file"


def test_envoy_is_asked_for_its_version(home: Path, tmp_path: Path) -> None:
    fake = tmp_path / "envoy"
    fake.write_text("#!/bin/sh\necho 'envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL'\n")
    fake.chmod(stat.S_IRWXU)
    assert looked_at(home, envoy=fake).envoy == "1.40.0"
    fake.write_text("#!/bin/sh\nexit 1\n")
    assert looked_at(home, envoy=fake).envoy is None
    assert looked_at(home, envoy=tmp_path / "none").envoy is None


def test_a_socket_that_nobody_answers_is_seen(home: Path) -> None:
    assert looked_at(home).xds is None
    assert looked_at(home, holder=1).xds is False
