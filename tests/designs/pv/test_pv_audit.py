"""An audit of a PV design names what was broken, in the tables and in the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName

import p2mperf
from p2mperf import Guest
from p2mperf.errors import AuditError
from p2mperf.memory import vm
from p2mperf.units import PAGE_SIZE


def words_of(p2m: Any, frame: int) -> Any:
    return p2m.pool.words(frame, p2m.guest.geometry.dtype)


def leaf_entry(leaf: int, index: int, entry: Callable[[Any, Any], int]) -> Callable[[Any], None]:
    def corrupt(p2m: Any) -> None:
        # The leaf behind pfns [leaf * 512, ...): the tree's and the list's rank among private leaves differ.
        *_, last = p2m.lookup_path(leaf * 512 + index).steps
        words = words_of(p2m, last.frame)
        words[index] = entry(p2m, words)

    return corrupt


def shared_page(name: str) -> Callable[[Any], None]:
    def corrupt(p2m: Any) -> None:
        words_of(p2m, getattr(p2m, name))[9] = 5

    return corrupt


def table_of(p2m: Any) -> Any:
    return p2m.tree if p2m.name == "pv-tree" else p2m.page_table


def last_slot(p2m: Any) -> None:
    """Exchange the slots of leaves 0 and 1."""
    level = table_of(p2m).shape.levels[0]
    page = p2m.pool.words(int(table_of(p2m).frames[level.name][0]), np.uint64)
    page[[0, 1]] = page[[1, 0]]


def upper_slot(p2m: Any) -> None:
    """Let the second page of leaves be reached in place of the first."""
    level = table_of(p2m).shape.levels[1]
    page = p2m.pool.words(int(table_of(p2m).frames[level.name][0]), np.uint64)
    page[level.first_slot] = page[level.first_slot + 1]


def wild_slot(p2m: Any) -> None:
    """Let the root point to where no page of the pool is."""
    level = table_of(p2m).shape.levels[-1]
    p2m.pool.words(table_of(p2m).root, np.uint64)[level.first_slot] = 1 << 50


def another_page(p2m: Any) -> None:
    p2m.pool.allocate(1, "leaf")


CORRUPTIONS = {
    "memory taken from a frame": (leaf_entry(0, 7, lambda p2m, words: 2**64 - 1), "have memory where"),
    "memory given to a frame": (
        leaf_entry(514, 3, lambda p2m, words: 1),
        "back two frames|have memory where",
    ),
    "one frame for two": (leaf_entry(0, 7, lambda p2m, words: words[8]), "1 mfns back two frames"),
    "a frame no machine has": (leaf_entry(0, 7, lambda p2m, words: 2**40), "1 mfns lie beyond the machine's"),
    "identity of another": (
        leaf_entry(514, 300, lambda p2m, words: int(words[300]) + 1),
        "1 identity entries name another frame",
    ),
    "the missing page": (
        shared_page("missing_leaf"),
        "missing_leaf page is not INVALID|shared page of the win",
    ),
    "the identity page": (
        shared_page("identity_leaf"),
        "identity_leaf page is not INVALID|shared page of the win",
    ),
    "a slot to another leaf": (last_slot, "points to another leaf than the map asks for"),
    "a slot to another table": (upper_slot, "points to another leaf than the map asks for"),
    "a slot to nowhere": (wild_slot, "points to another leaf than the map asks for"),
    "a page too many": (another_page, "page counts differ"),
}


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("what", CORRUPTIONS)
def test_an_audit_names_what_was_broken(what: str, design: PvName) -> None:
    corrupt, message = CORRUPTIONS[what]
    with p2mperf.build(design, "dom0-64-e820") as p2m:
        p2m.audit()
        corrupt(p2m)
        with pytest.raises(AuditError, match=f"^{design} of dom0-64-e820: .*({message})"):
            p2m.audit()


def test_an_audit_sees_a_shared_mid_that_nothing_uses() -> None:
    # 1 GiB is one whole mid, all above is identity: no slot of the top names the mid of missing leaves.
    with p2mperf.build("pv-tree", Guest.plain("1G")) as p2m:
        p2m.pool.words(p2m.tree.shared[p2m.missing_leaf], np.uint64)[3] += np.uint64(PAGE_SIZE)
        with pytest.raises(AuditError, match="a shared mid points to more than one leaf"):
            p2m.audit()


def remapped(page: int, source: int, protection: int) -> Callable[[Any], None]:
    """Show what page `source` shows on `page` too, behind the back of the window."""

    def corrupt(p2m: Any) -> None:
        offset = int(p2m.window.frames[source]) * PAGE_SIZE
        address = p2m.window.base + page * PAGE_SIZE
        vm.map_pages(address, PAGE_SIZE, protection, p2m.pool.fd, offset)

    return corrupt


def window_and_its_notes(p2m: Any) -> None:
    p2m.window.map(0, p2m.window.frames[1:2].copy(), np.ones(1, np.bool_))


WINDOW_CORRUPTIONS = {
    "another frame shown": (remapped(5, 6, vm.READ_WRITE), "the window shows another frame than was mapped"),
    # Leaves 515 to 999 are identity.
    "a shared page writable": (remapped(600, 600, vm.READ_WRITE), "a shared leaf can be written"),
    "a private page read-only": (remapped(5, 5, vm.READ), "or a private one cannot"),
    "window and page table apart": (window_and_its_notes, "shows another leaf than the page table"),
}


@pytest.mark.parametrize("what", WINDOW_CORRUPTIONS)
def test_an_audit_asks_the_kernel_what_the_window_shows(what: str) -> None:
    corrupt, message = WINDOW_CORRUPTIONS[what]
    with p2mperf.build("pv-linear", "dom0-64-e820") as p2m:
        corrupt(p2m)
        with pytest.raises(AuditError, match=message):
            p2m.audit()


def test_an_audit_reads_the_extent_behind_large_holes() -> None:
    guest = Guest.from_e820([(0, "1G", "ram"), ("4G", "5G", "ram")], "1G", "2G")
    with p2mperf.build("pv-linear", guest) as p2m:
        p2m.audit()
        p2m.pool.words(int(p2m.window.frames[700]), np.uint64)[0] = 0
        with pytest.raises(AuditError, match="a shared page of the window is not INVALID throughout"):
            p2m.audit()


@pytest.mark.parametrize("design", PV_DESIGNS)
def test_an_audit_of_32_bit_tables(design: PvName) -> None:
    with p2mperf.build(design, "dom0-32-e820") as p2m:
        p2m.audit()
        words_of(p2m, int(p2m.leaf_frames[0]))[7] = 2**32 - 1
        with pytest.raises(AuditError, match="262143 frames have memory where 262144 should"):
            p2m.audit()
