"""How long a plan is said to take: its laws, and what was really taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

import p2mperf
from p2mperf.measure.settings import Settings
from p2mperf.study.estimate import PROCESS_NS, Estimate, estimate
from p2mperf.study.jobs import jobs
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import Plan, make_plan

SMALL = narrow(make_plan("quick"), sizes=["16M", "64M"], operations=["latency"])
LONG = Settings(n_visits=4, n_slices=2, control=False)


def of(plan: Plan) -> Estimate:
    return estimate(jobs(plan), plan.settings)


def test_nothing_takes_no_time() -> None:
    assert estimate([], Settings()) == Estimate(0, 0, 0)


@given(st.integers(1, 20))
@settings(max_examples=10, deadline=None)
def test_processes_follow_each_other(n_replicates: int) -> None:
    one, many = (of(replace(SMALL, n_replicates=n)) for n in (1, n_replicates))
    n_units = len(list(SMALL.units())) // SMALL.n_replicates
    assert many.process_ns == n_replicates * n_units * PROCESS_NS
    # Whole bytes of tables, so that sums are exact but for rounding to a nanosecond.
    assert many.cells_ns == n_replicates * one.cells_ns
    assert many.build_ns == pytest.approx(n_replicates * one.build_ns, abs=n_replicates)
    assert many.total_ns == many.process_ns + many.build_ns + many.cells_ns


def test_cells_go_by_visits_slices_and_designs() -> None:
    base = of(replace(SMALL, settings=LONG))
    # Twice the visits take twice as long; twice the slices more, and less than twice as long.
    assert of(replace(SMALL, settings=replace(LONG, n_visits=8))).cells_ns == 2 * base.cells_ns
    more = of(replace(SMALL, settings=replace(LONG, n_slices=4))).cells_ns
    assert base.cells_ns < more < 2 * base.cells_ns
    longer = of(replace(SMALL, settings=replace(LONG, target_ns=2 * LONG.target_ns))).cells_ns
    assert base.cells_ns < longer < 2 * base.cells_ns
    # A control is one design more; and its tables are built.
    controlled = of(replace(SMALL, settings=replace(LONG, control=True)))
    assert controlled.cells_ns > base.cells_ns
    assert controlled.build_ns > base.build_ns


def test_larger_tables_take_longer_to_build_and_to_make_anew() -> None:
    plan = narrow(make_plan("life"), sizes=["1G"], operations=["rebuild"], entry_bits=64)
    large = narrow(make_plan("life"), sizes=["64G"], operations=["rebuild"], entry_bits=64)
    assert of(large).build_ns > 20 * of(plan).build_ns
    assert of(large).cells_ns > 20 * of(plan).cells_ns


@pytest.mark.parametrize("name", ["shipped", "shipped-life", "shipped-hap"])
def test_the_shipped_sweeps_took_about_as_long_as_is_said(name: str) -> None:
    frame = p2mperf.load(name)
    cells = frame[frame["cell_ns"].notna()].drop_duplicates(["guest", "replicate", "run", "cell_ns"])
    took_ns = cells.groupby("guest")["cell_ns"].sum().astype(float)
    # Of a plan all that was measured: some of its guests may be shipped elsewhere, or nowhere.
    (plan,) = {run["plan"]["name"] for run in frame.attrs["runs"]}
    there = make_plan(plan)
    there = replace(there, guests=tuple(guest for guest in there.guests if guest.name in took_ns.index))
    assert {guest.name for guest in there.guests} == set(took_ns.index)
    assert took_ns.sum() / 2 < of(there).cells_ns < 2 * took_ns.sum()
