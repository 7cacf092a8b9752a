"""What a visit to a design is: touched, warmed until its cost stands, timed in a row; what a control is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2mperf
from p2mperf import Guest
from p2mperf.designs import find
from p2mperf.measure import engine, touch as touching, touch_kernels, visits
from p2mperf.measure.engine import measure_cell
from p2mperf.measure.operations.lookups import Latency
from p2mperf.measure.settings import Settings
from p2mperf.measure.touch import LINED_BYTES, page_sizes, touch
from p2mperf.measure.visits import MOST_FILLING, MOST_STANDING, Visitor
from p2mperf.memory import smaps
from p2mperf.results.records import validate
from p2mperf.study import unit as units
from p2mperf.study.jobs import PROCESS_BYTES, PROCESS_MAPS, jobs
from p2mperf.study.plans import Plan
from p2mperf.study.specs import GuestSpec, StreamSpec
from p2mperf.units import HUGE_SIZE, MIB, PAGE_SIZE

SMALL = Settings(n_visits=2, n_slices=2, target_ns=10_000, min_lookups=128, max_lookups=256, warm_up_ns=0)


class Clockwork:
    """A clock that only passes move, and loops whose cost is a function of the time and the pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost_ns: Any) -> None:
        self.now_ns, self.passes, self.cost_ns = 0.0, Counter[str](), cost_ns
        monkeypatch.setattr(engine, "perf_counter_ns", lambda: int(self.now_ns))
        monkeypatch.setattr(visits, "perf_counter_ns", lambda: int(self.now_ns))
        monkeypatch.setattr(engine, "check_agreement", lambda designs, stream, kernel: 42)
        monkeypatch.setattr(Latency, "kernel", staticmethod(self.kernel))

    def kernel(self, tables: str, state: Any, stream: Any, zero: Any) -> int:
        self.passes[tables] += 1
        self.now_ns += self.cost_ns(self, tables) * stream.size + 300  # of the call
        return 7


class Cardboard:
    """A design whose tables are its name, and of which nothing can be touched."""

    state = guest = None

    def __init__(self, tables: str) -> None:
        self.tables = tables

    def stretches(self) -> tuple[()]:
        return ()


def cell(names: list[str], settings: Settings, seed: int = 1) -> Any:
    designs: Any = {name: Cardboard(name) for name in names}
    return measure_cell(designs, lambda n: np.zeros(n, np.uint64), "latency", settings, seed).to_json()


