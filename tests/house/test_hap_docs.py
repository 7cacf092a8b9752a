"""What docs/hap.md says in numbers is what the package does, and its history is Xen's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from design_names import HAP_DESIGNS
from hap_guests import GIB, each_geometry, one_leaf

import p2mperf
from p2mperf.designs import find
from p2mperf.designs.hap.changing import ChangeDoor
from p2mperf.designs.hap.layout import POOL_AT_LEAST, Switches, plan_tables, pool_pages
from p2mperf.guests.extents import MAX_ORDER, Extents
from p2mperf.guests.geometries import find_geometry
from p2mperf.guests.guest import Guest
from p2mperf.guests.hap import Hap
from p2mperf.guests.machine import Machine
from p2mperf.tables.m2p import predict_bytes
from p2mperf.units import format_size

TEXT = (Path(__file__).parents[2] / "docs" / "hap.md").read_text("utf-8")
ORDERS = {"4 KiB": 0, "2 MiB": 9, "4 MiB": 10, "1 GiB": 18}
SIZES = {order: name for name, order in ORDERS.items()}

# Of the commits that the page names: their days in Xen's history.
COMMITS = {
    "84d54d5d8b": "2008-05-08",
    "ff635e12aa": "2008-05-15",
    "0ca1669871": "2009-06-19",
    "ff61ed41ee": "2010-04-06",
    "89b5470762": "2011-01-05",
    "6cd8743754": "2011-01-10",
    "c622876000": "2012-09-13",
    "50baf2d9f7": "2025-09",
}


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def prose(title: str) -> str:
    """A section with its lines joined."""
    return " ".join(section(title).split())


def numbers(pattern: str, title: str) -> list[int]:
    """What a sentence of a section says in figures."""
    (found,) = re.findall(pattern, prose(title))
    return [int(each) for each in found]


def table(title: str, first_column: str) -> list[list[str]]:
    """Rows of the table of a section whose first column is called so."""
    lines = section(title).split(f"\n| {first_column} |")[1].splitlines()[2:]
    cells = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return cells


def leaves_in_words(leaves: dict[int, int]) -> str:
    return ", ".join(f"{n} x {SIZES[order]}" for order, n in sorted(leaves.items())) or "none"


def test_formats_are_those_that_guests_have() -> None:
    rows = table("The table", "geometry")
    assert [row[0] for row in rows] == ["hap64", "hap-pae", "hap-nonpae"]
    for name, _, levels, entries, n_bytes, leaves, end in rows:
        shape = find_geometry(name)
        assert isinstance(shape, Hap)
        assert (int(levels), int(entries), int(n_bytes)) == (
            shape.n_levels,
            shape.leaf_frames,
            shape.entry_bytes,
        )
        assert [ORDERS[leaf] for leaf in leaves.split(", ")] == list(shape.orders)
        assert end == format_size(shape.max_frames << 12)


@each_geometry
def test_lookups_load_as_much_as_the_page_says(geometry: str) -> None:
    column = ["hap64", "hap-pae", "hap-nonpae"].index(geometry) + 1
    told = {row[0]: row[column] for row in table("Two ways to find a frame", "leaf")}
    orders = find_geometry(geometry).orders
    found = {0: told["4 KiB"], orders[1]: told["2 MiB, or 4 MiB"], 18: told["1 GiB"]}
    for order, words in found.items():
        if order not in orders:
            assert words == "-"
            continue
        for design, n_loads in zip(HAP_DESIGNS, words.split(", "), strict=True):
            # A second page, so that the first is mapped through all levels.
            with p2mperf.build(design, one_leaf(order, geometry)) as p2m:
                assert len(p2m.lookup_path(0).steps) == int(n_loads)
                assert len(p2m.lookup_path(p2m.max_mapped_pfn + 1).steps) == 0


def test_holes_end_a_walk_and_not_a_window() -> None:
    guest = Guest.from_extents(Extents.of([(0, 1, 0), (2 * GIB, 2, 0)]))
    with p2mperf.build("hap-walk", guest) as walk, p2mperf.build("hap-linear", guest) as windows:
        # In a whole GiB without memory L3 is empty.
        assert [len(p2m.lookup_path(GIB).steps) for p2m in (walk, windows)] == [2, 3]


def test_changes_cost_what_the_page_says() -> None:
    rows = table("Changing it", "leaf")
    assert len(rows) == 6
    for leaf, removed, writes, tables, leaves in rows:
        order = ORDERS[leaf]
        geometry = "hap-nonpae" if order == 10 else "hap64"
        with p2mperf.build("hap-walk", one_leaf(order, geometry)) as p2m:
            assert p2m.remove(0, ORDERS[removed]).all()
            assert (p2m.counts["writes"], p2m.counts["tables"]) == (int(writes), int(tables))
            assert leaves_in_words(p2m.leaves) == leaves
            if (leaf, removed) == ("1 GiB", "4 KiB"):
                assert p2m.counts["flushes"] == 3
                assert "three for a hole of 4 KiB in 1 GiB" in prose("Changing it")


def test_orders_are_cut_as_the_page_says() -> None:
    n_aligned, n_odd = numbers(
        r"becomes (\d+) leaves of 2 MiB; with an odd frame, (\d+) of 4 KiB", "Changing it"
    )
    guest = Guest.from_extents(Extents.of([(2 * GIB - 1, 0, 0)]))
    for gfn, order, n_leaves in ((512, 9, n_aligned), (1, 0, n_odd)):
        with p2mperf.build("hap-walk", guest, pool_pages=1000) as p2m:
            assert p2m.add(gfn, gfn, 18).all()
            n_others = 1 if order == 0 else 0  # the page at the end, which gives the table its size
            assert p2m.leaves[order] - n_others == n_leaves


def test_calls_are_those_of_the_designs() -> None:
    for row in table("Changing it", "call"):
        (name,) = re.findall(r"^(\w+)\(", row[0])
        assert name in vars(ChangeDoor)
    assert "orders above 18" in prose("Changing it")
    assert MAX_ORDER == 18


def test_the_pool_is_as_large_and_fails_as_the_page_says() -> None:
    title = "The pool, and what a failure leaves"
    at_least, given, needed = numbers(
        r"sizes: (\d+) pages for each .* A guest of 4 GiB gets (\d+); all on 4 KiB it takes (\d+)", title
    )
    assert at_least == POOL_AT_LEAST
    guest = Guest.plain("4G", geometry="hap64")
    predicted = find("hap-walk-4k").predict_footprint(guest)
    assert (pool_pages(guest, None, 1), predicted.n_pages) == (given, needed)
    for n_left, done, leaves in table(title, "pages left"):
        with p2mperf.build("hap-walk", one_leaf(18)) as p2m:
            p2m.set_allocation(p2m.allocation[0] + int(n_left))
            assert p2m.remove(5).tolist() == [done == "yes"]
            assert leaves_in_words(p2m.leaves) == leaves


def test_every_invariant_is_named_and_most_are_audited() -> None:
    rows = table("Audit", "invariant")
    assert [row[0] for row in rows] == [f"I{n}" for n in range(1, 13)]
    source = Path(p2mperf.__file__).parent / "designs" / "hap"
    files = ("audit.py", "audit_kernels.py", "windows.py")
    audits = "".join((source / name).read_text("utf-8") for name in files)
    for name, _, held_by in rows:
        assert (held_by == "audit") == (f'"{name}: ' in audits), name


def test_footprints_are_those_of_the_page() -> None:
    for leaves, _, *told in table("What it takes", "leaves"):
        name = {"4 KiB": "hap-walk-4k", "2 MiB": "hap-walk-2m", "1 GiB": "hap-walk"}[leaves]
        for n_gib, n_pages in zip((1, 64, 1024), told, strict=True):
            n_l3 = -(-n_gib // 512)
            formula = {"4 KiB": 513 * n_gib, "2 MiB": n_gib, "1 GiB": 0}[leaves] + n_l3 + 1
            assert int(n_pages) == formula
            if n_gib < 1024:
                guest = Guest.plain(f"{n_gib}G", geometry="hap64")
                assert find(name).predict_footprint(guest).n_pages == formula


def test_what_stands_beside_the_table_is_that_of_the_page() -> None:
    plan = plan_tables(Guest.plain("64G", geometry="hap64"), Switches())
    # 8 bytes for each frame of 64 GiB; an entry of L2 for 512 of them, and one page of L3.
    assert [n << 12 for n in plan.window_pages] == [64 * 2 << 20, 64 * 4096, 4096]
    assert "2 MiB of addresses a GiB, that of L2 4 KiB, of L3 a page" in prose("What it takes")
    guest = Guest.from_extents(Extents.of([(0, 0, 18)]), machine=Machine(96 << 18))
    assert predict_bytes(guest) == 96 * 2 << 20
    assert "the m2p, 2 MiB for each GiB of the machine" in prose("What it takes")


def test_the_history_is_that_of_xen() -> None:
    rows = table("What became of the proposal", "day")
    assert {commit: day for day, _, commit in rows} == COMMITS
    # An abbreviated commit is ten digits wherever the page names one.
    assert {len(one) for one in re.findall(r"\b(?=\w*\d)[0-9a-f]{7,40}\b", TEXT)} == {10}


def test_each_question_of_the_proposal_has_an_answer() -> None:
    text = section("What became of the proposal")
    for question in ("Pages of 4 MB", "Shadow paging", "A switch", "Tools that want 4 KB", "Byrne"):
        assert f"\n**{question}" in text


def test_the_examples_run() -> None:
    names: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(example, names)
    assert (names["before"], names["after"]) == ({18: 2}, {0: 511, 9: 511, 18: 1})
