"""Tokens: shown once, kept as hashes, ended by their date or withdrawn."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.fakes.clock import START
from tests.fakes.random import SeededRandom
from tests.fakes.store import MemoryStore

from everyhop.errors import EveryhopError
from everyhop.services.admit import PREFIX, admitted, grant, withdraw

DAY = timedelta(days=1)


async def granted(store: MemoryStore, name: str = "wall", lifetime: timedelta = DAY) -> str:
    return await grant(store, SeededRandom(name), name, lifetime, actor="ada", now=START)


def test_a_token_admits_until_its_end() -> None:
    async def play() -> None:
        store = MemoryStore()
        token = await granted(store)
        assert token.startswith(PREFIX)
        assert len(token) == len(PREFIX) + 64
        found = await admitted(store, token, START + DAY - timedelta(seconds=1))
        assert found is not None
        assert found.name == "wall"
        assert await admitted(store, token, START + DAY) is None

    asyncio.run(play())


def test_the_store_never_holds_a_token() -> None:
    async def play() -> None:
        store = MemoryStore()
        token = await granted(store)
        held = repr(store.disk)
        assert token not in held
        assert token.removeprefix(PREFIX) not in held

    asyncio.run(play())


@pytest.mark.parametrize("wrong", ["", "evhp_", "x" * 500, "evhp_" + "0" * 64, "\udcff", "ä"])
def test_nothing_else_admits(wrong: str) -> None:
    async def play() -> None:
        store = MemoryStore()
        await granted(store)
        assert await admitted(store, wrong, START) is None

    asyncio.run(play())


def test_a_withdrawn_token_admits_nobody_and_others_stay() -> None:
    async def play() -> None:
        store = MemoryStore()
        first, second = await granted(store, "one"), await granted(store, "two")
        await withdraw(store, "one", actor="ada", now=START)
        assert await admitted(store, first, START) is None
        assert await admitted(store, second, START) is not None
        assert [entry.action for entry in await store.audit_log()] == ["withdraw token", "grant token", "grant token"]
        with pytest.raises(EveryhopError, match="expected the name of a token"):
            await withdraw(store, "one", actor="ada", now=START)

    asyncio.run(play())


def test_a_name_is_taken_once_and_a_lifetime_is_bounded() -> None:
    async def play() -> None:
        store = MemoryStore()
        await granted(store)
        with pytest.raises(EveryhopError):
            await granted(store)
        for lifetime in (timedelta(0), timedelta(days=400)):
            with pytest.raises(EveryhopError, match="expected a lifetime"):
                await granted(store, "other", lifetime)

    asyncio.run(play())


@pytest.mark.parametrize("name", ["", " ops", "ops\n", "two\nlines", "\x1b[31mred", "a\u202eb", "x" * 61])
def test_a_name_is_one_short_line(name: str) -> None:
    async def play() -> None:
        store = MemoryStore()
        with pytest.raises(EveryhopError, match="printable characters") as caught:
            await granted(store, name)
        assert str(caught.value).isprintable()
        assert caught.value.hint
        assert not store.disk.documents
        assert await granted(store, "Ada's laptop, 2026")

    asyncio.run(play())


def test_a_name_that_is_taken_is_said_with_the_way_out() -> None:
    async def play() -> None:
        store = MemoryStore()
        token = await granted(store, "ada's")
        with pytest.raises(EveryhopError) as caught:
            await granted(store, "ada's")
        assert caught.value.code.name == "store-conflict"
        assert "there is one called" in caught.value.message
        assert "version" not in caught.value.message
        assert """everyhop token withdraw 'ada'"'"'s'""" in caught.value.hint
        assert await admitted(store, token, START) is not None

    asyncio.run(play())


def test_a_lifetime_out_of_bounds_comes_with_an_example() -> None:
    with pytest.raises(EveryhopError) as caught:
        asyncio.run(granted(MemoryStore(), lifetime=timedelta(seconds=1)))
    assert "--for 30d" in caught.value.hint
