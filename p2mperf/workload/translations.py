"""How often each piece of a kernel's memory management asks the p2m and the m2p: declared, with its reasons.

What is declared holds for Linux 3.18 (p2m as a tree) and 3.19 (as a list) alike: mm/memory.c, mm/mprotect.c
and arch/x86/xen/mmu.c of 3.18.20 and 3.19.8 differ in which function looks up, not in when it is called. The
guest is a 64-bit PV one, with split page-table locks (NR_CPUS of 4 or more).

An entry that is read back (pte_val, pmd_val ...) asks the m2p for the frame behind a machine frame, and then,
to verify it, the p2m for that frame: one item, one lookup of each. One that is made (__pte, __pmd ...), or
whose table's own machine address is needed (set_pte, set_pmd ...), asks the p2m alone. Entries that are not
present, flag tests and native writes ask nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from p2mperf.workload.steps import Role, Step
from p2mperf.workload.translation_stream import M2P_ITEM, Entered


@dataclass(frozen=True)
class Declared:
    """What a step asks, and why.

    Attributes
    ----------
    asks : str
        Roles in the order in which they are asked for: ``pte`` asks the p2m for the frame of the pte page,
        ``?pte`` reads an entry back that points to it, m2p and p2m; with ``*`` behind only a kernel with
        CONFIG_TRANSPARENT_HUGEPAGE does.
    why : str
        How it follows from the source.
    source : str
        File and function.
    low, high : float
        How many times as often it might be done as it is counted: where the recording or the source leaves
        that open.
    """

    asks: str
    why: str
    source: str
    low: float = 1.0
    high: float = 1.0

    def items(self, thp: bool) -> tuple[tuple[Role, bool], ...]:
        """Frames that are asked for, and whether by the m2p."""
        words = [word for word in self.asks.split() if thp or not word.endswith("*")]
        return tuple((Role[word.strip("?*").upper()], word.startswith("?")) for word in words)

    def counts(self, thp: bool) -> tuple[int, int]:
        """Lookups of the p2m, those that verify included, and of the m2p."""
        items = self.items(thp)
        return len(items), sum(is_m2p for _, is_m2p in items)


_HANDLE = "mm/memory.c __handle_mm_fault"
_XEN = "arch/x86/xen/mmu.c"
# Areas are told apart only where pages of files stand beside others: not where one mapping of a file follows
# another's, as the segments of a library do.
_AREAS = 3.0

STEPS: Mapping[Step, Declared] = {
    Step.WALK_PUD: Declared("?pud", "pud_offset reads the pgd's entry", f"{_HANDLE}, pud_alloc"),
    Step.WALK_PMD: Declared("?pmd", "pmd_offset reads the pud page's entry", f"{_HANDLE}, pmd_alloc"),
    Step.WALK_TEST: Declared(
        "?pte*",
        "pmd_trans_huge reads the entry, of a present one alone, though a PV guest has no huge pages",
        f"{_HANDLE}, the first pmd_trans_huge",
    ),
    Step.WALK_PTE: Declared("?pte* ?pte", "pmd_trans_huge again, and pte_offset_map", _HANDLE),
    Step.NEW_PUD: Declared(
        "pud pud pgd user",
        "the new page becomes read-only (an entry of the direct map is made), its entry is made, and set in"
        " both roots",
        f"mm/memory.c __pud_alloc; {_XEN} xen_alloc_ptpage, xen_set_pgd",
    ),
    Step.NEW_PMD: Declared(
        "pmd pmd pud",
        "read-only, its entry made, and set",
        f"mm/memory.c __pmd_alloc; {_XEN} xen_alloc_ptpage, xen_set_pud_hyper",
    ),
    Step.NEW_PTE: Declared(
        "pte pte pte pmd",
        "read-only, pinned, its entry made, and set",
        f"mm/memory.c __pte_alloc; {_XEN} xen_alloc_ptpage, __pin_pagetable_pfn, xen_set_pmd_hyper",
    ),
    Step.ANONYMOUS: Declared(
        "data ?pte ?pte pte",
        "the entry is made, the lock found and the table mapped, the entry set; the zero page likewise",
        "mm/memory.c do_anonymous_page",
    ),
    Step.PRIVATE_FILE: Declared(
        "?pte ?pte data pte",
        "lock and table, then do_set_pte makes and sets",
        "mm/memory.c do_cow_fault, do_set_pte",
    ),
    Step.FILE_LOCK: Declared("?pte ?pte", "lock and table, once a window", "mm/memory.c do_read_fault"),
    Step.FILE_PAGE: Declared(
        "data pte",
        "made and set by a hypercall of its own: there is no lazy mode around a window. Of a recorded window"
        " the pages that are mapped already are left out; some others may not be in the page cache",
        "mm/filemap.c filemap_map_pages; mm/memory.c do_set_pte",
        low=10 / 13.95,
    ),
    Step.FILE_MISSED: Declared(
        "?pte ?pte data pte",
        "a page that the window did not bring is read, and set after lock and table were found again",
        "mm/memory.c do_read_fault",
    ),
    Step.COPY: Declared(
        "?pte ?old ?old ?pte ?pte data pte",
        "lock; vm_normal_page and is_zero_pfn(pte_pfn) read the old entry; lock and table again; made, set",
        "mm/memory.c handle_pte_fault, do_wp_page",
    ),
    Step.REUSE: Declared(
        "?pte ?old",
        "lock, and vm_normal_page of a page that is then written natively; another thread may have dealt"
        " with it, and only the lock be taken",
        "mm/memory.c handle_pte_fault, do_wp_page; arch/x86/mm/pgtable.c ptep_set_access_flags",
        low=0.5,
    ),
    Step.SPURIOUS: Declared("?pte", "lock, and nothing to do", "mm/memory.c handle_pte_fault"),
    Step.NEW_PGD: Declared(
        "vsyscall", "the user's root is given the entry of the vsyscall page", f"{_XEN} xen_pgd_alloc"
    ),
    Step.MAKE_PUD: Declared(
        "pud", "made, and stored natively in a root not pinned yet", f"{_XEN} xen_set_pgd"
    ),
    Step.MAKE_PMD: Declared("pmd", "made, and stored natively", f"{_XEN} xen_set_pud"),
    Step.MAKE_PTE: Declared("pte", "made, and stored natively", f"{_XEN} xen_set_pmd"),
    Step.FORK_PUD: Declared(
        "?pud ?other_pud",
        "pud_alloc of the child, pud_offset of the parent, once an area and pmd page",
        "mm/memory.c copy_pud_range",
        high=_AREAS,
    ),
    Step.FORK_PMD: Declared(
        "?pmd ?other_pmd",
        "pmd_alloc of the child, pmd_offset of the parent",
        "mm/memory.c copy_pmd_range",
        high=_AREAS,
    ),
    Step.FORK_TEST: Declared(
        "?other_pte*", "pmd_trans_huge of the parent's", "mm/memory.c copy_pmd_range", high=_AREAS
    ),
    Step.FORK_LOCK: Declared(
        "?pte ?pte ?other_pte ?other_pte",
        "the child's lock and table, the parent's table and lock",
        "mm/memory.c copy_pte_range",
        high=_AREAS,
    ),
    Step.FORK_PAGE: Declared(
        "?data pte",
        "vm_normal_page, and set_pte_at of the child in lazy mode; areas without pages of their own are not"
        " copied, and of others the written pages are counted",
        "mm/memory.c copy_one_pte",
    ),
    Step.PIN_PUD: Declared(
        "?pud ?pud pud", "pgd_val, pud_offset, read-only", f"{_XEN} __xen_pgd_walk, xen_pin_page"
    ),
    Step.PIN_PMD: Declared("?pmd pmd", "pmd_offset, read-only", f"{_XEN} __xen_pgd_walk, xen_pin_page"),
    Step.PIN_PTE: Declared("?pte pte pte", "pmd_page, read-only, pinned", f"{_XEN} xen_pin_page, xen_do_pin"),
    Step.PIN_PGD: Declared("pgd pgd user user", "both roots read-only and pinned", f"{_XEN} __xen_pgd_pin"),
    Step.EXEC_LOOK: Declared(
        "?pud ?pmd ?pmd ?pte ?pte* ?pte ?pte",
        "pud_offset, pud_huge, pmd_offset, pmd_huge, pmd_trans_huge, lock and table",
        "mm/gup.c follow_page_mask, follow_page_pte",
        low=0.2,
        high=1.4,
    ),
    Step.EXEC_FOUND: Declared(
        "?data", "vm_normal_page of an argument's page", "mm/gup.c follow_page_pte", low=1 / 3, high=4 / 3
    ),
    Step.EXEC_FROM: Declared("?pud ?other_pmd", "where the stack was filled", "mm/mremap.c get_old_pmd"),
    Step.EXEC_TEST: Declared("?other_pte*", "pmd_trans_huge", "mm/mremap.c move_page_tables"),
    Step.EXEC_LOCK: Declared(
        "?other_pte ?other_pte ?pte ?pte", "locks and tables of both places", "mm/mremap.c move_ptes"
    ),
    Step.EXEC_PAGE: Declared(
        "pte", "a page of arguments is set in its new place", "mm/mremap.c move_ptes", low=1 / 3, high=4 / 3
    ),
    Step.EXEC_FREE: Declared(
        "?pud ?other_pmd ?other_pte other_pmd other_pte other_pte ?other_pmd pud other_pmd",
        "the tables of the old place are found, unset, unpinned and made writable",
        f"fs/exec.c shift_arg_pages; mm/memory.c free_pgd_range; {_XEN} xen_release_ptpage",
    ),
    Step.LOAD_CR3: Declared(
        "pgd user",
        "both roots are loaded; not for threads of one process, nor around what the kernel does alone. When a"
        " process that is not recorded ran between, they are loaded again",
        f"arch/x86/include/asm/mmu_context.h switch_mm; {_XEN} xen_write_cr3",
        high=2.0,
    ),
    Step.EXIT_MM: Declared(
        "swapper pgd user user",
        "the kernel's own root is loaded, both of the process are unpinned, the user's made writable",
        f"{_XEN} xen_exit_mmap, xen_drop_mm_ref, __xen_pgd_unpin",
    ),
    Step.UNPIN_PUD: Declared("?pud ?pud pud", "as it was pinned", f"{_XEN} __xen_pgd_walk, xen_unpin_page"),
    Step.UNPIN_PMD: Declared("?pmd pmd", "as it was pinned", f"{_XEN} __xen_pgd_walk, xen_unpin_page"),
    Step.UNPIN_PTE: Declared("?pte pte pte", "as it was pinned", f"{_XEN} __xen_pgd_walk, xen_unpin_page"),
    Step.UNPIN_PGD: Declared("pgd", "made writable last", f"{_XEN} __xen_pgd_walk, xen_unpin_page"),
    Step.ZAP_AREA: Declared(
        "?pud ?pmd",
        "pud_offset, pmd_offset, once an area and pmd page",
        "mm/memory.c zap_pud_range",
        high=_AREAS,
    ),
    Step.ZAP_PMD: Declared(
        "?pte* ?pte* ?pte ?pte",
        "pmd_trans_huge twice, lock and table",
        "mm/memory.c zap_pmd_range, zap_pte_range",
        high=_AREAS,
    ),
    Step.ZAP_PAGE: Declared(
        "?data", "vm_normal_page; the entry is cleared natively", "mm/memory.c zap_pte_range"
    ),
    Step.FREE_PUD: Declared(
        "?pud", "pud_offset, when it begins and when it ends", "mm/memory.c free_pud_range"
    ),
    Step.FREE_PMD: Declared(
        "?pmd", "pmd_offset, when it begins and when it ends", "mm/memory.c free_pmd_range"
    ),
    Step.FREE_PTE: Declared("?pte", "pmd_pgtable", "mm/memory.c free_pte_range"),
    Step.UNMAP_PTE: Declared(
        "?pud ?pmd ?pte pmd pte pte",
        "an empty table of a living process: found, unset, unpinned, made writable. Whether another mapping"
        " reaches into it is not recorded",
        f"mm/memory.c free_pgd_range; {_XEN} xen_release_ptpage",
        low=0.0,
    ),
    Step.PROTECT_AREA: Declared(
        "?pud ?pmd", "pud_offset, pmd_offset", "mm/mprotect.c change_pud_range", high=_AREAS
    ),
    Step.PROTECT_PMD: Declared(
        "?pte* ?pte* ?pte ?pte",
        "pmd_trans_huge twice, lock and table",
        "mm/mprotect.c change_pmd_range, change_pte_range",
        high=_AREAS,
    ),
    Step.PROTECT_PAGE: Declared(
        "?data data pte",
        "pte_modify reads and makes the entry, ptep_modify_prot_commit finds its machine address",
        f"mm/mprotect.c change_pte_range; {_XEN} xen_ptep_modify_prot_commit",
    ),
}


@cache
def codes(thp: bool) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Steps as compiled code takes them.

    Parameters
    ----------
    thp : bool
        Whether the kernel is one with CONFIG_TRANSPARENT_HUGEPAGE.

    Returns
    -------
    (ndarray of int64, ndarray of uint32)
        Where the items of each step begin, and what each asks: a role, with `M2P_ITEM`.
    """
    items = [STEPS[step].items(thp) for step in Step]
    starts = np.cumsum([0, *map(len, items)]).astype(np.int64)
    flat = [role | (M2P_ITEM if is_m2p else 0) for each in items for role, is_m2p in each]
    return starts, np.array(flat, np.uint32)


