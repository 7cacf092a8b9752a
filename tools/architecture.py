"""Draw the rooms of the package and what each stands on: ``python tools/architecture.py``.

It writes docs/architecture.svg. Rooms and arrows come from the import graph, as import-linter sees it: a lazy
import counts, an annotation does not. An arrow is left out where a longer way says the same. Only rooms and
arrows are drawn, so that the picture changes when the house does, and not with every file.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import grimp

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
PACKAGE = "p2mperf"
TITLE = "A room imports only what is below it"
# One box: what all rooms may stand on, and what stands on none of them.
GROUND = "ground"
OF_THE_GROUND = (
    "control",
    "errors",
    "interrupts",
    "plugins",
    "preambles",
    "progress",
    "provenance",
    "shipped",
    "units",
)
COMPILER = "jit"
# What `import p2mperf` and `python -m p2mperf` are: doors to the house, and no rooms of it.
OUTSIDE = (PACKAGE, "__main__")

Graph = dict[str, set[str]]
Edge = tuple[str, str]


class Rooms(NamedTuple):
    """What is drawn.

    Attributes
    ----------
    graph : dict of str to set of str
        For each room those that it imports.
    compiled : set of str
        Rooms with compiled code.
    inner : dict of str to list of str
        Packages in a room, by its name.
    """

    graph: Graph
    compiled: set[str]
    inner: dict[str, list[str]]


class Node(NamedTuple):
    """A room, or where a long arrow passes a row: then `edge` says which."""

    room: str
    edge: Edge | None = None
    row: int = 0


# ---- what stands on what ----


def rooms(package: str = PACKAGE) -> Rooms:
    """Read the import graph of a package."""
    found = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    graph: Graph = defaultdict(set)
    compiled: set[str] = set()
    inner: dict[str, list[str]] = defaultdict(list)
    for module in sorted(found.modules):
        room = room_of(module)
        if room in OUTSIDE:
            continue
        if module.count(".") == 2 and found.find_children(module):
            inner[room].append(module.split(".")[2])
        graph[room]  # those that import nothing too
        for other in found.find_modules_directly_imported_by(module):
            there = room_of(other)
            if there in (*OUTSIDE, room):
                continue
            if there == COMPILER:
                compiled.add(room)
            graph[room].add(there)
    return Rooms(dict(graph), compiled, dict(inner))


def room_of(module: str) -> str:
    """Name the room of a module."""
    name = module.split(".")[1] if "." in module else module
    return GROUND if name in OF_THE_GROUND else name


def reduced(graph: Mapping[str, Iterable[str]]) -> Graph:
    """Leave out each arrow that a longer way says.

    Raises
    ------
    ValueError
        Where rooms stand on each other in a circle.
    """
    below: Graph = {}

    def reach(room: str, above: tuple[str, ...]) -> set[str]:
        if room in above:
            raise ValueError(f"a circle of rooms: {' -> '.join((*above, room))}")
        if room not in below:
            below[room] = set().union(*({other} | reach(other, (*above, room)) for other in graph[room]))
        return below[room]

    for room in graph:
        reach(room, ())
    return {
        room: {other for other in others if not any(other in below[between] for between in others)}
        for room, others in graph.items()
    }


def rows_of(graph: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Row of each room: one above the highest that it stands on."""
    rows: dict[str, int] = {}

    def row(room: str) -> int:
        if room not in rows:
            rows[room] = max((row(other) + 1 for other in graph[room]), default=0)
        return rows[room]

    for room in graph:
        row(room)
    return rows


# ---- where it is drawn ----

ROW, GAP, BOX, PASSING, MARGIN, HEAD = 74.0, 26.0, 40.0, 12.0, 24.0, 62.0
LETTER, SMALL_LETTER, SMALLEST = 7.8, 5.6, 64.0
ROUNDS = 60
# How strongly an arrow keeps its ends one above the other, by how many of them are where it passes a row.
STRAIGHT = (1.0, 2.0, 8.0)


