"""The map of hops: boxes, lines and padlocks with their places on the page. Geometry only; a template draws it.

Rules: what one sees is said three times: by the form of the line and its padlock, by words, and by colour; never by
colour alone. Flows beside the mesh are lines of their own. A map that grows beyond what a person can read keeps what
is not well and its ends, and says how much it leaves out. Every line has a twin in the table below the map.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from everyhop.core.topology import CLIENT
from everyhop.doors.web.layers import Laid, lay_out
from everyhop.doors.web.words import flow_words, hop_words, short_group, short_version
from everyhop.services.overview import WORST_FIRST, Beside, HopView, Overview, Protection

MOST_LINES = 90
"""More than this nobody reads on one screen."""

_WIDTH, _HEIGHT = 134.0, 50.0
_COLUMN, _ROW = 272.0, 80.0
_MARGIN = 26.0
_BADGE = 11.0
_LETTER = 6.7
"""Width of a label's letter."""
_LANE = 46.0
"""How far two lines between the same boxes stay apart."""

Spot = tuple[float, float]
_Room = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Box:
    """A service, the edge, clients, or somebody who is not in the topology."""

    name: str
    below: str
    """Its owner, or what it is."""
    x: float
    y: float
    stranger: bool
    worst: Protection | None
    """Of the lines that lead here."""
    width: float = _WIDTH
    height: float = _HEIGHT

    @property
    def text(self) -> str:
        """The name, as much as the box holds."""
        return self.name if len(self.name) <= 15 else f"{self.name[:14]}…"


@dataclass(frozen=True, slots=True)
class Line:
    """A hop, or a flow beside the mesh."""

    key: str
    href: str
    protection: Protection
    path: str
    """SVG path data."""
    tip: str
    """The arrow's head, as a polygon's points."""
    badge: Spot
    label: str
    label_at: Spot | None
    """None: there is no room, the words stand in the table and in the title."""
    words: str
    """Everything about it in one sentence."""
    beside: bool

    @property
    def half(self) -> float:
        """Half the label's width."""
        return len(self.label) * _LETTER / 2 + 5


@dataclass(frozen=True, slots=True)
class HopMap:
    """The whole picture."""

    width: float
    top: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    left_out: int
    """How many encrypted hops are in the table only."""
    counts: Mapping[Protection, int]
    """Lines by protection, with those that are left out."""
    beside: int
    """How many of all lines are flows beside the mesh."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """A line before it has a place."""

    key: str
    start: str
    end: str
    href: str
    protection: Protection
    label: str
    words: str
    beside: bool


def hop_map(found: Overview) -> HopMap:
    """The map of an overview."""
    wishes = [
        *(_hop(hop) for hop in found.hops),
        *(_flow(one, found) for one in found.beside if not _is_hop(one, found)),
    ]
    wishes.sort(key=lambda wish: WORST_FIRST.index(wish.protection))
    lines_apart = [wish for wish in wishes if wish.start != wish.end]  # a service that talks to itself has no line
    drawn = lines_apart if len(lines_apart) <= MOST_LINES else _telling(lines_apart)
    nodes = _nodes(found, drawn)
    # In the order of names, not of trouble: a hop that fails changes its colour and not its place, and flows that
    # come and go beside the mesh move nothing.
    stable = sorted(drawn, key=lambda wish: (wish.start, wish.end, wish.key))
    hops, beside = ([(wish.start, wish.end) for wish in stable if wish.beside is kind] for kind in (False, True))
    laid = lay_out([name for name in nodes if name in {CLIENT, *(one.name for one in found.services)}], hops, beside)
    boxes = {name: _box(name, found, laid, drawn) for name in nodes}
    lines, spots = _routed(drawn, boxes, laid)
    heights = [*(box.y for box in boxes.values()), *(box.y + _HEIGHT for box in boxes.values())]
    heights += [y for _, y in spots] or [0.0]
    top = min(heights, default=0.0) - _MARGIN / 2
    return HopMap(
        width=2 * _MARGIN + max(laid.layers - 1, 0) * _COLUMN + _WIDTH,
        top=top,
        height=max(heights, default=0.0) + _MARGIN / 2 - top,
        boxes=tuple(boxes.values()),
        lines=tuple(lines),
        left_out=len(lines_apart) - len(drawn),
        counts=Counter(wish.protection for wish in wishes),
        beside=sum(wish.beside for wish in wishes),
    )


def hop_href(caller: str, callee: str) -> str:
    """Where a hop's evidence is."""
    return f"/hops/{quote(caller, safe='')}/{quote(callee, safe='')}"


def _telling(wishes: Sequence[_Wish]) -> list[_Wish]:
    return [wish for wish in wishes if wish.protection is not Protection.ENCRYPTED][:MOST_LINES]


