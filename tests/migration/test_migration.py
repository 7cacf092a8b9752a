"""Dirty-page tracing over the ARM designs, and precopy rounds against the arithmetic."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arm_guests import BANKS

from p2mperf.cli import main
from p2mperf.designs.arm.vlpt import ArmVlpt
from p2mperf.designs.arm.walk import ArmWalk, ArmWalkDirect
from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest
from p2mperf.migration.precopy import RULES, Sender, StopRule, recurrence, stop_rule
from p2mperf.migration.tracing import Tracer, frames_of
from p2mperf.migration.writers import HotSet, PageWriter, Sequential, Uniform, all_frames, make_writer

DESIGNS = (ArmWalk, ArmWalkDirect, ArmVlpt)
WRITE, LOG_DIRTY = np.uint64(1 << 7), np.uint64(1 << 55)

each_design = pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)

ONE_GIB = Guest.plain("1G", geometry="lpae")


def naive_dirty(writes: list[int]) -> list[int]:
    """What a bitmap must hold, from a set."""
    return sorted(set(writes))


@each_design
@pytest.mark.parametrize("layout", [{}, {"run_frames": 1}, {"n_regions": 3}], ids=str)
def test_writes_are_traced(design: type[ArmWalk | ArmWalkDirect | ArmVlpt], layout: dict[str, Any]) -> None:
    rng = np.random.default_rng(4)
    frames = all_frames(BANKS)
    with design(BANKS, **layout) as p2m:
        before = p2m.lookup(frames)
        tracer = Tracer(p2m)
        tracer.start()
        # Every entry is read-only now, and says that tracing made it so.
        assert np.array_equal(p2m.lookup(frames), (before ^ WRITE) | LOG_DIRTY)
        for _ in range(3):
            writes = rng.choice(frames, 4000)
            n_faults = tracer.write(writes)
            expected = naive_dirty(writes.tolist())
            # One fault a page and round, however often it is written.
            assert n_faults == len(expected)
            assert tracer.write(writes) == 0
            assert frames_of(tracer.peek(), tracer.first).tolist() == expected
            dirty = np.isin(frames, expected)
            assert np.array_equal(p2m.lookup(frames[dirty]), before[dirty])
            assert np.array_equal(p2m.lookup(frames[~dirty]), (before[~dirty] ^ WRITE) | LOG_DIRTY)
            assert frames_of(tracer.clean(), tracer.first).tolist() == expected
            assert not tracer.peek().any()
        tracer.stop()
        assert np.array_equal(p2m.lookup(frames), before)
        assert tracer.write(frames[:5]) == 0
        p2m.audit()


@each_design
def test_pages_that_are_read_only_for_another_reason_stay_so(
    design: type[ArmWalk | ArmWalkDirect | ArmVlpt],
) -> None:
    with design(ONE_GIB) as p2m:
        page = p2m.third_words()
        page[5] ^= WRITE
        read_only = int(page[5])
        tracer = Tracer(p2m)
        tracer.start()
        gfn = tracer.first + 5
        assert int(page[5]) == read_only
        assert tracer.write([gfn]) == 0
        assert not tracer.peek().any()
        tracer.stop()
        assert int(page[5]) == read_only


def test_domains_that_share_a_window_are_traced_apart() -> None:
    other = Guest.plain("1G", geometry="lpae", seed=2)
    with ArmVlpt(ONE_GIB) as first, ArmVlpt(other, domid=1, window=first.window) as second:
        tracers = [Tracer(first), Tracer(second)]
        for tracer in tracers:
            tracer.start()
        base = tracers[0].first
        assert tracers[0].write([base, base + 1]) == 2
        assert tracers[1].write([base + 1, base + 9]) == 2
        assert tracers[0].write([base + 9]) == 1
        assert [frames_of(t.peek(), base).tolist() for t in tracers] == [
            [base, base + 1, base + 9],
            [base + 1, base + 9],
        ]


def test_a_window_that_was_cleaned_up_traces_nothing() -> None:
    with ArmVlpt(ONE_GIB) as p2m:
        tracer = Tracer(p2m)
        tracer.start()
        p2m.cleanup()
        with pytest.raises(BadInputError, match="prepare it again"):
            tracer.write([tracer.first])
        p2m.prepare()
        assert tracer.write([tracer.first]) == 1


@each_design
def test_a_write_outside_ram_is_refused_and_changes_nothing(
    design: type[ArmWalk | ArmWalkDirect | ArmVlpt],
) -> None:
    # Bank 0 is 6 MiB from frame 0x40000 on, bank 1 43 MiB from 0xc0000 on; 256 frames a MiB.
    with design(BANKS) as p2m:
        tracer = Tracer(p2m)
        tracer.start()
        for gfn in (0, 0x3FFFF, 0x40600, 0xBFFFF, 0xC0000 + 43 * 256, 1 << 28, 1 << 60):
            with pytest.raises(BadInputError, match=rf"write number 1 goes to frame {gfn:#x} .* outside"):
                tracer.write([0x40000, gfn])
        assert not tracer.peek().any()
        assert tracer.write([0x40000, 0x405FF, 0xC0000, 0xC0000 + 43 * 256 - 1]) == 4


BEYOND = """
import numpy as np
from arm_guests import BANKS
from p2mperf.api import build
from p2mperf.errors import BadInputError
from p2mperf.migration.tracing import Tracer

