"""Layout, map, charts and words: pure, the same every time, and bounded whatever the graph."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.estate import DATA, NOW, fill
from tests.fakes.store import MemoryStore

from everyhop.core.verdict import Verdict
from everyhop.doors.web import words
from everyhop.doors.web.chart import HEIGHT, WIDTH, chart
from everyhop.doors.web.layers import lay_out
from everyhop.doors.web.map import MOST_LINES, HopMap, hop_href, hop_map
from everyhop.services.evidence import Point, Series
from everyhop.services.overview import Beside, Overview, Protection, Share, overview

NODES = tuple("abcdefghij")
GRAPHS = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=40)


def estate(*, well: bool = False) -> Overview:
    async def read() -> Overview:
        store = MemoryStore()
        await fill(store, well=well)
        return await overview(store, DATA, NOW)

    return asyncio.run(read())


# --- layers ---------------------------------------------------------------------------------------------------


@given(GRAPHS)
@settings(deadline=None, max_examples=150)
def test_every_node_has_a_place_of_its_own(edges: list[tuple[str, str]]) -> None:
    laid = lay_out(NODES, edges)
    places = sorted((laid.layer[node], laid.height[node]) for node in NODES)
    for (layer, height), (following, lower) in pairwise(places):
        assert layer < following or lower - height > 0.99
    assert laid == lay_out(NODES, edges)


@given(GRAPHS)
@settings(deadline=None, max_examples=150)
def test_every_edge_is_drawn_from_layer_to_layer(edges: list[tuple[str, str]]) -> None:
    laid = lay_out(NODES, edges)
    assert set(laid.bends) == {edge for edge in edges if edge[0] != edge[1]}
    for (start, end), bends in laid.bends.items():
        way = [laid.layer[start], *(layer for layer, _ in bends), laid.layer[end]]
        assert {abs(two - one) for one, two in pairwise(way)} == {1}


@given(GRAPHS, st.lists(st.tuples(st.sampled_from((*NODES, "x", "y")), st.sampled_from((*NODES, "z"))), max_size=12))
@settings(deadline=None, max_examples=150)
def test_what_comes_and_goes_moves_nothing(edges: list[tuple[str, str]], loose: list[tuple[str, str]]) -> None:
    before, laid = lay_out(NODES, edges), lay_out(NODES, edges, loose)
    assert {node: (laid.layer[node], laid.height[node]) for node in NODES} == {
        node: (before.layer[node], before.height[node]) for node in NODES
    }
    assert {edge: laid.bends[edge] for edge in before.bends} == before.bends
    assert {edge for edge in loose if edge[0] != edge[1]} <= set(laid.bends)
    places = sorted((laid.layer[node], laid.height[node]) for node in laid.layer)
    assert min(layer for layer, _ in places) >= 0
    for (layer, height), (following, lower) in pairwise(places):
        assert layer < following or lower - height > 0.99


def test_callers_stand_left_of_callees() -> None:
    laid = lay_out("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")])
    assert [laid.layer[node] for node in "abcd"] == [0, 1, 2, 1]
    assert [layer for layer, _ in laid.bends["a", "c"]] == [1]


def test_a_cycle_ends_and_nothing_at_all_is_a_picture() -> None:
    laid = lay_out("ab", [("a", "b"), ("b", "a")])
    assert laid.layers == 2
    assert lay_out("", []).layers == 0


def test_a_large_graph_takes_no_time() -> None:
    nodes = [f"s{number}" for number in range(400)]
    edges = [(nodes[number], nodes[number * 7 % 400]) for number in range(1, 400)]
    assert len(lay_out(nodes, edges[:90]).layer) == 400


# --- the map --------------------------------------------------------------------------------------------------


def test_the_map_shows_every_hop_and_every_flow_beside_it() -> None:
    drawn = hop_map(estate())
    assert len(drawn.lines) == 18 + 3
    assert drawn.counts[Protection.PLAINTEXT] == 2
    assert {box.name for box in drawn.boxes if box.stranger} == {"reporting", "10.4.0.17"}
    assert {box.name for box in drawn.boxes if box.worst is Protection.PLAINTEXT} == {"orders-db", "cache"}


def test_trouble_moves_no_box() -> None:
    calm, red = hop_map(estate(well=True)), hop_map(estate())

    def corner(drawn: HopMap) -> dict[str, tuple[float, float]]:
        origin = next(box for box in drawn.boxes if box.name == "client")
        return {box.name: (box.x - origin.x, round(box.y - origin.y, 3)) for box in drawn.boxes if not box.stranger}

    assert corner(calm) == corner(red)


def test_no_padlock_covers_another_and_no_label_another() -> None:
    drawn = hop_map(estate())
    badges = [line.badge for line in drawn.lines]
    for at, (x, y) in enumerate(badges):
        assert not [one for one in badges[at + 1 :] if abs(one[0] - x) < 18 and abs(one[1] - y) < 18]
    labels = [(line, line.label_at) for line in drawn.lines if line.label_at]
    assert len(labels) >= 12
    for at, (line, spot) in enumerate(labels):
        for other, place in labels[at + 1 :]:
            apart = abs(spot[0] - place[0]) >= line.half + other.half or abs(spot[1] - place[1]) >= 13
            assert apart, (line.words, other.words)


def test_everything_lies_in_the_picture() -> None:
    drawn = hop_map(estate())
    for line in drawn.lines:
        assert 0 < line.badge[0] < drawn.width
        assert drawn.top < line.badge[1] < drawn.top + drawn.height
    for box in drawn.boxes:
        assert box.x + box.width < drawn.width
        assert drawn.top < box.y < drawn.top + drawn.height - box.height


def test_a_map_too_large_to_read_keeps_what_is_not_well() -> None:
    found = estate()
    hop = next(one for one in found.hops if one.protection is Protection.ENCRYPTED)
    more = [
        replace(hop, callee=f"s{number}", status=replace(hop.status, hop=f"{hop.caller} -> s{number}"))
        for number in range(MOST_LINES)
    ]
    drawn = hop_map(replace(found, hops=(*found.hops, *more)))
    assert {line.protection for line in drawn.lines} == set(Protection) - {Protection.ENCRYPTED, Protection.WEAK}
    assert drawn.left_out == 14 + MOST_LINES


def test_any_flows_make_a_map() -> None:
    found = estate()
    names = ["web", "cache", "client", "edge", "orders-db", "x", "y", ""]
    one = found.beside[0]
    beside = tuple(
        replace(one, flow=replace(one.flow, key=f"{caller} {callee}", caller=caller, callee=callee))
        for caller in names
        for callee in names
    )
    drawn = hop_map(replace(found, beside=beside))
    assert len(drawn.lines) == 18 + len(
        [1 for flow in beside if flow.flow.caller != (flow.flow.callee or flow.flow.server)]
    )
    assert all(0 <= line.badge[0] <= drawn.width + 100 for line in drawn.lines)


def test_a_hop_has_an_address_whatever_its_name() -> None:
    assert hop_href("a b", "c/../d?<") == "/hops/a%20b/c%2F..%2Fd%3F%3C"


# --- charts ---------------------------------------------------------------------------------------------------


def series(*values: float | None, objective: float | None = None) -> Series:
    begin = NOW - timedelta(hours=len(values) - 1)
    return Series("M1", tuple(Point(begin + timedelta(hours=at), value) for at, value in enumerate(values)), objective)


def test_what_was_not_measured_is_a_gap() -> None:
    drawn = chart("TLS", "ratio", series(1.0, 0.9, None, 0.95, 1.0), NOW)
    assert drawn.line.count("M") == 2
    assert len(drawn.dots) == 4


def test_a_long_silence_is_a_gap() -> None:
    points = series(1.0, 1.0, 1.0, 1.0, 1.0).points
    drawn = chart("TLS", "ratio", Series("M1", (*points[:2], *points[4:])), NOW)
    assert drawn.line.count("M") == 2


def test_nothing_measured_is_said_so() -> None:
    drawn = chart("TLS", "ratio", series(None, None), NOW)
    assert (drawn.last, drawn.line, drawn.words) == ("no value", "", "TLS: nothing was measured")


@given(st.lists(st.none() | st.floats(0, 1e9), max_size=30), st.sampled_from(["ratio", "seconds", "flows"]))
@settings(deadline=None, max_examples=200)
def test_every_value_is_drawn_inside(values: list[float | None], unit: str) -> None:
    given_values = [min(value, 1.0) if value is not None and unit == "ratio" else value for value in values]
    drawn = chart("x", unit, series(*given_values), NOW, hours=48)
    for dot in drawn.dots:
        assert 0 <= dot.x <= WIDTH
        assert 0 <= dot.y <= HEIGHT
    assert all(0 <= mark.at <= HEIGHT for mark in drawn.heights)


# --- words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(1.0, "100 %"), (0.99999, "99.99 %"), (0.9996, "99.96 %"), (0.777777, "77.7 %"), (0.0, "0 %"), (None, "–")],
)
def test_a_share_is_never_rounded_up_to_the_whole(ratio: float | None, said: str) -> None:
    assert words.percent(ratio) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "just now"), (12, "12 s ago"), (240, "4 min ago"), (12_000, "3 h 20 min ago"), (-90_000, "in 25 h")],
)
def test_times_are_said_as_people_do(seconds: float, said: str) -> None:
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == said


def test_the_whole_in_one_sentence() -> None:
    assert words.sentence(estate()).replace("\u00a0", " ") == (
        "14 of 18 hops are encrypted, 2 are unknown, 1 is exempt, 1 is carried unopened."
        " 2 flows go past the mesh in the clear."
    )
    calm = estate(well=True)
    assert words.sentence(calm).endswith("Nothing is seen to flow past the mesh in the clear.")
    assert words.sentence(replace(calm, detector=None)).endswith("Whether anything flows past the mesh is not known.")
    assert words.title(calm) == "all well"


def test_all_is_well_only_if_all_is_known() -> None:
    calm = estate(well=True)
    flow = next(one.flow for one in estate().beside)
    unsure = replace(calm, beside=(Beside(Protection.UNKNOWN, flow), Beside(Protection.UNKNOWN, flow)))
    assert words.title(unsure) == "2 unknown"
    assert words.sentence(unsure).endswith(". Of 2 flows past the mesh nobody can tell.")
    assert words.title(replace(calm, detector=None)) == "not known"
    assert words.title(replace(calm, hops=())) == "not known"
    assert words.title(replace(calm, status=replace(calm.status, fault="a proxy refused"))) == "a fault"
    for one in (unsure, replace(calm, detector=None), replace(calm, hops=())):
        assert one.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("target", "link"),
    [
        ("https://x.example/a", "https://x.example/a"),
        ("ada@shop.example", "mailto:ada@shop.example"),
        ("mailto:ada@shop.example", "mailto:ada@shop.example"),
        ("javascript:alert(1)", ""),
        ("JaVaScRiPt://x.example/%0aalert(1)", ""),
        ("data:text/html,<script>", ""),
        ("java\nscript:alert(1)", ""),
        ("//evil.example", ""),
        ("on call, +44 20 7946 0000", ""),
        ("a@b@c.example", ""),
        ("x?body=1@shop.example", ""),
        ("https://[", ""),
    ],
)
def test_only_harmless_targets_become_links(target: str, link: str) -> None:
    assert words.web_link(target) == link


def test_commands_in_a_sentence_are_told_apart() -> None:
    assert words.passages("see `everyhop certs` now") == [(False, "See "), (True, "everyhop certs"), (False, " now")]
    assert words.passages("") == []


def test_moments_and_shares() -> None:
    assert words.clock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05"
    assert words.share(Share(1, 0, 2)) == "1 of 2"
    assert words.many(1234, "hop") == "1\u202f234 hops"
