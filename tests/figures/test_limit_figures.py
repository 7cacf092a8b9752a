"""The figures of the limits: their tables against the arithmetic, and that each can be drawn."""

from __future__ import annotations

import io

import pytest

from p2mperf.figures import figure, table
from p2mperf.figures.limits import area as limit_area, largest as limit_largest, map as limit_map
from p2mperf.sizing import LIMITS, Limit
from p2mperf.sizing.parameters import Parameters
from p2mperf.units import GIB, MIB, TIB

NAMES = ("limit-area", "limit-map", "limit-largest")


def test_area_table_has_the_needs_and_every_limit() -> None:
    rows = table("limit-area")
    need = rows[rows["part"] == "need"].set_index(["entry_bits", "guest_bytes"])["area_bytes"]
    assert need[64, 8 * GIB] == 16 * MIB  # 2 Mi entries x 8 bytes
    assert need[32, 8 * GIB] == 8 * MIB  # x 4 bytes, two granules of 4 MiB
    limit = rows[rows["part"] == "limit"]
    for width in (32, 64):
        shown = set(limit.loc[limit["entry_bits"] == width, "name"])
        assert shown == {name for name, each in LIMITS.items() if f"pv{width}" in each.geometries}
    vmalloc = limit[(limit["name"] == "vmalloc-area") & (limit["entry_bits"] == 32)].iloc[0]
    assert (vmalloc["guest_bytes"], vmalloc["area_bytes"]) == (120 * GIB, 120 * MIB)
    assert "entry-width of 64 bits" in rows.attrs["note"]


def test_map_is_whole_and_to_scale() -> None:
    rows = table("limit-map")
    rows["n_bytes"] = rows["end_bytes"] - rows["start_bytes"]
    whole = rows[rows["view"] == "whole"].groupby("case")["n_bytes"].sum()
    assert set(whole) == {4 * GIB}
    kernel = rows[rows["view"] == "kernel"].groupby("case")["n_bytes"].sum()
    assert set(kernel) == {GIB}
    (listed,) = rows[(rows["case"] == "64G guest, 2:2") & (rows["region"] == "linear list")]["n_bytes"]
    assert listed == 64 * MIB
    assert set(rows["region"]) == set(limit_map.LOOKS)


def test_largest_table_is_the_search() -> None:
    rows = table("limit-largest")
    best = rows[(rows["limit"] == limit_largest.ALL) & (rows["split"] == "3:1")].set_index("vmalloc_bytes")
    # One GiB of guest a MiB of area in granules of 4 until the 64 GiB cap; 843 MiB below one granule.
    assert best["guest_bytes"][MIB] == 843 * MIB
    assert best["guest_bytes"][32 * MIB] == 32 * GIB
    assert best["guest_bytes"].max() == 64 * GIB
    # 855 MiB of kernel addresses less 8 of guard: more leaves no low memory.
    assert (best["guest_bytes"][best.index >= 847 * MIB] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_figure_is_drawn_and_names_its_limits(name: str) -> None:
    svg = io.StringIO()
    figure(name).savefig(svg, format="svg")
    shown = {
        "limit-area": ["vmalloc-area: 120G", "m2p-64: 128T", "m2p-native: 16G"],
        "limit-map": ["fixmap and pkmap, 1M"],
    }
    for text in shown.get(name, ["max-domain-memory 64G", "low-memory, 2:2", "vmalloc-area, 3:1 and 2:2"]):
        assert text in svg.getvalue()


def test_a_new_limit_appears_in_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def needed(built: Parameters, guest_bytes: int) -> int:
        return guest_bytes

    pot = Limit(
        "small-pot", ("pv32",), "pots", needed, lambda built, guest_bytes: 3 * GIB, "this test", "assumed"
    )
    monkeypatch.setitem(LIMITS, pot.name, pot)
    for name in ("limit-area", "limit-largest"):
        svg = io.StringIO()
        figure(name).savefig(svg, format="svg")
        assert "small-pot" in svg.getvalue()


def test_labels_keep_their_distance_and_order() -> None:
    # Steps of 2^2: upwards 1 stays and 2 moves to 4; downwards 2 stays and 1 moves to 1/2.
    assert limit_area._spread([1.0, 2.0, 1.0 * TIB], 2.0, upwards=True) == [1.0, 4.0, 1.0 * TIB]
    assert limit_area._spread([1.0, 2.0], 2.0, upwards=False) == [0.5, 2.0]
