"""Format files of tracefs: of this kernel's kind, of older ones, and of none."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from trace_texts import ALLOC_6_1, COMMON, STATS_6_18

from p2mperf.errors import BadInputError
from p2mperf.workload.formats import Field, parse_format, parse_gfp_flags
from p2mperf.workload.recorder import subbuffer_size
from p2mperf.workload.trace_instance import CpuStats, check_buffer, parse_stats

# Linux 6.1, of which mm_page_alloc keeps a page frame, and 3.10, where it kept the page's address.
EXEC_6_1 = (
    "name: sched_process_exec\nID: 311\nformat:\n"
    + COMMON
    + """\
	field:__data_loc char[] filename;	offset:8;	size:4;	signed:0;
	field:pid_t pid;	offset:12;	size:4;	signed:1;
	field:pid_t old_pid;	offset:16;	size:4;	signed:1;

print fmt: "filename=%s pid=%d old_pid=%d", __get_str(filename), REC->pid, REC->old_pid
"""
)
SWITCH_3_10 = """\
name: sched_switch
ID: 279
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;
	field:int common_padding;	offset:8;	size:4;	signed:1;

	field:char prev_comm[16];	offset:12;	size:16;	signed:1;
	field:pid_t prev_pid;	offset:28;	size:4;	signed:1;

print fmt: "prev_comm=%s offset:99; field:int no;	offset:1;	size:1;	signed:1;", REC->prev_comm
"""


def test_fields_have_offset_size_and_sign() -> None:
    made = parse_format(ALLOC_6_1)
    assert (made.name, made.event_id) == ("mm_page_alloc", 470)
    assert made.fields["pfn"] == Field(8, 8, is_signed=False)
    assert made.fields["migratetype"] == Field(32, 4, is_signed=True)
    assert made.fields["common_pid"] == Field(4, 4, is_signed=True)


def test_arrays_and_located_texts_are_fields_too() -> None:
    assert parse_format(EXEC_6_1).fields["filename"] == Field(8, 4, is_signed=False, is_located=True)
    assert parse_format(SWITCH_3_10).fields["prev_comm"] == Field(12, 16, is_signed=True)


def test_offsets_are_the_kernels_own() -> None:
    # 3.10 has four bytes of padding after the common fields, which 6.1 has not.
    assert parse_format(SWITCH_3_10).fields["prev_pid"].offset == 12 + 16


def test_what_is_printed_is_no_field() -> None:
    assert "no" not in parse_format(SWITCH_3_10).fields


def test_flags_have_this_kernels_values() -> None:
    flags = parse_gfp_flags(ALLOC_6_1)
    assert flags["__GFP_ZERO"] == 0x100
    assert flags["GFP_KERNEL"] == 0x400 | 0x800 | 0x40 | 0x80
    assert flags["GFP_HIGHUSER_MOVABLE"] == 0x400 | 0x800 | 0x40 | 0x80 | 0x100000 | 0x2 | 0x8
    assert "__GFP_ODD" not in flags  # a name that the kernel has left as it is has no value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # Linux 6.18 writes shifts, and takes bits away.
        ("( unsigned long)(( gfp_t)((((1UL))) << (8)))", 1 << 8),
        ("( unsigned long)((0x1c00u) & ~(( gfp_t)(((((1UL))) << (10))|((((1UL))) << (11)))))", 0x1000),
        # Linux 3.18 has gfp_t in other parentheses.
        ("(unsigned long)((gfp_t)0x8000u)", 0x8000),
        ("(unsigned long)(((gfp_t)0x10u) | ((gfp_t)0x40u))", 0x50),
        ("~0x0u", (1 << 64) - 1),
    ],
)
def test_values_of_flags_are_worked_out(value: str, expected: int) -> None:
    assert parse_gfp_flags(f'print fmt: {{{value}, "__GFP_ZERO"}}') == {"__GFP_ZERO": expected}


@pytest.mark.parametrize(
    "value",
    ["1 << 64", "1 << -1", "2 ** 9", "f(1)", "x", "'1'", "(" * 3000, "1 +", "", "1 << 9999999999", "1.5"],
)
def test_what_is_no_constant_is_left_out(value: str) -> None:
    text = f'print fmt: {{{value}, "__GFP_ZERO"}}, {{0x1u, "__GFP_DMA"}}'
    assert parse_gfp_flags(text) == {"__GFP_DMA": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no format of an event"),
        ("name: x\nID: 7\n", "no format of an event"),
        (ALLOC_6_1.replace("ID: 470", "ID: x"), "no format of an event"),
        (ALLOC_6_1.replace("ID: 470", "ID: 65536"), "beyond 16 bits"),
        ("x" * ((1 << 20) + 1), "1048577 characters"),
    ],
)
def test_what_is_no_format_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        parse_format(text)


def test_a_format_without_flags_is_refused() -> None:
    with pytest.raises(BadInputError, match="no value of any gfp flag"):
        parse_gfp_flags(EXEC_6_1)


@given(st.text(alphabet='field: ;offset0123456789size\tsigned[]\nprint fmt{}"GFP_()|&~<', max_size=200))
def test_no_text_is_more_than_refused(text: str) -> None:
    for parse in (parse_format, parse_gfp_flags, subbuffer_size, parse_stats):
        try:
            parse(text)
        except BadInputError:
            continue


# ---- ring buffers ----


def test_counts_of_a_ring_buffer() -> None:
    stats = parse_stats(STATS_6_18)
    assert stats == CpuStats(n_read=7, n_waiting=3, n_overrun=40, n_dropped=2, n_commit_overrun=1)
    assert stats.n_lost == 40 + 2 + 1


@pytest.mark.parametrize("count", ["entries", "overrun", "commit overrun", "dropped events", "read events"])
def test_a_count_that_is_missing_is_no_zero(count: str) -> None:
    text = "".join(line for line in STATS_6_18.splitlines(keepends=True) if not line.startswith(f"{count}:"))
    with pytest.raises(BadInputError, match=f"tracefs does not tell '{count}'"):
        parse_stats(text)


def test_subbuffers_are_as_large_as_the_kernel_says() -> None:
    # buffer_subbuf_size_kb 64: 65536 bytes, 16 of which are its header.
    assert subbuffer_size("\tfield: char data;\toffset:16;\tsize:65520;\tsigned:0;\n") == 65536
    with pytest.raises(BadInputError, match="does not tell the size"):
        subbuffer_size("\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n")


def test_buffers_have_a_size_that_makes_sense() -> None:
    assert check_buffer((16 << 20) + 5) == 16 << 20  # whole KiB
    for n_bytes in (1, (64 << 10) - 1, (1 << 32) + 1):
        with pytest.raises(BadInputError, match=r"from 64K to 4G, not"):
            check_buffer(n_bytes)
