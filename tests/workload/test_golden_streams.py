"""What the shipped recordings ask, as integers that are the same on any machine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import golden_streams
import numpy as np
import pytest
from naive_stream import Naive
from stream_cases import entries, naive, of

import p2mperf
from p2mperf.guests.guest import Guest
from p2mperf.shipped import RECORDINGS
from p2mperf.workload.events import Event
from p2mperf.workload.recording import Recording
from p2mperf.workload.recording_file import read_recording
from p2mperf.workload.stream import count_translations, make_stream
from p2mperf.workload.translation_stream import Entered

STORED: dict[str, dict[str, Any]] = json.loads(golden_streams.STORED.read_text())
DESIGNS = ("pv-tree", "pv-linear", "pv-tree-4k", "pv-linear-4k")
COLUMNS = ("time_ns", "cpu", "pid", "event", "value", "aux")
# As many events as dictionaries go through in a second.
N_NAIVE = 20_000


@pytest.fixture(scope="module", params=sorted(RECORDINGS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def recording(name: str) -> Recording:
    return read_recording(name)


def test_every_shipped_recording_has_its_integers() -> None:
    assert sorted(STORED) == sorted(RECORDINGS)


@pytest.mark.parametrize("thp", [True, False])
def test_counts_are_the_stored_ones(name: str, recording: Recording, thp: bool) -> None:
    assert golden_streams.of_recording(recording, thp) == STORED[name]["thp" if thp else "no-thp"]


@pytest.mark.parametrize("size", golden_streams.SIZES)
@pytest.mark.parametrize("thp", [True, False])
def test_streams_are_the_stored_ones(name: str, recording: Recording, thp: bool, size: str) -> None:
    guest = Guest.plain(size)
    found = golden_streams.of_stream(make_stream(recording, guest, thp=thp), guest)
    assert found == STORED[name][f"{'thp' if thp else 'no-thp'}, {size}"]


# Of 400G, whose tables alone are 800 MiB, it is the guest's own arithmetic that answers.
BUILT = [*((design, "8G") for design in DESIGNS), ("pv-tree", "128G"), ("pv-linear", "128G")]


@pytest.mark.parametrize(("design", "size"), BUILT)
def test_each_design_answers_with_the_stored_integers(
    name: str, recording: Recording, design: str, size: str
) -> None:
    guest = Guest.plain(size)
    stream = make_stream(recording, guest)
    with p2mperf.build(design, guest) as p2m:
        answered = p2m.lookup(golden_streams.frames(stream))
    assert golden_streams.both(answered) == STORED[name][f"thp, {size}"]["entries"]


def test_events_are_counted_once_each(name: str, recording: Recording) -> None:
    """What can be said of counts without keeping any address space."""
    events = STORED[name]["events"]
    assert np.bincount(recording.event, minlength=len(Event)).tolist()[: len(events)] == list(events.values())
    counted = count_translations(recording)
    classes = [counted.by_class[entered.name].n for entered in Entered if entered.name in counted.by_class]
    faults = sum(
        counted.by_class[each.name].n for each in Entered if each.name in counted.by_class and each < 8
    )
    assert faults == events["FAULT_USER"] + events["FAULT_KERNEL"]
    assert counted.total.n == sum(classes)
    assert counted.by_class["EXEC"].n == events["EXEC"]
    # All entries that a process has are unmapped at its end, of which the recording tells each.
    assert counted.by_class["EXIT"].n == events["EXIT_MMAP"]
    # A new root for each process that is copied, each program, and none for threads and those that wait.
    assert counted.by_step["NEW_PGD"].n == counted.by_class["FORK"].n + counted.by_class["EXEC"].n
    # Where the page was there no table is new: 2 of the p2m beyond what is read back, for the entry that is
    # made and set, and nothing for one that is written natively.
    for entered, more in (("ZERO_PAGE_WRITE", 2), ("COPY_ON_WRITE", 2), ("REUSE", 0)):
        one = counted.by_class[entered]
        assert one.p2m - one.m2p == more * one.n


def test_windows_are_as_recorded(recording: Recording) -> None:
    """Pages that windows map, against the windows themselves: those that are mapped already are few."""
    counted = count_translations(recording)
    in_windows = int((recording.aux[recording.event == Event.MAP_PAGES] & 0xFFFF_FFFF).clip(1, 16).sum())
    assert 0.9 * in_windows < counted.by_step["FILE_PAGE"].n <= in_windows


def test_the_beginning_is_what_a_naive_kernel_asks(recording: Recording) -> None:
    part = replace(recording, **{column: getattr(recording, column)[:N_NAIVE].copy() for column in COLUMNS})
    guest = Guest.plain("8G")
    for cpu in np.unique(part.cpu).tolist():
        made, placed = of(part, lambda one, cpu=cpu: make_stream(one, guest, cpu=cpu))
        expected, found = naive(part, placed, True, cpu)
        assert isinstance(found, Naive)
        assert len(expected) > 100
        assert entries(made) == expected


def test_another_recording_asks_otherwise() -> None:
    one, other = (STORED[name]["thp"] for name in sorted(STORED)[:2])
    assert one["by_class"] != other["by_class"]
    # Who starts more programs for their faults asks more for each: more windows, exits, tables.
    ratios = []
    for each in (one, other):
        n_faults = sum(row[0] for kind, row in each["by_class"].items() if Entered[kind] < Entered.FORK)
        ratios.append(
            (
                each["by_class"]["EXEC"][0] / n_faults,
                sum(row[1] for row in each["by_class"].values()) / n_faults,
            )
        )
    assert (ratios[0][0] < ratios[1][0]) == (ratios[0][1] < ratios[1][1])
