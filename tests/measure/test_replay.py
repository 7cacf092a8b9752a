"""A stream replayed in this process: what was asked is what the map says, and what came before was done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pytest
from fault_streams import N_P2M, fault_stream

from p2mperf.designs import find
from p2mperf.errors import BadInputError, ClosedError, P2mperfError
from p2mperf.guests.guest import Guest
from p2mperf.jit import njit
from p2mperf.measure import replay as replaying
from p2mperf.measure.code_form import describe
from p2mperf.measure.replay import Replayer, default_work_bytes
from p2mperf.measure.replay_kernels import note_loads, replay
from p2mperf.measure.stretch import Phases, stretch, summarise
from p2mperf.memory import vm
from p2mperf.preambles import Preamble
from p2mperf.units import KIB, MIB
from p2mperf.workload.translation_stream import TranslationStream, check_stream

ZERO = np.uint64(0)
GUEST = Guest.plain("256M", seed=5)
STREAM = fault_stream(70, GUEST.n_boot_pages, n_exits=7)
PHASES = Phases(4, 11, 6)
FLOAT = re.compile(r"\b(fadd|fsub|fmul|fdiv|fcmp|uitofp|sitofp|fptoui|fptosi)\b")
needs_flush = pytest.mark.skipif(
    not Preamble("flushed", True, 0, 0, "").is_possible, reason="how this TLB is flushed is not known"
)


@pytest.fixture(scope="module")
def replayer() -> Iterator[Replayer]:
    with Replayer(GUEST, ("pv-tree", "pv-linear"), STREAM) as made:
        yield made


@needs_flush
@pytest.mark.parametrize("condition", replaying.CONDITIONS)
def test_every_entry_of_every_design_is_timed_under_each_condition(
    replayer: Replayer, condition: str
) -> None:
    took = replayer.run(condition, PHASES, 64 * KIB, 10.0)
    assert list(took) == ["pv-tree", "pv-linear", "control"]
    # 6 phases of 11 entries, those of 40 and of 9 lookups; less than nothing is what stamps may differ by
    assert {ns.shape for ns in took.values()} == {(66,)}
    assert all((ns > 0).sum() > 33 for ns in took.values())


@needs_flush
def test_flushes_and_work_are_done_as_often_as_the_gaps_say(replayer: Replayer) -> None:
    n_touches = np.arange(STREAM.n_entries, dtype=np.uint32)
    before = replaying.condition_of("cold", 64 * KIB, n_touches)
    design = replayer.designs["pv-linear"]
    took = np.zeros(5, np.int64)
    result = replay(design.tables, design.state, replayer.asked, before, 10, 15, took, ZERO)
    assert result.n_flushes == 5
    assert result.work == 10 + 11 + 12 + 13 + 14  # all words are 1
    assert result.n_wrong == 0
    # written out: the entries of all frames that these five ask for
    items = STREAM.items[STREAM.starts[10] : STREAM.starts[15]] & np.uint32(2**31 - 1)
    assert int(result.total) == sum(map(int, GUEST.entries(items.astype(np.uint64)))) % 2**64


def test_what_does_not_add_up_is_an_error(replayer: Replayer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replayer, "_sums", replayer._sums + np.arange(71, dtype=np.uint64))
    with pytest.raises(P2mperfError, match="not in its map"):
        replayer.run("tight", PHASES)


def test_a_frame_that_the_m2p_names_wrongly_is_seen() -> None:
    with Replayer(GUEST, ("pv-linear",), STREAM, control=False) as made:
        # two frames change places in the m2p; sums over whole entries that ask for both would not tell
        first, second = (int(GUEST.entries([frame])[0]) for frame in _asked_of_m2p()[:2])
        words = made._m2p_words
        vm.protect(words.ctypes.data, words.nbytes, vm.READ_WRITE)
        words[first], words[second] = words[second], words[first]
        with pytest.raises(P2mperfError, match="not in its map"):
            made.run("tight", PHASES)


def _asked_of_m2p() -> list[int]:
    items = STREAM.items[STREAM.starts[4] :]
    return [int(item) & (2**31 - 1) for item in items if item >> 31]


def test_a_tree_reads_three_words_where_a_list_reads_one(replayer: Replayer) -> None:
    fault = int(np.flatnonzero(np.diff(STREAM.starts) == N_P2M)[0])
    loads = {}
    for name, design in replayer.designs.items():
        probe = np.zeros(128, np.uint64)
        note_loads(design.tables, design.state, replayer.asked, fault, probe)
        loads[name] = int(probe[0])
    assert loads == {"pv-tree": 3 * N_P2M, "pv-linear": N_P2M, "control": 3 * N_P2M}


def test_the_loop_has_no_floats_and_no_vectors(replayer: Replayer) -> None:
    fresh, design = njit(replay.py_func, cache=False), replayer.designs["pv-tree"]
    before = replaying.condition_of("tight", 0, np.zeros(1, np.uint32))
    fresh(design.tables, design.state, replayer.asked, before, 0, 1, np.zeros(1, np.int64), ZERO)
    (text,) = fresh.inspect_llvm().values()
    assert not FLOAT.search(text)
    (text,) = fresh.inspect_asm().values()
    assert describe(text.partition(".Lfunc_end0")[0]) == "scalar"


def test_designs_that_were_closed_are_not_read() -> None:
    made = Replayer(GUEST, ("pv-linear",), STREAM, control=False)
    made.close()
    made.close()
    with pytest.raises(ClosedError):
        made.run("tight", PHASES)


def test_a_design_that_cannot_be_built_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    kind = find("pv-linear")
    monkeypatch.setattr(kind, "close", lambda self: closed.append(self.name), raising=False)
    with pytest.raises(BadInputError, match="unknown design"):
        Replayer(GUEST, ("pv-linear", "pv-none"), STREAM)
    assert closed == ["pv-linear"]


@pytest.mark.parametrize("work_bytes", [0, 4096, -1])
def test_other_work_on_nothing_is_refused(replayer: Replayer, work_bytes: int) -> None:
    with pytest.raises(BadInputError, match="32K at least"):
        replayer.run("cold", PHASES, work_bytes, 1.0)


# ---- streams ----


def spoilt(**columns: object) -> TranslationStream:
    return changed(STREAM, **columns)  # type: ignore[arg-type]


def with_item(item: int) -> np.ndarray:
    items = STREAM.items.copy()
    items[3] = item
    return items


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (spoilt(items=with_item(GUEST.n_boot_pages)), "frame 0x10000, and the guest has 0x10000"),
        (spoilt(items=with_item(2**32 - 1)), "frame 0x7fffffff"),
        (spoilt(items=STREAM.items.astype(np.uint64)), "must be an array of uint32"),
        (spoilt(items=[1, 2]), "must be an array of uint32"),
        (spoilt(starts=STREAM.starts[:-1]), "70 entries has 70 starts"),
        (spoilt(starts=STREAM.starts + 1), "do not divide"),
        (spoilt(starts=np.roll(STREAM.starts, 1)), "do not divide"),
        (spoilt(entered=STREAM.entered + np.uint8(200)), "of class 210"),
        (spoilt(gaps_ns=STREAM.gaps_ns[1:]), "69 gaps"),
        (stretch(STREAM, 3, 3), "no entries"),
    ],
)
def test_a_stream_that_is_none_is_refused_before_it_is_read(stream: TranslationStream, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        Replayer(GUEST, ("pv-linear",), stream)


def test_a_guest_with_holes_where_the_stream_asks_is_refused() -> None:
    # It boots with 32 MB; what lies under the hole from 16 to 24 MB is moved above.
    guest = Guest.from_e820([(0, "16M", "ram"), ("24M", "64M", "ram")], "32M")
    items = np.arange(guest.n_boot_pages, dtype=np.uint32)
    stream = TranslationStream(
        items, np.array([0, items.size]), np.zeros(1, np.uint8), np.zeros(1, np.uint32), items.size, True
    )
    with pytest.raises(BadInputError, match="has holes"):
        Replayer(guest, ("pv-linear",), stream)


def test_a_stretch_is_a_stream_of_its_own() -> None:
    part = stretch(STREAM, 20, 30)
    check_stream(part, GUEST.n_boot_pages)
    assert part.n_entries == 10
    assert part.items.tolist() == STREAM.items[STREAM.starts[20] : STREAM.starts[30]].tolist()


def test_phases_are_as_long_as_entries_allow() -> None:
    assert Phases.of(100_000, 4096, 6) == Phases(512, 4096, 6)
    # 70 entries are 6 phases of 11, and before them an eighth of 11 which is 1: 67
    assert Phases.of(70, 4096, 6) == Phases(1, 11, 6)
    assert Phases.of(70, 4096, 6).n_entries == 67
    assert Phases.of(7, 4096, 6) == Phases(0, 1, 6)
    with pytest.raises(BadInputError, match="does not make 6 phases"):
        Phases.of(5, 4096, 6)


# ---- sums ----


def test_means_are_over_the_entries_of_a_class_and_phase() -> None:
    phases = Phases(2, 3, 2)
    part = stretch(fault_stream(8, GUEST.n_boot_pages), 0, 8)
    part.entered[4] = 10  # EXIT: the third timed one, in the first phase
    took = {"a": np.array([1.0, 3, 50, 4, 5, 6]), "b": np.array([2.0, 2, 10, 1, 1, 1])}
    classes, n_left_out = summarise(took, part, phases)
    assert n_left_out == 0
    assert classes["EXIT"].n_entries == (1,)
    assert classes["EXIT"].ns_per_entry == {"a": (50.0,), "b": (10.0,)}
    assert classes["ANONYMOUS_WRITE"].n_entries == (2, 3)
    assert classes["ANONYMOUS_WRITE"].n_items == (2 * N_P2M, 3 * N_P2M)
    assert classes["ANONYMOUS_WRITE"].ns_per_entry == {"a": (2.0, 5.0), "b": (2.0, 1.0)}


def test_an_interrupt_is_left_out_of_all_designs_and_a_slower_design_is_not() -> None:
    phases = Phases(0, 100, 2)
    part = fault_stream(200, GUEST.n_boot_pages)
    slow, fast = np.full(200, 300.0), np.full(200, 100.0)
    slow[150] = 5_200.0  # 5.1 us longer than the other: interrupted
    slow[20] = 5_000.0  # 4.9 us: no more than memory can take
    classes, n_left_out = summarise({"slow": slow, "fast": fast}, part, phases)
    assert n_left_out == 1
    found = classes["ANONYMOUS_WRITE"]
    assert found.n_entries == (100, 99)
    assert found.ns_per_entry == {"slow": (300.0 + 47.0, 300.0), "fast": (100.0, 100.0)}


def test_what_is_long_is_not_left_out_for_being_long() -> None:
    part = fault_stream(4, GUEST.n_boot_pages, n_exits=4)
    took = {"a": np.array([1e4, 30e3, 59e3, 61e3]), "b": np.array([1e4, 20e3, 30e3, 30e3])}
    classes, n_left_out = summarise(took, part, Phases(0, 4, 1))
    assert n_left_out == 1  # 61 us are more than twice 30
    assert classes["EXIT"].ns_per_entry == {"a": (33e3,), "b": (20e3,)}


def test_work_is_four_times_the_second_cache_within_a_share_of_the_last() -> None:
    def card(*sizes: int, n_cpus: int = 4) -> dict[str, object]:
        levels = [{"level": at, "type": "Unified", "size_bytes": size} for at, size in enumerate(sizes, 1)]
        return {"caches": levels, "n_cpus": n_cpus}

    assert default_work_bytes(card(32 * KIB, 2 * MIB, 260 * MIB)) == 8 * MIB
    assert default_work_bytes(card(32 * KIB, 256 * KIB, 3 * MIB)) == 768 * KIB  # 3M / 4 is less than 4 * 256K
    assert default_work_bytes(card(32 * KIB, 1 * MIB, 4 * MIB)) == 2 * MIB  # but twice the second at least
    assert default_work_bytes({}) == 4 * MIB


@needs_flush
def test_a_flush_costs_the_lookups_their_translations() -> None:
    # The same four frames again and again: in the caches, and in the TLB unless it is flushed. Lookups that
    # hit both take some 20 ns, translations of nine pages of a tree more than as much again on any machine.
    guest = Guest.plain("2049M")
    items = np.tile(np.repeat(np.arange(4, dtype=np.uint32) << np.uint32(16), 2), 256)
    stream = TranslationStream(
        items, np.arange(257) * 8, np.zeros(256, np.uint8), np.zeros(256, np.uint32), guest.n_boot_pages, True
    )
    with Replayer(guest, ("pv-tree",), stream, control=False) as made:
        phases, pairs = Phases(56, 100, 1), []
        for _ in range(15):
            warm, flushed = (made.run(name, phases)["pv-tree"] for name in ("tight", "flushed"))
            pairs.append(float(np.median(flushed)) / max(float(np.median(warm)), 1.0))
    assert float(np.median(pairs)) > 1.5


def test_the_m2p_is_shown_read_only(replayer: Replayer) -> None:
    address = replayer._m2p_words.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(word, 16) for word in line.split()[0].split("-"))
        if start <= address < end:
            assert line.split()[1] == "r--s"
