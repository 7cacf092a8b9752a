"""The recordings that come with p2mperf: small, whole lives, like their builds, and private."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest

from p2mperf.shipped import RECORDINGS, shipped
from p2mperf.workload.events import Event
from p2mperf.workload.faults import classify
from p2mperf.workload.recording import Recording, Whole
from p2mperf.workload.recording_file import read_recording
from p2mperf.workload.sampling import (
    GAP_BOUNDS_NS,
    MOST_GAP_RATIO,
    MOST_SHARE,
    MOST_SHARE_RATIO,
    count_events,
    gaps_ns,
)

MOST_BYTES = 3_000_000


@pytest.fixture(scope="module", params=sorted(RECORDINGS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def recording(name: str) -> Recording:
    return read_recording(name)


@pytest.fixture(scope="module")
def whole(recording: Recording) -> Whole:
    assert recording.about.whole is not None
    return recording.about.whole


def test_each_is_small(name: str) -> None:
    assert shipped(name).stat().st_size < MOST_BYTES


def test_each_is_of_a_real_build_of_which_nothing_is_missing(recording: Recording, whole: Whole) -> None:
    about = recording.about
    assert (about.tool, about.made, about.complete_until_ns, about.usage.exit_code) == ("make", "", -1, 0)
    assert all(count.n_overrun == count.n_dropped == 0 for count in about.cpus.values())
    # Events that were decoded are those that the kernel says were read.
    assert sum(whole.n_events.values()) == sum(count.n_read for count in about.cpus.values())
    n_faults = whole.n_events["FAULT_USER"] + whole.n_events["FAULT_KERNEL"]
    assert sum(whole.n_faults.values()) == n_faults
    # wait4 counts those of the recorder's own child too, before the command began in it: a few.
    assert about.usage.n_minor_faults + about.usage.n_major_faults == pytest.approx(n_faults, rel=0.005)
    assert whole.n_faults["UNCLASSIFIED"] < 0.001 * n_faults


def test_each_has_whole_lives(recording: Recording, whole: Whole) -> None:
    n_threads = int(recording.pid.max())
    is_exit = recording.event == Event.EXIT
    ended = recording.pid[is_exit]
    # Each thread that anything happened to ends, once, and has no fault afterwards.
    assert np.array_equal(np.unique(ended), np.unique(recording.pid[recording.pid > 0]))
    assert ended.size == np.unique(ended).size <= n_threads
    ends = np.zeros(n_threads + 1, np.int64)
    ends[ended] = recording.time_ns[is_exit]
    is_exec = recording.event == Event.EXEC
    assert np.all(recording.time_ns[is_exec] < ends[recording.pid[is_exec]])
    assert int(np.count_nonzero(is_exec)) <= whole.n_kept_spaces < whole.n_spaces


def test_each_is_like_the_build_that_it_was_cut_from(recording: Recording, whole: Whole) -> None:
    for counts, of in (
        (count_events(recording), whole.n_events),
        (classify(recording).counts, whole.n_faults),
    ):
        for what, n_whole in of.items():
            share, expected = counts.get(what, 0) / sum(counts.values()), n_whole / sum(of.values())
            assert abs(share - expected) <= max(MOST_SHARE_RATIO * expected, MOST_SHARE), what
    bounds, numbers = np.array(whole.gaps_ns).T
    # The whole's median lies in this class, which ends where the next begins.
    bound = int(bounds[np.searchsorted(np.cumsum(numbers), numbers.sum() / 2)])
    end = GAP_BOUNDS_NS[np.searchsorted(GAP_BOUNDS_NS, bound) + 1]
    median = float(np.median(gaps_ns(recording)))
    assert bound * (1 - MOST_GAP_RATIO) <= median <= end * (1 + MOST_GAP_RATIO)


def test_none_says_what_was_compiled_or_where(name: str, recording: Recording) -> None:
    # Columns hold numbers alone: words are in what stands beside them, and in the names of the columns.
    schema = pq.read_schema(shipped(name))
    assert {str(kind) for kind in schema.types} <= {"int8", "int32", "int64"}
    said = json.dumps(asdict(recording.about)) + "".join(schema.names)
    assert not re.search(r"vmlinux|\.[cho]\b|/|-j\d", said)
    assert not {"hostname", "node", "command", "path"} & set(recording.about.machine)
