"""The events of a recording: what each is, and what its two values mean; light data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Event(IntEnum):
    """Events that are recorded; their numbers stand in files and never change."""

    FAULT_USER = 0
    FAULT_KERNEL = 1
    ALLOC = 2
    MAP_PAGES = 3
    CACHE_ADD = 4
    NEW_TASK = 5
    EXEC = 6
    EXIT = 7
    EXIT_MMAP = 8
    SWITCH = 9
    MMAP = 10
    MMAP_DONE = 11
    MUNMAP = 12
    MPROTECT = 13
    BRK = 14
    BRK_DONE = 15
    XEN_SET_PTE = 32
    XEN_SET_PTE_AT = 33
    XEN_SET_PMD = 34
    XEN_SET_PUD = 35
    XEN_SET_PGD = 36
    XEN_PTE_CLEAR = 37
    XEN_MODIFY_PROT_START = 38
    XEN_MODIFY_PROT_COMMIT = 39
    XEN_ALLOC_PTPAGE = 40
    XEN_RELEASE_PTPAGE = 41
    XEN_PGD_PIN = 42
    XEN_PGD_UNPIN = 43
    XEN_WRITE_CR3 = 44
    XEN_FLUSH_TLB = 45
    XEN_FLUSH_TLB_ALL = 46
    XEN_FLUSH_TLB_SINGLE = 47
    XEN_FLUSH_TLB_OTHERS = 48


@dataclass(frozen=True)
class Recorded:
    """Where an event comes from, and what a recording keeps of it.

    Attributes
    ----------
    tracepoint : str
        As tracefs names it: ``system/event``.
    value, aux : str
        What these columns of a recording mean for it; ``""`` where they are 0.
    xen : bool
        Whether only a kernel that runs under Xen has it.
    """

    tracepoint: str
    value: str
    aux: str
    xen: bool = False


def _xen(name: str, value: str, aux: str) -> Recorded:
    return Recorded(f"xen/xen_mmu_{name}", value, aux, xen=True)


# Words of two numbers hold the first in their low 32 bits, the second above it.
EVENTS: dict[Event, Recorded] = {
    Event.FAULT_USER: Recorded("exceptions/page_fault_user", "page that was asked for", "error code"),
    Event.FAULT_KERNEL: Recorded("exceptions/page_fault_kernel", "page that was asked for", "error code"),
    Event.ALLOC: Recorded(
        "kmem/mm_page_alloc",
        "first frame, -1 when there was none",
        "gfp flags; above: order, and from bit 40 on migrate type",
    ),
    Event.MAP_PAGES: Recorded(
        "filemap/mm_filemap_map_pages", "first page within its file", "pages of the window; above: file"
    ),
    Event.CACHE_ADD: Recorded(
        "filemap/mm_filemap_add_to_page_cache", "frame", "page within its file; above: file"
    ),
    Event.NEW_TASK: Recorded("task/task_newtask", "thread that was made", "clone flags"),
    Event.EXEC: Recorded("sched/sched_process_exec", "thread that it was before", ""),
    Event.EXIT: Recorded(
        "sched/sched_process_exit",
        "thread that ends",
        "1 for the last of its group, and where no kernel tells",
    ),
    Event.EXIT_MMAP: Recorded("mmap/exit_mmap", "", ""),
    Event.SWITCH: Recorded("sched/sched_switch", "thread that comes next, 0 for others", ""),
    Event.MMAP: Recorded("syscalls/sys_enter_mmap", "pages", "protection; above: flags"),
    Event.MMAP_DONE: Recorded("syscalls/sys_exit_mmap", "first page, -1 when refused", ""),
    Event.MUNMAP: Recorded("syscalls/sys_enter_munmap", "first page", "pages"),
    Event.MPROTECT: Recorded("syscalls/sys_enter_mprotect", "first page", "pages; above: protection"),
    Event.BRK: Recorded("syscalls/sys_enter_brk", "first page beyond the end that is wanted", ""),
    Event.BRK_DONE: Recorded("syscalls/sys_exit_brk", "first page beyond the end", ""),
    # As Linux 3.19 has them, include/trace/events/xen.h. A table is named by the page at which the kernel
    # sees it; of an entry the machine frame is kept, and from bit 40 on its 12 low bits.
    Event.XEN_SET_PTE: _xen("set_pte", "page of the table", "entry"),
    Event.XEN_SET_PTE_AT: _xen("set_pte_at", "page that is mapped", "entry"),
    Event.XEN_SET_PMD: _xen("set_pmd", "page of the table", "entry"),
    Event.XEN_SET_PUD: _xen("set_pud", "page of the table", "entry"),
    Event.XEN_SET_PGD: _xen("set_pgd", "page of the table", "entry"),
    Event.XEN_PTE_CLEAR: _xen("pte_clear", "page that was mapped", ""),
    Event.XEN_MODIFY_PROT_START: _xen("ptep_modify_prot_start", "page that is mapped", "entry"),
    Event.XEN_MODIFY_PROT_COMMIT: _xen("ptep_modify_prot_commit", "page that is mapped", "entry"),
    Event.XEN_ALLOC_PTPAGE: _xen("alloc_ptpage", "frame", "level; above: 1 when pinned"),
    Event.XEN_RELEASE_PTPAGE: _xen("release_ptpage", "frame", "level; above: 1 when pinned"),
    Event.XEN_PGD_PIN: _xen("pgd_pin", "page of the table", ""),
    Event.XEN_PGD_UNPIN: _xen("pgd_unpin", "page of the table", ""),
    Event.XEN_WRITE_CR3: _xen(
        "write_cr3", "frame that cr3 names", "1 for the kernel's table, 0 for the user's"
    ),
    Event.XEN_FLUSH_TLB: _xen("flush_tlb", "", ""),
    Event.XEN_FLUSH_TLB_ALL: _xen("flush_tlb_all", "", ""),
    Event.XEN_FLUSH_TLB_SINGLE: _xen("flush_tlb_single", "page", ""),
    Event.XEN_FLUSH_TLB_OTHERS: _xen("flush_tlb_others", "first page", "CPUs that are asked"),
}
