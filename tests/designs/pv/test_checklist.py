"""What went wrong with p2m lists over the years, as fourteen points; each is named by some test.

This file has the points that are about a p2m at rest; those about writing are in the files beside it, where a
comment says "Checklist" and the number. docs/life.md says what each point is.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName
from naive import LEAF_PAGES, MAX_P2M_PFN
from small_guests import build, oracle_of

import p2mperf
from p2mperf.errors import BadInputError, DoesNotFitError
from p2mperf.guests.guest import Guest

both = pytest.mark.parametrize("design", PV_DESIGNS)
widths = pytest.mark.parametrize("bits", [64, 32])
N_POINTS = 14
MIB, GIB, PAGE = 1 << 20, 1 << 30, 4096


def sizes(bits: int) -> dict[str, int]:
    """Boot memory in pages, around a leaf and a mid, and the sizes that were asked for in review."""
    leaf = LEAF_PAGES[bits]
    return {
        "one page": 1,
        "leaf - 1": leaf - 1,
        "leaf": leaf,
        "leaf + 1": leaf + 1,
        "2049M": 2049 * 256,
        "5000M": 5000 * 256,
        "mid": leaf**2,
        "mid + 1": leaf**2 + 1,
    }


@both
@widths
@pytest.mark.parametrize("size", sizes(64))
def test_sizes(design: PvName, bits: int, size: str) -> None:
    # Checklist 1: the last frame has memory, its leaf is padded with INVALID, identity begins behind that.
    n_pages, leaf = sizes(bits)[size], LEAF_PAGES[bits]
    guest = Guest.from_e820([(0, n_pages * PAGE, "ram")], n_pages * PAGE, geometry=f"pv{bits}")
    padded = -(-n_pages // leaf) * leaf
    with p2mperf.build(design, guest) as p2m:
        identity, invalid = guest.geometry.identity_bit, guest.geometry.invalid
        asked = [n_pages - 1, n_pages, padded - 1, padded]
        ends = [invalid if pfn < padded else pfn | identity for pfn in asked[1:]]
        if padded == n_pages:
            ends[1] = int(p2m.lookup([padded - 1])[0])
        assert p2m.lookup(asked).tolist()[1:] == ends
        assert int(p2m.lookup([n_pages - 1])[0]) < guest.machine.n_frames
        p2m.audit()


@both
@pytest.mark.parametrize(("size", "bits"), [("43G", 32), ("64G", 32), ("512G", 64)])
def test_large_sizes(design: PvName, size: str, bits: int) -> None:
    # Checklist 1, and the end of what three levels can index: 512 GiB is 2**27 frames; the tree takes 500 GiB
    # of it, CONFIG_XEN_MAX_DOMAIN_MEMORY.
    end = int(size[:-1]) * GIB
    guest = Guest.from_e820([(0, "1M", "ram"), (end - MIB, end, "ram")], "1M", "2M", geometry=f"pv{bits}")
    last = end // PAGE - 1
    with p2mperf.build(design, guest) as p2m:
        invalid, identity = guest.geometry.invalid, guest.geometry.identity_bit
        assert p2m.lookup([last, last - 256, last + 1]).tolist() == [
            invalid,
            (last - 256) | identity,
            (last + 1) | identity,
        ]
        (mfn,) = p2m.unused_mfns(1).tolist()
        assert p2m.balloon_up([last], [mfn]).all()
        assert p2m.lookup([last]).tolist() == [mfn]
        p2m.audit()


@both
def test_one_page_beyond_what_the_tree_can_index(design: PvName) -> None:
    # Checklist 1: 512 GiB + 1 page. A list has room for it, a tree says no to it.
    guest = Guest.from_e820([(0, "1M", "ram"), ("512G", 512 * GIB + PAGE, "ram")], "1M", "2M")
    with p2mperf.build(design, guest) as p2m:
        (mfn,) = p2m.unused_mfns(1).tolist()
        assert p2m.balloon_up([2**27], [mfn]).tolist() == [design == "pv-linear"]
        assert p2m.lookup([2**27]).tolist() == [mfn if design == "pv-linear" else 2**27 | 1 << 62]
        p2m.audit()


def test_no_memory_at_all_is_no_guest() -> None:
    # Checklist 1: 0 pages.
    with pytest.raises(BadInputError):
        Guest.plain(0)


@both
@widths
@pytest.mark.parametrize("above", ["identity", "invalid"])
def test_boundaries_under_either_policy(design: PvName, bits: int, above: str) -> None:
    # Checklist 2 and 3: around the end, around MAX_P2M_PFN, all ones, marker bits in a frame number.
    with build(design, bits, above=above) as p2m:
        oracle = oracle_of(p2m.guest, above)
        limit, largest = MAX_P2M_PFN[bits], 2**bits - 1
        asked = {
            p2m.end_pfn - 1,
            p2m.end_pfn,
            p2m.guest.covered_pfn - 1,
            p2m.guest.covered_pfn,
            limit - 1,
            limit,
        }
        asked |= {largest, largest >> 1, 1 << (bits - 2), 1 << (bits - 1)}
        pfns = sorted(asked)
        mask = p2m.guest.geometry.invalid
        assert p2m.lookup(pfns).tolist() == [oracle.entry(pfn) & mask for pfn in pfns]
        assert p2m.lookup([largest]).tolist() == [largest]


@both
@widths
def test_holes_inside_leaves_and_mids(design: PvName, bits: int) -> None:
    # Checklist 9: RAM, identity, RAM in one leaf; a hole of exactly one mid; one that ends in a leaf; a mid
    # whose first leaf is uniform and the rest is not; and an all-INVALID leaf within what is private.
    leaf = LEAF_PAGES[bits]
    mid = leaf**2
    rows = [
        (0, 10, "ram"),
        (10, 20, "reserved"),
        (20, mid, "ram"),
        (mid, 2 * mid, "reserved"),
        (2 * mid, 2 * mid + leaf, "reserved"),
        (2 * mid + leaf, 2 * mid + 3 * leaf, "ram"),
        (2 * mid + 3 * leaf, 2 * mid + 5 * leaf + 7, "acpi"),
        (2 * mid + 5 * leaf + 7, 2 * mid + 9 * leaf, "ram"),
    ]
    rows = [(first * PAGE, end * PAGE, kind) for first, end, kind in rows]
    guest = Guest.from_e820(rows, 3 * leaf * PAGE, (mid + 2 * leaf) * PAGE, geometry=f"pv{bits}")
    oracle = oracle_of(guest)
    pfns = [pfn for pfn in oracle.boundaries() if pfn < 2**bits]
    pfns += [
        9,
        10,
        19,
        20,
        mid - 1,
        mid,
        2 * mid - 1,
        2 * mid + leaf,
        2 * mid + 5 * leaf + 6,
        2 * mid + 5 * leaf + 7,
    ]
    with p2mperf.build(design, guest) as p2m:
        assert p2m.lookup(pfns).tolist() == [oracle.entry(pfn) for pfn in pfns]
        assert p2m.balloon_down(np.arange(leaf, 2 * leaf)).max() < guest.machine.n_frames
        assert (p2m.lookup(np.arange(leaf, 2 * leaf)) == guest.geometry.invalid).all()
        p2m.audit()


def test_an_area_that_does_not_fit_is_refused() -> None:
    # Checklist 14: 32-bit kernels have 120 MiB there, the list of 120 GiB; 4 GiB more need another granule.
    rows: list[tuple[int | str, int | str, str]] = [(0, "1M", "ram"), ("119G", "120G", "ram")]
    fits = Guest.from_e820(rows, "1M", "2M", geometry="pv32")
    with p2mperf.build("pv-linear", fits) as p2m:
        assert p2m.window.n_pages * PAGE == 120 * MIB
    beyond = Guest.from_e820([*rows, ("120G", 120 * GIB + PAGE, "ram")], "1M", "2M", geometry="pv32")
    with pytest.raises(DoesNotFitError, match="needs 124M of addresses"):
        p2mperf.build("pv-linear", beyond)
    with pytest.raises(DoesNotFitError, match="32-bit"):
        p2mperf.build("pv-linear", Guest.plain("16M", geometry="pv32"), limit="512G")


def test_each_point_is_named() -> None:
    named: set[int] = set()
    for path in Path(__file__).parents[2].rglob("test_*.py"):
        for numbers in re.findall(r"# Checklist ([\d, and]+)", path.read_text()):
            named |= {int(number) for number in re.findall(r"\d+", numbers)}
    assert named == set(range(1, N_POINTS + 1))
