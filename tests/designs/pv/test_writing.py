"""set_phys_to_machine: what it allocates, what it must not, and what is left alone when it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName
from naive import LEAF_PAGES
from small_guests import build, life_of, small_guest, unused

import p2mperf
from p2mperf.errors import AuditError, BadInputError, ClosedError, DoesNotFitError
from p2mperf.guests.guest import Guest
from p2mperf.host import maps
from p2mperf.memory import vm

BITS = (64, 32)
both = pytest.mark.parametrize("design", PV_DESIGNS)
widths = pytest.mark.parametrize("bits", BITS)


def neighbours_kept(p2m: Any, pfn: int, before: Any) -> bool:
    """Whether all frames of the two leaves around are as before, but for `pfn`."""
    pfns, entries = before
    now = p2m.lookup(pfns)
    return bool((now == entries)[pfns != pfn].all())


def around(p2m: Any, pfn: int) -> Any:
    """Frames of the written leaf and its neighbours, and of the leaf half a mid further, as they read now."""
    leaf = p2m.guest.geometry.leaf_frames
    first = pfn // leaf * leaf
    pfns = np.concatenate(
        [np.arange(max(0, first - leaf), first + 2 * leaf), first + leaf * leaf // 2 + np.arange(leaf)]
    )
    return pfns, p2m.lookup(pfns)


@both
@widths
@pytest.mark.parametrize("where", ["index 0", "middle", "last"])
@pytest.mark.parametrize("kind", ["missing", "identity", "identity mid", "missing mid"])
def test_first_write_into_a_shared_leaf_keeps_its_neighbours(
    design: PvName, bits: int, where: str, kind: str
) -> None:
    # Checklist 6. Of the small guest, in leaves: 12 is missing on both (above the maximum), 30 is identity in
    # a mid that has private leaves, mid 1 is all identity, mid 2 all missing.
    leaf = LEAF_PAGES[bits]
    first = {"missing": 12, "identity": 30, "identity mid": leaf + 3, "missing mid": 2 * leaf + 3}[
        kind
    ] * leaf
    pfn = first + {"index 0": 0, "middle": leaf // 2, "last": leaf - 1}[where]
    with build(design, bits) as p2m:
        life = life_of(p2m)
        before, (mfn,) = around(p2m, pfn), unused(p2m, 1)
        assert p2m.set([pfn], [mfn]).tolist() == [life.set(pfn, mfn)] == [True]
        assert p2m.lookup([pfn]).tolist() == [mfn]
        assert neighbours_kept(p2m, pfn, before)
        # One leaf; and where the whole mid was shared its last-level pages: two for a list at 32 bits.
        assert p2m.n_breaks == {"leaf": 1, "mid": int("mid" in kind)}
        assert sum(p2m.store.taken.values()) == life.n_taken
        p2m.audit()


@widths
def test_both_pages_of_a_split_mid_are_linked(bits: int) -> None:
    # Checklist 6: at 32 bits a mid's list takes two PMDs; a write through one must leave the other mapped.
    leaf = LEAF_PAGES[bits]
    with build("pv-linear", bits) as p2m:
        first, second = leaf * leaf, leaf * leaf + leaf * leaf // 2
        p2m.set([first], [7])
        answers = p2m.lookup([first + 1, second, second + leaf * leaf // 2 - 1]).tolist()
        assert answers == [
            pfn | p2m.guest.geometry.identity_bit for pfn in (first + 1, second, 2 * first - 1)
        ]
        # Pages of 512 entries of 8 bytes: one spans 512 leaves. A mid has 512 leaves at 64 bits, 1024 at 32.
        assert p2m.store.taken["pte"] == {64: 1, 32: 2}[bits]


@both
@widths
def test_writes_that_need_no_leaf_take_none(design: PvName, bits: int) -> None:
    # Checklist 7.
    leaf = LEAF_PAGES[bits]
    with build(design, bits, n_spare=0) as p2m:
        shape = p2m.guest.geometry
        identity, missing, end = leaf * leaf + 5, 2 * leaf * leaf + 5, p2m.end_pfn
        as_it_is = [identity | shape.identity_bit, shape.invalid, shape.invalid]
        assert p2m.set([identity, missing, end], as_it_is).all()
        assert p2m.set([identity, missing], shape.invalid).tolist() == [False, True]
        # Identity of another frame is a value like any other: it needs a leaf, and there is no page for one.
        assert p2m.set([identity], (identity + 1) | shape.identity_bit).tolist() == [False]
        assert not sum(p2m.store.taken.values())
        p2m.audit()


@both
@widths
def test_beyond_the_end_only_invalid_is_taken(design: PvName, bits: int) -> None:
    # Checklist 2 and 8: refused, and never fatal.
    with build(design, bits) as p2m:
        shape, end = p2m.guest.geometry, p2m.end_pfn
        pfns = np.array(
            [end - 1, end, end + 1, shape.max_frames - 1, shape.max_frames, 2**63, 2**64 - 1], np.uint64
        )
        expected = [True, False, False, False, False, False, False]
        assert p2m.set(pfns, unused(p2m, 1)).tolist() == expected
        assert p2m.set(pfns, 7 | shape.foreign_bit).tolist() == expected
        assert p2m.balloon_up(pfns, 9).tolist() == [False] * 7
        assert (p2m.balloon_down(pfns)[1:] == shape.invalid).all()
        assert p2m.set(pfns, shape.invalid).all()
        p2m.audit()


@both
@widths
@pytest.mark.parametrize("with_tools", [False, True], ids=["", "tools"])
def test_a_page_that_is_not_there_leaves_everything_as_it_was(
    design: PvName, bits: int, with_tools: bool
) -> None:
    # Checklist 13: a first write into a shared mid takes, one after the other, the last-level pages (one; two
    # for a list at 32 bits), the tools' mid if there is a tree, and the leaf. Each may be the one that fails.
    leaf = LEAF_PAGES[bits]
    group = 2 if (design, bits) == ("pv-linear", 32) else 1
    needed = group + int(with_tools) + 1
    fixed = 4 + 1 if with_tools else 0  # top, top_p, missing mid, shared info, and the one private mid
    for n_left in range(needed + 1):
        with build(design, bits, n_spare=fixed + n_left) as p2m:
            if with_tools:
                p2m.tools.read()
            before, footprint = p2m.lookup(np.arange(3 * leaf * leaf)), p2m.footprint().pages
            pfn = leaf * leaf + 5
            enough = n_left == needed
            assert p2m.set([pfn], unused(p2m, 1)).tolist() == [enough]
            assert (p2m.footprint().pages == footprint) is not enough
            after = p2m.lookup(np.arange(3 * leaf * leaf))
            assert (after != before).sum() == int(enough)
            p2m.audit()


@both
def test_what_cannot_be_had_does_not_stop_what_can(design: PvName) -> None:
    # Two pages: the leaf in the shared mid would take both and come first; of the two later ones in mid 0,
    # which is private, each takes one. With one page less the first is refused and one of the others fits.
    pfns = [512 * 512 + 9, 12 * 512, 13 * 512]
    for n_spare, expected in ((3, [True, True, False]), (1, [False, True, False]), (0, [False] * 3)):
        with build(design, 64, n_spare=n_spare) as p2m:
            assert p2m.set(pfns, unused(p2m, 3)).tolist() == expected
            p2m.audit()


@both
@widths
def test_a_write_where_no_mapping_can_be_had_is_refused(
    design: PvName, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = LEAF_PAGES[bits]
    with build(design, bits) as p2m:
        before = p2m.lookup(np.arange(3 * leaf * leaf))
        monkeypatch.setattr(maps, "max_maps", lambda *_: 0)
        done = p2m.set([leaf * leaf + 5], unused(p2m, 1)).tolist()
        # Only the list shows its leaves by mappings.
        assert done == [design == "pv-tree"]
        assert (p2m.lookup(np.arange(3 * leaf * leaf)) != before).sum() == sum(done)
        p2m.audit()


def test_a_mapping_that_fails_half_way_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pfns = np.array([12, 14, 16]) * 512
    with build("pv-linear", 64) as p2m:
        before, pages = p2m.lookup(np.arange(24 * 512)), p2m.footprint().pages
        map_pages, calls = vm.map_pages, []

        def third_fails(*arguments: Any) -> int:
            calls.append(arguments)
            if len(calls) == 3:
                raise DoesNotFitError("injected")
            return map_pages(*arguments)

        monkeypatch.setattr(vm, "map_pages", third_fails)
        assert not p2m.set(pfns, [7, 8, 9]).any()
        assert len(calls) > 3
        assert (p2m.lookup(np.arange(24 * 512)) == before).all()
        assert p2m.footprint().pages == pages
        p2m.audit()
        assert p2m.set(pfns, [7, 8, 9]).all()


@both
@widths
def test_nothing_is_merged_back(design: PvName, bits: int) -> None:
    # Checklist 8: page counts only grow.
    leaf = LEAF_PAGES[bits]
    with build(design, bits) as p2m:
        invalid = p2m.guest.geometry.invalid
        pfns = 2 * leaf * leaf + np.arange(leaf)
        mfns = unused(p2m, leaf)
        p2m.set(pfns, mfns)
        pages = p2m.footprint().n_pages
        p2m.set(pfns, invalid)
        assert p2m.footprint().n_pages == pages
        assert p2m.set(pfns[:3], mfns[:3]).all()
        assert p2m.footprint().n_pages == pages
        p2m.audit()


@both
@widths
def test_writes_happen_in_order(design: PvName, bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    pfn = 2 * leaf * leaf + 1
    with build(design, bits) as p2m:
        invalid = p2m.guest.geometry.invalid
        assert p2m.set([pfn, pfn, pfn], [7, invalid, 8]).all()
        assert p2m.lookup([pfn]).tolist() == [8]
        assert p2m.set([pfn + 1, pfn + 1], [9, invalid]).all()
        assert p2m.lookup([pfn + 1]).tolist() == [invalid]


@both
@widths
def test_a_frame_whose_number_it_has_itself_is_memory(design: PvName, bits: int) -> None:
    # Checklist 4: a real mfn equal to its pfn is not identity, and one marker does not make another.
    with build(design, bits) as p2m:
        shape = p2m.guest.geometry
        entries = [5, 6 | shape.identity_bit, 7 | shape.foreign_bit, shape.invalid]
        assert p2m.set([5, 6, 7, 8], entries).all()
        assert p2m.lookup([5, 6, 7, 8]).tolist() == entries
        assert p2m.pfn_to_mfn([5, 6, 7, 8]).tolist() == [5, 6, 7, shape.invalid]
        kinds = [kind for first, _, kind in p2m.kind_runs() if first < 10]
        assert kinds == ["pfn", "identity", "foreign", "missing", "pfn"]


@both
@pytest.mark.parametrize("size", ["4K", "2044K", "2M", "2052K", "2049M", "5000M"])
@widths
def test_odd_sizes_can_be_written_to_the_last_frame(design: PvName, size: str, bits: int) -> None:
    # Checklist 1: the padding reads INVALID and can be written, for its leaf is private.
    guest = Guest.plain(size, geometry=f"pv{bits}")
    leaf = guest.geometry.leaf_frames
    padded = -(-guest.n_boot_pages // leaf) * leaf
    with p2mperf.build(design, guest, n_spare=0) as p2m:
        last = guest.n_boot_pages - 1
        padding = list(range(guest.n_boot_pages, min(padded, guest.n_boot_pages + 2)))
        assert p2m.lookup([last]).tolist() != [guest.geometry.invalid]
        assert p2m.lookup(padding).tolist() == [guest.geometry.invalid] * len(padding)
        assert p2m.set([last, *padding], 1).all()
        assert p2m.lookup([last, *padding]).tolist() == [1] * (1 + len(padding))


def test_the_drawn_example_breaks_into_the_same_leaves() -> None:
    # Checklist 5: of [1029 MiB, 2001 MiB) = pfn 263424..512255 the edges; 512256 first, in the middle of its
    # leaf, is what showed that identity must be counted from the leaf's own first frame.
    identity = 1 << 62
    with p2mperf.build("pv-linear", "dom0-64-e820", invalidated=False) as p2m:
        invalid = 2**64 - 1
        assert p2m.leaf_state[512256 // 512] == 2
        assert p2m.set([512256], invalid).all()
        asked = [512000, 512255, 512256, 512257, 263423, 263424]
        assert p2m.lookup(asked).tolist() == [pfn if pfn == 512256 else pfn | identity for pfn in asked][
            :2
        ] + [invalid, 512257 | identity, 263423 | identity, 263424 | identity]


@both
@widths
def test_audit_after_writes_still_finds_what_is_wrong(design: PvName, bits: int) -> None:
    leaf = LEAF_PAGES[bits]

    def entry_of_another(p2m: Any) -> None:
        p2m.pool.words(int(p2m.leaves[2 * leaf]), p2m.guest.geometry.dtype)[3] = p2m.lookup([0])[0]

    def lost_entry(p2m: Any) -> None:
        p2m.pool.words(int(p2m.leaves[2 * leaf]), p2m.guest.geometry.dtype)[1] = p2m.guest.geometry.invalid

    def slot_elsewhere(p2m: Any) -> None:
        p2m.store.point(np.array([2 * leaf]), np.array([p2m.missing_leaf]))

    def mid_shared_again(p2m: Any) -> None:
        last = p2m.store.table.shape.levels[0].name
        private = p2m.store.table.frames[last][2 * p2m.store.group]
        p2m.store.point_pages(
            np.array([2 * p2m.store.group]), np.array([p2m.store.table.shared[p2m.missing_leaf]])
        )
        p2m.store.table.frames[last][2 * p2m.store.group] = private

    def polluted(p2m: Any) -> None:
        p2m.pool.words(p2m.identity_leaf, p2m.guest.geometry.dtype)[3] = 1

    def page_lost(p2m: Any) -> None:
        p2m.pool.allocate(1, "leaf")

    for harm in (entry_of_another, lost_entry, slot_elsewhere, mid_shared_again, polluted, page_lost):
        with build(design, bits) as p2m:
            pfn = 2 * leaf * leaf + 1
            assert p2m.set([pfn], unused(p2m, 1)).all()
            p2m.audit()
            harm(p2m)
            with pytest.raises(AuditError):
                p2m.audit()


@both
def test_bad_input_is_answered_with_one_sentence(design: PvName) -> None:
    with build(design, 32) as p2m:
        n_machine = p2m.guest.machine.n_frames
        for pfns, entries, message in (
            ([1], [2**32], "wider than"),
            ([1], [n_machine], "beyond the machine's"),
            ([1, 2], [1, 2, 3], "3 entries for 2 frames"),
            ([1.5], [1], "whole"),
            ([-1], [1], "not negative"),
            ([1], ["a"], "whole"),
        ):
            with pytest.raises(BadInputError, match=message):
                p2m.set(pfns, entries)
        with pytest.raises(BadInputError, match="marker bits"):
            p2m.balloon_up([1], [1 << 31])
        assert p2m.set([], []).tolist() == []
    with pytest.raises(ClosedError, match="closed"):
        p2m.set([1], [1])
    with pytest.raises(BadInputError, match="lost-write"):
        p2mperf.build(design, small_guest(64), quirks=("lost-writes",))


def test_the_nested_list_can_only_be_read() -> None:
    with p2mperf.build("pv-linear-nested", Guest.plain("64M")) as nested:
        for what in ("set", "break_leaves", "balloon_down", "set_foreign", "save", "tools"):
            assert not hasattr(nested, what)
    with pytest.raises(BadInputError, match="pv-linear-nested has no option n_spare"):
        p2mperf.build("pv-linear-nested", Guest.plain("64M"), n_spare=3)


@both
@widths
def test_shapes_are_kept(design: PvName, bits: int) -> None:
    with build(design, bits) as p2m:
        pfns = np.arange(6).reshape(2, 3)
        mfns = p2m.balloon_down(pfns)
        assert mfns.shape == (2, 3)
        assert p2m.balloon_up(pfns, mfns).shape == (2, 3)
        assert p2m.set(pfns, 1).shape == (2, 3)