@pytest.mark.parametrize("n_designs", [2, 3, 4, 5, 6, 7])
def test_every_design_is_visited_equally_often_in_every_place(
    monkeypatch: pytest.MonkeyPatch, n_designs: int
) -> None:
    Clockwork(monkeypatch, lambda clock, name: 2.0)
    names = [f"design-{number}" for number in range(n_designs)]
    rounds = cell(names, replace(SMALL, n_visits=6))["rounds"]
    places = Counter((name, place) for block in rounds for place, name in enumerate(block["order"]))
    # The next number of visits from 6 on that the number of designs divides; two rounds of each.
    n_visits = -(-6 // n_designs) * n_designs
    assert len(rounds) == 2 * n_visits
    assert set(places.values()) == {2 * n_visits // n_designs}
    assert len(places) == n_designs**2
    assert [block["visit"] for block in rounds] == [number // 2 for number in range(2 * n_visits)]
    # All slices of a visit are timed in one order.
    assert all(a["order"] == b["order"] for a, b in zip(rounds[::2], rounds[1::2], strict=True))


@pytest.mark.parametrize("n_designs", [2, 3, 4])
def test_a_steady_drift_moves_no_ratio(monkeypatch: pytest.MonkeyPatch, n_designs: int) -> None:
    # All that is looked up while the cell lasts grows dearer by a tenth, from its begin to its end.
    lasted_ns = [1e18]
    for _ in range(2):  # the first run tells how long it lasts
        clock = Clockwork(monkeypatch, lambda clock, name: 100 * (1 + 0.1 * clock.now_ns / lasted_ns[0]))
        rounds = cell([f"design-{number}" for number in range(n_designs)], replace(SMALL, n_visits=6))
        lasted_ns[0] = clock.now_ns
    first, last = (sum(rounds["rounds"][at]["elapsed_ns"].values()) for at in (0, -1))
    assert 1.06 < last / first < 1.1
    for number in range(1, n_designs):
        logs = [
            np.log(block["elapsed_ns"][f"design-{number}"] / block["elapsed_ns"]["design-0"])
            for block in rounds["rounds"]
        ]
        assert abs(np.expm1(np.mean(logs))) < 0.003
        assert abs(np.expm1(np.median(logs))) < 0.003


def test_untimed_passes_go_on_until_the_cost_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    # After each touch five passes cost ever less, and all others the same: the sixth shows that it stands.
    costs = {0: 32.0, 1: 16.0, 2: 8.0, 3: 4.0, 4: 2.0}
    since: list[int] = []
    monkeypatch.setattr(visits, "touch", lambda stretches: since.clear())

    def cost(clock: Clockwork, name: str) -> float:
        since.append(1)
        return costs.get(len(since) - 1, 2.0)

    clock = Clockwork(monkeypatch, cost)
    monkeypatch.setattr(engine, "calibrate", lambda *arguments: 100)
    monkeypatch.setattr(engine, "call_ns", lambda *arguments: 0)
    told = cell(["one"], SMALL)
    assert clock.passes == {"one": 2 * (6 + 2)}
    assert [block["elapsed_ns"]["one"] for block in told["rounds"]] == [500] * 4  # 2 ns, and the call's 300
    # 32 + 16 + 8 + 4 + 2 + 2 ns for each of 100 lookups, and six calls, in two visits
    assert told["warm_ns"] == 2 * (6400 + 6 * 300)
    # So it is where costs rise, as when a touch has left more in the caches than lookups keep there.
    costs |= dict(enumerate([1.0, 1.2, 1.4, 1.6, 1.8, 1.95]))
    clock.passes.clear()
    assert cell(["one"], SMALL)["rounds"][0]["elapsed_ns"] == {"one": 500}
    assert clock.passes == {"one": 2 * (7 + 2)}
    # What never stands is left after some passes.
    costs |= {number: 1e6 / 2**number for number in range(40)}
    clock.passes.clear()
    cell(["one"], SMALL)
    assert clock.passes == {"one": 2 * (MOST_STANDING + 2)}


@pytest.mark.parametrize(("n_lines", "n_untimed"), [(0, 2), (350, 4), (1000, 10), (10**6, MOST_FILLING)])
def test_untimed_passes_are_enough_to_fill_a_cache(
    monkeypatch: pytest.MonkeyPatch, n_lines: int, n_untimed: int
) -> None:
    clock = Clockwork(monkeypatch, lambda clock, name: 2.0)
    for module in (engine, visits):
        monkeypatch.setattr(module, "lines_to_fill", lambda n_bytes: n_lines)
    monkeypatch.setattr(engine, "calibrate", lambda *arguments: 100)
    monkeypatch.setattr(engine, "call_ns", lambda *arguments: 0)
    cell(["one"], replace(SMALL, target_ns=10**9))
    assert clock.passes == {"one": 2 * (n_untimed + 2)}


def test_what_a_call_costs_is_told_and_no_part_of_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    Clockwork(monkeypatch, lambda clock, name: {"one": 2.0, "two": 5.0}[name])
    told = cell(["one", "two"], replace(SMALL, target_ns=400))
    # 400 ns of the faster one's 2 ns
    assert told["n_lookups"] == 200
    assert told["call_ns"] == {"one": 300, "two": 300}
    assert [block["elapsed_ns"] for block in told["rounds"]] == [{"one": 700, "two": 1300}] * 4
    # It is never as long as a pass that it is a part of: 256 lookups here, and a call.
    monkeypatch.setattr(engine, "call_ns", lambda *arguments: 10**9)
    assert cell(["one", "two"], SMALL)["call_ns"] == {"one": 256 * 2 + 299, "two": 256 * 5 + 299}


# ---- what is touched ----


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Addresses that the touching loop reads, as it reads them."""
    read: list[int] = []

    def load(probe: Any, address: Any) -> np.uint64:
        read.append(int(address))
        return np.uint64(0)

    monkeypatch.setattr(touch_kernels, "load64", load)
    monkeypatch.setattr(touching, "touch_words", touch_kernels.touch_words.py_func)
    return read


@pytest.mark.parametrize(
    ("design", "guest"),
    [
        *((name, "dom0-64-e820") for name in ("pv-tree", "pv-linear", "pv-linear-nested")),
        *((name, "dom0-32-e820") for name in ("pv-tree", "pv-linear")),
        *((name, "arm") for name in ("arm-walk", "arm-walk-direct", "arm-vlpt")),
    ],
)
def test_every_page_that_a_lookup_reads_is_touched(
    design: str, guest: str, touched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whose = Guest.plain("64M", "lpae") if guest == "arm" else Guest.preset(guest)
    with p2mperf.build(design, whose) as p2m:
        first, end = int(whose.ram.first_pfn[0]), whose.covered_pfn
        asked = np.unique(np.linspace(first, end - 1, 400).astype(int)).tolist()
        read = {step.address for pfn in asked for step in p2m.lookup_path(pfn).steps}
        assert len(read) > 100
        # By pages: one word of each, of the first 64 neighbours one in every place of the page.
        monkeypatch.setattr(touching, "LINED_BYTES", 0)
        touch(p2m.stretches())
        assert {address >> 12 for address in read} <= {address >> 12 for address in touched}
        assert len(touched) == len({address >> 12 for address in touched}) == n_pages(p2m)
        assert len({address & 0xFFF for address in touched}) == min(64, len(touched))
        # By lines, where the tables are small.
        touched.clear()
        monkeypatch.setattr(touching, "LINED_BYTES", LINED_BYTES)
        touch(p2m.stretches())
        assert {address >> 6 for address in read} <= {address >> 6 for address in touched}
        assert len(touched) == 64 * n_pages(p2m)


def n_pages(p2m: Any) -> int:
    return int(sum(stretch.n_bytes for stretch in p2m.stretches())) // PAGE_SIZE


def test_touching_really_reads() -> None:
    words = np.arange(4 * 512, dtype=np.uint64)
    start, end = (np.array([words.ctypes.data + at], np.uint64) for at in (0, words.nbytes))
    # The first word of each page: 0, 512, 1024, 1536; of each line, every eighth.
    assert touch_kernels.touch_words(start, end, np.uint64(4096), np.uint64(0)) == 512 * 6
    assert touch_kernels.touch_words(start, end, np.uint64(64), np.uint64(0)) == words[::8].sum()


def test_page_sizes_of_all_views_come_from_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    everything = smaps.everything

    def counted() -> Any:
        looks.append(1)
        return everything()

    monkeypatch.setattr(smaps, "everything", counted)
    guest = Guest.plain("1G")
    with (
        p2mperf.build("pv-tree", guest, "huge") as tree,
        p2mperf.build("pv-linear", guest, "small") as linear,
        p2mperf.build("pv-tree", guest, "small") as small,
    ):
        found = page_sizes({"pv-tree": tree, "pv-linear": linear, "control:pv-tree": small})
        assert found["pv-tree"] == {"direct": tree.views()["direct"]}
        assert found["pv-linear"] == {"direct": PAGE_SIZE, "window": PAGE_SIZE}
        assert found["control:pv-tree"] == {"direct": PAGE_SIZE}
    assert len(looks) == 1


# ---- a unit ----


@dataclass
class Watched:
    """What a unit's process did: frames of its timed passes, designs of its cells, records it wrote."""

    slices: list[bytes]
    designs: dict[str, Any]
    records: list[Any]


@pytest.fixture(scope="module")
def watched() -> Watched:
    seen = Watched([], {}, [])
    plan = Plan(
        "quick",
        (GuestSpec.plain("64M", "pv64"),),
        streams=(StreamSpec("uniform"), StreamSpec("sequential")),
        operations=("latency", "throughput"),
        n_replicates=2,
        settings=SMALL,
        has_ladder=False,
    )
    timed_pass, cell_of = Visitor._timed_pass, engine.measure_cell

    def timed(self: Any, name: str, design: Any, frames: Any, ticks: int) -> Any:
        seen.slices.append(sha256(frames.tobytes()).digest())
        return timed_pass(self, name, design, frames, ticks)

    def measured(designs: Any, *arguments: Any) -> Any:
        seen.designs |= {name: (p2m, p2m.pool.base, p2m.tables) for name, p2m in designs.items()}
        return cell_of(designs, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Visitor, "_timed_pass", timed)
        patch.setattr(units, "measure_cell", measured)
        for job in jobs(plan):
            assert units.run_unit(job.order(plan.settings), seen.records.append) == 0
    return seen


def test_no_slice_of_a_stream_is_timed_twice(watched: Watched) -> None:
    # 2 processes of 4 cells of 3 visits (2, rounded up for three designs) to 3 designs, of 2 slices each
    assert len(watched.slices) == 2 * 4 * 3 * 3 * 2
    assert len(set(watched.slices)) == len(watched.slices)


def test_orders_of_cells_and_processes_are_their_own(watched: Watched) -> None:
    cells = [record for record in watched.records if record["record"] == "cell"]
    orders = [tuple(tuple(block["order"]) for block in cell["rounds"]) for cell in cells]
    assert len(orders) == 8
    # Of the cyclic squares of three designs, with their rows in any order, there are twelve.
    assert len(set(orders)) > 2
    key = cells[0]["cell"]
    assert units.cell_seeds(key) == units.cell_seeds(key) != units.cell_seeds(key + "x")


def test_a_control_has_tables_of_its_own_and_no_facts(watched: Watched) -> None:
    tree, control = watched.designs["pv-tree"], watched.designs["control:pv-tree"]
    assert tree[0] is not control[0]
    assert tree[1] != control[1]
    assert tree[2] != control[2]
    assert tree[0].guest is control[0].guest
    assert tree[0].closed
    assert control[0].closed
    built = [record for record in watched.records if record["record"] == "unit"]
    assert [list(record["designs"]) for record in built] == [["pv-tree", "pv-linear"]] * 2


def test_a_cell_tells_how_its_time_went_and_on_which_pages(watched: Watched) -> None:
    for record in watched.records:
        if record["record"] == "cell":
            validate(record)
            timed = sum(sum(block["elapsed_ns"].values()) for block in record["rounds"])
            assert 0 < record["warm_ns"] < record["warm_ns"] + timed < record["cell_ns"]
            assert set(record["call_ns"]) == set(record["rounds"][0]["order"]) == set(record["views"])
            assert all(set(block["n_minor_faults"]) == set(block["order"]) for block in record["rounds"])
            for views in record["views"].values():
                assert views
                assert {page for pair in views.values() for page in pair} <= {0, PAGE_SIZE, HUGE_SIZE}
                assert all(len(pair) == 2 for pair in views.values())


def test_a_control_is_planned_for() -> None:
    plan = Plan("quick", (GuestSpec.plain("64G", "pv64"),), streams=(StreamSpec("uniform"),), settings=SMALL)
    with_control = next(jobs(plan)).need_bytes
    without = next(jobs(replace(plan, settings=replace(SMALL, control=False)))).need_bytes
    # The tree comes first: 16 Mi entries of 8 bytes, and what stands above them.
    predicted = find("pv-tree").predict_footprint(Guest.plain("64G"))
    assert with_control - without == predicted.memory_bytes + predicted.page_table_bytes
    assert predicted.memory_bytes >= 128 * MIB
    # What it takes is counted where it can be: of a guest of 1 GiB, with all three built.
    guest = Guest.plain("1G")
    job = next(jobs(replace(plan, guests=(GuestSpec.plain("1G", "pv64"),))))
    tree, linear = (p2mperf.build(name, guest) for name in ("pv-tree", "pv-linear"))
    with tree, linear, tree.again() as control:
        counted = [p2m.footprint() for p2m in (tree, linear, control)]
    assert job.need_bytes - PROCESS_BYTES >= sum(one.memory_bytes for one in counted)
    assert job.need_maps - PROCESS_MAPS >= sum(one.n_vmas for one in counted)


# ---- page sizes over time ----


def test_page_sizes_are_read_again_only_where_they_can_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    events = {"thp_split_pmd": 1}
    looks: list[int] = []

    def counted(designs: object) -> dict[str, dict[str, int]]:
        looks.append(1)
        return {"one": {"direct": len(looks)}}

    monkeypatch.setattr("p2mperf.measure.touch.smaps.huge_page_events", lambda: dict(events))
    monkeypatch.setattr(touching, "page_sizes", counted)
    sizes = touching.PageSizes({})
    assert sizes.now(kept=True) == {"one": {"direct": 1}}
    assert sizes.now() == {"one": {"direct": 2}}  # something was written
    assert sizes.now(kept=True) == {"one": {"direct": 2}}
    events["thp_split_pmd"] += 1  # somewhere on the machine
    assert sizes.now(kept=True) == {"one": {"direct": 3}}
    events.clear()  # a kernel that does not tell
    assert sizes.now(kept=True) == {"one": {"direct": 4}}
    assert sizes.now(kept=True) == {"one": {"direct": 5}}


def test_linux_counts_what_changes_page_sizes() -> None:
    before = smaps.huge_page_events()
    if not before:
        pytest.skip("this kernel does not count it")
    with p2mperf.build("pv-tree-4k", Guest.plain("64M")):
        assert smaps.huge_page_events() != before


@pytest.mark.parametrize("text", ["", "thp_split_pmd 1\n", "thp_split_pmd\n"])
def test_a_kernel_that_does_not_count_all_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text(text)
    assert smaps.huge_page_events(tmp_path) == {}
