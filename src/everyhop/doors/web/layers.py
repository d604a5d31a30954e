"""Layers: where the boxes and lines of a directed graph go, left to right, with few crossings.

Rules: pure, and the same graph always gives the same picture, so that nothing jumps at a refresh. The method is
Sugiyama's (Sugiyama, Tagawa, Toda 1981): turn the edges of cycles round, give every node a layer by its longest path,
put a bend where an edge passes a layer, order each layer by the medians of its neighbours, then place by isotonic
regression. Everything is bounded by the number of edges; nothing recurses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

_SWEEPS = 12
_PLACINGS = 8
_STEP, _BEND = 1.0, 0.72
"""The room that a node takes, and that of a bend."""

Edge = tuple[str, str]
_Bend = tuple[str, str, int]
"""Where an edge passes a layer."""
_Item = str | _Bend
_Neighbours = Mapping[_Item, Sequence[_Item]]


@dataclass(frozen=True, slots=True)
class Laid:
    """A graph with places: layers from the left, heights in steps (a step is the room of one node)."""

    layer: Mapping[str, int]
    height: Mapping[str, float]
    bends: Mapping[Edge, tuple[tuple[int, float], ...]]
    """By edge as it was given: layer and height of every bend, from the edge's start to its end."""
    layers: int
    top: float
    bottom: float


def lay_out(nodes: Sequence[str], edges: Sequence[Edge], loose: Sequence[Edge] = ()) -> Laid:
    """Give every node a layer and a height. Edges to unknown nodes and to oneself are left out.

    ``loose`` edges come and go and move nothing: they pass below the rest, and whom only they know stands below, too.
    """
    known = set(nodes)
    wanted = list(dict.fromkeys(edge for edge in edges if edge[0] != edge[1] and set(edge) <= known))
    forward = _without_cycles(nodes, wanted)
    layer = _layered(nodes, sorted(set(forward.values())))
    rows, after, before = _bent(nodes, sorted(set(forward.values())), layer)
    rows = _ordered(rows, after, before)
    height = _placed(rows, after, before)
    bends: dict[Edge, tuple[tuple[int, float], ...]] = {}
    for edge, (start, end) in forward.items():
        passed = [(at, height[start, end, at]) for at in range(layer[start] + 1, layer[end])]
        bends[edge] = tuple(passed if edge == (start, end) else reversed(passed))
    places = {node: height[node] for node in nodes}
    lowest = {at: max(height[item] for item in row) for at, row in enumerate(rows) if row}
    for edge in dict.fromkeys(edge for edge in loose if edge[0] != edge[1] and edge not in bends):
        bends[edge] = _below(edge, layer, places, lowest)
    heights = [*places.values(), *(at for passed in bends.values() for _, at in passed)]
    return Laid(
        layer, places, bends, max(layer.values(), default=-1) + 1, min(heights, default=0), max(heights, default=0)
    )


def _below(
    edge: Edge, layer: dict[str, int], places: dict[str, float], lowest: dict[int, float]
) -> tuple[tuple[int, float], ...]:
    """Place a loose edge, and those of its ends that have no place yet, below everything in their layers."""
    start, end = edge
    wished = {start: layer[end] - 1 if end in layer else 0, end: layer[start] + 1 if start in layer else 1}
    for node in edge:
        if node not in layer:
            layer[node] = wished[node] if wished[node] >= 0 else 1
            places[node] = lowest[layer[node]] = lowest.get(layer[node], -_STEP) + _STEP
    way = 1 if layer[start] < layer[end] else -1
    passed: list[tuple[int, float]] = []
    for at in range(layer[start] + way, layer[end], way) if layer[start] != layer[end] else ():
        lowest[at] = lowest.get(at, 0.0) + _BEND
        passed.append((at, lowest[at]))
    return tuple(passed)


