"""What is timed beside lookups: that it happens, what it takes, and that all is as it was afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName

import p2mperf
from p2mperf import Guest
from p2mperf.errors import BadInputError, P2mperfError
from p2mperf.measure import engine
from p2mperf.measure.engine import measure_cell, rehearse
from p2mperf.measure.operations.base import Operation
from p2mperf.measure.operations.breaking import MOST_BROKEN, BreakLeaves
from p2mperf.measure.operations.registry import lookups, operations, operations_of
from p2mperf.measure.operations.writes import BalloonDown
from p2mperf.measure.settings import Settings
from p2mperf.streams import make_stream
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan
from p2mperf.study.specs import WHOLE_TABLE, GuestSpec, StreamSpec

SETTINGS = Settings(n_visits=2, n_slices=1, target_ns=1000, min_lookups=64, max_lookups=64, control=False)
# 1 GiB, in leaves of 2 and 4 MiB: room for 3584 and 1792 more leaves below 8 GiB.
LIMIT = "8G"


@pytest.fixture(params=[64, 32])
def pair(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    guest = Guest.plain("1G", f"pv{request.param}")
    tree, linear = (p2mperf.build(name, guest, limit=LIMIT) for name in PV_DESIGNS)
    with tree, linear:
        yield {"pv-tree": tree, "pv-linear": linear}


def measured(pair: dict[str, Any], operation: str, stream: str = "sequential", **settings: Any) -> Any:
    seeds = itertools.count()

    def make(n_frames: int) -> Any:  # another stretch each time, as in a unit
        return make_stream(stream, pair["pv-tree"].guest, n_frames, seed=next(seeds))

    chosen = Settings(**{**vars(SETTINGS), **settings})
    return measure_cell(pair, make, operation, chosen, 1, stream != "sequential").to_json()


def grown(cell: Any, what: str, design: str) -> list[int]:
    return [block[f"n_{what}_grown"][design] for block in cell["rounds"]]


def test_every_operation_of_a_plan_is_one_that_is_timed() -> None:
    assert lookups() == ("latency", "throughput")
    assert operations_of("life") == (
        *lookups(),
        *("set", "balloon-down", "balloon-up", "cow", "tools", "rebuild", "build"),
        *("split", "populate", "remove", "retype"),
    )
    for spec in operations().values():
        assert issubclass(spec.load(), Operation)


@pytest.mark.parametrize("operation", ["set", "balloon-down", "balloon-up", "tools", "build", "rebuild"])
def test_a_p2m_is_afterwards_what_it_was(pair: dict[str, Any], operation: str) -> None:
    pfns = np.arange(pair["pv-tree"].guest.covered_pfn, dtype=np.uint64)
    before = {name: (p2m.dump(), p2m.lookup(pfns), p2m.footprint()) for name, p2m in pair.items()}
    cell = measured(pair, operation)
    assert [sorted(block["elapsed_ns"]) for block in cell["rounds"]] == [sorted(PV_DESIGNS)] * 2
    for name, p2m in pair.items():
        dump, entries, footprint = before[name]
        assert p2m.dump() == dump
        assert np.array_equal(p2m.lookup(pfns), entries)
        assert p2m.footprint().n_vmas == footprint.n_vmas
        p2m.audit()


@pytest.mark.parametrize("operation", ["set", "balloon-down", "balloon-up", "tools"])
def test_what_breaks_no_leaf_takes_no_page(pair: dict[str, Any], operation: str) -> None:
    cell = measured(pair, operation)
    for design in PV_DESIGNS:
        assert grown(cell, "pages", design) == grown(cell, "vmas", design) == [0, 0]


@pytest.mark.parametrize("operation", ["build", "rebuild"])
def test_a_table_takes_what_is_predicted(pair: dict[str, Any], operation: str) -> None:
    cell = measured(pair, operation)
    for name, p2m in pair.items():
        predicted = type(p2m).predict_footprint(p2m.guest, limit=LIMIT)
        assert grown(cell, "pages", name) == [predicted.n_pages] * 2
        assert grown(cell, "vmas", name) == [predicted.n_vmas] * 2
    assert cell["n_lookups"] == 1


def test_neighbouring_leaves_take_a_page_each_and_no_mapping(pair: dict[str, Any]) -> None:
    shape = pair["pv-tree"].guest.geometry
    # The map of 1 GiB ends where a mid of 64 bits begins: that is broken by the first of two untimed passes,
    # and two timed ones follow in it. At 32 bits the mid of 4 GiB is private from the beginning.
    cell = measured(pair, "cow")
    assert cell["n_lookups"] == 128
    for name, p2m in pair.items():
        assert grown(cell, "pages", name) == [128, 128]
        assert p2m.n_breaks == {"leaf": 4 * 128, "mid": 1 if shape.entry_bits == 64 else 0}
        # INVALID was written to the first frame of each, and the others are identity as before.
        first = (np.arange(4 * 128) * shape.leaf_frames + p2m.guest.covered_pfn).astype(np.uint64)
        assert (p2m.lookup(first) == shape.invalid).all()
        assert (p2m.lookup(first + np.uint64(1)) == first + np.uint64(1 | shape.identity_bit)).all()
    assert grown(cell, "vmas", "pv-tree") == [0, 0]
    # What is broken joins those before in one mapping. It comes out of the one mapping of a shared extent, of
    # which the fourth pass leaves nothing. At 32 bits each leaf was a mapping of its own: the next one shows
    # the same page.
    assert grown(cell, "vmas", "pv-linear") == ([0, -1] if shape.entry_bits == 64 else [-128, -128])


def test_leaves_that_stand_alone_cost_the_list_mappings(pair: dict[str, Any]) -> None:
    cell = measured(pair, "cow", "uniform")
    wide = pair["pv-tree"].guest.geometry.entry_bits == 64
    # A leaf alone cuts an extent into three: two mappings more; chance neighbours save some. At 32 bits 768
    # of the 1792 leaves are mappings of their own already: none more.
    assert all((128 if wide else 64) < n <= 256 for n in grown(cell, "vmas", "pv-linear"))
    assert grown(cell, "vmas", "pv-tree") == [0, 0]
    states = [
        p2m.leaf_state[p2m.guest.covered_pfn // p2m.guest.geometry.leaf_frames :] for p2m in pair.values()
    ]
    # The same leaves in either design.
    assert [np.count_nonzero(state[: 7 << 9] == 0) for state in states] == [4 * 128] * 2
    assert np.array_equal(np.flatnonzero(states[0] == 0), np.flatnonzero(states[1] == 0))


def test_more_leaves_than_there_are_cannot_be_broken(pair: dict[str, Any]) -> None:
    room = 3584 if pair["pv-tree"].guest.geometry.entry_bits == 64 else 1792
    # 2 + 40 passes of 128
    with pytest.raises(
        P2mperfError, match=f"has {room} shared leaves beyond its map, and 5376 are to be broken"
    ):
        measured(pair, "cow", n_visits=40)
    assert pair["pv-tree"].n_breaks["leaf"] == 0


def test_a_list_that_can_only_be_read_is_left_out() -> None:
    guest = Guest.plain("64M")
    tree, nested = p2mperf.build("pv-tree", guest), p2mperf.build("pv-linear-nested", guest)
    with tree, nested:
        cell = measured({"pv-tree": tree, "pv-linear-nested": nested}, "set")
        assert [list(block["elapsed_ns"]) for block in cell["rounds"]] == [["pv-tree"]] * 2
        with pytest.raises(P2mperfError, match="set is nothing that pv-linear-nested can do"):
            measure_cell(
                {"pv-linear-nested": nested}, partial(make_stream, "uniform", guest), "set", SETTINGS, 1
            )


def test_a_refused_write_is_no_sample(pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tree = pair["pv-tree"]
    monkeypatch.setattr(type(tree), "set", lambda self, pfns, entries: np.arange(pfns.size) > 0)
    with pytest.raises(P2mperfError, match="refused to write in place: 1 of 64"):
        measured({"pv-tree": tree}, "set")


def test_a_table_built_otherwise_is_no_sample(pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tree = pair["pv-tree"]
    other = Guest.plain("1G", tree.guest.geometry.name, seed=99)
    monkeypatch.setattr(type(tree), "again", lambda self: p2mperf.build("pv-tree", other))
    with pytest.raises(P2mperfError, match="was built otherwise than its map asks"):
        measured({"pv-tree": tree}, "build")


def test_what_was_changed_for_good_is_noticed(pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # An operation that forgets to put a frame back leaves a p2m that no longer is its guest's map.
    monkeypatch.setattr(BalloonDown, "finish", lambda self, design, frames, result: None)
    with pytest.raises(P2mperfError, match="where its map says"):
        measured(pair, "balloon-down")


def test_no_frame_is_given_up_twice_in_a_pass() -> None:
    # 128 frames of memory: a pass of more would find some without memory already.
    guest = Guest.plain("512K")
    with p2mperf.build("pv-tree", guest) as tree:
        cell = measured({"pv-tree": tree}, "balloon-down", min_lookups=1000, max_lookups=1000)
    assert cell["n_lookups"] == 128


def test_long_passes_are_fewer(pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_LONGEST_CELL_NS", 1)
    assert len(measured(pair, "build", n_visits=9)["rounds"]) == 2


def test_all_can_be_rehearsed(pair: dict[str, Any]) -> None:
    tree = pair["pv-tree"]
    for operation in operations():
        rehearse(operation, tree, partial(make_stream, "sequential", tree.guest))
    tree.audit()


# ---- the flat list of the domain builder ----


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("bits", [64, 32])
# a page; a leaf less one, at either width; 2049M pads the last leaf; a mid and a page more
@pytest.mark.parametrize("size", ["4K", "2044K", "4092K", "2049M", "1048580K"])
def test_the_flat_list_gives_the_p2m_of_the_map(design: PvName, bits: int, size: str) -> None:
    guest = Guest.plain(size, f"pv{bits}")
    boot_list = guest.entries(np.arange(guest.n_boot_pages, dtype=np.uint64)).astype(guest.geometry.dtype)
    with p2mperf.build(design, guest, limit=LIMIT) as plain, plain.again(boot_list=boot_list) as listed:
        assert listed.leaf_state.tolist() == plain.leaf_state.tolist()
        assert listed.footprint().pages == plain.footprint().pages
        assert listed.dump() == plain.dump()
        listed.audit()


@pytest.mark.parametrize(
    ("entries", "states"),
    [
        # In leaves of 512: RAM; all INVALID; all identity; mixed; and beyond the list all is identity.
        (["ram", "missing", "identity", "mixed"], [0, 1, 2, 0, 2, 2, 2, 2]),
        # The list ends inside a leaf: the rest of that leaf is identity, and it is of two kinds.
        (["identity", "half"], [2, 0, 2, 2, 2, 2, 2, 2]),
        (["missing"], [1, 2, 2, 2, 2, 2, 2, 2]),
    ],
)
def test_the_scan_tells_leaves_apart(entries: list[str], states: list[int]) -> None:
    from p2mperf.designs.pv.boot_kernels import classify_list

    invalid, identity = np.uint64(2**64 - 1), np.uint64(1 << 62)
    leaves = {
        "ram": np.arange(512, dtype=np.uint64),
        "missing": np.full(512, invalid),
        "identity": np.arange(512, dtype=np.uint64) | identity,
        "mixed": np.where(np.arange(512) == 511, np.uint64(7), invalid),
        "half": np.full(256, invalid),
    }
    boot_list = np.concatenate([leaves[name] for name in entries])
    # mids of 4 leaves: the second is identity as a whole
    found = np.full(8, 9, np.int8)
    classify_list(boot_list, np.uint64(512), np.uint64(2048), invalid, identity, found)
    assert found.tolist() == states


def test_a_list_that_is_not_all_of_the_memory_is_refused() -> None:
    small = Guest.plain("64M")
    cases: list[tuple[Guest | str, object]] = [
        ("dom0-64-8g", np.zeros(2097152, np.uint64)),  # displaced memory
        (
            "dom0-64-e820",
            np.zeros(262144, np.uint64),
        ),  # identity, and memory to balloon into, behind the list
        (small, np.zeros(16383, np.uint64)),
        (small, np.zeros(16384, np.uint32)),  # of another width
        (small, np.zeros((16384, 1), np.uint64)),
        (small, [0] * 16384),
    ]
    for design, (guest, boot_list) in itertools.product(PV_DESIGNS, cases):
        with pytest.raises(BadInputError, match=r"a flat list of \d+ entries .* does not hold the memory of"):
            p2mperf.build(design, guest, boot_list=boot_list)


def test_a_list_with_leaves_to_share_that_the_map_has_not_is_refused() -> None:
    guest = Guest.plain("64M")
    boot_list = guest.entries(np.arange(16384, dtype=np.uint64))
    boot_list[3 * 512 : 4 * 512] = guest.geometry.invalid
    with pytest.raises(BadInputError, match="has other entries than the map of pv-64-64m asks for"):
        p2mperf.build("pv-linear", guest, boot_list=boot_list)


# ---- plans ----


def test_the_life_plan_is_the_table_of_life_cycle_costs() -> None:
    plan = make_plan("life")
    of_pv = {"pv-64-8g", "pv-64-128g", "pv-64-400g", "pv-32-43g"}
    assert {guest.name for guest in plan.guests} == {*of_pv, "hap-16g"}
    assert {unit.guest.name: unit.limit_bytes >> 30 for unit in plan.units()} == {
        "pv-64-8g": 512,
        "pv-64-128g": 512,
        "pv-64-400g": 512,
        "pv-32-43g": 64,
        "hap-16g": 0,
    }
    cells = plan.cells(Guest.plain("8G"))
    # Lookups and set over both streams, balloons over one, whole tables over none; leaves come last.
    assert len(cells) == 2 * 2 + 2 + 2 + 3 + 2
    assert [operation for _, operation in cells][-2:] == ["cow", "cow"]
    assert {operation for stream, operation in cells if stream == WHOLE_TABLE} == {
        "tools",
        "rebuild",
        "build",
    }
    # Superpages are changed and put back where there are some.
    of_hap = {operation for _, operation in plan.cells(Guest.plain("16G", geometry="hap64"))}
    assert of_hap == {*lookups(), "split", "populate", "remove", "retype"}


def test_other_plans_measure_lookups_without_a_limit() -> None:
    changes = ("split", "populate", "remove", "retype")
    for name, entered in (
        ("quick", ()),
        ("default", ("entry",)),
        ("full", ("entry", *changes)),
        ("hap", ("entry", *changes)),
    ):
        plan = make_plan(name)
        assert (plan.operations, plan.limit_bytes) == ((*lookups(), *entered), 0)


def test_nothing_is_written_to_holes() -> None:
    half = StreamSpec("uniform", hole_fraction=0.5)
    assert half.serves("latency")
    assert not half.serves("set")
    assert not StreamSpec("uniform").serves("balloon-down")


def test_a_guest_with_holes_has_no_flat_list() -> None:
    plan = narrow(make_plan("life"), guests=["dom0-64-8g"])
    for name in ("dom0-64-8g", "dom0-64-e820", "dom0-32-e820", "dom0-64-128g-pci"):
        assert "rebuild" not in {operation for _, operation in plan.cells(Guest.preset(name))}
    assert "rebuild" in {operation for _, operation in plan.cells(Guest.preset("domu-64-8g"))}


def test_other_families_are_looked_up_only() -> None:
    plan = narrow(make_plan("life"), sizes=["1G"], designs=["arm-vlpt"])
    cells = plan.cells(Guest.plain("1G", "lpae"))
    assert {operation for _, operation in cells} == set(lookups())
    assert {unit.limit_bytes for unit in plan.units()} == {0}


def test_leaves_are_broken_only_where_there_is_room() -> None:
    # A pass breaks 128; two trials and six visits, of neighbours and of others: 2048 leaves, 4 GiB.
    n_passes = engine._TRIALS + make_plan("life").settings.n_visits
    assert BreakLeaves.n_fixed * n_passes * 2 == MOST_BROKEN == 2048
    for limit in (None, "8G", "12285M"):
        with pytest.raises(
            BadInputError, match=r"beyond the map of pv-64-8g: give it 4G of room with --limit"
        ):
            narrow(make_plan("quick"), sizes=["8G"], operations=["cow"], limit=limit)
    narrow(make_plan("quick"), sizes=["8G"], operations=["cow"], limit="12G")
    plan = narrow(make_plan("quick"), sizes=["8G"], operations=["cow"], limit="16G")
    assert [unit.limit_bytes >> 30 for unit in plan.units()] == [16] * plan.n_replicates


def test_designs_that_can_only_be_read_are_not_asked_to_write() -> None:
    with pytest.raises(BadInputError, match=r"pv-linear-nested can only be read, not for set"):
        narrow(make_plan("quick"), sizes=["8G"], designs=["pv-linear-nested"], operations=["set", "latency"])
    narrow(make_plan("quick"), sizes=["8G"], designs=["pv-linear-nested"], operations=["build"])
    # Beside one that can be written it is looked up only.
    narrow(make_plan("quick"), sizes=["8G"], designs=["pv-linear-nested", "pv-tree"], operations=["set"])


def test_what_no_stream_serves_is_said() -> None:
    with pytest.raises(BadInputError, match="balloon-up can be done on"):
        narrow(make_plan("quick"), sizes=["8G"], operations=["balloon-up"], streams=["uniform"])


def test_a_unit_needs_room_for_the_table_that_is_built_beside_it() -> None:
    from p2mperf.study.jobs import jobs

    def need(**changes: Any) -> int:
        plan = narrow(make_plan("quick"), sizes=["400G"], n_replicates=1, **changes)
        (job,) = jobs(plan)
        return job.need_bytes

    # One table of 800 MiB more, its page table aside, and as long a flat list.
    assert 1600 << 20 < need(operations=["rebuild"]) - need(operations=["set"]) < 1620 << 20


def test_a_limit_is_one_that_tables_can_reach() -> None:
    with pytest.raises(BadInputError, match="beyond 512G"):
        narrow(make_plan("quick"), limit="513G")
    assert narrow(make_plan("life"), limit=0, operations=["set"]).limit_bytes == 0
    # Plans without a limit are those of the first version: their unfinished runs are found.
    assert "limit_bytes" not in make_plan("quick").as_dict()


def test_designs_that_know_no_limit_are_built_without() -> None:
    from p2mperf.designs import find
    from p2mperf.study.specs import build_options

    assert build_options(find("pv-linear"), 1 << 39) == {"limit": 1 << 39}
    assert build_options(find("arm-vlpt"), 1 << 39) == {}


def test_a_design_is_built_again_as_it_was() -> None:
    with (
        p2mperf.build("pv-tree", Guest.plain("64M"), backing="huge", limit="1G") as tree,
        tree.again() as other,
    ):
        assert (other.backing.name, other.end_pfn, other.guest) == ("huge", tree.end_pfn, tree.guest)


def test_a_spec_of_another_family_has_no_limit() -> None:
    plan = narrow(make_plan("life"), sizes=["1G"], designs=["arm-vlpt"])
    assert plan.limit_of(GuestSpec.plain("1G", "lpae")) == 0
