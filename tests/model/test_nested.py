"""Two-dimensional walks: the formula by hand, counts of real walks against it, and what is published."""

from __future__ import annotations

import io
import itertools
import re
from collections import Counter
from dataclasses import astuple
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from design_names import AnyHapName
from hap_guests import GIB
from hypothesis import given, settings, strategies as st
from matplotlib.patches import Rectangle

import p2mperf
from p2mperf.errors import BadInputError, ClosedError
from p2mperf.figures import figure, table
from p2mperf.guests.extents import Extents
from p2mperf.guests.guest import Guest
from p2mperf.guests.machine import Machine
from p2mperf.model.nested import PAGINGS, GuestTables, WalkedP2m, mixed_references, references
from p2mperf.model.published import PUBLISHED

PAGE = (Path(__file__).parents[2] / "docs" / "hap.md").read_text("utf-8")
(SECTION,) = re.findall(r"\n## Two-dimensional walks\n(.*?)\n## ", PAGE, re.DOTALL)

# Guest levels that are read, and references over a host on 4 KiB, 2 MiB and 1 GiB.
BY_HAND = {
    ("4-level", 4096): (4, 24, 19, 14),
    ("4-level", 2 << 20): (3, 19, 15, 11),
    ("4-level", 1 << 30): (2, 14, 11, 8),
    ("pae", 4096): (3, 19, 15, 11),
    ("pae", 2 << 20): (2, 14, 11, 8),
    ("non-pae", 4096): (2, 14, 11, 8),
    ("non-pae", 4 << 20): (1, 9, 7, 5),
    ("off", 0): (0, 4, 3, 2),
}


@pytest.fixture(scope="module")
def gibibyte() -> Guest:
    return Guest.plain("1G", geometry="hap64")


# ---- the formula ----


def test_the_formula_is_that_of_the_literature() -> None:
    for n_guest, *expected in BY_HAND.values():
        assert [references(n_guest, n_host) for n_host in (4, 3, 2)] == expected
    assert [references(n, 0) for n in (4, 3, 2)] == [4, 3, 2]  # nothing is nested
    assert references(5, 5) == 35
    for n_guest, n_host in itertools.product(range(7), range(7)):
        assert references(n_guest, n_host) == (n_guest + 1) * (n_host + 1) - 1
    assert mixed_references([4, 4, 4, 4], 3) == 4 * 5 + 3
    assert mixed_references([3, 3, 3, 3], 4) == 4 * 4 + 4
    assert mixed_references([], 3) == 3


@pytest.mark.parametrize("levels", [(-1, 4), (4, -1), (4.5, 4), ("4", 4), (17, 4), (4, None)])
def test_levels_that_are_none_are_refused(levels: tuple[int, int]) -> None:
    with pytest.raises(BadInputError, match="levels of the"):
        references(*levels)


# ---- counted ----


def test_walks_of_real_tables_count_what_the_formula_says() -> None:
    found = p2mperf.nested_references()
    assert (found["n_counted"] == found["n_computed"]).all()
    even = found[found["host_tables_bytes"] == found["host_data_bytes"]]
    counted = {
        kind: (int(part["n_guest_levels"].iloc[0]), *part.sort_values("host_data_bytes")["n_counted"])
        for kind, part in even.groupby(["guest_paging", "guest_page_bytes"])
    }
    assert counted == BY_HAND
    mixed = found[found["host_tables_bytes"] != found["host_data_bytes"]]
    assert mixed[["host_tables_bytes", "host_data_bytes", "n_counted"]].to_numpy().tolist() == [
        [4096, 2 << 20, 23],
        [2 << 20, 4096, 20],
    ]


def test_lines_are_those_of_tables_that_lie_apart() -> None:
    # One line of L4 and one of L3, as there is one GiB; one of L2 and of L1 for each of 4 tables and the
    # data, where the host has them; and one of each table of the guest.
    found = p2mperf.nested_references()
    small = found[(found["guest_paging"] == "4-level") & (found["guest_page_bytes"] == 4096)]
    assert small["n_lines"].tolist()[:3] == [2 + 5 + 5 + 4, 2 + 5 + 4, 2 + 4]


