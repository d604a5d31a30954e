"""The tree: the published vectors of Certificate Transparency, every path verifies, and no altered one does."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from everyhop.core.ledger import EMPTY, leaf, path, paths, root, root_from_path
from everyhop.core.observation import Kind, Observation, Source, Stream, canonical
from everyhop.core.verdict import Verdict

INPUTS = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
"""The leaves of certificate-transparency's merkle_tree_test, hexadecimal."""
LEAVES = [hashlib.sha256(b"\x00" + bytes.fromhex(one)).digest() for one in INPUTS]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Its roots of the first 1, 2, ... 8 leaves."""
PATHS = {
    (0, 1): (),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
"""Its audit paths, by leaf (from 0) and size of the tree."""


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert root([]) == EMPTY
    assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_paths_are_those_of_certificate_transparency(index: int, size: int) -> None:
    assert tuple(one.hex() for one in path(LEAVES[:size], index)) == PATHS[index, size]


hashes = st.binary(min_size=32, max_size=32)
trees = st.lists(hashes, min_size=1, max_size=70)


@given(trees)
def test_every_path_leads_to_the_root(leaves: list[bytes]) -> None:
    whole = root(leaves)
    for index, way in enumerate(paths(leaves, range(len(leaves)))):
        assert way == path(leaves, index)
        assert root_from_path(leaves[index], index, len(leaves), way) == whole


@given(trees, st.data())
def test_no_altered_path_leads_to_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    way, whole = list(path(leaves, index)), root(leaves)
    other = data.draw(hashes)
    assume(other not in (*leaves, *way))
    assert root_from_path(other, index, len(leaves), way) != whole
    assert root_from_path(leaves[index], index, len(leaves), [*way, other]) is None
    if way:
        place = data.draw(st.integers(0, len(way) - 1))
        assert root_from_path(leaves[index], index, len(leaves), [*way[:place], other, *way[place + 1 :]]) != whole
        assert root_from_path(leaves[index], index, len(leaves), way[:-1]) is None


@given(st.integers(-2, 40), st.integers(-2, 20), st.lists(hashes, max_size=8))
def test_what_fits_no_tree_gives_none_and_never_fails(index: int, size: int, way: list[bytes]) -> None:
    found = root_from_path(LEAVES[0], index, size, way)
    assert found is None or 0 <= index < size


def test_there_is_no_path_of_a_leaf_that_is_not_there() -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            path(LEAVES, index)


OBSERVED = Observation(
    datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC),
    Kind.HOUR,
    Source.SERVER,
    "web -> db",
    "envoy of db",
    Verdict.PASS,
    {"count": 3, "peer": "spiffe://x/ü", "resumed": None},
    Stream.RECORD,
    7,
)


def test_the_canonical_bytes_never_change() -> None:
    """Hashes of them are signed: if this fails, no seal ever made verifies any more."""
    assert canonical(OBSERVED).decode() == (
        '{"at":"2026-03-01T12:00:00.000005+00:00","body":{"count":3,"peer":"spiffe://x/ü","resumed":null},'
        '"by":"envoy of db","kind":"hour","sequence":7,"source":"envoy, serving end","stream":"record",'
        '"subject":"web -> db","verdict":"pass"}'
    )
    assert leaf(OBSERVED) == hashlib.sha256(b"\x00" + canonical(OBSERVED)).digest()
