"""The engine under a clock and loops made of cardboard: what is timed, in which order, over which frames."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2mperf
from p2mperf import Guest
from p2mperf.designs.pv.tree_kernels import Tree64
from p2mperf.errors import BadInputError, P2mperfError
from p2mperf.guests.geometry import Kind
from p2mperf.kernels import latency, throughput, trace
from p2mperf.measure import code_form, engine, visits
from p2mperf.measure.engine import calibrate, check_agreement, measure_cell, warm_up
from p2mperf.measure.operations.lookups import Latency, TimedLookup
from p2mperf.measure.settings import Settings
from p2mperf.streams import make_stream

TABLES = Tree64(*[np.uint64(0)] * 5)  # of some design
SMALL = Guest.plain("16M")
SETTINGS = Settings(n_visits=6, n_slices=1, target_ns=1000, min_lookups=10, max_lookups=1000)


@dataclass
class Passes:
    """A clock that stands still unless a lookup is made, and a note of every pass over a stream."""

    costs_ns: dict[str, float]
    now_ns: float = 0.0
    passes: list[tuple[str, int, int]] = field(default_factory=list)
    slow_passes: set[int] = field(default_factory=set)

    def clock(self) -> int:
        return int(self.now_ns)

    def kernel(self, tables: str, state: Any, stream: Any, zero: Any) -> int:
        if not stream.size:  # the bare call, which takes no time
            return 0
        slow = 100 if len(self.passes) in self.slow_passes else 1
        self.passes.append((tables, int(stream[0]), stream.size))
        self.now_ns += self.costs_ns[tables] * stream.size * slow
        return 7


@dataclass(frozen=True)
class Cardboard:
    """A design for `Passes`: its tables are its name."""

    tables: str
    state: tuple[()] = ()
    guest: Any = None

    def stretches(self) -> tuple[()]:
        return ()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    found = Passes({"one": 2.0, "two": 4.0, "three": 5.0})
    monkeypatch.setattr(engine, "perf_counter_ns", found.clock)
    monkeypatch.setattr(visits, "perf_counter_ns", found.clock)
    monkeypatch.setattr(engine, "check_agreement", lambda designs, stream, kernel: 42)
    monkeypatch.setattr(Latency, "kernel", staticmethod(found.kernel))
    return found


def long_streams() -> Any:
    """Streams whose numbers never come twice, over all calls."""
    start = 0

    def make(n_lookups: int) -> Any:
        nonlocal start
        start += n_lookups
        return np.arange(start - n_lookups, start, dtype=np.uint64)

    return make


def designs(*names: str) -> Any:
    """Some designs, and another build of the first."""
    return {name: Cardboard(name) for name in names} | {f"control:{names[0]}": Cardboard(names[0])}


# ---- what a cell is made of ----


def looking_up(kernel: Any) -> TimedLookup:
    """The operation that times any kernel."""
    operation = TimedLookup()
    vars(operation)["kernel"] = kernel
    return operation


def test_a_cell_tells_what_was_timed(passes: Passes) -> None:
    measured = measure_cell(designs("one", "two"), long_streams(), "latency", SETTINGS, seed=1).to_json()
    # The faster design takes 2 ns: 1000 ns are 500 lookups for both.
    assert measured["n_lookups"] == 500
    assert measured["checksum"] == 42
    assert len(measured["rounds"]) == 6
    for block in measured["rounds"]:
        assert block["elapsed_ns"] == {"one": 1000, "two": 2000, "control:one": 1000}
        assert sorted(block["order"]) == ["control:one", "one", "two"]
        assert block["flagged"] == {}
        assert set(block["n_involuntary_switches"]) == set(block["n_steal_ticks"]) == set(block["order"])


def test_without_a_control_only_the_designs_are_timed(passes: Passes) -> None:
    settings = Settings(n_visits=2, n_slices=1, target_ns=1000, min_lookups=10, max_lookups=1000)
    alone = {name: Cardboard(name) for name in ("one", "two")}
    measured = measure_cell(alone, long_streams(), "latency", settings, seed=1).to_json()  # type: ignore[arg-type]
    assert [sorted(block["order"]) for block in measured["rounds"]] == [["one", "two"]] * 2


def test_no_frame_is_looked_up_twice(passes: Passes) -> None:
    measure_cell(designs("one", "two", "three"), long_streams(), "latency", SETTINGS, seed=1)
    # Three designs and one control: four passes each to calibrate, and two untimed and a timed one in each
    # of 8 visits, the next number after 6 that four divides. What is not timed may come again, but is never
    # timed.
    assert len(passes.passes) == 4 * 4 + 8 * 3 * 4
    timed = [(start, start + size) for _, start, size in passes.passes[4 * 4 :][2::3]]
    others: dict[int, int] = {}
    for _, start, size in passes.passes:  # slow designs have shorter untimed ones
        others[start] = max(start + size, others.get(start, 0))
    stretches = sorted([*timed, *(set(others.items()) - set(timed))])
    assert len(set(timed)) == 8 * 4
    assert all(end <= start for (_, end), (start, _) in pairwise(stretches))


def test_each_timed_pass_follows_one_that_settles_the_design(passes: Passes) -> None:
    measured = measure_cell(designs("one", "two"), long_streams(), "latency", SETTINGS, seed=1).to_json()
    names = [name for name, _, _ in passes.passes[3 * 4 :]]
    order = [name.removeprefix("control:") for block in measured["rounds"] for name in block["order"]]
    # Two untimed ones show that the cost stands.
    assert names[0::3] == names[1::3] == names[2::3] == order


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_design_stands_in_every_place_equally_often(passes: Passes, seed: int) -> None:
    measured = measure_cell(designs("one", "two"), long_streams(), "latency", SETTINGS, seed).to_json()
    places = Counter(
        (name, place) for block in measured["rounds"] for place, name in enumerate(block["order"])
    )
    # Three are timed in 6 rounds: each twice in each of three places.
    assert set(places.values()) == {2}
    assert len(places) == 9


def test_the_order_is_seeded(passes: Passes) -> None:
    cells = [measure_cell(designs("one", "two"), long_streams(), "latency", SETTINGS, s) for s in (5, 5, 6)]
    orders = [[[one.design for one in block.passes] for block in cell.rounds] for cell in cells]
    assert orders[0] == orders[1] != orders[2]


def test_an_outlier_is_flagged_and_kept(passes: Passes) -> None:
    # Calibration takes 12 passes, and each third one of those that follow is timed: the fifth of them is a
    # hundred times slower.
    passes.slow_passes = {12 + 3 * 4 + 2}
    measured = measure_cell(designs("one", "two"), long_streams(), "latency", SETTINGS, seed=1).to_json()
    name = measured["rounds"][1]["order"][1]
    assert list(measured["rounds"][1]["flagged"]) == [name]
    assert measured["rounds"][1]["flagged"][name] in ("unexplained", "steal", "involuntary switch")
    assert measured["rounds"][1]["elapsed_ns"][name] == 100 * measured["rounds"][0]["elapsed_ns"][name]
    assert [len(block["elapsed_ns"]) for block in measured["rounds"]] == [3] * 6


def test_no_garbage_is_collected_while_timing(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    collecting: set[bool] = set()
    original = passes.clock

    def clock() -> int:
        collecting.add(gc.isenabled())
        return original()

    settings = Settings(n_visits=2, n_slices=1, target_ns=1000, min_lookups=10, max_lookups=1000)
    monkeypatch.setattr(engine, "calibrate", lambda *arguments: 10)
    monkeypatch.setattr(visits, "perf_counter_ns", clock)
    monkeypatch.setattr(engine, "call_ns", lambda *arguments: 0)
    measure_cell(designs("one", "two"), long_streams(), "latency", settings, seed=1)
    assert collecting == {False}
    assert gc.isenabled()


def test_garbage_is_collected_again_after_a_failure(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "calibrate", lambda *arguments: 10)
    monkeypatch.setattr(engine, "call_ns", lambda *arguments: 0)
    monkeypatch.setattr(visits, "perf_counter_ns", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure_cell(designs("one", "two"), long_streams(), "latency", SETTINGS, seed=1)
    assert gc.isenabled()


def test_a_stream_that_is_too_short_is_no_cell(passes: Passes) -> None:
    with pytest.raises(P2mperfError, match="a stream is too short for its cell"):
        measure_cell(
            designs("one"), lambda n: np.zeros(max(1, n - 1), np.uint64), "latency", SETTINGS, seed=1
        )


def test_an_unknown_operation_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInputError, match="unknown operation 'latancy': did you mean 'latency'"):
        measure_cell(designs("one"), long_streams(), "latancy", SETTINGS, seed=1)


# ---- calibration ----


@pytest.mark.parametrize(
    ("costs_ns", "n_lookups"),
    [
        # 1000 ns over the faster one's cost, whichever comes first
        ({"one": 2.0, "two": 4.0}, 500),
        ({"one": 4.0, "two": 2.0}, 500),
        # 1000 / 500 = 2, below the least of 10; 1000 / 0.5 = 2000, above the most of 1000
        ({"one": 500.0, "two": 1000.0}, 10),
        ({"one": 0.5, "two": 0.5}, 1000),
    ],
)
def test_the_fastest_design_chooses_the_loop_count(
    passes: Passes, costs_ns: dict[str, float], n_lookups: int
) -> None:
    passes.costs_ns = costs_ns
    stream = long_streams()(120)
    assert calibrate(designs("one", "two"), stream, looking_up(passes.kernel), SETTINGS) == n_lookups


def test_calibration_passes_over_first_passes(passes: Passes) -> None:
    # A first pass that takes a hundred times longer, as one after a build does, changes nothing.
    passes.slow_passes = {0, 4, 8}
    assert calibrate(designs("one", "two"), long_streams()(120), looking_up(passes.kernel), SETTINGS) == 500


def test_warming_up_takes_its_time(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "throughput", passes.kernel)
    warm_up(Cardboard("two"), np.zeros(25, np.uint64), 1000)  # type: ignore[arg-type]
    # 25 lookups of 4 ns are 100 ns: ten passes.
    assert len(passes.passes) == 10


# ---- agreement ----


@pytest.fixture
def pair() -> Iterator[dict[str, Any]]:
    guest = Guest.preset("dom0-64-e820")
    with p2mperf.build("pv-tree", guest) as tree, p2mperf.build("pv-linear", guest) as linear:
        yield {"pv-tree": tree, "pv-linear": linear}


@pytest.mark.parametrize("kernel", [latency, throughput])
def test_designs_that_agree_have_one_sum(pair: dict[str, Any], kernel: Any) -> None:
    stream = np.arange(0, 1100000, 37, dtype=np.uint64)
    expected = sum(pair["pv-tree"].guest.entries(stream).tolist()) % 2**64
    assert check_agreement(pair, stream, kernel) == expected


def test_a_design_that_lies_is_named_with_the_frame(pair: dict[str, Any]) -> None:
    linear = pair["pv-linear"]
    leaf = linear.pool.words(int(linear.leaf_frames[0]), np.uint64)
    truth = int(leaf[300])
    leaf[300] = truth + 1
    message = f"pv-linear reads {truth + 1:#x} at frame 0x12c of dom0-64-e820, where its map says {truth:#x}"
    with pytest.raises(P2mperfError, match=message):
        check_agreement(pair, np.arange(4096, dtype=np.uint64), latency)
    # Frames that it answers rightly are not held against it.
    check_agreement(pair, np.arange(301, 4096, dtype=np.uint64), latency)


def test_a_loop_that_loses_a_frame_is_noticed(pair: dict[str, Any]) -> None:
    sums = iter([5, 6])
    with pytest.raises(P2mperfError, match=r"differ in their sums.*'pv-tree': 5, 'pv-linear': 6"):
        check_agreement(pair, np.arange(8, dtype=np.uint64), lambda *arguments: np.uint64(next(sums)))


def test_nothing_is_timed_when_a_design_lies(pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tree = pair["pv-tree"]
    tree.pool.words(int(tree.leaf_frames[0]), np.uint64)[:] = 1
    monkeypatch.setattr(engine, "calibrate", lambda *arguments: pytest.fail("timed"))
    with pytest.raises(P2mperfError, match="pv-tree reads 0x1 at frame"):
        measure_cell(pair, lambda n: np.arange(n, dtype=np.uint64) % 262144, "latency", SETTINGS, seed=1)


def test_a_real_cell(pair: dict[str, Any]) -> None:
    settings = Settings(n_visits=2, n_slices=1, target_ns=10_000, min_lookups=128, max_lookups=256)
    guest = pair["pv-tree"].guest

    def make(n_lookups: int) -> Any:
        return make_stream("uniform", guest, n_lookups, hole_fraction=0.5)

    measured = measure_cell(pair, make, "throughput", settings, seed=1).to_json()
    assert 128 <= measured["n_lookups"] <= 256
    assert all(elapsed > 0 for block in measured["rounds"] for elapsed in block["elapsed_ns"].values())
    assert json.loads(json.dumps(measured)) == measured


# ---- the slow walk ----


def loads(p2m: Any, stream: Any) -> int:
    """Loads of a whole stream, counted by the probe of the very walk that is timed."""
    probe = np.zeros(1, np.uint64)
    for pfn in stream:
        trace(p2m.tables, p2m.state, probe, pfn)
    return int(probe[0])


@pytest.mark.parametrize(
    ("bits", "n_levels", "nested"), [(64, 4, False), (32, 3, False), (64, 4, True), (32, 3, True)]
)
def test_a_stream_half_in_holes_costs_its_arithmetic(bits: int, n_levels: int, nested: bool) -> None:
    guest = Guest.preset(f"dom0-{bits}-e820")
    stream = make_stream("uniform", guest, 1 << 13, hole_fraction=0.5)
    n_holes = int((guest.entry_kinds(stream) != Kind.RAM).sum())
    n_ram = stream.size - n_holes
    assert 0.47 < n_holes / stream.size < 0.53
    # The list: one load for RAM. A hole reads INVALID, walks the page table (each level through m2p and p2m
    # where that is nested) and, being no identity, is read once more.
    slow = 1 + n_levels * (3 if nested else 1) + 1
    with p2mperf.build("pv-linear-nested" if nested else "pv-linear", guest) as linear:
        assert loads(linear, stream) == n_ram + slow * n_holes
    # The tree: three loads for either.
    with p2mperf.build("pv-tree", guest) as tree:
        assert loads(tree, stream) == 3 * stream.size


@pytest.mark.parametrize(("bits", "n_levels"), [(64, 4), (32, 3)])
def test_a_stream_half_in_identity_costs_its_arithmetic(bits: int, n_levels: int) -> None:
    guest = Guest.preset(f"dom0-{bits}-e820")
    stream = make_stream("uniform", guest, 1 << 13, identity_fraction=0.5)
    pfns = stream.astype(np.int64)
    # Identity is 263424 to 512256; in whole leaves, which are shared: 263680 to 512000 at 64 bit (515 * 512,
    # 1000 * 512), 264192 to 512000 at 32 bit (258 * 1024, 500 * 1024).
    first = 263680 if bits == 64 else 264192
    n_shared = int(((pfns >= first) & (pfns < 512000)).sum())
    n_marked = int(((pfns >= 263424) & (pfns < 512256)).sum()) - n_shared
    n_ram = stream.size - n_shared - n_marked
    assert min(n_shared, n_marked, n_ram) > 0
    with p2mperf.build("pv-linear", guest) as linear, p2mperf.build("pv-tree", guest) as tree:
        assert loads(linear, stream) == n_ram + n_marked + (1 + n_levels) * n_shared
        assert loads(tree, stream) == 3 * (n_ram + n_marked) + 2 * n_shared


# ---- code form ----


@pytest.mark.parametrize(
    ("assembly", "form"),
    [
        ("movq (%rax), %rcx\naddq %rcx, %rdx", "scalar"),
        ("vpgatherqq (%rax,%ymm1,8), %ymm2\nvpaddq %ymm1, %ymm2, %ymm3", "gather:1,ymm:2"),
        ("prefetcht0 (%rax)\nvmovdqa64 %zmm1, %zmm2", "zmm:1,prefetch:1"),
    ],
)
def test_the_form_of_a_loop_is_read_from_its_assembly(assembly: str, form: str) -> None:
    assert code_form.describe(assembly) == form


@pytest.mark.parametrize("operation", [latency, throughput])
def test_both_designs_are_timed_in_one_form(
    pair: dict[str, Any], operation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A loop of gathers against one of plain loads compares compilers. What remains of ymm registers copies
    # arguments, outside the loop.
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    tree, linear = (code_form.code_form(operation, p2m.tables) for p2m in pair.values())
    assert tree == linear
    assert "gather" not in tree


def test_a_form_is_found_once_and_then_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    compiled: list[str] = []

    def assembly(kernel: Any, tables: Any) -> str:
        compiled.append(kernel.__name__)
        return "vpgatherqq (%rax), %ymm2"

    monkeypatch.setattr(code_form, "assembly", assembly)
    forms = [code_form.code_form(kernel, TABLES) for kernel in (latency, throughput, latency)]
    assert forms == ["gather:1,ymm:1"] * 3
    assert compiled == ["latency", "throughput"]
    # A damaged note is made anew.
    for note in tmp_path.glob("*.json"):
        note.write_text("{")
    assert code_form.code_form(latency, TABLES) == "gather:1,ymm:1"
    assert compiled == ["latency", "throughput", "latency"]