def test_the_page_has_the_numbers_that_are_counted() -> None:
    pages = {4096: "4 KiB", 2 << 20: "2 MiB", 4 << 20: "4 MiB", 1 << 30: "1 GiB", 0: "-"}
    rows = [
        f"| {paging} | {pages[page]} | {' | '.join(map(str, numbers))} |"
        for (paging, page), numbers in BY_HAND.items()
    ]
    assert "\n".join(rows) in SECTION
    prose = " ".join(SECTION.split())
    assert "the 24 touch 16 cache lines" in prose
    assert "the 19 over 2 MiB touch 11, and the 14 over 1 GiB touch 6." in prose
    assert "a walk takes 23 references, the other way round 20." in prose
    names: dict[str, object] = {"p2mperf": p2mperf}
    (example,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    exec(example, names)
    for name in ("whole", "split"):
        assert f"{name} = tables.walk(0x12345).n_references  # {names[name]}\n" in example


def test_a_walk_goes_through_the_host_before_each_table(gibibyte: Guest) -> None:
    with p2mperf.build("hap-walk-4k", gibibyte) as p2m:
        tables = GuestTables(p2m, "4-level", [900, 70000, 5, 131072])
        tables.map(0xABCDEF012, 12345)
        walk = tables.walk(0xABCDEF012)
        assert walk.mfn == int(p2m.lookup(12345)) >> 12
        one_more = [("host", f"l{level}") for level in (4, 3, 2, 1)]
        order = [[*one_more, ("guest", towards)] for towards in ("l4", "l3", "l2", "l1")]
        expected = [*itertools.chain(*order), *one_more]
        assert [(read.dimension, read.level) for read in walk.references] == expected
        assert [read.towards for read in walk.references[:6]] == ["l4"] * 5 + ["l3"]
        # 0xABCDEF012 in parts of nine bits, in the machine frames that back the tables.
        places = [read.address for read in walk.references if read.dimension == "guest"]
        mfns = (p2m.lookup([900, 70000, 5, 131072]) >> np.uint64(12)).tolist()
        indices = [0xABCDEF012 >> shift & 511 for shift in (27, 18, 9, 0)]
        assert places == [mfn * 4096 + 8 * index for mfn, index in zip(mfns, indices, strict=True)]
        # The host's tables lie beyond the guest's machine, and every walk begins at the one root.
        of_host = [read.address // 4096 for read in walk.references if read.dimension == "host"]
        assert min(of_host) >= gibibyte.machine.n_frames
        assert len(set(of_host[::4])) == 1


@pytest.mark.parametrize(
    ("geometry", "design", "expected"),
    # Hosts of three and of two levels: (2 + 1)(h + 1) - 1 for a guest without PAE.
    [
        ("hap-pae", "hap-walk-4k", 11),
        ("hap-pae", "hap-walk", 8),
        ("hap-nonpae", "hap-walk-4k", 8),
        ("hap-nonpae", "hap-walk", 5),
    ],
)
def test_hosts_of_other_formats(geometry: str, design: AnyHapName, expected: int) -> None:
    with cast(WalkedP2m, p2mperf.build(design, Guest.plain("16M", geometry=geometry))) as p2m:
        tables = GuestTables(p2m, "non-pae", [3000, 7])
        tables.map(0xFFFFF, 1)
        assert tables.walk(0xFFFFF).n_references == tables.predict(0xFFFFF) == expected


# ---- a host that changes under the guest's tables ----


def test_a_superpage_that_is_split_under_a_table_costs_its_walks(gibibyte: Guest) -> None:
    with p2mperf.build("hap-walk", gibibyte) as p2m:
        root, _, _, l1 = frames = [512 * n for n in (10, 20, 30, 40)]
        tables = GuestTables(p2m, "4-level", frames)
        tables.map(7, 100)

        def counted() -> int:
            walk = tables.walk(7)
            assert walk.mfn == int(p2m.lookup(100)) >> 12
            assert walk.n_references == tables.predict(7)
            return walk.n_references

        assert counted() == 14
        # One frame of 4 KiB is given back beside the L1: the GiB becomes 511 x 2 MiB and 512 x 4 KiB, so that
        # three tables and the data take 3 reads of the host's, and the L1 takes 4.
        assert p2m.remove(l1 + 1).all()
        assert counted() == 3 * (3 + 1) + (4 + 1) + 3
        # Set again it is whole memory once more, and stays in small leaves.
        mfn = int(gibibyte.entries(np.array([l1 + 1], np.uint64))[0]) >> 12
        assert p2m.add(l1 + 1, mfn).all()
        assert counted() == 20
        # The same under the root, by changing a type; then under the data.
        assert p2m.change_type(root, "ram_rw", "ram_logdirty").all()
        assert counted() == 21
        assert p2m.set_entry(100, int(p2m.lookup(100)) >> 12).all()
        assert counted() == 22
        # Where the host is put back on 2 MiB by replacing small leaves, the walk is short again.
        first = int(gibibyte.entries(np.array([l1], np.uint64))[0]) >> 12
        assert p2m.add(l1, first, 9).all()
        assert counted() == 21
        p2m.audit()


def test_a_walk_ends_where_the_host_has_nothing(gibibyte: Guest) -> None:
    with p2mperf.build("hap-walk-2m", gibibyte) as p2m:
        tables = GuestTables(p2m, "4-level", [512, 1024, 1536, 2048, 2560])
        tables.map(7, 5000)
        # Nothing in the L1's slot: all tables are read, and no frame of data is looked for.
        walk = tables.walk(8)
        assert (walk.mfn, walk.n_references) == (None, 4 * 4)
        with pytest.raises(BadInputError, match="page 0x8 is not mapped"):
            tables.predict(8)
        # The L2's frame goes away: two tables are read, and the host for the third, down to its L1.
        p2m.remove(1536)
        walk = tables.walk(7)
        assert (walk.mfn, walk.n_references) == (None, 2 * 4 + 4)
        with pytest.raises(BadInputError, match="frame 0x600 has no memory"):
            tables.predict(7)
        # Other memory comes in its place: what it holds is no table.
        spare = int(p2m.lookup(9000)) >> 12
        p2m.set_entry(1536, spare)
        walk = tables.walk(7)
        assert (walk.mfn, walk.n_references) == (None, 2 * 4 + 5)
        with pytest.raises(BadInputError, match="is no table any more"):
            tables.map(1 << 9, 1)


# ---- random guests over random hosts ----

MEMORY = Extents.of(
    [(0, 2 * GIB, 18)]
    + [(GIB + 512 * n, GIB + 512 * n, 9) for n in range(8)]
    + [(GIB + 4096 + n, 5 + n, 0) for n in range(64)]
)
RANDOM_GUEST = Guest.from_extents(MEMORY, machine=Machine(4 * GIB), name="random")
frames_of_memory = st.one_of(st.integers(0, GIB - 1), st.integers(GIB, GIB + 4096 + 63))


def naive_levels(design: str, touched: set[int], gfn: int) -> int:
    """Tables of the host that a frame takes, from what was touched in its 2 MiB and its GiB alone."""
    if design == "hap-walk-4k" or gfn >= GIB + 4096 or any(gfn >> 9 == one >> 9 for one in touched):
        return 4
    is_giant = design == "hap-walk" and gfn < GIB and not any(one < GIB for one in touched)
    return 2 if is_giant else 3


@settings(max_examples=30, deadline=None)
@given(data=st.data(), design=st.sampled_from(["hap-walk-4k", "hap-walk-2m", "hap-walk"]))
def test_counted_is_computed_for_any_guest_over_any_host(data: st.DataObject, design: AnyHapName) -> None:
    paging = data.draw(st.sampled_from([name for name in PAGINGS if name != "off"]))
    shape = PAGINGS[paging]
    n_pages = shape.n_top << shape.index_bits * (shape.n_levels - 1)
    frames = data.draw(st.lists(frames_of_memory, min_size=12, max_size=12, unique=True))
    touched = data.draw(st.sets(frames_of_memory, max_size=4))
    with cast(WalkedP2m, p2mperf.build(design, RANDOM_GUEST)) as p2m:
        tables = GuestTables(p2m, paging, frames)
        taken: list[tuple[int, int]] = []
        for _ in range(data.draw(st.integers(1, 3))):
            order = data.draw(st.sampled_from(shape.orders))
            first = data.draw(st.integers(0, n_pages - 1)) >> order << order
            gfn = data.draw(st.integers(0, (GIB >> order) - 1)) << order
            if any(first < end and begin < first + (1 << order) for begin, end in taken):
                with pytest.raises(BadInputError, match="mapped already"):
                    tables.map(first, gfn, order)
                continue
            taken.append((first, first + (1 << order)))
            tables.map(first, gfn, order)
            page = first + data.draw(st.integers(0, (1 << order) - 1))
            target = gfn + page - first
            for one in touched:
                entry = int(p2m.lookup(one))
                if one in frames or one == target:
                    p2m.set_entry(one, entry >> 12 & (1 << 40) - 1)
                else:
                    p2m.remove(one)
            walk = tables.walk(page)
            assert walk.mfn == int(p2m.lookup(target)) >> 12
            assert walk.n_references == tables.predict(page)
            levels = Counter(read.towards for read in walk.references if read.dimension == "host")
            n_guest = shape.n_levels - order // shape.index_bits
            used = walked_frames(tables, page, n_guest)
            assert list(levels.values()) == [naive_levels(design, touched, one) for one in (*used, target)]
            assert walk.n_references == sum(levels.values()) + n_guest


def walked_frames(tables: GuestTables, page: int, n_guest: int) -> list[int]:
    """Guest frames of the tables that a walk has read, told by the m2p."""
    reads = [read.address >> 12 for read in tables.walk(page).references if read.dimension == "guest"]
    assert len(reads) == n_guest
    found: list[int] = tables.p2m.mfn_to_gfn(reads).tolist()
    return found


# ---- mistakes ----


def test_mistakes_are_refused(gibibyte: Guest) -> None:
    with p2mperf.build("hap-linear", gibibyte) as window, pytest.raises(BadInputError, match="hap-walk and"):
        GuestTables(window, "4-level", [1])  # type: ignore[arg-type]
    with p2mperf.build("hap-walk-2m", gibibyte) as p2m:
        for frames, reason in (
            ([1, 1], "given twice"),
            ([], "no frame is left"),
            ([GIB], "no memory for a table"),
            ([-1], "whole and not negative"),
            ([1 << 60], "can hold frame"),
        ):
            with pytest.raises(BadInputError, match=reason):
                GuestTables(p2m, "4-level", frames)
        with pytest.raises(BadInputError, match="unknown paging '5-level'"):
            GuestTables(p2m, "5-level", [1])
        tables = GuestTables(p2m, "pae", [1, 2, 3])
        for arguments, reason in (
            ((1 << 20, 0), "beyond what hap-pae translates"),
            ((0, 0, 18), "cannot map pages of order 18"),
            ((1, 0, 9), "not both aligned to order 9"),
            ((0, 1, 9), "not both aligned to order 9"),
            ((0, 1 << 50), "can hold frame"),
            ((-1, 0), "a page"),
        ):
            with pytest.raises(BadInputError, match=reason):
                tables.map(*arguments)
        tables.map(0, 0)
        with pytest.raises(BadInputError, match="or one that follows it, is mapped already"):
            tables.map(0, 0, 9)
        with pytest.raises(BadInputError, match="no frame is left"):
            tables.map(1 << 19, 0)
        off = GuestTables(p2m, "off")
        with pytest.raises(BadInputError, match="whose paging is off cannot map"):
            off.map(0, 0)
        assert off.walk(2**64 - 1).mfn is None
    with pytest.raises(ClosedError):
        tables.walk(0)


# ---- what is published ----

# Numbers whose sources were read; of others there is only what somebody else says.
READ = {
    "15 to 38 %",
    "3 to 7 %",
    "3 to 22 %",
    "up to 42 %",
    "7 %",
    "14 %",
    "4.4 accesses",
    "7.1 %",
    "1.19x, 1.24x",
    "15 %",
    "nearly 2x",
}
NOT_ESTABLISHED = ("48 %", "600 %", "Large Page Performance", "msg00981", "smaller of")


def test_nothing_is_shown_as_published_that_was_not_read() -> None:
    assert {result.value for result in PUBLISHED} == READ
    assert all(result.what and result.against and result.source for result in PUBLISHED)
    drawn = io.BytesIO()
    figure("hap-nested").savefig(drawn, format="svg")
    picture = drawn.getvalue().decode()
    assert all(result.value in picture for result in PUBLISHED)
    assert "".join(f"| {' | '.join(astuple(result))} |\n" for result in PUBLISHED) in SECTION
    assert not [text for text in NOT_ESTABLISHED if text in picture or text in SECTION]


def test_the_figure_tells_published_from_counted() -> None:
    rows = table("hap-nested")
    assert Counter(rows["part"]) == {"counted": 26, "published": len(PUBLISHED)}
    counted, published = figure("hap-nested").axes
    titles = [ax.get_title("left").split(":")[0] for ax in (counted, published)]
    assert titles == ["Counted", "Published by others"]
    heights = sorted(round(bar.get_height()) for bar in counted.patches if isinstance(bar, Rectangle))
    assert heights == sorted(n for _, *numbers in BY_HAND.values() for n in numbers)
    # The formula's marks lie on the bars; the one published number among them is a line without a marker.
    marks = [line.get_ydata() for line in counted.get_lines() if line.get_marker() == "_"]
    assert sorted(np.concatenate(marks).tolist()) == heights
    (line,) = (line for line in counted.get_lines() if "published" in str(line.get_label()))
    assert (line.get_marker(), np.asarray(line.get_ydata()).tolist()) == ("None", [4.4, 4.4])
    assert not published.patches
    assert not published.get_lines()
