"""Packs: the numbers are those that were counted, OpenSSL believes the signature, and whatever is changed is named."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.observed import HOUR, SHAPES, observed, prover_on
from tests.fakes.pki import CA
from tests.fakes.store import Disk, MemoryStore
from tests.fakes.world import World

from everyhop.core.evidence.claims import Answer, Cites, HopClaim
from everyhop.core.evidence.pack import Pack, decode, encode
from everyhop.core.evidence.signer import EvidenceSigner, fingerprint
from everyhop.core.evidence.verify import Verification, verify
from everyhop.core.observation import Stream
from everyhop.core.verdict import Verdict
from everyhop.doors.paper.page import page
from everyhop.errors import EveryhopError
from everyhop.services.report import Report, Reporter

HOURS = 3
MINUTES = HOURS * 6 + 1
"""Minutes that were observed, each with two connections of every shape."""


@dataclass(frozen=True)
class Made:
    world: World
    store: MemoryStore
    report: Report

    @property
    def root(self) -> str:
        return fingerprint(EvidenceSigner.read(self.report.chain).root)


@cache
def made() -> Made:
    async def story() -> Made:
        world, store = World(), MemoryStore(Disk())
        prover = await observed(world, store, hours=HOURS)
        now = world.clock.now()
        reporter = Reporter(store, prover, world.clock, made_by="everyhop test")
        return Made(world, store, await reporter.report("/data", now - HOURS * HOUR, now, actor="test"))

    return asyncio.run(story())


def hop(pack: Pack, name: str) -> HopClaim:
    return next(one for one in pack.claims.hops if one.hop == name)


# --- what it says -------------------------------------------------------------------------------------------------


def test_the_numbers_are_those_that_were_counted() -> None:
    pack = made().report.pack
    found = hop(pack, "web -> db")
    assert found.verdict is Verdict.PASS
    assert [(end.end, end.connections, end.resumed) for end in found.ends] == [
        ("server", 2 * MINUTES, MINUTES),
        ("client", 2 * MINUTES, MINUTES),
    ]
    assert found.ends[0].peers == {"spiffe://shop.internal/test/web": 2 * MINUTES}
    assert found.ends[0].groups == {"X25519MLKEM768": 2 * MINUTES}
    refused = {one.service: one for one in pack.claims.refusals}
    assert refused["db"].plaintext == MINUTES
    assert refused["web"].refused == {"no_certificate: no-certificate": MINUTES}
    assert {one.hop for one in pack.claims.hops} == {shape.subject for shape in SHAPES}


def test_every_answer_that_says_something_cites_what_is_in_the_pack() -> None:
    pack = made().report.pack
    there = {(one.stream, one.sequence) for one in pack.observations}
    for answer in pack.claims.checklist:
        cited = {(Stream.RECORD, one) for one in answer.cites.record}
        cited |= {(Stream.DETAIL, one) for one in answer.cites.detail}
        assert cited <= there
        assert cited or answer.verdict in (Verdict.UNKNOWN, Verdict.NOT_APPLICABLE)
    answers = {one.code: one.verdict for one in pack.claims.checklist}
    assert len(answers) >= 15
    assert answers["exceptions-owned"] is Verdict.NOT_APPLICABLE
    assert answers["hops-encrypted"] is answers["mtls-enforced"] is Verdict.PASS


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.FAIL])
def test_an_answer_without_an_observation_cannot_be_made(verdict: Verdict) -> None:
    with pytest.raises(ValueError, match="expected an observation"):
        Answer("hops-encrypted", "?", verdict, "because I say so")
    Answer("hops-encrypted", "?", verdict, "because it was seen", Cites(record=(1,)))


def test_the_newest_hour_counts_once_before_and_after_it_is_summed_up() -> None:
    async def story() -> None:
        world, store = World(), MemoryStore(Disk())
        await observed(world, store, hours=1)  # 70 minutes: one hour summed up, ten minutes not
        now = world.clock.now()
        reporter = Reporter(store, prover_on(world, store), world.clock, made_by="everyhop test")
        pack = (await reporter.report("/data", now - 2 * HOUR, now, actor="test")).pack
        assert hop(pack, "web -> db").ends[0].connections == 2 * 7

    asyncio.run(story())


def test_a_period_without_observations_makes_no_pack() -> None:
    async def story() -> None:
        here = made()
        long_ago = here.world.clock.now() - timedelta(days=30)
        reporter = Reporter(here.store, prover_on(here.world, here.store), here.world.clock, made_by="everyhop test")
        with pytest.raises(EveryhopError) as caught:
            await reporter.report("/data", long_ago, long_ago + HOUR, actor="test")
        assert caught.value.code.name == "unknown-name"

    asyncio.run(story())


def test_the_page_says_it_and_runs_nothing() -> None:
    report = made().report
    text = page(report.pack, report.content)
    assert text == page(decode(report.content), report.content), "whoever verifies makes the same page"
    assert "<script" not in text
    assert "http://" not in text.replace("http-equiv", "")
    assert "https://" not in text
    assert "X25519MLKEM768 × 38" in text
    evil = replace(report.pack, made_by="<script>alert(1)</script>")
    assert "<script" not in page(evil, b"")


# --- who believes it ----------------------------------------------------------------------------------------------


def believed(report: Report, *roots: str) -> Verification:
    return verify(report.content, report.signature, report.chain, roots)


def test_a_pack_verifies_under_the_root_that_was_given_and_under_no_other() -> None:
    found = believed(made().report, made().root)
    assert found.faults == ()
    assert not found.own_root
    assert believed(made().report).own_root
    other = fingerprint(CA().certificate)
    assert [fault.field for fault in believed(made().report, other).faults] == ["evidence.pem"]


def test_openssl_verifies_signature_and_certificate(tmp_path: Path) -> None:
    report = made().report
    root = EvidenceSigner.read(report.chain).root
    for name, content in {
        "evidence.json": report.content,
        "evidence.json.sig": report.signature,
        "evidence.pem": report.chain.encode(),
        "root.pem": root.public_bytes(Encoding.PEM),
    }.items():
        (tmp_path / name).write_bytes(content)

    def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["openssl", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    (tmp_path / "evidence.pub").write_text(openssl("x509", "-in", "evidence.pem", "-pubkey", "-noout").stdout)
    dgst = ("dgst", "-sha256", "-verify", "evidence.pub", "-signature", "evidence.json.sig", "evidence.json")
    assert openssl(*dgst).stdout == "Verified OK\n"
    at = str(int(report.pack.made_at.timestamp()))
    chain = ("verify", "-attime", at, "-CAfile", "root.pem", "-untrusted", "evidence.pem", "evidence.pem")
    assert openssl(*chain).stdout == "evidence.pem: OK\n"
    (tmp_path / "evidence.json").write_bytes(report.content.replace(b"web", b"wab", 1))
    assert openssl(*dgst).returncode != 0


# --- whoever changes it -------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], None]


def set_at(*path: str | int, value: Any) -> Change:
    def change(pack: dict[str, Any]) -> None:
        place: Any = pack
        for step in path[:-1]:
            place = place[step]
        assert place[path[-1]] != value
        place[path[-1]] = value

    return change


def flip_base64(*path: str | int) -> Change:
    def change(pack: dict[str, Any]) -> None:
        place: Any = pack
        for step in path[:-1]:
            place = place[step]
        raw = bytearray(base64.b64decode(place[path[-1]]))
        raw[7] ^= 1
        place[path[-1]] = base64.b64encode(raw).decode()

    return change


def in_text(old: str, new: str, *path: str | int) -> Change:
    def change(pack: dict[str, Any]) -> None:
        place: Any = pack
        for step in path[:-1]:
            place = place[step]
        assert old in place[path[-1]]
        place[path[-1]] = place[path[-1]].replace(old, new, 1)

    return change


def drop(*path: str | int) -> Change:
    def change(pack: dict[str, Any]) -> None:
        place: Any = pack
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


def swap(pack: dict[str, Any]) -> None:
    one, other = pack["observations"][3], pack["observations"][4]
    one["sequence"], other["sequence"] = other["sequence"], one["sequence"]


def other_signature(pack: dict[str, Any]) -> None:
    """The second seal's signature under the first seal's text."""
    one, other = pack["seals"][0], pack["seals"][1]
    one["note"] = one["note"].partition("\n\n")[0] + "\n\n" + other["note"].partition("\n\n")[2]


CHANGES: dict[str, tuple[Change, str]] = {
    "a number": (set_at("claims", "hops", 2, "ends", 0, "connections", value=9), "claims.hops.2.ends.0.connections"),
    "a verdict": (set_at("claims", "checklist", 19, "verdict", value="unknown"), "claims.checklist.19.verdict"),
    "a statement": (set_at("claims", "checklist", 0, "statement", value="fine"), "claims.checklist.0.statement"),
    "a citation": (set_at("claims", "hops", 0, "cites", "record", 0, value=1), "claims.hops.0.cites.record.0"),
    "a citation that is left out": (drop("claims", "hops", 0, "cites", "record", 0), "claims.hops.0.cites.record"),
    "a hop that is left out": (drop("claims", "hops", 1), "claims.hops"),
    "an observation's verdict": (
        set_at("observations", 2, "verdict", value="unknown"),
        "record, seal 1, observation 3",
    ),
    "an observation's body": (set_at("observations", 1, "body", "service", value="x"), "record, seal 1, observation 2"),
    "an observation's date": (in_text("12:0", "13:0", "observations", 0, "at"), "record, seal 1, observation 1"),
    "an observation left out": (drop("observations", 30), "record, observation 33"),
    "two observations changed places": (swap, "record, seal 1, observation 5"),
    "a path": (flip_base64("observations", 0, "path", 0), "record, seal 1, observation 1"),
    "a path cut short": (drop("observations", 0, "path", 0), "record, seal 1, observation 1"),
    "another seal": (set_at("observations", 0, "seal", value=2), "record, seal 2, observation 1"),
    "a note's range": (in_text("observations 1-", "observations 2-", "seals", 0, "note"), "record, seal 1"),
    "a note's date": (in_text("at 2026", "at 2025", "seals", 0, "note"), "record, seal 1, signature"),
    "a note's signature": (other_signature, "record, seal 1, signature"),
    "a note left out": (drop("seals", 1), "record, seal 2"),
    "a certificate": (in_text("M", "N", "signers", 0), "signers.0"),
    "a certificate left out": (drop("signers", 0), "record, seal 1, signature"),
    "the trust domain": (set_at("declared", "trust_domain", value="evil.example"), "evidence.pem"),
    "who made it": (set_at("made_by", value="somebody"), "evidence.json.sig"),
    "a field more": (lambda pack: pack.update(more=1), "evidence.json"),
    "another format": (set_at("format", value="everyhop evidence 2"), "format"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_and_named(name: str) -> None:
    """By its place, beside the signature that does not fit any more."""
    change, where = CHANGES[name]
    pack: dict[str, Any] = json.loads(made().report.content)
    change(pack)
    text = json.dumps(pack, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    report = made().report
    found = verify(text.encode(), report.signature, report.chain, [made().root])
    places = [fault.where for fault in found.faults]
    assert places[0] == "evidence.json.sig"
    assert any(where in place for place in places), places


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("who made it",)])
def test_a_change_is_found_although_it_was_signed_again(name: str) -> None:
    """Who has the key can sign a pack, but no claim that does not follow from sealed observations."""
    change, where = CHANGES[name]
    pack: dict[str, Any] = json.loads(made().report.content)
    change(pack)
    text = (json.dumps(pack, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()
    world = made().world
    chain, signature = asyncio.run(prover_on(world, made().store).sign(text, world.life().the.policy))
    found = verify(text, signature, chain, [made().root])
    assert any(where in fault.where for fault in found.faults), found.faults
    assert "evidence.json.sig" not in [fault.where for fault in found.faults]


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_no_byte_can_be_changed(data: st.DataObject) -> None:
    report = made().report
    place = data.draw(st.integers(0, len(report.content) - 1))
    changed = bytearray(report.content)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert verify(bytes(changed), report.signature, report.chain, [made().root]).faults


def test_a_range_without_end_takes_no_time() -> None:
    pack = made().report.pack
    claimed = encode(replace(pack, record=replace(pack.record, last=10**18)))
    faults = verify(claimed, b"", made().report.chain).faults
    assert any("was left out" in fault.what for fault in faults)


@given(st.binary(max_size=300), st.binary(max_size=90), st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_bytes_of_strangers_are_refused_and_never_fail(content: bytes, signature: bytes, chain: str) -> None:
    assert verify(content, signature, chain).faults
    assert verify(content, signature, made().report.chain).faults


def test_a_pack_has_one_spelling() -> None:
    report = made().report
    assert encode(decode(report.content)) == report.content
    with pytest.raises(ValueError, match="another spelling"):
        decode(report.content.replace(b'","', b'", "', 1))
