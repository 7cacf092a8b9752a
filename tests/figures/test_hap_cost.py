"""Walk and windows in figures: by the size of leaves, paired where both have the same, on made-up samples."""

from __future__ import annotations

import io

import pandas as pd
import pytest
import record_samples as samples

import p2mperf
from p2mperf.analysis.hap.leaves import Leaves, leaves_of
from p2mperf.designs import registry
from p2mperf.errors import BadInputError
from p2mperf.figures import figure, table
from p2mperf.figures.hap.window import PUBLISHED
from p2mperf.guests.guest import Guest
from p2mperf.results.export import load
from p2mperf.results.journal import Journal
from p2mperf.units import GIB

# Thousands of lookups a second do not matter: 1000 lookups a pass, in ns.
COSTS = {
    "hap-walk": 10_000,
    "hap-linear": 5_000,
    "hap-walk-2m": 20_000,
    "hap-linear-2m": 16_000,
    "hap-walk-4k": 100_000,
    "hap-linear-4k": 120_000,
}
PLAIN = {"guest": "hap-16g", "geometry": "hap64", "entry_bits": 64, "guest_pages": 16 * GIB >> 12}
BROKEN = {**PLAIN, "guest": "hvm-16g-broken60", "guest_pages": (16 * GIB >> 12) - 27}


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Nine processes; costs rise by 1 % from one to the next, for all designs alike."""
    records = []
    for replicate in range(9):
        one = 1 + replicate / 100
        every = samples.block(*(round(cost * one) for cost in COSTS.values()), order=tuple(COSTS))
        pair = samples.block(
            *(round(cost * one) for cost in (300_000, 150_000)), order=("hap-walk", "hap-linear")
        )
        shared = {"family": "hap", "replicate": replicate, "backing": "kernel"}
        for operation, preamble in (("latency", ""), ("throughput", ""), ("entry", "8M")):
            what = {"operation": operation, **({"preamble": preamble} if preamble else {})}
            records.append(samples.cell(**PLAIN, **shared, **what, rounds=[every, every]))
            records.append(samples.cell(**BROKEN, **shared, **what, rounds=[pair, pair]))
        records.append(samples.cell(**PLAIN, **shared, operation="split", rounds=[every, every]))
    directory = tmp_path_factory.mktemp("samples")
    with Journal.create(directory, samples.run(n_cells=len(records))) as journal:
        for record in samples.with_units(*records):
            journal.append(record)
    return load(directory)


def test_leaves_are_those_of_the_tables() -> None:
    guest = Guest.plain("1G", geometry="hap64")
    for name in COSTS:
        found = leaves_of(name, "hap-1g", "hap64", GIB)
        assert found is not None
        with p2mperf.build(name, guest) as p2m:
            path = p2m.lookup_path(12345)
            (order,) = p2m.leaves
        size = {0: "4 KiB", 9: "2 MiB", 18: "1 GiB"}[order]
        way, n_more = ("windows", 1) if "linear" in name else ("walk", 0)
        assert found == Leaves(way, size, len(path.steps) + n_more)


def test_a_mixture_tells_its_shares() -> None:
    # The host has a quarter more memory than the guest, and 40 % of its blocks are whole.
    expected = 0.4 * 1.25
    found = leaves_of("hap-walk", "hvm-16g-broken60", "hap64", 16 * GIB)
    assert found is not None
    large, small = (int(part.split(" %")[0]) for part in found.label.split(", "))
    assert (large + small, found.label.count("MiB")) == (100, 1)
    assert large / 100 == pytest.approx(expected, abs=0.011)
    assert found.walk_loads == pytest.approx(4 - large / 100, abs=0.01)
    smallest = leaves_of("hap-walk-4k", "hvm-16g-broken60", "hap64", 16 * GIB)
    assert smallest == Leaves("walk", "4 KiB", 4.0)


def test_what_is_unknown_here_has_no_leaves() -> None:
    assert leaves_of("pv-tree", "pv-64-1g", "pv64", GIB) is None
    assert leaves_of("somebody's", "hap-1g", "hap64", GIB) is None
    assert leaves_of("hap-walk", "mine", "no-geometry", GIB) is None


def test_costs_stand_by_the_leaves_they_are_of(frame: pd.DataFrame) -> None:
    rows = table("hap-orders", frame)
    assert set(rows["operation"]) == {"latency", "throughput", "entry"}
    plain = rows[(rows["guest"] == "hap-16g") & (rows["operation"] == "latency")]
    found = {(row.way, row.leaves): row for row in plain.itertuples()}
    assert len(found) == len(COSTS)
    # Processes of 1.00 to 1.08 times: the middle one, and an interval within them.
    for (way, leaves), nanoseconds in zip(
        [(way, leaves) for leaves in ("1 GiB", "2 MiB", "4 KiB") for way in ("walk", "windows")],
        [10, 5, 20, 16, 100, 120],
        strict=True,
    ):
        row = found[way, leaves]
        assert row.cost_ns == pytest.approx(1.04 * nanoseconds, rel=0.002)
        assert nanoseconds < row.low_ns < row.cost_ns < row.high_ns < 1.08 * nanoseconds
    assert rows["walk_loads"].is_monotonic_increasing


def test_windows_are_divided_by_the_walk_of_the_same_leaves(frame: pd.DataFrame) -> None:
    rows = table("hap-window", frame)
    latency = rows[rows["what"] == "latency"]
    said = {(row.guest, row.design, row.reference): row.ratio for row in latency.itertuples()}
    assert said == {
        ("hap-16g", "hap-linear", "hap-walk"): pytest.approx(0.5),
        ("hap-16g", "hap-linear-2m", "hap-walk-2m"): pytest.approx(0.8, rel=1e-4),
        ("hap-16g", "hap-linear-4k", "hap-walk-4k"): pytest.approx(1.2, rel=1e-4),
        ("hvm-16g-broken60", "hap-linear", "hap-walk"): pytest.approx(0.5),
    }
    # Walks of smaller leaves over the builder's are of the summary, and no answer to this question.
    assert len(p2mperf.summary(frame)) > len(rows)
    assert set(rows["verdict"]) == {"resolved"}
    assert set(rows["what"]) == {"latency", "throughput", "entry, 8M"}


@pytest.mark.parametrize("name", ["hap-orders", "hap-window"])
def test_a_figure_draws_and_says_where_it_is_from(name: str, frame: pd.DataFrame) -> None:
    drawn = io.BytesIO()
    figure(name, frame).savefig(drawn, format="svg")
    text = drawn.getvalue().decode()
    assert "9 processes a point" in text
    assert (PUBLISHED.split("\n")[0] in text) == (name == "hap-window")
    assert "window" in text


@pytest.mark.parametrize("name", ["hap-orders", "hap-window"])
def test_results_without_hap_are_refused_in_a_sentence(name: str, frame: pd.DataFrame) -> None:
    with pytest.raises(BadInputError, match=r"nothing to draw: .*`sweep --plan hap`"):
        figure(name, frame[frame["operation"] == "split"])


def test_every_window_names_the_walk_of_its_leaves() -> None:
    for name, spec in registry().items():
        if name.startswith("hap-linear-"):
            assert spec.reference == name.replace("linear", "walk")
