"""Single writes, tools and quirks on the example map: what each takes and shows, against the map itself."""

from __future__ import annotations

import pytest

import p2mperf
from p2mperf.analysis.life import writes
from p2mperf.errors import BadInputError
from p2mperf.units import MIB, PAGE_SIZE


def test_what_single_writes_take() -> None:
    table = writes.single_writes().set_index("written")
    assert table["reads_alike"].all()
    pages = {name: (row.tree_pages, row.list_pages) for name, row in table.iterrows()}
    # What a shared leaf says already takes none; anything else a private leaf, whose mid is there.
    assert pages["an mfn over an mfn"] == pages["identity under identity"] == (0, 0)
    assert pages["INVALID under identity"] == (1, 1)
    assert pages["an mfn beside it"] == (0, 0)
    # The tree has its shared mid there, and takes a mid and a leaf; the list took its leaf at boot.
    assert pages["an mfn where memory may be ballooned to"] == (2, 0)
    # A leaf, and a mid page of the tree, or page tables of the list.
    assert pages["INVALID beyond the map, up to the limit"] == (2, 2)
    assert table.loc["anything beyond the limit", ["tree_pages", "list_pages"]].isna().all()


def test_balloonable_memory_is_in_leaves_of_the_list() -> None:
    found = writes.balloonable_leaves()
    # 2 GiB beyond what it boots with, in leaves of 2 MiB, but for those that hold RAM or identity as well.
    assert found["pv-linear"] == pytest.approx(2048 / 2, abs=2)
    assert found["pv-tree"] <= 4  # at the edges of what is balloonable
    assert writes.balloonable_leaves("domu-64-2049m") == {"pv-tree": 0, "pv-linear": 0}


@pytest.mark.parametrize("design", ["pv-tree", "pv-linear"])
def test_tools_see_no_identity(design: str) -> None:
    with p2mperf.build(design, "dom0-64-e820") as p2m:
        seen = writes.seen_by_tools(p2m)
        # Whole leaves of 2 MiB in the identity range from 1029 to 2001 MiB.
        assert seen.hidden_bytes == seen.n_hidden * PAGE_SIZE == (2000 - 1030) * MIB
        assert seen.n_otherwise == 0
        restored = writes.restore_elsewhere(p2m)
    # All of the gigabyte that it boots with.
    assert restored.n_moved == restored.n_frames == 1024 * MIB // PAGE_SIZE
    assert restored.n_pages_before == restored.n_pages_after


def test_tools_are_those_of_tree_and_list() -> None:
    with p2mperf.build("arm-vlpt", p2mperf.Guest.plain("16M", geometry="lpae")) as p2m:
        for ask in (writes.seen_by_tools, writes.restore_elsewhere):
            with pytest.raises(BadInputError, match="those of pv-tree and pv-linear"):
                ask(p2m)


def test_quirks_spoil_the_neighbours() -> None:
    table = writes.quirk_effects()
    sound, quirky = table[table["quirk"] == ""], table[table["quirk"] != ""]
    assert set(sound["kind"]) == {"identity"}
    assert (sound["mfn"] == sound["neighbour_pfn"]).all()
    # The tree forgets that the leaf was identity; the list counts from the written frame on.
    assert quirky["design"].tolist() == ["pv-tree", "pv-linear"]
    assert quirky["kind"].tolist() == ["missing", "identity"]
    assert quirky["mfn"].isna().tolist() == [True, False]
    assert quirky["mfn"].iloc[1] == quirky["written_pfn"].iloc[1]
