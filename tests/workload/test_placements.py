"""Where a stream's frames stand in the guest: neighbours stay so, and what does not fit is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_recordings import Made
from stream_cases import frames_recorded, of

from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest
from p2mperf.workload import placing
from p2mperf.workload.events import Event
from p2mperf.workload.faults import classify
from p2mperf.workload.recording import Recording
from p2mperf.workload.stream import count_translations, make_stream
from p2mperf.workload.translation_stream import M2P_ITEM

GUEST = Guest.plain("256M")

# ---- where frames stand ----


def placed_data(recording: Recording, **options: Any) -> list[int]:
    _, placed = of(recording, lambda one: make_stream(one, options.pop("guest", GUEST), **options))
    data: list[int] = placed.data.tolist()
    return data


def test_neighbours_stay_neighbours_and_blocks_go_anywhere() -> None:
    recorded = [700, 701, 1023, 1024, 5000, 701]
    recording = frames_recorded(*recorded)
    spread = placed_data(recording)
    assert [frame % 512 for frame in spread] == [frame % 512 for frame in recorded]
    blocks = {old // 512: new // 512 for old, new in zip(recorded, spread, strict=True)}
    # Four blocks of 2 MiB: 1, 2 and 9 (5000 = 9 * 512 + 392), each to one of its own.
    assert sorted(blocks) == [1, 2, 9]
    assert len(set(blocks.values())) == 3
    assert spread == placed_data(recording, seed=1)
    assert spread != placed_data(recording, seed=2)
    # As recorded, less the lowest one's block.
    assert placed_data(recording, placement="recorded") == [frame - 512 for frame in recorded]


def test_all_frames_are_ram_of_the_guest() -> None:
    guest = Guest.from_e820([(0, "64M", "ram"), ("128M", "192M", "ram")], "128M", name="two")
    build = Made().table(1, *range(9)).fault(1, 5, 0).window(1, 3, 0, 16).cached(1, 3, 4, 5)
    for number in range(20):
        build.fault(1, 600 * number).table(1, 4096 + number).data(1, 512 * number)
    recording = build.add(Event.NEW_TASK, 1, 2).add(Event.EXEC, 2, 2).add(Event.EXIT_MMAP, 1).recording()
    for seed in range(5):
        stream = make_stream(recording, guest, seed=seed)
        frames = np.unique(stream.items & np.uint32(M2P_ITEM - 1))
        kinds = guest.entry_kinds(frames)
        assert set(kinds.tolist()) == {int(guest.runs.kind[0])}
        assert stream.n_guest_frames == guest.covered_pfn


def test_a_guest_that_is_too_small_is_refused() -> None:
    # Three blocks, one of the kernel and 16 for what is unknown: 20.
    recording = frames_recorded(0, 512, 1024)
    make_stream(recording, Guest.plain("40M"))
    with pytest.raises(BadInputError, match="20 blocks of 2 MiB, and pv-64-38m has 19"):
        make_stream(recording, Guest.plain("38M", name="pv-64-38m"))


def test_recorded_frames_must_fit() -> None:
    with pytest.raises(BadInputError, match="spread them"):
        make_stream(frames_recorded(0, 1 << 20), GUEST, placement="recorded")
    make_stream(frames_recorded(1 << 20, (1 << 20) + 5), GUEST, placement="recorded")


def test_files_that_were_not_read_lie_in_runs_of_their_own() -> None:
    build = Made()
    for file in range(40):
        build.fault(1, 16 * file, 0).window(1, file, 0, 16)
    recording = build.recording()
    _, placed = of(recording, lambda one: make_stream(one, GUEST))
    assert placed.runs.shape == (40, 16)
    assert (np.diff(placed.runs, axis=1) == 1).all()
    assert (placed.runs[:, 0] % 16 == 0).all()
    # 32 runs fill a block: 40 are in two, and no frame stands twice.
    assert np.unique(placed.runs).size == 40 * 16
    assert np.unique(placed.runs // 512).size == 2


def test_a_frame_that_was_not_given_is_unknown() -> None:
    # An allocation that failed is recorded as frame -1.
    recording = frames_recorded(-1, 5)
    _, placed = of(recording, lambda one: make_stream(one, GUEST))
    assert int(placed.data[0]) == int(placed.unknown[0])


# ---- what is refused ----


@pytest.mark.parametrize("frame", [1 << 40, -2, -(1 << 63), (1 << 63) - 1])
def test_frames_that_no_machine_has_are_refused(frame: int) -> None:
    with pytest.raises(BadInputError, match="which no machine has"):
        make_stream(frames_recorded(frame), GUEST)
    count_translations(frames_recorded(frame))  # which asks for no frame


def test_placements_are_named_once() -> None:
    assert placing.PLACEMENTS == ("spread", "recorded")
    assert classify(frames_recorded(5)).n_faults == 1