def laid_out(graph: Graph, inner: Mapping[str, Sequence[str]]) -> tuple[dict[Node, float], list[list[Node]]]:
    """Place rooms, row by row with few crossings; x of each node, and the paths of the arrows."""
    rows = rows_of(graph)
    layers: list[list[Node]] = [[] for _ in range(max(rows.values()) + 1)]
    for room in sorted(graph):
        layers[rows[room]].append(Node(room, None, rows[room]))
    paths = []
    for room, others in sorted(graph.items()):
        for other in sorted(others):
            passing = [Node(room, (room, other), row) for row in range(rows[room] - 1, rows[other], -1)]
            for node in passing:
                layers[node.row].append(node)
            paths.append([Node(room, None, rows[room]), *passing, Node(other, None, rows[other])])
    neighbours: dict[Node, list[Node]] = defaultdict(list)
    for path in paths:
        for upper, lower in pairwise(path):
            neighbours[upper].append(lower)
            neighbours[lower].append(upper)
    _order(layers, neighbours)
    return _place(layers, neighbours, inner), paths


def _order(layers: list[list[Node]], neighbours: Mapping[Node, Sequence[Node]]) -> None:
    """Order each row by where its neighbours are, and keep the order with the fewest crossings."""
    best, fewest = [list(layer) for layer in layers], crossings(layers, neighbours)
    for turn in range(ROUNDS):
        downwards = turn % 2 == 0
        for row in reversed(range(len(layers))) if downwards else range(len(layers)):
            beside = row + 1 if downwards else row - 1
            if not 0 <= beside < len(layers):
                continue
            at = {node: place for place, node in enumerate(layers[beside])}
            own = {node: place for place, node in enumerate(layers[row])}

            def middle(node: Node, at: dict[Node, int] = at, own: dict[Node, int] = own) -> float:
                places = [at[other] for other in neighbours.get(node, ()) if other in at]
                return sum(places) / len(places) if places else own[node]

            layers[row].sort(key=middle)
        if (n := crossings(layers, neighbours)) < fewest:
            best, fewest = [list(layer) for layer in layers], n
    layers[:] = best


def crossings(layers: Sequence[Sequence[Node]], neighbours: Mapping[Node, Sequence[Node]]) -> int:
    """Count how often arrows cross."""
    n = 0
    for upper, lower in pairwise(layers):
        at = {node: place for place, node in enumerate(lower)}
        ends = [sorted(at[other] for other in neighbours.get(node, ()) if other in at) for node in upper]
        n += sum(a > b for i, left in enumerate(ends) for right in ends[i + 1 :] for a in left for b in right)
    return n


def _place(
    layers: Sequence[Sequence[Node]],
    neighbours: Mapping[Node, Sequence[Node]],
    inner: Mapping[str, Sequence[str]],
) -> dict[Node, float]:
    """Draw each node to the middle of its neighbours, as far as those beside it let it."""
    x: dict[Node, float] = {}
    offsets = [_offsets(layer, inner) for layer in layers]
    for layer, places in zip(layers, offsets, strict=True):
        x.update({node: place - places[-1] / 2 for node, place in zip(layer, places, strict=True)})
    for turn in range(ROUNDS):
        for row in range(len(layers)) if turn % 2 else reversed(range(len(layers))):
            wanted = []
            for node, offset in zip(layers[row], offsets[row], strict=True):
                # One that stands alone stays where it is.
                beside = neighbours.get(node) or [node]
                pulls = [STRAIGHT[bool(node.edge) + bool(other.edge)] for other in beside]
                at = sum(pull * x[other] for pull, other in zip(pulls, beside, strict=True))
                wanted.append((at / sum(pulls) - offset, sum(pulls)))
            for node, free, offset in zip(layers[row], _rising(wanted), offsets[row], strict=True):
                x[node] = free + offset
    return x


def _offsets(layer: Sequence[Node], inner: Mapping[str, Sequence[str]]) -> list[float]:
    """Where the nodes of a row are when they stand as close as they may."""
    offsets = [0.0]
    for left, right in pairwise(layer):
        offsets.append(offsets[-1] + (width(left, inner) + width(right, inner)) / 2 + GAP)
    return offsets