@dataclass(frozen=True)
class Lookups:
    """How often tables were asked.

    Attributes
    ----------
    n : int
        Entries, or steps, that asked.
    p2m, m2p : int
        Lookups of the p2m, those that verify what the m2p says included, and of the m2p.
    """

    n: int
    p2m: int
    m2p: int


@dataclass(frozen=True)
class Translations:
    """What a recording asks of the tables.

    Attributes
    ----------
    thp : bool
        Whether the kernel is one with CONFIG_TRANSPARENT_HUGEPAGE.
    by_class : mapping of str to Lookups
        By the name of an `Entered`, those that occur.
    by_step : mapping of str to Lookups
        By the name of a `Step`, those that occur.
    low, high : Lookups
        The least and the most that it may have been, by the ranges of `STEPS`; their `n` is that of entries.
    n_unknown : int
        Frames that the recording does not tell, and others stand for.
    n_revived : int
        Pages of page tables that were taken for freed, and were not.
    """

    thp: bool
    by_class: Mapping[str, Lookups]
    by_step: Mapping[str, Lookups]
    low: Lookups
    high: Lookups
    n_unknown: int
    n_revived: int

    @property
    def total(self) -> Lookups:
        """Of all entries."""
        return (
            Lookups(*(sum(each) for each in zip(*map(_row, self.by_class.values()), strict=True)))
            if (self.by_class)
            else Lookups(0, 0, 0)
        )


