"""Raw traces that are damaged, lossy or unfinished: what is complete is kept, the rest refused."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_pages as made
from traced_pages import ALLOC, FAULT, ROOT, START, fault, one_page

from p2mperf.errors import BadInputError
from p2mperf.workload.decode import decode
from p2mperf.workload.raw_trace import PROGRESS_FILE, RawTrace


def refusal(raw: RawTrace) -> str:
    with pytest.raises(BadInputError) as caught:
        decode(raw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


HOSTILE: list[tuple[bytes, str]] = [
    (made.page(START, commit=4084), "page 0 of .* says that it holds 4084 bytes"),
    (made.page(START, fault(), commit=30), "says that it holds 30 bytes"),
    (made.page(START, fault(), commit=32), "has an event that goes on behind its end, at byte 16"),
    (made.page(START, made.head(28, 1), commit=8), "goes on behind its end"),
    (made.page(START, made.head(0, 1)), "goes on behind its end"),
    (made.page(START, made.head(30, 1)), "goes on behind its end"),
    (made.page(START, made.head(0, 1), b"\3\0\0\0"), "has an event whose length is 3"),
    (made.page(START, made.head(29, 1), b"\0\0\0\0"), "has an event whose length is 0"),
    (made.page(START, made.head(0, 1), b"\xff\xff\xff\xff"), "goes on behind its end"),
    (made.page(START, made.head(3, 1), b"\1\0" + bytes(10)), "has an event of id 1, which was not recorded"),
    (made.page(START, made.head(1, 1), bytes(4)), "shorter than its format says, at"),
    (
        made.page(START, made.head(3, 1), fault()[4:16]),
        r"shorter than its format says \(exceptions/page_fault",
    ),
    (made.page(START, fault(pid=-1)), "names thread -1"),
    (made.page(START, fault(pid=2**22 + 1)), "names thread 4194305"),
    (made.page(START, made.event("sched/sched_switch", 1, ROOT, next_pid=-5)), "names thread -5"),
    (made.page(2**63, fault()), "a time that no clock gives"),
    (made.page(2**62, made.extend(2**58), fault()), "a time that no clock gives"),
    (made.page(START, fault(100), made.stamp(START + 5), fault(1)), "earlier than the one before it"),
]


@pytest.mark.parametrize(("page", "complaint"), HOSTILE, ids=map(str, range(len(HOSTILE))))
def test_a_damaged_page_is_refused_in_a_sentence(tmp_path: Path, page: bytes, complaint: str) -> None:
    sentence = refusal(made.write_trace(tmp_path, {0: [page]}, {0: 1}))
    assert re.search(complaint, sentence), sentence
    assert "cpu0.raw" in sentence


def test_a_later_page_is_named(tmp_path: Path) -> None:
    pages = [made.page(START, fault()), made.page(START - 50, fault())]
    assert "page 1 of" in refusal(made.write_trace(tmp_path, {0: pages}, {0: 2}))


@pytest.mark.parametrize("n_read", [0, 2])
def test_other_than_the_counted_events_are_refused(tmp_path: Path, n_read: int) -> None:
    assert f"has 1 events, but {n_read} were read" in refusal(one_page(tmp_path, fault(), n_read=n_read))


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    raw = one_page(tmp_path, fault(), n_read=1)
    content = raw.path_of(0).read_bytes()
    raw.path_of(0).write_bytes(content[:-4])
    assert "no whole pages of 4096" in refusal(raw)
    raw.path_of(0).write_bytes(b"")
    assert "has 0 events, but 1 were read" in refusal(raw)
    raw.path_of(0).unlink()
    assert "cannot read" in refusal(raw)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"page_bytes": 65536}, "pages of 65536 bytes"),
        ({"root_pid": 2**70}, "began with thread 1180591620717411303424"),
        ({"root_pid": -1}, "began with thread -1"),
        ({"tool": "x\n"}, "says of itself cannot be: its tool is no name"),
        ({"clock": "x" * 300}, "says of itself cannot be: its clock is no name"),
        ({"cpu_numbers": (0, 128)}, "CPUs 0 to 127"),
        ({"header_page": ""}, "says nothing of timestamp"),
        (
            {"header_page": made.HEADER_PAGE.replace("size:4080", "size:4079")},
            "no page that a ring buffer has",
        ),
        (
            {"header_page": made.HEADER_PAGE.replace("offset:16", "offset:12")},
            "no page that a ring buffer has",
        ),
        ({"formats": {}}, "no format of any event"),
        ({"formats": {"kmem/kfree": ""}}, "no recording keeps events of kmem/kfree"),
        ({"formats": {FAULT: "x"}}, "no format of an event"),
        ({"formats": {FAULT: made.format_text(ALLOC)}}, "has no field address"),
        (
            {
                "formats": {
                    FAULT: made.format_text(FAULT),
                    "exceptions/page_fault_kernel": made.format_text(FAULT),
                }
            },
            "two events of the raw trace have the id",
        ),
        ({"formats": {FAULT: made.format_text(FAULT).replace("offset:8;", "offset:9;")}}, "field address"),
        ({"formats": {FAULT: made.format_text(FAULT).replace("offset:8;", "offset:5000;")}}, "field address"),
        (
            {
                "formats": {
                    FAULT: made.format_text(FAULT),
                    ALLOC: made.format_text(ALLOC).replace("t:4;", "t:8;"),
                }
            },
            "begins otherwise",
        ),
    ],
)
def test_what_no_kernel_says_of_its_events_is_refused(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    assert complaint in refusal(replace(one_page(tmp_path, fault(), n_read=1), **change))


def test_of_a_lossy_trace_is_kept_what_is_complete(tmp_path: Path) -> None:
    pages = {
        # 0, 10 | lost | 100
        0: [
            made.page(START, fault(0), fault(10)),
            made.page(START + 100, fault(0), marks=made.LOST | made.LOST_STORED),
        ],
        # 5, 10, 11, 200: the last two are later than what CPU 0 has before it lost some.
        1: [made.page(START + 5, fault(0), fault(5), fault(1)), made.page(START + 200, fault(0))],
    }
    recording = decode(made.write_trace(tmp_path, pages, {0: 3, 1: 4}, lost=3))
    assert recording.about.complete_until_ns == 10
    assert recording.time_ns.tolist() == [0, 5, 10]
    assert recording.about.cpus[0].n_overrun == 3


def test_a_trace_that_lost_its_beginning_or_does_not_say_where_is_refused(tmp_path: Path) -> None:
    first = {0: [made.page(START, fault(), marks=made.LOST)], 1: [made.page(START, fault())]}
    assert "has no event up to where it is complete" in refusal(
        made.write_trace(tmp_path, first, {0: 1, 1: 1}, lost=1)
    )
    silent = {0: [made.page(START, fault())]}
    assert "lost 1 events, and nothing tells where" in refusal(
        made.write_trace(tmp_path, silent, {0: 1}, lost=1)
    )


def test_an_unfinished_trace_is_complete_up_to_where_its_recorder_had_come(tmp_path: Path) -> None:
    pages = {0: [made.page(START, fault(0), fault(10), fault(10))], 1: [made.page(START + 5, fault(0))]}
    raw = made.write_trace(tmp_path, pages, {}, finished=False, until_ns=START + 15)
    # Events at 0, 10, 20 and 5; the recorder had read every CPU up to 15.
    with raw.path_of(0).open("ab") as file:
        file.write(b"half a page that it was writing")
    recording = decode(raw)
    assert recording.time_ns.tolist() == [0, 5, 10]
    assert recording.about.complete_until_ns == 15
    raw.path_of(0).write_bytes(b"")
    assert "is shorter than its recorder left it" in refusal(raw)
    (tmp_path / PROGRESS_FILE).write_bytes(b"")
    assert "has no event up to where it is complete" in refusal(raw)


@pytest.mark.parametrize("seed", range(40))
def test_pages_of_garbage_are_refused_or_decoded_but_never_more(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    page = bytearray(made.page(START, *[fault(int(delta)) for delta in random.integers(0, 9, 80)]))
    for at in random.integers(8, 2000, 1 + seed % 5):
        page[at] = random.integers(0, 256)
    raw = made.write_trace(tmp_path, {0: [bytes(page)]}, {0: 80})
    recording = None
    with contextlib.suppress(BadInputError):
        recording = decode(raw)
    if recording is not None:
        assert recording.about.complete_until_ns >= 0 or recording.n_events == 80