def _hop(hop: HopView) -> _Wish:
    if hop.protection in (Protection.ENCRYPTED, Protection.WEAK):
        label = " · ".join(one for one in (short_version(hop.status.version), short_group(hop.status.group)) if one)
    else:
        label = str(hop.protection)
    words, href = hop_words(hop), hop_href(hop.caller, hop.callee)
    return _Wish(f"hop {hop.status.hop}", hop.caller, hop.callee, href, hop.protection, label, words, beside=False)


def _is_hop(one: Beside, found: Overview) -> bool:
    """True for the flow of an exempt hop: the hop itself is drawn."""
    name = f"{one.flow.caller} -> {one.flow.callee}"
    return one.protection is Protection.EXEMPT and found.hop(name) is not None


def _flow(one: Beside, found: Overview) -> _Wish:
    label = "in the clear" if one.protection is Protection.PLAINTEXT else str(one.protection)
    return _Wish(
        f"flow {one.flow.key}",
        one.flow.caller,
        one.flow.callee or one.flow.server,
        "/hosts#flows",
        one.protection,
        label,
        flow_words(one, found.at),
        beside=True,
    )


def _nodes(found: Overview, drawn: Sequence[_Wish]) -> list[str]:
    """Clients and the edge first, services in the order of the topology, strangers last."""
    used = dict.fromkeys(name for wish in drawn for name in (wish.start, wish.end))
    known = [CLIENT, *(service.name for service in found.services)]
    ours = [name for name in known if name in used or (name != CLIENT and len(found.services) <= MOST_LINES)]
    return [*ours, *sorted(name for name in used if name not in known)]


def _box(name: str, found: Overview, laid: Laid, drawn: Sequence[_Wish]) -> Box:
    service = next((one for one in found.services if one.name == name), None)
    protections = [wish.protection for wish in drawn if wish.end == name]
    below = "outside" if name == CLIENT else "not in the topology"
    if service is not None:
        below = service.owner or "the way in"
    return Box(
        name=name,
        below=below,
        x=_MARGIN + laid.layer[name] * _COLUMN,
        y=_MARGIN + (laid.height[name] - laid.top) * _ROW,
        stranger=service is None and name != CLIENT,
        worst=min(protections, key=WORST_FIRST.index, default=None),
    )


def _routed(drawn: Sequence[_Wish], boxes: dict[str, Box], laid: Laid) -> tuple[list[Line], list[Spot]]:
    """Every line with its way, its padlock and, where there is room, its label; and points along all of them."""
    leaves, enters = _ports(drawn, boxes, out=True), _ports(drawn, boxes, out=False)
    lanes: Counter[tuple[str, str]] = Counter()
    badges: list[Spot] = []
    lines: list[Line] = []
    along: dict[str, list[Spot]] = {}
    for wish in drawn:
        lane = lanes[wish.start, wish.end]
        lanes[wish.start, wish.end] += 1
        spots = _way(wish, boxes, laid, leaves[wish.key], enters[wish.key])
        shift = (lane + 1) // 2 * _LANE * (1 if lane % 2 else -1)
        badge = _free_spot(spots, shift, badges)
        badges.append(badge)
        lines.append(_line(wish, spots, shift, badge))
        along[wish.key] = [_along(curve, step / 24) for curve in _curves(spots, shift) for step in range(25)]
    rooms = [(x - _BADGE, y - _BADGE, x + _BADGE, y + _BADGE) for x, y in badges]
    labelled: list[Line] = []
    for line in lines:
        others = [spot for key, spots in along.items() if key != line.key for spot in spots]
        line, room = _labelled(line, rooms, others)
        labelled.append(line)
        rooms += [room] if room else []
    return labelled, [spot for spots in along.values() for spot in spots]


def _way(wish: _Wish, boxes: dict[str, Box], laid: Laid, leaves: float, enters: float) -> list[Spot]:
    """The corners of a line: pairs between which it is drawn as one curve."""
    start, end = boxes[wish.start], boxes[wish.end]
    backwards = laid.layer[wish.start] > laid.layer[wish.end]
    spots = [(start.x if backwards else start.x + _WIDTH, start.y + _HEIGHT / 2 + leaves)]
    if start.x == end.x:
        return [*spots, (end.x + _WIDTH, end.y + _HEIGHT / 2 + enters)]
    for layer, height in laid.bends[wish.start, wish.end]:
        x, y = _MARGIN + layer * _COLUMN, _MARGIN + (height - laid.top) * _ROW + _HEIGHT / 2
        spots += [(x + _WIDTH, y), (x, y)] if backwards else [(x, y), (x + _WIDTH, y)]
    return [*spots, (end.x + _WIDTH if backwards else end.x, end.y + _HEIGHT / 2 + enters)]