def _row(lookups: Lookups) -> tuple[int, int, int]:
    return lookups.n, lookups.p2m, lookups.m2p


def tell(
    thp: bool, n_steps: NDArray[np.int64], n_entries: NDArray[np.int64], n_unknown: int, n_revived: int
) -> Translations:
    """Multiply steps by what they ask.

    Parameters
    ----------
    thp : bool
        As `codes`.
    n_steps : ndarray of int64, shape (n_classes, n_steps)
        How often each was done, by class of the entry.
    n_entries : ndarray of int64, shape (n_classes,)
        Entries by class.
    n_unknown, n_revived : int
        As `Translations`.

    Returns
    -------
    Translations
    """
    each = np.array([STEPS[step].counts(thp) for step in Step])
    asked = n_steps @ each
    of_steps = n_steps.sum(0)
    low, high = (np.array([getattr(STEPS[step], end) for step in Step]) for end in ("low", "high"))
    n = int(n_entries.sum())
    return Translations(
        thp=thp,
        by_class={
            entered.name: Lookups(int(n_entries[entered]), *map(int, asked[entered]))
            for entered in Entered
            if n_entries[entered]
        },
        by_step={
            step.name: Lookups(int(of_steps[step]), *map(int, of_steps[step] * each[step]))
            for step in Step
            if of_steps[step]
        },
        low=Lookups(n, *map(int, np.floor((of_steps * low) @ each))),
        high=Lookups(n, *map(int, np.ceil((of_steps * high) @ each))),
        n_unknown=n_unknown,
        n_revived=n_revived,
    )
