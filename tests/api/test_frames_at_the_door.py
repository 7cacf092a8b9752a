"""Frames, leaves, ranges and saved states as users hand them over: taken exactly, or refused."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest
from design_names import PV_DESIGNS, ArmName
from refusals import refused

import p2mperf
from p2mperf.designs import family_of
from p2mperf.designs.pv.life import Living
from p2mperf.designs.pv.linear import PvLinear
from p2mperf.designs.pv.saving import Saved
from p2mperf.designs.pv.tree import PvTree
from p2mperf.errors import DoesNotFitError
from p2mperf.families import find_family
from p2mperf.guests.guest import Guest

P2m = PvTree | PvLinear


@pytest.fixture(params=PV_DESIGNS)
def p2m(request: pytest.FixtureRequest) -> Iterator[P2m]:
    with p2mperf.build(request.param, Guest.plain("8M"), limit="2G") as built:
        yield cast(P2m, built)
        built.audit()


class Circle(list[Any]):
    def __init__(self) -> None:
        self.append(self)


NO_FRAMES: list[Any] = [
    [[1], [2, 3]],
    Circle(),
    np.ma.array([1, 2], mask=[0, 1]),
    [None],
    ["5"],
    "5",
    [-1],
    np.array([-5]),
    [1.5],
    np.array([1.0]),
    [float("nan")],
    [2**64],
    [True],
    object(),
    {1: 2},
]
NO_FRAME: list[Any] = [*NO_FRAMES, [1, 2], [], np.array([5]), -1, 2**64, 1.0, True, None]
TAKE_FRAMES: dict[str, Callable[[P2m, Any], object]] = {
    "lookup": lambda p2m, frames: p2m.lookup(frames),
    "set": lambda p2m, frames: p2m.set(frames, 7),
    "set's entries": lambda p2m, frames: p2m.set([0], frames),
    "balloon_down": lambda p2m, frames: p2m.balloon_down(frames),
    "break_leaves": lambda p2m, frames: p2m.break_leaves(frames),
    "written": lambda p2m, frames: p2m.break_leaves([100], frames),
    "mfn_to_pfn": lambda p2m, frames: p2m.mfn_to_pfn(frames),
    "has_memory": lambda p2m, frames: p2m.has_memory(frames),
    "entries": lambda p2m, frames: p2m.guest.entries(frames),
    "entry_kinds": lambda p2m, frames: p2m.guest.entry_kinds(frames),
}
TAKE_ONE: dict[str, Callable[[P2m, Any], object]] = {
    "lookup_path": lambda p2m, frame: p2m.lookup_path(frame),
    "explain": lambda p2m, frame: p2m.explain(frame),
    "step_at": lambda p2m, frame: p2m.step_at(frame),
    "unused_mfns": lambda p2m, frame: p2m.unused_mfns(frame),
    "hotplug": lambda p2m, frame: p2m.hotplug(frame, 3),
    "hotplug's length": lambda p2m, frame: p2m.hotplug(0, frame),
    "set_identity": lambda p2m, frame: p2m.set_identity(frame, 1),
    "pass_through": lambda p2m, frame: p2m.pass_through(0, 1, frame),
}


@pytest.mark.parametrize("what", TAKE_FRAMES)
def test_frames_that_are_none(p2m: P2m, what: str) -> None:
    for frames in NO_FRAMES:
        with refused():
            TAKE_FRAMES[what](p2m, frames)


@pytest.mark.parametrize("what", TAKE_ONE)
def test_a_frame_that_is_none(p2m: P2m, what: str) -> None:
    for frame in NO_FRAME:
        with refused():
            TAKE_ONE[what](p2m, frame)


@pytest.mark.parametrize("design", ["arm-walk", "arm-walk-direct", "arm-vlpt"])
def test_a_frame_of_an_arm_guest_that_is_none(design: ArmName) -> None:
    with p2mperf.build(design, Guest.plain("8M", geometry="lpae")) as p2m:
        for frame in NO_FRAME:
            for ask in (p2m.lookup_path, p2m.events, p2m.explain, p2m.step_at):
                with refused():
                    ask(frame)


def test_numbers_of_numpy_are_taken_for_what_they_are(p2m: P2m) -> None:
    first = p2m.end_pfn - 1000
    assert p2m.hotplug(np.uint64(first), np.int16(600))
    assert p2m.set_identity(np.uint64(5), np.uint64(5)) == 5
    assert p2m.set_identity(np.int8(120), np.int8(100)) == 100
    assert p2m.unused_mfns(np.uint8(3)).size == 3
    assert p2m.lookup_path(np.uint32(7)).entry == int(p2m.lookup([7])[0])
    assert p2m.set_identity(2**64 - 1, 2**64 - 1) == 0
    assert not p2m.hotplug(2**64 - 1, 2**64 - 1)


def test_shapes_are_kept(p2m: P2m) -> None:
    mfns = p2m.lookup([[3, 4], [5, 6]])
    assert p2m.mfn_to_pfn(mfns).tolist() == [[3, 4], [5, 6]]
    assert int(p2m.mfn_to_pfn(mfns[0, 0])) == 3
    assert int(p2m.mfn_to_pfn(int(mfns[1, 1]))) == 6


@pytest.mark.parametrize("design", PV_DESIGNS)
def test_a_path_ends_at_what_lookup_answers(design: str) -> None:
    with p2mperf.build(design, Guest.plain("8M", geometry="pv32")) as p2m:
        for pfn in (0, 2**20, 2**40 + 5, 2**64 - 1):
            assert p2m.lookup_path(pfn).entry == int(p2m.lookup([pfn])[0])


@pytest.mark.parametrize("leaves", [[-1], [2**40], [2**64 - 1], 50, [[50], [51]], [50, 50], "end", "abc"])
def test_leaves_that_there_are_not(p2m: P2m, leaves: Any) -> None:
    if leaves == "end":
        leaves = [p2m.end_pfn // p2m.guest.geometry.leaf_frames]
    with refused():
        p2m.break_leaves(leaves)


def test_leaves_and_frames_that_they_are_broken_for(p2m: P2m) -> None:
    with refused():
        p2m.break_leaves([50, 51], [1])
    assert p2m.break_leaves([51, 50], [51 * 512, 50 * 512]) == 2
    assert p2m.break_leaves(np.array([52], np.uint8)) == 1
    assert p2m.break_leaves([]) == 0


@pytest.mark.parametrize(
    ("design", "call"),
    [
        ("pv-tree", lambda p2m, frames: p2m.lookup(frames)),
        ("pv-linear", lambda p2m, frames: p2m.set(frames, 5)),
        ("arm-vlpt", lambda p2m, frames: p2m.lookup(frames)),
        ("hap-walk", lambda p2m, frames: p2m.remove(frames)),
        ("hap-walk", lambda p2m, frames: p2m.page_orders(frames)),
        ("hap-linear", lambda p2m, frames: p2m.mfn_to_gfn(frames)),
        ("hap-linear", lambda p2m, frames: p2m.guest.entries(frames)),
    ],
    ids=["lookup", "set", "arm", "remove", "page_orders", "mfn_to_gfn", "entries"],
)
def test_more_frames_than_memory_holds(design: str, call: Callable[[Any, Any], Any]) -> None:
    # 2^46 frames that take no memory themselves: their numbers would take 512 TiB.
    frames = np.broadcast_to(np.uint64(0), (1 << 46,))
    geometry = find_family(family_of(design)).geometries[0]
    with p2mperf.build(design, Guest.plain("4M", geometry=geometry)) as built:
        with pytest.raises(DoesNotFitError, match="memory for") as raised:
            call(built, frames)
        assert "\n" not in str(raised.value)
        built.audit()


def test_memory_that_gives_out_on_the_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_out(*_: Any) -> Any:
        raise MemoryError("Unable to allocate")

    with p2mperf.build("hap-walk", Guest.plain("4M", geometry="hap64")) as built:
        monkeypatch.setattr("p2mperf.designs.hap.walk.check_table", give_out)
        with pytest.raises(DoesNotFitError, match="audit of hap-walk has no memory for its answer"):
            built.audit()


def test_only_what_save_gave_is_restored(p2m: P2m) -> None:
    with refused():
        p2m.restore(Saved(p2m.guest, np.zeros(0, np.bool_)))
    saved = p2m.save()
    strange: list[Any] = [
        dataclasses.replace(saved, has_memory=saved.has_memory[:100]),
        dataclasses.replace(saved, has_memory=saved.has_memory[:0]),
        dataclasses.replace(saved, has_memory=~saved.has_memory),
        dataclasses.replace(saved, has_memory="abc"),
        dataclasses.replace(saved, guest=Guest.plain("8M", seed=2)),
        dataclasses.replace(saved, design="another"),
        5,
        None,
    ]
    for other in strange:
        with refused():
            p2m.restore(other)
    for seed in ([], "x", -1, 1.5):
        with refused():
            p2m.restore(saved, seed)
    with pytest.raises(ValueError, match="read-only"):
        saved.has_memory[0] = False
    p2m.restore(saved)
    with refused():
        p2m.restore(saved)


def test_the_saved_of_another_design_is_refused() -> None:
    guest = Guest.plain("8M")
    with p2mperf.build("pv-tree", guest) as tree, p2mperf.build("pv-linear", guest) as linear:
        saved = cast(Living, tree).life.saving.save()
        cast(Living, linear).life.saving.save()
        with refused():
            cast(P2m, linear).restore(saved)


def test_what_was_saved_may_be_kept_in_a_file(p2m: P2m) -> None:
    p2m.restore(pickle.loads(pickle.dumps(p2m.save())))


def test_guests_are_equal_where_they_are_the_same() -> None:
    guest = Guest.plain("8M")
    assert guest == Guest.plain("8M")
    assert guest != Guest.plain("8M", seed=2)
    assert guest != 5
    assert {guest: 1}[pickle.loads(pickle.dumps(guest))] == 1


@pytest.mark.parametrize("fault", [KeyError, ValueError, TypeError, RuntimeError])
def test_a_fault_of_ours_is_not_taken_for_the_users(
    p2m: P2m, fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise fault("within")

    with monkeypatch.context() as patch:
        patch.setattr("p2mperf.designs.base.translated", fail)
        patch.setattr("p2mperf.designs.pv.breaking.Breaking.break_leaves", fail)
        patch.setattr("p2mperf.designs.pv.writer.Writer.set", fail)
        for call in (lambda: p2m.lookup([1]), lambda: p2m.break_leaves([50]), lambda: p2m.set([1], 2)):
            with pytest.raises(fault) as caught:
                call()
            assert type(caught.value) is fault