def _line(wish: _Wish, spots: Sequence[Spot], shift: float, badge: Spot) -> Line:
    x, y = spots[-1]
    way = -1 if spots[-2][0] >= x else 1
    back = x - way * 8
    return Line(
        key=wish.key,
        href=wish.href,
        protection=wish.protection,
        path=_path([*spots[:-1], (x - way * 2, y)], shift),
        tip=f"{x:.1f},{y:.1f} {back:.1f},{y - 4:.1f} {back:.1f},{y + 4:.1f}",
        badge=badge,
        label=wish.label,
        label_at=None,
        words=wish.words,
        beside=wish.beside,
    )


def _ports(drawn: Iterable[_Wish], boxes: dict[str, Box], *, out: bool) -> dict[str, float]:
    """Where at a box's side each line leaves (or enters), off its middle, so that lines fan out in order."""
    sides: dict[tuple[str, bool], list[tuple[float, str]]] = {}
    for wish in drawn:
        if wish.start in boxes and wish.end in boxes:
            here, there = (wish.start, wish.end) if out else (wish.end, wish.start)
            side = boxes[there].x > boxes[here].x
            sides.setdefault((here, side), []).append((boxes[there].y, wish.key))
    offsets: dict[str, float] = {}
    for lines in sides.values():
        gap = min(10.0, (_HEIGHT - 14) / max(len(lines) - 1, 1))
        for place, (_, key) in enumerate(sorted(lines)):
            offsets[key] = (place - (len(lines) - 1) / 2) * gap
    return offsets


def _curves(spots: Sequence[Spot], shift: float) -> list[tuple[Spot, Spot, Spot, Spot]]:
    """The Bézier curves of a line: level where they meet a box or a bend."""
    curves: list[tuple[Spot, Spot, Spot, Spot]] = []
    for one, two in zip(spots[::2], spots[1::2], strict=True):
        reach = (two[0] - one[0]) * 0.46
        back = reach if reach else -_LANE  # between boxes of one column: out to the right, and back from there
        curves.append((one, (one[0] + (reach or _LANE), one[1] + shift), (two[0] - back, two[1] + shift), two))
    return curves


def _path(spots: Sequence[Spot], shift: float) -> str:
    parts: list[str] = []
    for one, two, three, four in _curves(spots, shift):
        parts.append(f"{'L' if parts else 'M'}{one[0]:.1f} {one[1]:.1f}")
        parts.append(f"C{two[0]:.1f} {two[1]:.1f} {three[0]:.1f} {three[1]:.1f} {four[0]:.1f} {four[1]:.1f}")
    return " ".join(parts)


def _along(curve: tuple[Spot, Spot, Spot, Spot], part: float) -> Spot:
    """A point of a cubic Bézier curve."""
    rest = 1 - part
    weights = (rest**3, 3 * rest * rest * part, 3 * rest * part * part, part**3)
    x = sum(weight * spot[0] for weight, spot in zip(weights, curve, strict=True))
    y = sum(weight * spot[1] for weight, spot in zip(weights, curve, strict=True))
    return x, y


def _free_spot(spots: Sequence[Spot], shift: float, badges: Sequence[Spot]) -> Spot:
    """Where on its line a padlock stands: the middle if it is free, else the freest place near it."""
    candidates = [
        _along(curve, part) for part in (0.5, 0.4, 0.6, 0.32, 0.68, 0.26, 0.74) for curve in _curves(spots, shift)
    ]

    def room(spot: Spot) -> float:
        return min(((spot[0] - x) ** 2 + ((spot[1] - y) * 1.25) ** 2 for x, y in badges), default=1e9)

    enough = (3.1 * _BADGE) ** 2
    return next((spot for spot in candidates if room(spot) >= enough), max(candidates, key=room))


def _labelled(line: Line, rooms: Sequence[_Room], others: Sequence[Spot]) -> tuple[Line, _Room | None]:
    """The line with its label below or above its padlock where nothing else stands or passes, and the label's room;
    otherwise without."""
    x, y = line.badge
    own = (x - _BADGE, y - _BADGE, x + _BADGE, y + _BADGE)
    for off in (24.0, -17.0):
        room = (x - line.half, y + off - 10, x + line.half, y + off + 4)
        taken = any(_meet(room, one) for one in rooms if one != own)
        if not taken and not any(room[0] < a < room[2] and room[1] < b < room[3] for a, b in others):
            return replace(line, label_at=(x, y + off)), room
    return line, None


def _meet(one: _Room, two: _Room) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
