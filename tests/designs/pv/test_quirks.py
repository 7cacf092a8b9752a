"""Each quirk shows its wrong behaviour when asked for, and the right one is there without it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import numpy as np
import pytest
import test_quirks_at_boot
import test_quirks_of_memory
from design_names import PV_DESIGNS, PvName
from naive import LEAF_PAGES
from small_guests import build, small_guest, unused

import p2mperf
from p2mperf.designs.pv.quirks import QUIRKS, BugError
from p2mperf.errors import AuditError, BadInputError
from p2mperf.guests.guest import Guest

widths = pytest.mark.parametrize("bits", [64, 32])
LAYOUTS = {"pv-tree": "tree", "pv-linear": "list"}


def with_and_without(quirk: str, design: PvName, bits: int, **options: Any) -> Any:
    """The design with the quirk, and as it is without."""
    return build(design, bits, quirks=(quirk,), **options), build(design, bits, **options)


@widths
def test_lost_write_under_identity(bits: int) -> None:
    pfn = LEAF_PAGES[bits] ** 2 + 5
    wrong, right = with_and_without("lost-write-under-identity", "pv-tree", bits)
    with wrong, right:
        (mfn,) = unused(wrong, 1)
        identity = pfn | wrong.guest.geometry.identity_bit
        assert wrong.set([pfn], mfn).all()
        assert wrong.lookup([pfn]).tolist() == [identity]
        # The page that all identity leaves share has it now, for tools to read.
        assert wrong.pool.words(wrong.identity_leaf, wrong.guest.geometry.dtype)[5] == mfn
        with pytest.raises(AuditError, match="not INVALID throughout"):
            wrong.audit()
        assert right.set([pfn], mfn).all()
        assert right.lookup([pfn]).tolist() == [mfn]
        right.audit()


@widths
def test_invalid_under_identity_ignored(bits: int) -> None:
    pfn = LEAF_PAGES[bits] ** 2 + 5
    wrong, right = with_and_without("invalid-under-identity-ignored", "pv-tree", bits)
    with wrong, right:
        shape = wrong.guest.geometry
        assert wrong.set([pfn], shape.invalid).all()
        assert wrong.lookup([pfn]).tolist() == [pfn | shape.identity_bit]
        assert right.set([pfn], shape.invalid).all()
        assert right.lookup([pfn]).tolist() == [shape.invalid]
        wrong.audit()
        right.audit()


@widths
def test_alloc_forgets_identity(bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    pfn = leaf**2 + 5
    wrong, right = with_and_without("alloc-forgets-identity", "pv-tree", bits)
    with wrong, right:
        shape, (mfn,) = wrong.guest.geometry, unused(wrong, 1)
        neighbours = [pfn - 1, pfn + 1, leaf**2 + leaf - 1]
        assert wrong.set([pfn], mfn).all()
        assert wrong.lookup(neighbours).tolist() == [shape.invalid] * 3
        assert wrong.lookup([leaf**2 + leaf]).tolist() == [(leaf**2 + leaf) | shape.identity_bit]
        assert right.set([pfn], mfn).all()
        assert right.lookup(neighbours).tolist() == [other | shape.identity_bit for other in neighbours]
        right.audit()


@widths
@pytest.mark.parametrize("what", ["leaf", "mid"])
def test_identity_widens(bits: int, what: str) -> None:
    leaf = LEAF_PAGES[bits]
    # Leaf 12 is missing in a private mid; of mid 2 all is missing.
    first, n_widened = {"leaf": (12 * leaf, leaf), "mid": (2 * leaf**2, leaf**2)}[what]
    pfn = first + 5
    wrong, right = with_and_without("identity-widens", "pv-tree", bits)
    with wrong, right:
        shape = wrong.guest.geometry
        neighbours = [first, first + n_widened - 1]
        assert wrong.set([pfn], pfn | shape.identity_bit).all()
        assert wrong.lookup(neighbours).tolist() == [other | shape.identity_bit for other in neighbours]
        assert wrong.n_breaks == {"leaf": 0, "mid": 0}
        assert right.set([pfn], pfn | shape.identity_bit).all()
        assert right.lookup(neighbours).tolist() == [shape.invalid] * 2
        assert right.lookup([pfn]).tolist() == [pfn | shape.identity_bit]
        wrong.audit()
        right.audit()


def test_half_window() -> None:
    leaf = LEAF_PAGES[32]
    wrong, right = with_and_without("half-window", "pv-linear", 32)
    with wrong, right:
        shape = wrong.guest.geometry
        # Mid 1 is one shared identity window of two page-table pages: the second was never linked.
        asked = [leaf**2, leaf**2 * 3 // 2 - 1, leaf**2 * 3 // 2, 2 * leaf**2 - 1]
        identity = [pfn | shape.identity_bit for pfn in asked]
        assert wrong.lookup(asked).tolist() == [*identity[:2], shape.invalid, shape.invalid]
        assert right.lookup(asked).tolist() == identity
        with pytest.raises(AuditError, match="another leaf"):
            wrong.audit()
        right.audit()


def broken_meanwhile(pfn: int, entry: int) -> Callable[[Any], Callable[[], None]]:
    """Another processor that breaks the same mid between the look and the lock."""

    def hook(p2m: Any) -> Callable[[], None]:
        def other_processor() -> None:
            p2m.before_lock = None
            thread = Thread(target=p2m.set, args=([pfn], [entry]))
            thread.start()
            thread.join()

        return other_processor

    return hook


@widths
def test_stale_page_table_after_race(bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    guest = small_guest(bits, n_mids=4)
    quirk = "stale-page-table-after-race"
    # Mids 2 and 3 are both missing and share their page-table pages.
    ours, theirs, elsewhere = 2 * leaf**2 + 5, 2 * leaf**2 + leaf, 3 * leaf**2 + 5
    with (
        p2mperf.build("pv-linear", guest, quirks=(quirk,)) as wrong,
        p2mperf.build("pv-linear", guest) as right,
    ):
        one, two, three = unused(wrong, 3)
        for p2m in (wrong, right):
            p2m.before_lock = broken_meanwhile(theirs, two)(p2m)
        # The loser's leaf stands in the page that mid 3 shares: not where it belongs, and wherever else.
        assert not wrong.set([ours], one).any()
        assert wrong.set([elsewhere], three).all()
        assert wrong.lookup([theirs, elsewhere]).tolist() == [two, three]
        with pytest.raises(AuditError):
            wrong.audit()
        assert right.set([ours], one).all()
        assert right.lookup([ours, theirs, elsewhere]).tolist() == [one, two, right.guest.geometry.invalid]
        assert right.n_breaks == {"leaf": 2, "mid": 1}
        right.audit()


def test_a_stale_page_shows_a_write_in_every_mid() -> None:
    # What makes the stale pointer worse than a refused write: with identity mids, one frame's leaf is read
    # at the same place of every other one.
    rows: list[tuple[int | str, int | str, str]] = [
        (0, "4M", "ram"),
        ("4M", "3G", "reserved"),
        ("3G", "3076M", "ram"),
    ]
    guest = Guest.from_e820(rows, "4M", "8M")
    ours, theirs, elsewhere, foreign = 2**18 + 5, 2**18 + 512, 2**19 + 5, 1 << 63
    with p2mperf.build("pv-linear", guest, quirks=("stale-page-table-after-race",)) as wrong:
        wrong.before_lock = broken_meanwhile(theirs, foreign)(wrong)
        wrong.set([ours], foreign | 1)
        # Identity of frames of mid 1, in mid 2.
        assert wrong.lookup([elsewhere]).tolist() == [ours | 1 << 62]
        assert wrong.lookup([2**19 + 512]).tolist() == [(2**19 + 512) | 1 << 62]


@widths
def test_early_free_bug(bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    wrong, right = with_and_without("early-free-bug", "pv-linear", bits)
    with wrong, right:
        one, two = unused(wrong, 2)
        for p2m in (wrong, right):
            p2m.before_lock = broken_meanwhile(2 * leaf**2 + leaf, one)(p2m)
        with pytest.raises(BugError, match="lost a race"):
            wrong.set([2 * leaf**2], two)
        assert right.set([2 * leaf**2], two).all()
        # Without a race there is nothing to free.
        assert wrong.set([leaf**2], two).all()


@widths
def test_identity_from_written_pfn(bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    first = leaf**2
    wrong, right = with_and_without("identity-from-written-pfn", "pv-linear", bits)
    with wrong, right:
        shape, (mfn,) = wrong.guest.geometry, unused(wrong, 1)
        assert wrong.set([first + 5], mfn).all()
        assert wrong.lookup([first, first + 1]).tolist() == [
            pfn | shape.identity_bit for pfn in (first + 5, first + 6)
        ]
        with pytest.raises(AuditError, match="identity entries name another frame"):
            wrong.audit()
        assert right.set([first + 5], mfn).all()
        assert right.lookup([first, first + 1]).tolist() == [
            pfn | shape.identity_bit for pfn in (first, first + 1)
        ]
        # Index 0 is what hid it.
        with build("pv-linear", bits, quirks=("identity-from-written-pfn",)) as hidden:
            assert hidden.set([first], mfn).all()
            hidden.audit()


def test_tools_index_unchecked() -> None:
    # 2**27 frames = 512 GiB is what three levels of 512 slots can index.
    guest = Guest.from_e820(
        [(0, "4M", "ram"), ("4M", "512G", "reserved"), ("512G", "514G", "ram")], "4M", "8M"
    )
    for design_quirks, fails in ((("tools-index-unchecked",), True), ((), False)):
        with p2mperf.build("pv-linear", guest, quirks=design_quirks) as p2m:
            assert p2m.end_pfn > 2**27
            assert int(p2m.tools.info["frame_list_list"]) == 2**64 - 1
            if fails:
                with pytest.raises(BugError, match="tools' tree"):
                    p2m.set([2**27 + 2**18], 1)
            else:
                assert p2m.set([2**27 + 2**18 - 1], unused(p2m, 1)).all()
                assert int(p2m.tools.read()[2**27 + 2**18 - 1]) == unused(p2m, 1)[0]
                p2m.audit()


@widths
def test_hint_is_a_pfn(bits: int) -> None:
    guest = Guest.plain("16M", geometry=f"pv{bits}")
    leaf = LEAF_PAGES[bits]
    pfn = 20 * leaf + 5
    counts = {}
    for design_quirks in (("hint-is-a-pfn",), ()):
        with p2mperf.build("pv-linear", guest, limit="1G", quirks=design_quirks) as p2m:
            assert p2m.tools.n_entries == 16 * 256
            p2m.set([pfn], unused(p2m, 1))
            counts[design_quirks] = p2m.tools.n_entries
            seen = p2m.tools.read()
            assert (seen.size > pfn) is not bool(design_quirks)
    # A count ends behind the leaf that frame 20 * leaf + 5 is in; as a pfn it leaves out the frame itself.
    assert list(counts.values()) == [pfn, 21 * leaf]


@pytest.mark.parametrize("design", PV_DESIGNS)
@widths
def test_bug_beyond_end(design: PvName, bits: int) -> None:
    wrong, right = with_and_without("bug-beyond-end", design, bits)
    with wrong, right:
        shape, (mfn,) = wrong.guest.geometry, unused(wrong, 1)
        # A list ends with its area of 3 mids; a tree where its top page does: 512^3 or 1024^3 frames.
        leaf = LEAF_PAGES[bits]
        end = {"pv-tree": leaf**3, "pv-linear": 3 * leaf**2}[design]
        with pytest.raises(BugError, match="beyond the end"):
            wrong.set([0, end, 1], [mfn, mfn, mfn])
        # What came before had happened.
        assert wrong.lookup([0]).tolist() == [mfn]
        assert wrong.lookup([1]).tolist() != [mfn]
        assert wrong.set([end], shape.invalid).all()
        with pytest.raises(BugError):
            wrong.set([end], mfn | shape.foreign_bit)
        assert right.set([0, end], [mfn, mfn]).tolist() == [True, False]


def test_a_write_beyond_the_map_is_lost_in_the_tree() -> None:
    # 8 GiB of memory; 2^22 frames are 16 GiB, beyond its map, and three levels of 512 reach 2^27.
    guest = Guest.preset("dom0-64-8g")
    with p2mperf.build("pv-tree", guest, quirks=("bug-beyond-end",)) as tree:
        assert tree.end_pfn < 0x400000
        assert tree.set([0x400000, 0x7FFFFFF], [5, 6]).tolist() == [True, True]
        assert tree.lookup([0x400000, 0x7FFFFFF]).tolist() == [0x400000 | 1 << 62, 0x7FFFFFF | 1 << 62]
        # In the page that all identity shares they are: the first frame of a leaf and the last.
        words = tree.pool.words(tree.identity_leaf, np.uint64)
        assert words[[0, 511]].tolist() == [5, 6]
        assert tree.set([0x400000], 2**64 - 1).all()
        assert words[0] == 2**64 - 1
        with pytest.raises(BugError, match="0x8000000"):
            tree.set([0x8000000], 5)
    with p2mperf.build("pv-tree", guest) as tree:
        assert tree.set([0x400000, 0x8000000], [5, 6]).tolist() == [False, False]


def test_a_range_of_identity_does_not_widen() -> None:
    # RAM 0-8M and 8M-64M, 8 MiB = 2048 frames at boot: frames 2048 to 16383 are missing.
    guest = Guest.from_e820([(0, "8M", "ram"), ("8M", "64M", "ram")], "8M")
    with p2mperf.build("pv-tree", guest, quirks=("identity-widens",)) as tree:
        assert tree.set_identity(5000, 3) == 3
        seen = tree.lookup([4999, 5000, 5001, 5002, 5003]).tolist()
        assert seen == [2**64 - 1, *(pfn | 1 << 62 for pfn in (5000, 5001, 5002)), 2**64 - 1]
        # 5000 = 9 * 512 + 392: one leaf was split off. A single write still covers its leaf, 6144 to 6655.
        assert tree.n_breaks == {"leaf": 1, "mid": 0}
        assert tree.set([6200], 6200 | 1 << 62).all()
        assert tree.lookup([6144, 6655]).tolist() == [6144 | 1 << 62, 6655 | 1 << 62]


@widths
def test_widening_does_not_tell_the_tools(bits: int) -> None:
    # Leaf 12 is missing in a private mid. A slot of the tools' tree may lead to either shared page then:
    # what is lost in the identity page is seen where a leaf was identity at boot, not where it became so.
    leaf = LEAF_PAGES[bits]
    quirks = ("identity-widens", "lost-write-under-identity", "invalid-under-identity-ignored")
    with build("pv-tree", bits, quirks=quirks) as tree:
        invalid, (mfn,) = tree.guest.geometry.invalid, unused(tree, 1)
        assert int(tree.tools.read()[12 * leaf + 5]) == invalid
        assert tree.set([12 * leaf + 5], (12 * leaf + 5) | tree.guest.geometry.identity_bit).all()
        assert tree.set([leaf**2 + 5], mfn).all()
        seen = tree.tools.read()
        assert int(seen[12 * leaf + 5]) == invalid
        # INVALID, wherever it is written under the shared page, wipes what was lost there before.
        shared = tree.pool.words(tree.identity_leaf, tree.guest.geometry.dtype)
        assert shared[5] == mfn
        assert tree.set([12 * leaf + 5], invalid).all()
        assert shared[5] == invalid


@pytest.mark.parametrize("design", PV_DESIGNS)
def test_a_quirk_of_another_design_is_refused(design: PvName) -> None:
    for name, quirk in QUIRKS.items():
        if LAYOUTS[design] not in quirk.layouts:
            with pytest.raises(BadInputError, match=f"unknown quirk of {design}"):
                build(design, 64, quirks=(name,))


def test_with_all_quirks_what_is_private_is_written_as_ever() -> None:
    for design in PV_DESIGNS:
        names = tuple(name for name, quirk in QUIRKS.items() if LAYOUTS[design] in quirk.layouts)
        with build(design, 64, quirks=names) as p2m:
            assert p2m.set(np.arange(5), unused(p2m, 5)).all()
            assert p2m.lookup(np.arange(5)).tolist() == unused(p2m, 5)


def test_every_quirk_has_its_pair() -> None:
    tried = {*globals(), *vars(test_quirks_of_memory), *vars(test_quirks_at_boot)}
    assert not [name for name in QUIRKS if f"test_{name.replace('-', '_')}" not in tried]
