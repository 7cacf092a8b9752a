"""Entries: what comes before them is done, and their lookups alone are timed."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np
import pytest

import p2mperf
from p2mperf.cli.sweep import as_text
from p2mperf.designs import family_of
from p2mperf.designs.base import Design
from p2mperf.errors import BadInputError, P2mperfError
from p2mperf.families import find_family, find_preamble
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.jit import njit
from p2mperf.kernels import trace
from p2mperf.measure.code_form import describe
from p2mperf.measure.operations import entry_kernels
from p2mperf.measure.operations.entry import Entry
from p2mperf.measure.operations.entry_kernels import Before, Entered, enter
from p2mperf.measure.operations.registry import find_operation
from p2mperf.measure.settings import Settings
from p2mperf.memory import raw
from p2mperf.preambles import KernelEntry, Preamble
from p2mperf.results.keys import CellSpec
from p2mperf.streams import make_stream
from p2mperf.study.jobs import jobs
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan

ZERO = np.uint64(0)
FLOAT = re.compile(r"\b(fadd|fsub|fmul|fdiv|fcmp|uitofp|sitofp|fptoui|fptosi)\b")
TIGHT = Preamble("tight", False, 0, 0, "a test")
FLUSH = Preamble("flush", True, 0, 0, "a test")
needs_flush = pytest.mark.skipif(not FLUSH.is_possible, reason="how this TLB is flushed is not known")


def asked_by(family: str) -> KernelEntry:
    found = find_family(family).entry
    assert found is not None
    return found


def begun(preamble: Preamble | None, design: Design) -> Entry:
    work = Entry(preamble)
    work.begin({design.name: design}, 0, None)
    return work


def done(work: Entry, design: Design, frames: Words) -> tuple[Entered, int]:
    """A pass that was found right, and what it says it took."""
    timed = work.prepare(design, frames)
    start = perf_counter_ns()
    result = timed()
    ns = work.timed_ns(result, perf_counter_ns() - start)
    work.finish(design, frames, result)
    return result, ns


CASES = [
    (name, geometry, preamble)
    for family, names, geometries in (
        ("pv", ("pv-tree", "pv-linear"), ("pv64", "pv32")),
        ("arm", ("arm-walk", "arm-walk-direct", "arm-vlpt"), ("lpae",)),
    )
    for preamble in asked_by(family).preambles
    for name in names
    for geometry in geometries
    if preamble.is_possible
]


@pytest.mark.parametrize(("name", "geometry", "preamble"), CASES)
def test_entries_sum_what_the_map_says(name: str, geometry: str, preamble: Preamble) -> None:
    guest = Guest.plain("64M", geometry)
    asked = asked_by(family_of(name))
    frames = make_stream("uniform", guest, 32 * asked.n_frames, seed=3)
    with p2mperf.build(name, guest) as design:
        work = begun(preamble, design)
        result, ns = done(work, design, frames)
        assert ns > 0
        assert work.n_done(frames.size) == 32
        # Written out: each frame as often as the family says that it is asked for.
        told = [
            int(word)
            for first in range(0, frames.size, asked.n_frames)
            for word in guest.entries(frames[first + np.array(asked.asks)])
        ]
        assert int(result.total) == sum(told) % 2**64
        for field in ("total", "n_flushes", "work"):
            wrong = result._replace(**{field: getattr(result, field) + np.uint64(1)})
            with pytest.raises(P2mperfError):
                work.finish(design, frames, wrong)


def test_a_visit_is_of_more_than_a_thousand_entries() -> None:
    asked = asked_by("pv")
    n_passes = 1 + Settings().n_slices  # with the untimed one before them
    assert n_passes * Entry(FLUSH).n_fixed // asked.n_frames > 1000
    assert n_passes * Entry(TIGHT).n_fixed // asked.n_frames > 1000
    assert Entry(FLUSH).n_fixed % asked.n_frames == Entry(TIGHT).n_fixed % asked.n_frames == 0


def test_entries_of_one_frame_are_as_long_in_all_as_those_of_four() -> None:
    with p2mperf.build("hap-walk", Guest.plain("4M", geometry="hap64")) as p2m:
        for preamble, n_entries in ((FLUSH, 512), (TIGHT, 3 << 13)):
            work = Entry(preamble)
            work.begin({"hap-walk": p2m}, 1, None)
            assert work.n_done(work.n_fixed) == n_entries
            assert (1 + Settings().n_slices) * n_entries > 1000


def test_what_time_stamps_cost_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(1000, 7)  # a stamp takes 7 ticks
    spent = 0

    def walk(tables: Any, state: Any, probe: Any, pfn: np.uint64) -> tuple[np.uint64, Any]:
        nonlocal spent
        spent += 5
        return pfn, state

    monkeypatch.setattr(entry_kernels, "ticks", lambda: np.uint64(next(clock) + spent))
    monkeypatch.setattr(entry_kernels, "walk", walk)
    with p2mperf.build("pv-linear", Guest.plain("8M")) as design:
        work = begun(None, design)
        tables, before = design.tables, work.before
    result = enter.py_func(tables, (), np.arange(20, dtype=np.uint64), ZERO, before)
    # Five entries of nine lookups; from the first stamp to the last there are three an entry, and one.
    assert result.took.tolist() == [45] * 5
    assert int(result.whole) == 5 * (45 + 3 * 7) + 7
    # A tick of half a nanosecond.
    assert work.timed_ns(result, int(result.whole) // 2) == pytest.approx(5 * 45 / 2, abs=1)


def test_an_interrupted_entry_does_not_stand_for_its_pass() -> None:
    with p2mperf.build("pv-linear", Guest.plain("8M")) as design:
        work = begun(None, design)
        frames = np.zeros(4 * 320, np.uint64)
        result = work.prepare(design, frames)()
    took = np.full(320, 400)
    result = result._replace(took=took, whole=np.uint64(10**6))
    assert work.timed_ns(result, 10**6) == 320 * 400
    # 2 % at either end: six of 320. Six interrupts change nothing, the seventh is counted.
    took[:6] = 100_000
    assert work.timed_ns(result, 10**6) == 320 * 400
    took[6] = 100_000
    assert work.timed_ns(result, 10**6) > 320 * 600


def times(work: Entry, design: Design, frames: Words, n_passes: int) -> list[float]:
    return [done(work, design, frames)[1] / work.n_done(frames.size) for _ in range(n_passes)]


@needs_flush
def test_a_flush_costs_the_lookups_their_translations() -> None:
    # The same four frames again and again: in the caches, and in the TLB unless it is flushed. Nine loads
    # that hit both take some 10 ns, four walks of page tables more than as much again on any machine.
    with p2mperf.build("pv-linear", Guest.plain("2049M"), backing="small") as design:
        frames = np.tile(np.arange(4, dtype=np.uint64) << np.uint64(16), 512)
        pairs = []
        works = [begun(TIGHT, design), begun(FLUSH, design)]
        for _ in range(15):
            warm, flushed = (times(work, design, frames, 1)[0] for work in works)
            pairs.append(flushed / max(warm, 1))
        assert median(pairs) > 1.5


def test_other_work_is_mostly_near() -> None:
    n_words = (1 << 20) // 8
    near = np.zeros(n_words, np.uint64)
    near[: n_words // 8] = 1
    with p2mperf.build("pv-linear", Guest.plain("8M")) as design:
        nothing = np.ones(0, np.uint64)
        asks = np.array(asked_by("pv").asks, np.uint64)
        before = Before(asks, np.uint64(4), nothing, ZERO, near, np.uint64(1000))
        result = enter(design.tables, design.state, np.zeros(400, np.uint64), ZERO, before)
    # Three quarters of 100 000, and an eighth of the rest.
    assert int(result.work) == pytest.approx(78_125, rel=0.02)


@pytest.mark.parametrize("name", ["pv-tree", "pv-linear", "arm-walk"])
def test_the_loop_has_no_floats_and_no_vectors(name: str) -> None:
    (geometry, *_) = find_family(family_of(name)).geometries
    with p2mperf.build(name, Guest.plain("8M", geometry)) as design:
        fresh = njit(enter.py_func, cache=False)
        fresh(design.tables, design.state, np.zeros(4, np.uint64), ZERO, begun(None, design).before)
    (text,) = fresh.inspect_llvm().values()
    assert not FLOAT.search(text)
    (text,) = fresh.inspect_asm().values()
    assert describe(text.partition(".Lfunc_end0")[0]) == "scalar"


def test_the_clock_of_the_system_serves_where_no_counter_is_known() -> None:
    @njit(cache=False)
    def twice() -> tuple[np.uint64, np.uint64]:
        return raw._clock_ticks(), raw._clock_ticks()

    twice()
    start = perf_counter_ns()
    first, second = map(int, twice())
    end = perf_counter_ns()
    assert start <= first <= second <= end


def test_what_cannot_be_said_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match="unknown preamble 'fluhs': did you mean 'flush'"):
        find_preamble("pv", "fluhs")
    with p2mperf.build("pv-linear", Guest.plain("8M")) as design:
        monkeypatch.setattr("platform.machine", lambda: "aarch64")
        with pytest.raises(P2mperfError, match="flush flushes the TLB, which is known for x86 alone"):
            begun(FLUSH, design)


def test_every_preamble_says_where_it_is_from() -> None:
    for family in ("pv", "arm", "hap"):
        asked = asked_by(family)
        names = [preamble.name for preamble in asked.preambles]
        assert len(set(names)) == len(names)
        assert set(asked.usual) <= set(find_family(family).geometries)
        assert {name for usual in asked.usual.values() for name in usual} <= set(names)
        assert sorted(set(asked.asks)) == list(range(asked.n_frames))
        assert all(preamble.source for preamble in asked.preambles)
        assert all(bool(one.work_bytes) == bool(one.work_touches) for one in asked.preambles)
    assert len(asked_by("pv").asks) == 9


def test_plans_measure_the_usual_preambles_and_full_all() -> None:
    def cells(name: str, guest: Guest) -> list[str]:
        plan = make_plan(name)
        spec = find_operation("entry")
        asked = {stream.name for stream, operation in plan.cells(guest) if operation == "entry"}
        assert not asked or asked == {"default": {"uniform"}, "full": set(spec.streams or ())}[name]
        return [before for before in plan.preambles_of(spec, guest) if asked]

    wide, narrow_guest, arm, hap = (Guest.plain("1G", shape) for shape in ("pv64", "pv32", "lpae", "hap64"))
    if FLUSH.is_possible:
        assert cells("default", hap) == ["8M", "flush+8M"]  # which it is, is not known
        assert cells("default", wide) == ["flush+8M", "tight"]
        assert set(cells("full", wide)) == {"flush+8M", "tight", "flush+1M", "flush", "8M"}
        assert set(cells("full", arm)) == {"tight", "8M", "flush+8M"}
    assert set(cells("default", narrow_guest)) == {"8M", "tight"}
    assert cells("quick", wide) == cells("life", wide) == cells("default", arm) == []


def test_entries_asked_for_by_name_come_after_all_preambles_or_those_named() -> None:
    quick = make_plan("quick")
    asked = narrow(quick, sizes=["64M"], operations=["entry"])
    (job, *_) = jobs(asked)
    befores = [cell.preamble for cell in job.cells]
    assert set(befores) == {one.name for one in asked_by("pv").preambles if one.is_possible}
    assert len(set(job.keys)) == len(befores)
    (job, *_) = jobs(narrow(quick, sizes=["64M"], operations=["latency", "entry"], preambles=["8M"]))
    assert [(cell.operation, cell.preamble) for cell in job.cells if cell.stream == "uniform"] == [
        ("latency", ""),
        ("entry", "8M"),
    ]
    with pytest.raises(BadInputError, match="unknown preamble '8G'"):
        narrow(quick, operations=["entry"], preambles=["8G"])


def test_keys_of_cells_that_nothing_comes_before_are_what_they_were() -> None:
    cell = CellSpec("pv", "uniform", 0.0, 0.0, "latency")
    assert cell.key_in("U") == "U/pv/uniform/hole-0.0/identity-0.0/latency"
    assert "preamble" not in cell.to_json()
    entry = CellSpec("pv", "uniform", 0.0, 0.0, "entry", "flush+8M")
    assert entry.key_in("U") == "U/pv/uniform/hole-0.0/identity-0.0/entry/after-flush+8M"
    assert CellSpec.from_json(entry.to_json()) == entry
    assert "preambles" not in make_plan("quick").as_dict()


def test_a_sweep_of_entries_tells_what_came_before_them(tmp_path: Path) -> None:
    frame = p2mperf.sweep(
        "quick",
        sizes=["16M"],
        operations=["latency", "entry"],
        preambles=["tight", "8M"],
        streams=["uniform"],
        n_replicates=1,
        out=tmp_path / "results",
        quiet=True,
    )
    assert set(frame["status"]) == {"done"}
    found = frame.groupby("operation")["preamble"].agg(lambda column: sorted(set(column)))
    assert found.to_dict() == {"entry": ["8M", "tight"], "latency": [""]}
    entries = frame[frame["preamble"] == "8M"]
    assert set(entries["n_lookups"]) == {Entry(find_preamble("pv", "8M")).n_fixed // 4}
    # Of the time that goes by, the work is by far the most, and is not told.
    assert entries["cost_ns"].median() < 5_000
    text = as_text(p2mperf.summary(frame))
    assert "entry, 8M" in text
    assert "entry, tight" in text


@pytest.mark.parametrize(
    ("guest", "list_counts", "tree_counts"),
    [
        ("pv-64-512m", (4.0, 4.0), (8.8, 6.0)),
        ("pv-64-8g", (4.0, 4.0), (9.0, 8.4)),
        ("pv-32-8g", (4.0, 4.0), (9.0, 6.9)),
    ],
)
def test_docs_count_the_lines_and_pages_of_an_entry(
    guest: str, list_counts: tuple[float, float], tree_counts: tuple[float, float]
) -> None:
    _, bits, size = guest.split("-")
    built = Guest.plain(size.upper(), f"pv{bits}")
    entries = make_stream("uniform", built, 4 * 500).reshape(-1, 4)
    for name, told in (("pv-linear", list_counts), ("pv-tree", tree_counts)):
        with p2mperf.build(name, built) as design:
            found = [addresses(design, frames) for frames in entries]
        for shift, n_told in zip((6, 12), told, strict=True):
            n_found = np.mean([np.unique(one >> np.uint64(shift)).size for one in found])
            assert n_found == pytest.approx(n_told, abs=0.1)
    lines, pages = zip(list_counts, tree_counts, strict=True)
    row = f"| {guest} | {lines[0]} | {pages[0]} | {lines[1]} | {pages[1]} |"
    assert row in Path("docs/entries.md").read_text().splitlines()


def addresses(design: Design, frames: Words) -> Words:
    """All addresses that the lookups of frames load from."""
    probe, found = np.zeros(16, np.uint64), []
    for frame in frames:
        probe[0] = 0
        trace(design.tables, design.state, probe, frame)
        found.append(probe[1 : 1 + int(probe[0])].copy())
    return np.concatenate(found)


def test_docs_name_the_preambles_and_what_they_do() -> None:
    text = Path("docs/entries.md").read_text()
    for one in asked_by("pv").preambles:
        flushed = "yes" if one.flush else "no"
        work = f"{one.work_touches} lines of {one.work_bytes >> 20} MiB" if one.work_bytes else "none"
        assert f"| {one.name} | {flushed} | {work} |" in text
    n_entries = [Entry(one).n_fixed // asked_by("pv").n_frames for one in (FLUSH, TIGHT)]
    assert "four passes of {} entries ({} without a preamble)".format(*n_entries) in text
    assert Settings().n_slices == 3