with build({design!r}, BANKS) as p2m:
    tracer = Tracer(p2m)
    tracer.start()
    for gfn in (2**63 - 1, 2**63, 2**64 - 1):
        try:
            tracer.write(np.array([gfn], np.uint64))
        except BadInputError as error:
            print(error)
"""


@each_design
def test_a_write_beyond_all_banks_is_refused_however_far(
    design: type[ArmWalk | ArmWalkDirect | ArmVlpt],
) -> None:
    # In a process of its own: a fault on a frame without an entry would end it.
    script = BEYOND.format(design=design.name)
    child = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1] / "support",
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    said = child.stdout.splitlines()
    assert [f"{gfn:#x} " in one for gfn, one in zip((2**63 - 1, 2**63, 2**64 - 1), said, strict=True)] == [
        True,
        True,
        True,
    ]


def test_bitmaps() -> None:
    bitmap = np.zeros(2, np.uint64)
    bitmap[0] = 0b101
    bitmap[1] = 1 << 63
    # Bits 0, 2 and 64 + 63.
    assert frames_of(bitmap, 1000).tolist() == [1000, 1002, 1127]


# D' = D * rate * 4096 / bandwidth, from 262144 pages. 2 000 /s at 125 MB/s: a factor of 0.065536, and
# 262144 * 0.065536 ** 4 = 4.8. 20 000 /s: 0.65536, and 262144 * 0.65536 ** 20 = 56.0, ** 21 = 36.7.
# At 12.5 MB/s the factor is 6.5: all pages are dirty again after each round, and the fourth has sent more
# than three times the memory; 1 GiB then takes 85.9 s.
EXAMPLES = [
    (2_000, 125e6, 4, 4.8, "fewer than 50 pages left"),
    (20_000, 125e6, 21, 36.7, "fewer than 50 pages left"),
    (20_000, 12.5e6, 4, 262144, "more than 3 times the memory sent"),
]


@pytest.mark.parametrize(("rate", "bandwidth", "n_rounds", "left", "reason"), EXAMPLES)
def test_examples_from_the_recurrence(
    rate: int, bandwidth: float, n_rounds: int, left: float, reason: str
) -> None:
    found = recurrence(Sequential(ONE_GIB), rate, bandwidth, RULES["legacy"])
    assert len(found.rounds) == n_rounds
    assert found.rounds[-1].n_left == pytest.approx(left, abs=0.05)
    assert found.stopped_by == reason
    assert found.diverges == (left == 262144)
    assert found.downtime_seconds == pytest.approx(left * 4096 / bandwidth, rel=0.02)
    assert found.n_left == int(left)


@pytest.mark.parametrize(("rate", "bandwidth", "n_rounds", "left", "reason"), EXAMPLES)
@each_design
def test_examples_by_tracing_a_writer(
    design: type[ArmWalk | ArmWalkDirect | ArmVlpt],
    rate: int,
    bandwidth: float,
    n_rounds: int,
    left: float,
    reason: str,
) -> None:
    expected = recurrence(Sequential(ONE_GIB), rate, bandwidth, RULES["legacy"])
    with design(ONE_GIB) as p2m:
        found = Sender(Tracer(p2m), Sequential(ONE_GIB), rate, bandwidth).run(RULES["legacy"])
        p2m.audit()
    assert (len(found.rounds), found.stopped_by, found.diverges) == (n_rounds, reason, left == 262144)
    # The writer writes whole pages and is owed the rest: a round differs from the real number by one at most.
    for traced, computed in zip(found.rounds, expected.rounds, strict=True):
        assert abs(traced.n_left - computed.n_left) <= 1
    if left == 262144:
        assert found.downtime_seconds == pytest.approx(85.9, abs=0.05)


def test_the_literal_legacy_rule_sends_the_small_round_too() -> None:
    # The round that sends 36.7 pages is the first below 50: one more round, 36.7 * 0.65536 = 24.06 left.
    found = recurrence(Sequential(ONE_GIB), 20_000, 125e6, RULES["legacy-sent"])
    assert (len(found.rounds), found.n_left) == (22, 24)
    assert found.stopped_by == "fewer than 50 pages sent"


def test_the_later_rule_stops_after_five_rounds() -> None:
    # 262144 * 0.65536 ** 5 = 31 691.3 pages: 129.8 MB, 1.04 s at 125 MB/s.
    found = recurrence(Sequential(ONE_GIB), 20_000, 125e6, RULES["later"])
    assert (len(found.rounds), found.n_left, found.stopped_by) == (5, 31691, "5 rounds")
    assert found.downtime_seconds == pytest.approx(1.038, abs=0.001)
    assert not found.diverges


def test_twenty_nine_rounds_are_the_most() -> None:
    # A writer of 1000 pages that keeps all of them dirty: never below 50, and 1000 a round are far from 3 x.
    found = recurrence(Sequential(ONE_GIB, 1000), 1e6, 125e6, RULES["legacy"])
    assert (len(found.rounds), found.stopped_by, found.n_left) == (29, "29 rounds", 1000)
    assert found.diverges


@pytest.mark.parametrize(
    ("n_sent", "n_left", "ratio", "expected"),
    [
        (51, 49, 0.0, "fewer than 50 pages left"),
        (49, 50, 3.0, ""),
        (60, 50, 3.01, "more than 3 times the memory sent"),
    ],
)
def test_a_rule_at_its_edges(n_sent: int, n_left: int, ratio: float, expected: str) -> None:
    assert StopRule("x", 29, 50, 3.0).verdict(28, n_sent, n_left, ratio) == expected
    assert StopRule("x", 29, 50).verdict(29, n_sent, 50, ratio) == "29 rounds"


def test_a_guest_that_does_not_write_is_sent_once() -> None:
    with ArmVlpt(ONE_GIB) as p2m:
        found = Sender(Tracer(p2m), Sequential(ONE_GIB), 0, 125e6).run(RULES["legacy"])
    assert (len(found.rounds), found.n_left, found.total_sent_pages) == (1, 0, 262144)
    assert found.total_seconds == pytest.approx(262144 * 4096 / 125e6)


def test_peeking_skips_pages_that_are_dirty_again() -> None:
    writers = [Uniform(ONE_GIB, seed=5) for _ in range(2)]
    with ArmVlpt(ONE_GIB) as p2m:
        plain = Sender(Tracer(p2m), writers[0], 20_000, 125e6).run(RULES["later"])
        peeking = Sender(Tracer(p2m), writers[1], 20_000, 125e6, peek=True).run(RULES["later"])
    for done in peeking.rounds:
        assert done.n_skipped > 0
    for done, before in zip(peeking.rounds[1:], peeking.rounds, strict=False):
        assert done.n_sent + done.n_skipped == before.n_left
    assert peeking.total_sent_pages < plain.total_sent_pages


@pytest.mark.parametrize("writer", [Sequential, Uniform, HotSet])
def test_writers_touch_as_many_pages_as_they_expect(writer: type[PageWriter]) -> None:
    for n_writes in (1000, 20_000, 200_000):
        made = writer(ONE_GIB, 40_000, seed=3)
        touched = np.unique(made.write(n_writes)).size
        # Distinct values of n draws vary by less than sqrt(n_pages) = 200: four of those.
        assert touched == pytest.approx(made.expected_dirty(n_writes), abs=800)


def test_expected_pages_by_hand() -> None:
    # Two pages, two uniform writes: 1 or 2 pages with equal chance.
    assert Uniform(ONE_GIB, 2).expected_dirty(2) == pytest.approx(1.5)
    # 10 hot pages of 20, all writes hot: 10 * (1 - 0.9 ** 3) of 3 writes.
    hot = HotSet(ONE_GIB, 20, hot_pages=10, hot_fraction=1.0)
    assert hot.expected_dirty(3) == pytest.approx(10 * (1 - 0.9**3))
    assert Sequential(ONE_GIB, 100).expected_dirty(250) == 100


def test_a_sequential_writer_goes_round_across_banks() -> None:
    writer = Sequential(BANKS)
    frames = all_frames(BANKS)
    assert frames.size == 49 * 256
    first, second = writer.write(frames.size - 1), writer.write(3)
    assert first.tolist() == frames[:-1].tolist()
    assert second.tolist() == [int(frames[-1]), int(frames[0]), int(frames[1])]


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInputError, match="unknown writer 'unifrom': did you mean 'uniform'"):
        make_writer("unifrom", ONE_GIB)
    with pytest.raises(BadInputError, match="unknown stop rule"):
        stop_rule("never")
    with pytest.raises(BadInputError, match="working set of 262145 pages"):
        Uniform(ONE_GIB, 262145)
    with pytest.raises(BadInputError, match="hot set of 0 pages"):
        HotSet(ONE_GIB, hot_pages=0)
    for rate, bandwidth in ((-1.0, 1e6), (float("nan"), 1e6), (1.0, 0.0), (1.0, float("inf"))):
        with pytest.raises(BadInputError, match="is none"):
            recurrence(Sequential(ONE_GIB), rate, bandwidth, RULES["legacy"])


MIGRATE = ["migrate", "--memory", "1G", "--dirty-rate", "20000", "--bandwidth", "125M"]


@pytest.mark.parametrize("tracer", ["vlpt", "walk"])
def test_the_command_shows_both_courses(tracer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MIGRATE, "--tracer", tracer]) == 0
    out = capsys.readouterr().out
    assert f"traced by arm-{tracer}: stopped after 21 rounds (fewer than 50 pages left), 37 pages left" in out
    assert "from the recurrence: stopped after 21 rounds (fewer than 50 pages left), 36 pages left" in out
    assert "measured on this host" in out


def test_the_command_speaks_json_and_reports_divergence(capsys: pytest.CaptureFixture[str]) -> None:
    slow = [*MIGRATE[:-1], "12.5M"]
    assert main([*slow, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [answer[source]["diverges"] for source in ("recurrence", "traced")] == [True, True]
    assert [done["n_left"] for done in answer["traced"]["rounds"]] == [262144] * 4
    assert main(slow) == 0
    assert "does not converge after 4 rounds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*MIGRATE, "--tracer", "vptl"], "unknown tracer 'vptl': did you mean 'vlpt'"),
        ([*MIGRATE[:-1], "fast"], "'fast' is not a rate"),
        ([*MIGRATE[:-1], "0"], "a bandwidth of 0.0 bytes/s is none"),
        ([*MIGRATE, "--working-set", "2G"], "working set of 524288 pages is not within the 262144 of arm-1g"),
        ([*MIGRATE, "--ram-base", "1024G"], "above the 40 bits"),
        ([*MIGRATE, "--rule", "soon"], "unknown stop rule 'soon'"),
    ],
)
def test_the_command_refuses_nonsense(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
