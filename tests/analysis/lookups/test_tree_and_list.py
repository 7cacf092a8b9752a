"""What is said of tree and list is what the samples say: of frames whose ratios can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from figure_frames import LARGE, SMALL, cell, frame_of

import p2mperf
from p2mperf.analysis.lookups.budget import SAVED_S, published_times
from p2mperf.errors import BadInputError

KERNEL = {"backing": "kernel"}
# So many processes that all of one mind exclude 1 among all rows: two of 2 ** 8 orders are as far from it.
PROCESSES = range(8)
IN_RAM, IN_HOLES = (2000, 3000), (4000, 2000)


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """Two guests: in RAM the list takes two thirds of the tree's time, in holes twice; and entries."""
    records = []
    for number in PROCESSES:
        for guest in (SMALL | KERNEL, LARGE | KERNEL):
            records += [
                cell(guest, number, IN_RAM, IN_RAM),
                cell(guest, number, IN_RAM, IN_RAM, operation="throughput"),
                cell(guest, number, (90_000, 90_000), operation="entry", preamble="tight"),
                cell(guest, number, (90_000, 180_000), operation="entry", preamble="flush+8M"),
            ]
        records.append(cell(SMALL | KERNEL, number, IN_HOLES, IN_HOLES, hole_fraction=0.5))
    return frame_of(tmp_path / "results", *records)


def test_verdicts_are_counted_by_kind_of_lookup(frame: pd.DataFrame) -> None:
    found = p2mperf.tree_and_list(frame).verdicts().set_index(["lookups", "frames"]).to_dict("index")
    names = ("comparisons", "list_faster", "tree_faster", "no_difference", "open")
    counted = {key: [row[name] for name in names] for key, row in found.items()}
    # Two guests each, one of them with holes; what costs the same is no difference.
    assert counted == {
        ("one after the other", "RAM"): [2, 2, 0, 0, 0],
        ("overlapping", "RAM"): [2, 2, 0, 0, 0],
        ("one after the other", "50 % holes"): [1, 0, 1, 0, 0],
        ("a kernel's entry, flush+8M", "RAM"): [2, 2, 0, 0, 0],
        ("a kernel's entry, tight", "RAM"): [2, 0, 0, 2, 0],
    }
    # 3000 / 2000, and 2000 / 4000.
    assert found["overlapping", "RAM"]["least_ratio"] == pytest.approx(1.5, rel=0.01)
    assert found["one after the other", "50 % holes"]["greatest_ratio"] == pytest.approx(0.5, rel=0.01)


def test_the_answer_is_in_sentences(frame: pd.DataFrame) -> None:
    said = p2mperf.tree_and_list(frame).answer
    assert "guests of 256M to 1G, with their tables on pages of 4K, as a PV kernel has them" in said
    # Latency and throughput of two guests.
    assert "the list is faster in all 4 comparisons and the tree in none of 4" in said
    assert "holes or identity, the tree is faster in 1 of 1 and the list in none of 1" in said
    assert "flushed TLB or other work, the list is faster in all 2 and the tree in none of 2" in said


def test_swapped_designs_are_said_to_be_the_other_way_round(frame: pd.DataFrame) -> None:
    swapped = frame.assign(design=frame["design"].replace({"pv-tree": "pv-linear", "pv-linear": "pv-tree"}))
    assert (
        "the list is faster in none of 4 comparisons and the tree in all 4"
        in p2mperf.tree_and_list(swapped).answer
    )


def test_entries_are_held_against_loops(frame: pd.DataFrame) -> None:
    found = p2mperf.tree_and_list(frame).entry_costs().set_index("before").to_dict("index")
    # 90 us and 180 us for 1000 entries: 90 ns more each. One of nine lookups is 10 ns, 5 times a loop's 2 ns.
    assert found["flush+8M"]["more_most_ns"] == pytest.approx(90, rel=0.01)
    assert found["flush+8M"]["times_least"] == pytest.approx(5, rel=0.01)
    assert found["tight"]["more_most_ns"] == pytest.approx(0, abs=0.1)