def _rising(wanted: Sequence[tuple[float, float]]) -> list[float]:
    """Find the numbers nearest to those wanted, each of its weight, that never fall.

    Neighbours that would fall are pooled, and have the mean of what they want.
    """
    pools: list[list[tuple[float, float]]] = []
    for number in wanted:
        pools.append([number])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    return [_mean(pool) for pool in pools for _ in pool]


def _mean(weighed: Sequence[tuple[float, float]]) -> float:
    return sum(number * weight for number, weight in weighed) / sum(weight for _, weight in weighed)


def width(node: Node, inner: Mapping[str, Sequence[str]]) -> float:
    """Width of a node: room for both lines of its box."""
    if node.edge:
        return PASSING
    name, below = lines_of(node.room, inner)
    return max(SMALLEST, len(name) * LETTER + 20, len(below) * SMALL_LETTER + 20)


def lines_of(room: str, inner: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """What stands in the box of a room: its name, and the packages in it."""
    if room == GROUND:
        return "the ground", ", ".join(OF_THE_GROUND)
    return room, ", ".join(inner.get(room, ()))


# ---- how it is drawn ----


def svg(drawn: Rooms) -> str:
    """Draw the rooms; the same bytes for the same graph."""
    graph = reduced(drawn.graph)
    x, paths = laid_out(graph, drawn.inner)
    boxes = [node for node in x if node.edge is None]
    left = min(x[node] - width(node, drawn.inner) / 2 for node in x) - MARGIN
    right = max(x[node] + width(node, drawn.inner) / 2 for node in x) + MARGIN
    n_rows = 1 + max(node.row for node in x)
    height = HEAD + n_rows * ROW + MARGIN
    n_pairs, n_drawn = sum(map(len, drawn.graph.values())), sum(map(len, graph.values()))

    def top(node: Node) -> float:
        return HEAD + (n_rows - 1 - node.row) * ROW

    note = f"{n_drawn} arrows of {n_pairs}: the others follow from them. Shaded: rooms with compiled code."
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right - left:.0f} {height:.0f}" '
        f'width="{right - left:.0f}" height="{height:.0f}" font-family="Helvetica, Arial, sans-serif">',
        "<title>The rooms of p2mperf, and what each stands on</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="#555555"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{MARGIN:.0f}" y="26" font-size="16" font-weight="bold">{TITLE}</text>',
        f'<text x="{MARGIN:.0f}" y="45" font-size="12" fill="#555555">{note}</text>',
    ]
    for path in paths:
        points = [(x[path[0]] - left, top(path[0]) + BOX)]
        for node in path[1:-1]:
            points += [(x[node] - left, top(node)), (x[node] - left, top(node) + BOX)]
        points.append((x[path[-1]] - left, top(path[-1])))
        way = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            bend = (y1 - y0) / 2
            way += f" C{x0:.1f},{y0 + bend:.1f} {x1:.1f},{y1 - bend:.1f} {x1:.1f},{y1:.1f}"
        lines.append(f'<path d="{way}" fill="none" stroke="#555555" marker-end="url(#tip)"/>')
    for node in sorted(boxes):
        fill = "#cfe3f1" if node.room in drawn.compiled else "#f4f4f4"
        half = width(node, drawn.inner) / 2
        name, below = lines_of(node.room, drawn.inner)
        lines.append(
            f'<rect x="{x[node] - half - left:.1f}" y="{top(node):.1f}" width="{2 * half:.1f}" '
            f'height="{BOX:.0f}" rx="4" fill="{fill}" stroke="#333333"/>'
        )
        middle, y = x[node] - left, top(node) + (17 if below else 25)
        lines.append(f'<text x="{middle:.1f}" y="{y:.1f}" font-size="13" text-anchor="middle">{name}</text>')
        if below:
            lines.append(
                f'<text x="{middle:.1f}" y="{y + 15:.1f}" font-size="10" fill="#555555" text-anchor="middle">'
                f"{below}</text>"
            )
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    """Write the picture."""
    sys.path.insert(0, str(ROOT))
    PICTURE.write_text(svg(rooms()), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
