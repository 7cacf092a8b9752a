"""The ARM figures: the tables behind them, and that they draw."""

from __future__ import annotations

import pandas as pd
import pytest

import p2mperf
from p2mperf.figures import figure, find, table

NAMES = ("arm-shift", "arm-find", "arm-events", "arm-switch", "precopy")


def samples(**changes: object) -> pd.DataFrame:
    """Two processes of each ARM design over two guests, and a PV cell that must not get in."""
    rows = [
        {
            "family": "arm" if design.startswith("arm") else "pv",
            "design": design,
            "operation": "latency",
            "stream": "uniform",
            "hole_fraction": 0.0,
            "identity_fraction": 0.0,
            "guest": f"guest-{n_bytes >> 30}g",
            "geometry": "lpae",
            "entry_bits": 64,
            "limit_bytes": 0,
            "guest_bytes": n_bytes,
            "backing": "kernel",
            "status": "done",
            "replicate": replicate,
            "cost_ns": cost + replicate,
            **changes,
        }
        for design, cost in (("arm-walk", 20.0), ("arm-vlpt", 5.0), ("pv-tree", 99.0))
        for n_bytes in (1 << 30, 16 << 30)
        for replicate in (0, 2)
    ]
    whole = p2mperf.load("shipped").head(len(rows))
    changed: pd.DataFrame = whole.assign(**pd.DataFrame(rows))
    return changed


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_draws_without_results(name: str) -> None:
    assert not find(name).measured
    fig = figure(name)
    assert all(ax.has_data() for ax in fig.axes)


def test_measured_and_computed_costs_never_share_a_panel() -> None:
    found = table("arm-find", samples())
    computed = found["source"].str.startswith("computed")
    measured = found["source"].str.startswith("measured")
    assert (computed ^ measured).all()
    # Median of 20 and 22 over two processes.
    walk = found[measured & (found["way"] == "arm-walk")]
    assert walk["cost_ns"].tolist() == [21.0, 21.0]
    assert "pv-tree" not in set(found["way"])
    fig = figure("arm-find", samples())
    titles = [ax.get_title("left").split(",")[0] for ax in fig.axes]
    assert titles == ["computed", "measured on this host: latency"]
    assert "no figure of the patch's author" in found.attrs["note"]


def test_two_backings_are_two_sources() -> None:
    both = pd.concat([samples(), samples(backing="huge", cost_ns=7.0)])
    found = table("arm-find", both).groupby("source", sort=False)["cost_ns"].apply(list)
    kernel = "measured on this host: latency, uniform, kernel pages"
    # arm-walk with medians of 20 and 22 over two guests, arm-vlpt with 5 and 7.
    assert sorted(found[kernel]) == [6.0, 6.0, 21.0, 21.0]
    assert found[kernel.replace("kernel", "huge")] == [7.0] * 4


def test_samples_of_other_families_add_nothing() -> None:
    others = samples().query("family == 'pv'")
    assert len(table("arm-find", others)) == len(table("arm-find"))


def test_the_shift_is_read_from_real_tables() -> None:
    found = table("arm-shift").set_index(["walk", "column"])
    # One level further up in Xen's walk than in the guest's, the same words are read.
    for column in (1, 2, 3):
        assert found.loc[("guest", column), "entry"] == found.loc[("xen", column), "entry"] != 0
    assert found.loc[("xen", 1), "index"] == 64 + found.loc[("guest", 1), "index"]
    for column in (2, 3):
        assert found.loc[("guest", column), "pool_frame"] == found.loc[("xen", column), "pool_frame"]


def test_events_are_counted_by_way() -> None:
    found = table("arm-events").set_index(["way", "event"])["n_events"]
    # Three maps with two barriers and one invalidation each; the window needs none of that.
    assert found["arm-walk", "DSB"] == 6
    assert found["arm-walk", "loads that wait for each other"] == 12
    assert found["arm-vlpt, TLB miss", "DSB"] == 0


def test_break_even_grows_with_the_slots() -> None:
    found = table("arm-switch")
    for _, part in found.groupby(["assumption", "residency"]):
        assert part["n_faults"].is_monotonic_increasing
    middle = found[found["assumption"].str.startswith("middle") & (found["residency"] == "L2")]
    # Two slots: 1024 invalidations of 20 cycles are 12 us, over 365 ns a fault: 33.
    assert middle.set_index("n_slots")["n_faults"][2] == pytest.approx(33.2, abs=0.2)


def test_precopy_ends_as_computed_by_hand() -> None:
    found = table("precopy")
    last = found[found["stopped_by"] != ""].set_index(["case", "rule"])
    # 20 000 pages/s of 4096 bytes over 125 MB/s leave 0.65536 of a round: 36.7 after 21, 31 691 after 5.
    case = "20,000 pages/s over 125 MB/s"
    assert last.loc[(case, "legacy"), "number"] == 21
    assert int(last.loc[(case, "legacy"), "n_left"]) == 36
    assert int(last.loc[(case, "later"), "n_left"]) == 31691
    stuck = last.loc[("20,000 pages/s over 12.5 MB/s", "legacy")]
    assert stuck["n_left"] == 262144
    assert stuck["downtime_seconds"] == pytest.approx(85.9, abs=0.05)
