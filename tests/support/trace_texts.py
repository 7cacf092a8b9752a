"""Texts of tracefs as kernels write them, and whether this machine lets tests use a real one."""

from __future__ import annotations

import pytest

from p2mperf.workload.trace_instance import NoTracingError
from p2mperf.workload.tracefs import find_tracefs, require_machine_pids

HEADER_PAGE = "\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n"
COMMON = """\
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

"""
# Linux 6.1: mm_page_alloc keeps a page frame.
ALLOC_6_1 = (
    "name: mm_page_alloc\nID: 470\nformat:\n"
    + COMMON
    + """\
	field:unsigned long pfn;	offset:8;	size:8;	signed:0;
	field:unsigned int order;	offset:16;	size:4;	signed:0;
	field:unsigned long gfp_flags;	offset:24;	size:8;	signed:0;
	field:int migratetype;	offset:32;	size:4;	signed:1;

print fmt: "page=%p pfn=0x%lx order=%d migratetype=%d gfp_flags=%s", REC->pfn, REC->order, REC->migratetype,\
 (REC->gfp_flags) ? __print_flags(REC->gfp_flags, "|", {( unsigned long)(((((( gfp_t)(0x400u|0x800u)) |\
 (( gfp_t)0x40u) | (( gfp_t)0x80u) | (( gfp_t)0x100000u)) | (( gfp_t)0x02u)) | (( gfp_t)0x08u)) |\
 (( gfp_t)0)), "GFP_HIGHUSER_MOVABLE"}, {( unsigned long)((( gfp_t)(0x400u|0x800u)) | (( gfp_t)0x40u) |\
 (( gfp_t)0x80u)), "GFP_KERNEL"}, {( unsigned long)(( gfp_t)0x100u), "__GFP_ZERO"},\
 {( unsigned long)(( gfp_t)___GFP_ODD), "__GFP_ODD"}, { 0, ((void *)0) } ) : "none"
"""
)
STATS_6_18 = """\
entries: 3
overrun: 40
commit overrun: 1
bytes: 120
oldest event ts:  3112.163480
now ts:  3112.304177
dropped events: 2
read events: 7
"""


def usable() -> str:
    """Why tracefs cannot be used here; "" where it can."""
    try:
        require_machine_pids()
        return "" if find_tracefs() else "tracefs is not mounted"
    except NoTracingError as error:
        return str(error)


needs_tracefs = pytest.mark.skipif(bool(usable()), reason=usable() or "tracefs can be used")