def test_the_budget_adds_up(frame: pd.DataFrame) -> None:
    found = p2mperf.tree_and_list(frame)
    loop = found.budget[found.budget["operation"] == "throughput"].iloc[0]
    # 1 ns saved a lookup of 3 ns: 20 s are 20 billion of them, which take 60 s of the published 1087 s.
    assert SAVED_S == 20
    assert loop["billions"] == pytest.approx(20, rel=0.01)
    assert loop["percent_of_system_time"] == pytest.approx(100 * 60 / 1087, rel=0.01)
    holes = found.budget[found.budget["hole_fraction"] > 0]
    assert holes["billions"].isna().all()
    assert published_times()["saved_s"].tolist() == [15, 20, 30]
    # Latency, throughput, and entries after either preamble.
    assert len(found.budget_by_operation) == 4


def test_other_pages_than_a_kernels_are_named(tmp_path: Path) -> None:
    found = p2mperf.tree_and_list(frame_of(tmp_path, cell(SMALL | {"backing": "huge"}, 0, IN_RAM)))
    assert "backing `huge`, which no PV kernel has" in found.answer
    # One process decides nothing.
    assert found.verdicts()["open"].tolist() == [1]


def test_results_without_both_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(BadInputError, match="sweep both"):
        p2mperf.tree_and_list(frame[frame["design"] != "pv-tree"])
    with pytest.raises(BadInputError, match="stays in RAM"):
        p2mperf.tree_and_list(frame[frame["hole_fraction"] > 0])
    arm = frame.assign(family="arm")
    with pytest.raises(BadInputError, match="no sample is of a PV guest"):
        p2mperf.tree_and_list(arm)


def test_pages_are_compared_where_there_are_some(frame: pd.DataFrame) -> None:
    found = p2mperf.tree_and_list(frame)
    assert found.on_own_pages(frame).answer.startswith("These results have no tables on pages of both sizes")
    small = frame[frame["operation"] == "latency"]
    renamed = small.assign(
        design=small["design"].replace({"pv-tree": "pv-linear-4k", "pv-linear": "pv-linear-2m"})
    )
    paged = found.on_own_pages(renamed[renamed["hole_fraction"] == 0])
    assert paged.table().columns.tolist() == ["list: 4 KiB / 2 MiB"]
    assert paged.table()["list: 4 KiB / 2 MiB"].tolist() == pytest.approx([1.5, 1.5], rel=0.01)
    assert "* list: 4 KiB / 2 MiB: 1.50; that is resolved in all 2 comparisons" in paged.answer


def test_sizes_are_arithmetic(frame: pd.DataFrame) -> None:
    found = p2mperf.tree_and_list(frame)
    # 512 entries of 8 bytes in a page, 1024 of 4: 2 and 4 MiB a leaf, 1 and 4 GiB a mid page.
    assert found.widths()["leaf_covers_bytes"].tolist() == [2 << 20, 4 << 20]
    assert found.widths()["mid_covers_bytes"].tolist() == [1 << 30, 4 << 30]
    (row,) = found.footprints(["8G"]).to_dict("records")
    # 8 GiB of 2 MiB a leaf.
    assert row["leaves, tree"] == row["leaves, list"] == 4096
    assert row["others, tree"] > 0 < row["others, list"]


def test_loads_are_counted_by_kind_of_frame(frame: pd.DataFrame) -> None:
    loads = p2mperf.tree_and_list(frame).counted_loads()
    # Three levels, but the shared identity leaf is known by the pointer; one load, or four levels more, and
    # for what is not identity the entry once more.
    assert loads["pv-tree"].tolist() == [3, 3, 3, 2]
    assert loads["pv-linear"].tolist() == [1, 6, 1, 5]
