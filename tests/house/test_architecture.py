"""The picture of the house is what the imports say today, and its parts do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from types import ModuleType
from xml.etree import ElementTree

import pytest
from checkout import ROOT, load_tool


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("architecture")


def test_the_picture_is_in_step(tool: ModuleType) -> None:
    drawn = tool.svg(tool.rooms())
    assert tool.PICTURE.read_text("utf-8") == drawn, (
        "rooms import one another otherwise than docs/architecture.svg shows: "
        "run python tools/architecture.py, and look whether the new arrow should be"
    )


def test_another_process_draws_the_same_bytes(tool: ModuleType) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tools'); import architecture as a; print(a.svg(a.rooms()), end='')"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == tool.svg(tool.rooms())


def test_every_room_is_drawn_once(tool: ModuleType) -> None:
    svg = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in ElementTree.parse(tool.PICTURE).iter(f"{svg}text")]
    package = ROOT / "p2mperf"
    rooms = {path.stem for path in package.glob("[a-z]*.py")} | {
        path.parent.name for path in package.glob("*/*.py")
    }
    ground = ", ".join(tool.OF_THE_GROUND)
    assert set(tool.OF_THE_GROUND) <= rooms
    assert ground in texts
    for room in rooms - set(tool.OF_THE_GROUND):
        assert texts.count(room) == 1, room


def test_the_page_on_design_shows_it_and_names_every_room() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    assert "](architecture.svg)" in page
    house = page.partition("## The house")[2].partition("## Seams")[0]
    package = ROOT / "p2mperf"
    rooms = [path.name for path in package.glob("[a-z]*.py")]
    rooms += [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    assert [room for room in sorted(rooms) if not re.search(rf"(^|\s){re.escape(room)}", house)] == []


def test_an_arrow_that_follows_is_left_out(tool: ModuleType) -> None:
    # a to c follows from a to b to c
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert tool.reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert tool.rows_of(graph) == {"a": 2, "b": 1, "c": 0}


def test_a_circle_of_rooms_is_named(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="a circle of rooms: a -> b -> a"):
        tool.reduced({"a": {"b"}, "b": {"a"}})


def test_a_new_import_changes_the_picture(tool: ModuleType) -> None:
    before = tool.Rooms({"a": {"b"}, "b": set(), "c": set()}, set(), {})
    after = before._replace(graph={"a": {"b"}, "b": {"c"}, "c": set()})
    assert "1 arrows of 1" in tool.svg(before)
    assert tool.svg(before) != tool.svg(after) == tool.svg(after)


def test_boxes_do_not_overlap_and_arrows_go_down(tool: ModuleType) -> None:
    drawn = tool.rooms()
    x, paths = tool.laid_out(tool.reduced(drawn.graph), drawn.inner)
    for row in range(1 + max(node.row for node in x)):
        beside = sorted((x[node], tool.width(node, drawn.inner)) for node in x if node.row == row)
        for (left, left_width), (right, right_width) in pairwise(beside):
            assert right - left > (left_width + right_width) / 2
    assert all(upper.row == lower.row + 1 for path in paths for upper, lower in pairwise(path))


def test_crossings_are_counted(tool: ModuleType) -> None:
    a, b = (tool.Node(name, None, 1) for name in "ab")
    c, d = (tool.Node(name, None, 0) for name in "cd")
    neighbours = {a: [d], b: [c], c: [b], d: [a]}
    assert tool.crossings([[c, d], [a, b]], neighbours) == 1
    assert tool.crossings([[d, c], [a, b]], neighbours) == 0