def _without_cycles(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[Edge, Edge]:
    """Each edge as it is drawn: as given, or turned round where it would close a cycle (depth first search)."""
    following: dict[str, list[str]] = {node: [] for node in nodes}
    entered = dict.fromkeys(nodes, 0)
    for start, end in edges:
        following[start].append(end)
        entered[end] += 1
    turned: set[Edge] = set()
    done: set[str] = set()
    for root in sorted(nodes, key=lambda node: (entered[node], nodes.index(node))):
        path: list[tuple[str, int]] = [(root, 0)] if root not in done else []
        open_ones = {root}
        while path:
            node, index = path.pop()
            if index == len(following[node]):
                open_ones.discard(node)
                done.add(node)
                continue
            path.append((node, index + 1))
            child = following[node][index]
            if child in open_ones:
                turned.add((node, child))
            elif child not in done:
                open_ones.add(child)
                path.append((child, 0))
    return {edge: (edge[1], edge[0]) if edge in turned else edge for edge in edges}


def _layered(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Layers by longest path; what nobody calls stands right before what it calls."""
    layer = dict.fromkeys(nodes, 0)
    for _ in nodes:
        moved = False
        for start, end in edges:
            if layer[end] <= layer[start]:
                layer[end], moved = layer[start] + 1, True
        if not moved:
            break
    called = {end for _, end in edges}
    for node in nodes:
        targets = [layer[end] for start, end in edges if start == node]
        if node not in called and targets:
            layer[node] = min(targets) - 1
    return layer


def _bent(
    nodes: Sequence[str], edges: Sequence[Edge], layer: Mapping[str, int]
) -> tuple[list[list[_Item]], dict[_Item, list[_Item]], dict[_Item, list[_Item]]]:
    """The rows with a bend for every layer that an edge passes, and every item's neighbours after and before it."""
    rows: list[list[_Item]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    after: dict[_Item, list[_Item]] = {}
    before: dict[_Item, list[_Item]] = {}
    for node in nodes:
        rows[layer[node]].append(node)
    for start, end in edges:
        passed: list[_Item] = [(start, end, at) for at in range(layer[start] + 1, layer[end])]
        for at, bend in enumerate(passed, layer[start] + 1):
            rows[at].append(bend)
        chain: list[_Item] = [start, *passed, end]
        for one, two in pairwise(chain):
            after.setdefault(one, []).append(two)
            before.setdefault(two, []).append(one)
    return rows, after, before


def _ordered(rows: list[list[_Item]], after: _Neighbours, before: _Neighbours) -> list[list[_Item]]:
    """The order within each layer with the fewest crossings that some sweeps of barycentres find."""
    best, fewest = [list(row) for row in rows], _crossings(rows, after)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        neighbours = before if down else after
        order = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        for at in order:
            beside = {item: place for place, item in enumerate(rows[at - 1 if down else at + 1])}
            middle: dict[_Item, float] = {}
            for place, item in enumerate(rows[at]):
                places = [beside[one] for one in neighbours.get(item, ()) if one in beside]
                middle[item] = fmean(places) if places else float(place)
            rows[at].sort(key=middle.__getitem__)
        crossings = _crossings(rows, after)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _crossings(rows: Sequence[Sequence[_Item]], after: _Neighbours) -> int:
    """How many lines cross between neighbouring layers."""
    count = 0
    for row, following in pairwise(rows):
        place = {item: at for at, item in enumerate(following)}
        ends = [sorted(place[one] for one in after.get(item, ()) if one in place) for item in row]
        flat = [end for group in ends for end in group]
        count += sum(one > two for at, one in enumerate(flat) for two in flat[at + 1 :])
    return count


def _placed(rows: Sequence[Sequence[_Item]], after: _Neighbours, before: _Neighbours) -> dict[_Item, float]:
    """Heights: as near to the neighbours' mean as the order allows, a step apart (a bend needs less room)."""
    height = {item: at - (len(row) - 1) / 2 for row in rows for at, item in enumerate(row)}
    for turn in range(_PLACINGS):
        for row in rows if turn % 2 == 0 else reversed(rows):
            wishes: list[float] = []
            for item in row:
                beside = [*before.get(item, ()), *after.get(item, ())]
                wishes.append(fmean(height[one] for one in beside) if beside else height[item])
            offsets = [0.0]
            for one, two in pairwise(row):
                offsets.append(offsets[-1] + (_STEP if isinstance(one, str) and isinstance(two, str) else _BEND))
            level = _rising([wish - offset for wish, offset in zip(wishes, offsets, strict=True)]) if row else []
            height |= {item: at + offset for item, at, offset in zip(row, level, offsets, strict=False)}
    return height


def _rising(wishes: Sequence[float]) -> list[float]:
    """The nearest sequence that never falls (least squares, pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for wish in wishes:
        mean, size = wish, 1
        while pools and pools[-1][0] > mean:
            former, count = pools.pop()
            mean, size = (former * count + mean * size) / (count + size), count + size
        pools.append((mean, size))
    return [mean for mean, size in pools for _ in range(size)]
