"""Why a call works, or why it is refused: the topology's word first, then what was seen."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.fakes.clock import START
from tests.fakes.store import MemoryStore
from tests.fakes.world import TEXT

from everyhop.errors import EveryhopError
from everyhop.services.apply import apply
from everyhop.services.explain import Explanation, explain
from everyhop.services.observe import HOPS_SEEN, HopSeen
from everyhop.services.refusals import REFUSALS_SEEN, RefusalSeen

ME = "spiffe://shop.internal/test/"
EXEMPT = "exceptions:\n  - {hop: web -> db, posture: exempt, reason: measured, owner: shop, until: 2027-01-01}\n"


async def applied(text: str = TEXT) -> MemoryStore:
    store = MemoryStore()
    await apply(store, text, file="f", file_dir="/", actor="t", now=START)
    return store


def ask(caller: str, callee: str, text: str = TEXT) -> Explanation:
    async def play() -> Explanation:
        return await explain(await applied(text), "/data", caller=caller, callee=callee)

    return asyncio.run(play())


def test_an_allowed_call_names_the_identity_that_is_taken() -> None:
    said = ask("web", "db")
    assert said.allowed
    assert said.allowed_callers == (ME + "web",)
    assert said.verdict == f"the topology allows web -> db: mTLS, and db takes exactly the identity {ME}web"


def test_a_call_that_stands_nowhere_is_refused_with_the_way_to_allow_it() -> None:
    said = ask("edge", "db")
    assert not said.allowed
    assert "db is not under the `calls:` of edge" in said.verdict
    assert f"takes only {ME}web" in said.verdict
    assert ask("db", "web").allowed is False, "a hop has a direction"


def test_an_identity_may_be_asked_about_by_its_uri() -> None:
    assert ask(ME + "web", "db").allowed
    assert not ask("spiffe://elsewhere.internal/test/web", "db").allowed


def test_nobody_and_everybody() -> None:
    assert ask("", "db").verdict == f"db takes calls from {ME}web"
    assert not ask("", "db").allowed
    assert "any client that speaks TLS" in ask("client", "edge").verdict


def test_an_exempt_hop_says_why_and_until_when() -> None:
    said = ask("web", "db", TEXT.replace('{service: db, at: "127.0.0.1:7101"}', "db") + EXEMPT)
    assert not said.allowed
    assert said.verdict == "the hop web -> db is exempt until 2027-01-01: measured"


@pytest.mark.parametrize(("caller", "callee"), [("web", "nobody"), ("w b", "db"), ("spiffe://", "nobody")])
def test_unknown_names_are_refused_with_those_that_are_known(caller: str, callee: str) -> None:
    with pytest.raises(EveryhopError) as refusal:
        ask(caller, callee)
    assert refusal.value.code.name == "unknown-name"
    assert refusal.value.hint


def test_there_is_nothing_to_explain_before_the_first_topology() -> None:
    with pytest.raises(EveryhopError) as refusal:
        asyncio.run(explain(MemoryStore(), "/data", caller="web", callee="db"))
    assert refusal.value.code.name == "not-running"


def test_what_was_seen_stands_beside_what_should_be() -> None:
    async def play() -> None:
        store = await applied()
        seen = HopSeen("web -> db", START, "TLSv1.3", "AES", "X25519MLKEM768", ME + "web", "1", 5, "envoy of db")
        await HOPS_SEEN.put(store, seen.hop, seen)
        said = await explain(store, "/data", caller="web", callee="db")
        assert said.last_seen == "TLSv1.3 X25519MLKEM768 at 2026-03-01 12:00:00 UTC, envoy of db"

    asyncio.run(play())


def test_refusals_are_told_newest_first_and_to_the_right_caller() -> None:
    async def play() -> None:
        store = await applied()
        for number, (node, who, why) in enumerate(
            [
                ("db", ME + "mallory", "SAN_match"),
                ("db", "", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
                ("db", ME + "eve", "SAN_match"),
                ("web", ME + "mallory", "SAN_match"),
            ]
        ):
            at = START + timedelta(minutes=number)
            seen = RefusalSeen(node, "inbound", who, why, number + 1, at, at, f"10.0.0.{number}:5")
            await REFUSALS_SEEN.put(store, str(number), seen)
        everybody = await explain(store, "/data", caller="", callee="db")
        assert [(one.code, one.count) for one in everybody.refused] == [
            ("wrong-identity", 3),
            ("no-certificate", 2),
            ("wrong-identity", 1),
        ]
        assert everybody.refused[1].who == "somebody at 10.0.0.1"
        one = await explain(store, "/data", caller="mallory", callee="db")
        assert [refused.who for refused in one.refused] == ["somebody at 10.0.0.1", ME + "mallory"]
        assert f"{ME}mallory, and this port takes only {ME}web" in one.refused[1].why

    asyncio.run(play())
