"""Replays in processes of their own: who does what, what is kept, and what is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_streams import N_P2M, fault_stream

import p2mperf
from p2mperf.analysis.kernel_build.replay_file import read_replays, write_replays
from p2mperf.analysis.kernel_build.replays import deltas, interference
from p2mperf.cli import main
from p2mperf.cli.replay import as_text
from p2mperf.errors import BadInputError, NothingFitsError, P2mperfError, ResultsError
from p2mperf.guests.guest import Guest
from p2mperf.measure.interference import Victim, default_victims
from p2mperf.preambles import Preamble
from p2mperf.progress import Progress
from p2mperf.study.executors.base import Capacity, Place
from p2mperf.study.replay_order import ReplayOrder
from p2mperf.study.replay_plan import ReplayPlan, plan_replay
from p2mperf.study.replay_unit import run_replay
from p2mperf.study.replaying import run_replays
from p2mperf.units import GIB, KIB, MIB
from p2mperf.workload.replays import Replays
from p2mperf.workload.translation_stream import TranslationStream

needs_flush = pytest.mark.skipif(
    not Preamble("flushed", True, 0, 0, "").is_possible, reason="how this TLB is flushed is not known"
)
N_ENTRIES = 300
STREAM = fault_stream(N_ENTRIES, Guest.plain("64M").n_boot_pages, n_exits=10)


@dataclass
class Here:
    """Stands in for processes: does each task here, and notes what it was told."""

    capacity_bytes: int = 1 << 40
    orders: list[ReplayOrder] = field(default_factory=list)
    needs: list[int] = field(default_factory=list)
    fail_at: int = -1
    is_alone: bool = False

    def place(self) -> Place:
        return Place("here", {"caches": [], "n_cpus": 1}, "key", "code")

    def capacity(self) -> Capacity:
        return Capacity(self.capacity_bytes, 10_000)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        self.is_alone = True
        yield
        self.is_alone = False

    def do(self, task: dict[str, Any], seed: int, need_bytes: int) -> Iterator[dict[str, Any]]:
        assert self.is_alone
        order = ReplayOrder.from_json(json.loads(json.dumps(task)))
        assert order.seed == seed
        if len(self.orders) == self.fail_at:
            raise KeyboardInterrupt
        self.orders.append(order)
        self.needs.append(need_bytes)
        records: list[dict[str, Any]] = []
        assert run_replay(order, lambda record: records.append(json.loads(json.dumps(record)))) == 0
        yield from records


def small(**options: Any) -> ReplayPlan:
    conditions = options.pop("conditions", ["tight"])
    wished: dict[str, Any] = {"n_processes": 2, "phase_entries": 16, "n_phases": 6, "work": "64K", **options}
    return plan_replay(wished.pop("guests", ["64M"]), wished.pop("designs", []), conditions, **wished)


def test_each_process_replays_another_part_with_a_seed_of_its_own() -> None:
    here, seeds = Here(), []

    def make(guest: Guest, seed: int) -> TranslationStream:
        seeds.append((guest.name, guest.seed, seed))
        return STREAM

    found = run_replays(make, small(n_processes=3, seed=7), executor=here, recording="digest")
    assert [order.seed for order in here.orders] == [7, 8, 9]
    assert seeds == [("pv-64-64m", seed, seed) for seed in (7, 8, 9)]
    (replay,) = found.replays
    # 6 phases of 16 and a lead of 2 are 98 of 300 entries: from 0, 101 and 202 on, and timed 2 later.
    assert [process.first_entry for process in replay.processes] == [2, 103, 204]
    assert replay.designs == ("pv-tree", "pv-linear")
    assert found.recording == "digest"
    assert found.thp
    for process in replay.processes:
        assert process.pages == {"pv-tree": 4096, "pv-linear": 4096, "control": 4096}
        n_timed = sum(sum(cost.n_entries) for cost in process.classes.values())
        assert n_timed + process.n_left_out == 6 * 16
        fault = process.classes["ANONYMOUS_WRITE"]
        assert [items / entries for items, entries in zip(fault.n_items, fault.n_entries, strict=True)] == [
            N_P2M
        ] * 6


@needs_flush
def test_a_short_stream_is_cut_once() -> None:
    # 30 entries make 3 phases of 9 with a lead of 1; the 28 of these would make phases of 8.
    stream = fault_stream(30, Guest.plain("64M").n_boot_pages)
    found = run_replays(stream, small(phase_entries=4096, n_phases=3), executor=Here())
    (replay,) = found.replays
    assert replay.phase_entries == 9
    for process in replay.processes:
        assert sum(sum(cost.n_entries) for cost in process.classes.values()) + process.n_left_out == 3 * 9


def test_the_first_cold_process_finds_out_how_much_work_a_gap_is_and_tells_the_others() -> None:
    here = Here()
    found = run_replays(STREAM, small(conditions=["cold"], n_processes=3), executor=here)
    first, *others = here.orders
    assert first.touches_per_us == 0
    (replay,) = found.replays
    assert {order.touches_per_us for order in others} == {replay.touches_per_us}
    assert replay.touches_per_us > 0
    assert replay.work_bytes == 64 * KIB


def test_designs_that_have_processes_to_themselves_are_put_together_by_seed() -> None:
    here = Here()
    found = run_replays(STREAM, small(alone=True, n_processes=2), executor=here)
    # two seeds, each with the tree, the list and the tree once more, another one first
    assert [order.designs for order in here.orders] == [
        *(("pv-linear",), ("pv-tree",), ("pv-tree",)),
        *(("pv-tree",), ("pv-tree",), ("pv-linear",)),
    ]
    assert not any(order.control for order in here.orders)
    (replay,) = found.replays
    assert replay.alone
    assert set(replay.processes[0].classes["EXIT"].ns_per_entry) == {"pv-tree", "pv-linear", "control"}
    assert Replays.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_interference_is_bounded_and_counted() -> None:
    here = Here()
    plan = small(interference=True, designs=["pv-tree", "pv-linear"])
    found = run_replays(STREAM, plan, executor=here)
    # of a machine that tells no caches: 32K, chased and streamed, as long as half and as 90 % of the gaps
    assert [(one.victim, one.work_bytes) for one in found.interference] == [
        ("chase", 32 * KIB),
        ("chase", 32 * KIB),
        ("stream", 32 * KIB),
        ("stream", 32 * KIB),
    ]
    assert here.orders[1].n_touches == ()  # the second order is the first of victims: it finds out
    assert here.orders[3].n_touches == tuple(one.n_touches for one in found.interference)
    table = interference(found)
    assert len(table) == 4
    assert (table["lines_per_entry"] > 0).all()  # a tree reads its mids and its top besides
    assert (
        found.interference[0].lines_per_entry["pv-tree"] == found.interference[0].lines_per_entry["control"]
    )
    assert "longer [ns]" in as_text(found)


def test_what_is_whole_is_kept_when_somebody_interrupts() -> None:
    kept: list[Replays] = []
    with pytest.raises(KeyboardInterrupt):
        run_replays(STREAM, small(n_processes=3), keep=kept.append, executor=Here(fail_at=2))
    assert [len(one.replays[0].processes) for one in kept] == [1, 2]


def test_a_guest_that_does_not_fit_is_skipped_and_none_that_fits_is_an_error() -> None:
    said: list[str] = []
    # 128 GiB: tree, list and tree are 256 MiB each; the process itself takes 420
    here, progress = Here(capacity_bytes=GIB), Progress(said.append)
    found = run_replays(STREAM, small(guests=["64M", "128G"], n_processes=1), progress, executor=here)
    assert [replay.guest for replay in found.replays] == ["pv-64-64m"]
    assert len(said) == 1
    assert said[0].startswith("pv-64-128g is skipped: it needs 1.")
    with pytest.raises(NothingFitsError, match="no guest of this replay fits"):
        run_replays(STREAM, small(guests=["128G"]), executor=here)


def test_a_guest_that_is_too_small_for_a_stream_is_refused() -> None:
    with pytest.raises(BadInputError, match="take a larger guest"):
        run_replays(STREAM, small(guests=["32M"]), executor=Here())


def test_a_process_that_ends_early_is_an_error() -> None:
    class Torn(Here):
        def do(self, task: dict[str, Any], seed: int, need_bytes: int) -> Iterator[dict[str, Any]]:
            yield from list(super().do(task, seed, need_bytes))[:2]

    with pytest.raises(P2mperfError, match="ended early"):
        run_replays(STREAM, small(), executor=Torn())


@pytest.mark.parametrize(
    ("wished", "said"),
    [
        ({"designs": ["pv-tree"]}, "two designs at least"),
        ({"designs": ["pv-tree", "pv-tree"]}, "named twice"),
        ({"designs": ["pv-tree", "arm-vlpt"]}, "arm-vlpt is of family arm"),
        ({"designs": ["pv-tree", "pv-lniear"]}, "did you mean 'pv-linear'"),
        ({"designs": "pv-tree"}, "list of names"),
        ({"guests": ["8Q"]}, "not a size"),
        ({"conditions": ["warm"]}, "unknown condition 'warm'"),
        ({"n_processes": 0}, "number of processes"),
        ({"n_processes": True}, "number of processes"),
        ({"phase_entries": -3}, "entries of a phase"),
        ({"work": "1K"}, "32K to 1G"),
        ({"work": "x"}, "not a size"),
        ({"backing": "tiny"}, "backing"),
        ({"alone": 1}, "alone must be True or False"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_replayed_is_refused(wished: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        small(**wished)


@pytest.mark.parametrize("source", [3, None, "there/is/none.parquet", "", "two\nlines"])
def test_what_is_no_recording_is_refused(source: Any) -> None:
    with pytest.raises((BadInputError, ResultsError)):
        p2mperf.replay(source, guests=["64M"], quiet=True)


def test_victims_fit_the_caches_of_a_machine() -> None:
    levels = ((1, 48 * KIB), (2, 2 * MIB), (3, 260 * MIB))
    card = {
        "caches": [{"level": level, "type": "Unified", "size_bytes": size} for level, size in levels],
        "n_cpus": 2,
    }
    sizes = [victim.work_bytes for victim in default_victims(card) if victim.kind == "chase"]
    assert sizes == [36 * KIB, 1536 * KIB, 4 * MIB, 32 * MIB]  # of a share of 130 MiB no more


def test_a_chase_goes_through_all_its_lines() -> None:
    words, at, seen = Victim("chase", 32 * KIB).memory(), 0, set()
    for _ in range(512):
        seen.add(at)
        at = int(words[at])
    assert (at, len(seen)) == (0, 32 * KIB // 64)


# ---- files and processes ----


def test_replays_are_written_whole_and_strictly_read(tmp_path: Path) -> None:
    found = run_replays(STREAM, small(), executor=Here())
    path = tmp_path / "new" / "replays.json"
    write_replays(found, path)
    assert read_replays(path) == found
    assert [each.name for each in path.parent.iterdir()] == ["replays.json"]
    text = path.read_bytes()
    for spoilt in (
        b"",
        text[:-20],
        b"[]",
        text.replace(b'"thp":true', b'"thp":1'),
        b"\xff" + text,
        b"[" * 10**5,
    ):
        path.write_bytes(spoilt)
        with pytest.raises(ResultsError, match="cannot read"):
            read_replays(path)


def test_changed_files_are_read_alike_or_refused(tmp_path: Path) -> None:
    path, rng = tmp_path / "replays.json", np.random.default_rng(5)
    write_replays(run_replays(STREAM, small(), executor=Here()), path)
    text = path.read_bytes()
    n_refused = 0
    for _ in range(300):
        changed = bytearray(text)
        at = int(rng.integers(0, len(text) - 8))
        changed[at : at + int(rng.integers(1, 8))] = rng.bytes(int(rng.integers(0, 4)))
        path.write_bytes(changed)
        try:
            deltas(read_replays(path))
        except ResultsError as error:
            n_refused += len(str(error)) < 500
    assert n_refused > 200  # most bytes are structure; a digit that became another is a number all the same


def test_a_replay_in_processes_of_its_own_ends_as_one_here_would(tmp_path: Path) -> None:
    out = tmp_path / "replays.json"
    conditions = ["tight", "cold"] if Preamble("cold", True, 0, 0, "").is_possible else ["tight"]
    found = p2mperf.replay(
        STREAM,
        guests=["64M"],
        conditions=conditions,
        n_processes=1,
        phase_entries=16,
        work="64K",
        out=out,
        quiet=True,
    )
    assert read_replays(out) == found
    assert [replay.condition for replay in found.replays] == conditions
    assert set(deltas(found)["verdict"]) == {"no verdict"}


def test_mistakes_on_the_command_line_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["x.parquet", "--condition", "warm"],
        ["x.parquet", "--design", "pv-tree"],
        ["x.parquet", "--guest-memory", "8"],
        ["x.parquet", "--processes", "many"],
        ["x.parquet", "--thp", "--no-thp"],
        ["there-is-none.parquet"],
        [],
    ):
        assert main(["replay", *words]) == 2, words
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("p2mperf: ")
        assert captured.err.count("\n") == 1


def test_the_table_names_the_estimate() -> None:
    if not Preamble("cold", True, 0, 0, "").is_possible:
        pytest.skip("how this TLB is flushed is not known")
    found = run_replays(STREAM, small(conditions=["tight", "cold"]), executor=Here())
    text = as_text(found, classes=True)
    assert "other work in 64K" in text
    assert "anonymous write" in text
    assert "all" in text
    assert "that takes 6 processes" in text
