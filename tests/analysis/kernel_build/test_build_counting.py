"""What a recording says of a build, against sums on paper; and that another recording says something else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_recordings import Made, build
from predicted_builds import COSTS, replay, replays

from p2mperf.analysis.kernel_build.counting import asked_of, count_build
from p2mperf.analysis.kernel_build.prediction import kernel_build
from p2mperf.errors import BadInputError
from p2mperf.workload.events import Event
from p2mperf.workload.locality import Sums
from p2mperf.workload.recording import CpuCount, Whole


def test_faults_and_lookups_of_each_class() -> None:
    counts = count_build(build())
    writes, reads = counts.classes["ANONYMOUS_WRITE"], counts.classes["FILE_READ"]
    # A walk of 5, lock and table 2, made 1, set 1; without huge pages two fewer, and all but two of the m2p.
    assert (writes.n_entries, writes.n_p2m, writes.n_m2p, writes.n_p2m_other_thp) == (300, 2700, 2100, 2100)
    # a walk of 5, lock and table 2, and two for each of 16 pages
    assert (reads.n_entries, reads.n_p2m, reads.n_m2p) == (30, 30 * 39, 30 * 7)
    assert counts.n_faults == 330
    assert (counts.n_windows, counts.window_pages) == (30, 16)
    assert (counts.name, counts.user_s, counts.n_execs, counts.of_whole) == ("made", 1.0, 0, False)
    assert counts.classes["EXIT"].n_entries == 1
    assert counts.p2m_per_fault == sum(each.n_p2m for each in counts.classes.values()) / 330


def test_without_huge_pages_the_two_change_places() -> None:
    with_thp, without = count_build(build()), count_build(build(), thp=False)
    assert without.p2m_per_fault == with_thp.p2m_per_fault_other_thp
    assert without.p2m_per_fault_other_thp == with_thp.p2m_per_fault
    assert (with_thp.thp, without.thp) == (True, False)


def test_what_an_entry_asks_is_a_mean() -> None:
    # 4 entries: 36 lookups, 10 lines of mids in 8 GiB slots, 4 of the top; of 3 slots one asked nothing
    sums = Sums(4, 36, 20, 12, 10, 8, 4)
    asked = asked_of(sums)
    assert (asked.n_calls, asked.n_tops, asked.n_mids, asked.n_top_lines, asked.n_mid_lines) == (
        9,
        1,
        2,
        1,
        2.5,
    )
    # however many lines of it, the top is one page
    assert asked_of(replace(sums, n_top_lines=8)).n_tops == 1
    assert asked_of(replace(sums, n_top_lines=2)).n_tops == 0.5
    assert count_build(build()).classes["ANONYMOUS_WRITE"].asked.n_calls == 9


def test_a_sample_stands_for_the_whole() -> None:
    recording = build()
    whole = Whole(
        every=3,
        first=0,
        n_spaces=3,
        n_kept_spaces=1,
        n_events={"EXIT_MMAP": 5, "EXEC": 4},
        n_faults={"ANONYMOUS_WRITE": 600, "FILE_READ": 90, "REUSE": 10},
        gaps_ns=(),
    )
    counts = count_build(replace(recording, about=replace(recording.about, whole=whole)))
    kept = count_build(recording)
    assert counts.of_whole
    assert counts.n_faults == 700
    assert counts.n_execs == 4
    # twice as many writes, three times as many reads, five times as many exits
    for kind, times in (("ANONYMOUS_WRITE", 2), ("FILE_READ", 3), ("EXIT", 5)):
        one, other = counts.classes[kind], kept.classes[kind]
        assert one.n_entries == times * other.n_entries
        assert one.n_p2m == pytest.approx(times * other.n_p2m)
        assert one.asked == other.asked
    assert "REUSE" not in counts.classes  # the sample has none to say what one asks


def test_the_range_of_events_is_that_of_their_steps() -> None:
    # 480 pages of windows, at two lookups each, may be 10 / 13.95 of that; of the rest little is open.
    counts = count_build(build())
    fewer = 2 * 480 * (1 - 10 / 13.95)
    assert counts.events_factor >= counts.n_p2m / (counts.n_p2m - fewer) - 0.001
    assert count_build(build(n_reads=0)).events_factor < counts.events_factor


def test_what_is_no_build_is_refused() -> None:
    with pytest.raises(BadInputError, match="no page faults"):
        count_build(Made().add(Event.EXEC, 1, 1).recording())
    with pytest.raises(BadInputError, match="events come in a Recording"):
        count_build("build.parquet")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="replays are wanted, not"):
        kernel_build(build(), "replays.json")  # type: ignore[arg-type]


def test_another_recording_changes_what_is_predicted() -> None:
    # Costs of every class that is there: with them alone nothing is left out.
    costs = {**COSTS["cold", "8G"], "FILE_READ": 90.0}
    asked = replays(replays=(replay("cold", "8G", costs),))
    one, other = (kernel_build(build(*numbers), asked) for numbers in ((300, 30), (300, 200)))
    for found in (one, other):
        # What it comes to by hand: 50 ns a write, 90 a read, and 2 ns a lookup of the exit (400 ns for 200).
        classes = found.counts.classes
        exits = classes["EXIT"].n_p2m * 400 / 200
        by_hand = (
            50 * classes["ANONYMOUS_WRITE"].n_entries + 90 * classes["FILE_READ"].n_entries + exits
        ) / (found.counts.n_faults)
        assert found.estimate.per_fault_ns.estimate == pytest.approx(by_hand)
        assert found.estimate.left_out == 0
    numbers = [
        (
            found.estimate.per_fault_ns.estimate,
            found.estimate.per_p2m_ns,
            *(number.middle for number in found.modelled),
            *(time.here.middle for time in (found.system, found.elapsed) if time.here),
            *(time.modelled.middle for time in (found.system, found.elapsed) if time.modelled),
            *(swing.seconds[0] for swing in found.swings),
            found.needed[1].per_p2m_ns,
            found.faults_by_user_time.high,
        )
        for found in (one, other)
    ]
    assert all(a != b for a, b in zip(*numbers, strict=True))


def test_replays_of_another_recording_or_kernel_are_told() -> None:
    asked = replays(replays=(replay("cold", "8G", COSTS["cold", "8G"]),))
    found = kernel_build(build(), asked, digest="another")
    assert any("replays are of another recording" in note for note in found.notes)
    assert any("classes that were not replayed" in note for note in found.notes)  # reads of files
    assert not any(
        "another recording" in note for note in kernel_build(build(), asked, digest="digest").notes
    )
    made = build()
    about = replace(made.about, complete_until_ns=2_500_000_000, cpus={0: CpuCount(9, 4, 1)})
    notes = kernel_build(replace(made, about=about), asked).notes
    assert "the recording is no kernel's, but made: by a test" in notes
    assert "the recording is complete up to 2.5 s alone" in notes
    assert "5 events of the recording were lost" in notes
    assert any("page faults are few" in note for note in notes)
    # The kernel is the replays': counts follow them.
    assert kernel_build(build(), replays(thp=False, replays=asked.replays)).counts.thp is False
