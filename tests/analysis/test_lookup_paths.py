"""A frame's way through real tables, and the figure of it."""

from __future__ import annotations

import pandas as pd
import pytest

import p2mperf
from p2mperf.errors import BadInputError
from p2mperf.figures import table


def test_ways_are_what_arithmetic_says() -> None:
    pfn = 3 * 1024 + 7
    paths = p2mperf.lookup_paths(p2mperf.Guest.plain("64M", geometry="pv32"), [pfn, 0])
    one = paths[paths["pfn"] == pfn]
    tree, listed = (one[one["design"] == name] for name in ("pv-tree", "pv-linear"))
    # A page of 32-bit entries has 1024 of them: leaf 3, place 7, of the first mid page.
    assert tree["index"].tolist() == [0, 3, 7]
    assert listed["index"].tolist() == [7]
    assert one["n_loads"].tolist() == [3, 3, 3, 1]
    assert len(set(one["entry"])) == 1
    assert (one["mfn"] == one["entry"]).all()
    assert len(paths) == 2 * (3 + 1)


def test_ways_of_other_families_are_followed_alike() -> None:
    paths = p2mperf.lookup_paths(
        p2mperf.Guest.plain("1G", geometry="hap64"), [200_000], ["hap-walk", "hap-linear"]
    )
    assert set(paths["design"]) == {"hap-walk", "hap-linear"}
    assert set(paths["view"]) == {"direct", "window"}
    assert len(p2mperf.figure("path", paths).axes) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dom0-64-e820", []), "1 to 10000 frames"),
        (("dom0-64-e820", [0], []), "at least"),
        (("dom0-64-e820", [0], ["pv-three"]), "unknown design"),
        (("dom0-64-e821", [0]), "unknown guest"),
    ],
)
def test_what_cannot_be_followed_is_refused(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        p2mperf.lookup_paths(*arguments)  # type: ignore[arg-type]


def test_the_figure_has_a_panel_a_design_and_says_what_was_found() -> None:
    paths = p2mperf.lookup_paths("dom0-64-e820", [0x40000])  # the first frame that may be ballooned into
    axes = p2mperf.figure("path", paths).axes
    # A hole: three loads of the tree; of the list its own, four levels of page table, and its own again.
    assert [ax.get_title("left") for ax in axes] == [
        "pv-tree: pfn 0x40000, 3 loads",
        "pv-linear: pfn 0x40000, 6 loads",
    ]
    assert all(any("missing" in text.get_text() for text in ax.texts) for ax in axes)


def test_a_lookup_without_a_load_is_a_row_all_the_same() -> None:
    paths = p2mperf.lookup_paths(p2mperf.Guest.plain("64M", geometry="hap64"), [1 << 30], ["hap-walk"])
    assert paths[["step", "n_loads", "page"]].values.tolist() == [[0, 0, -1]]
    assert paths["mfn"].isna().all()
    (ax,) = p2mperf.figure("path", paths).axes
    assert ax.get_title("left") == "hap-walk: pfn 0x40000000, 0 loads"


def test_the_figure_is_of_one_frame() -> None:
    with pytest.raises(BadInputError, match="these are of 2"):
        p2mperf.figure("path", p2mperf.lookup_paths("dom0-64-e820", [0, 1]))
    with pytest.raises(BadInputError, match="the way of a frame is wanted"):
        table("path", pd.DataFrame({"pfn": [1]}))


def test_a_map_is_in_stretches() -> None:
    with p2mperf.build("pv-tree", "dom0-64-e820") as p2m:
        found = p2mperf.map_of(p2m).to_dict("records")
    # 1 GiB at boot; identity from 1029 to 2001 MiB, whose entries have the second highest bit.
    assert found[0]["memory_bytes"] == 1 << 30
    assert (found[2]["first pfn"], found[2]["end pfn"]) == (hex(1029 * 256), hex(2001 * 256))
    assert found[2]["entry of its first frame"] == hex(1 << 62 | 1029 * 256)
    with (
        p2mperf.build("arm-walk", p2mperf.Guest.plain("16M", geometry="lpae")) as other,
        pytest.raises(BadInputError, match="no map in stretches"),
    ):
        p2mperf.map_of(other)
