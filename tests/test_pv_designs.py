"""Both PV designs at every size and frame where something changes, load by load, and what an audit sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from naive import INVALID, MAX_P2M_PFN, Oracle

import p2mperf
from p2mperf import Guest
from p2mperf.designs import find
from p2mperf.errors import AuditError, BadInputError
from p2mperf.guests.geometry import Kind
from p2mperf.memory import vm
from p2mperf.units import PAGE_SIZE

DESIGNS = ("pv-tree", "pv-linear")
POLICIES = ("identity", "invalid")
# 64 bit: leaves of 512 pfns, mids of 512 * 512 = 262144 (1 GiB); 32 bit: 1024 and 1024 * 1024 (4 GiB).
LEAF = {64: 512, 32: 1024}
MID = {64: 262144, 32: 1048576}
MIB_PAGES, GIB_PAGES = 256, 262144


def oracle_of(guest: Guest, above: str = "identity", max_domain_pages: int | None = None) -> Oracle:
    """The oracle over a plain guest; only which mfns its machine handed out is taken from the guest."""
    ram = guest.runs.select(Kind.RAM)
    extents = list(zip(ram.n_frames.tolist(), ram.first_mfn.tolist(), strict=True))
    rows = [tuple(row) for row in guest.rows]
    pages = guest.n_boot_pages, guest.max_pages
    return Oracle(rows, *pages, guest.geometry.entry_bits, extents, above, max_domain_pages)


def plain(n_pages: int, entry_bits: int) -> Guest:
    return Guest.plain(n_pages * PAGE_SIZE, geometry=f"pv{entry_bits}")


def asked(oracle: Oracle, n_pages: int) -> list[int]:
    bits, end = oracle.entry_bits, MAX_P2M_PFN[oracle.entry_bits]
    pfns = {0, n_pages - 1, n_pages, end - 1, end, INVALID[bits], *oracle.boundaries()}
    # Frame numbers that look like marked entries: the identity bit, the foreign bit, both.
    pfns |= {1 << (bits - 2), (1 << (bits - 1)) | 5, (3 << (bits - 2)) | 7}
    return sorted(pfns)


def check_answers(p2m: Any, oracle: Oracle, pfns: list[int]) -> None:
    answers = p2m.lookup(np.array(pfns, np.uint64)).tolist()
    wrong = [(pfn, hex(a)) for pfn, a in zip(pfns, answers, strict=True) if a != oracle.entry(pfn)]
    assert wrong == []


# ---- sizes ----

SIZES = [
    *((bits, n) for bits in (64, 32) for n in (1, LEAF[bits] - 1, LEAF[bits], LEAF[bits] + 1)),
    *((bits, n) for bits in (64, 32) for n in (MID[bits], MID[bits] + 1)),
    *((bits, n * MIB_PAGES) for bits in (64, 32) for n in (2049, 5000)),
    *((32, n * GIB_PAGES) for n in (43, 64)),
]


@pytest.mark.parametrize("above", POLICIES)
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(("entry_bits", "n_pages"), SIZES)
def test_every_size_answers_as_the_oracle_does(
    entry_bits: int, n_pages: int, design: str, above: str
) -> None:
    guest = plain(n_pages, entry_bits)
    oracle = oracle_of(guest, above)
    with p2mperf.build(design, guest, above=above) as p2m:
        check_answers(p2m, oracle, asked(oracle, n_pages))
        assert p2m.dump().splitlines() == oracle.dump()
        p2m.audit()
        counted = p2m.footprint().pages
    # One leaf for each 512 or 1024 pages, one mid (or 1 or 2 pages of 512 PTEs) for each 512 or 1024 leaves.
    n_leaves, n_mids = -(-n_pages // LEAF[entry_bits]), -(-n_pages // MID[entry_bits])
    assert counted == find(design).predict_footprint(guest, above=above).pages
    assert counted["leaf"] == n_leaves
    if design == "pv-tree":
        assert (counted["mid"], counted["top"]) == (n_mids, 1)
    else:
        assert counted["pte"] == n_mids * (1 if entry_bits == 64 else 2)


@pytest.mark.parametrize("entry_bits", [64, 32])
def test_a_guest_of_no_pages_is_refused(entry_bits: int) -> None:
    with pytest.raises(BadInputError, match="positive"):
        plain(0, entry_bits)


@pytest.mark.parametrize("extra", [0, 1])
def test_512_gib_with_the_list(extra: int) -> None:
    # 512 GiB = 2^27 pages is where the tree ends; the list does not know that limit.
    guest = plain(2**27 + extra, 64)
    with p2mperf.build("pv-linear", guest) as p2m:
        oracle = oracle_of(guest)
        check_answers(p2m, oracle, asked(oracle, 2**27 + extra))
        assert p2m.footprint().pages["leaf"] == 2**18 + extra


@pytest.mark.parametrize("extra", [0, 1])
def test_512_gib_with_the_tree(extra: int) -> None:
    # 500 GiB = 131072000 pages are what the tree takes by default; RAM above has no frames, and from 2^27 on
    # there is no slot for it at all: identity, even for the one page too many.
    guest = plain(2**27 + extra, 64)
    with p2mperf.build("pv-tree", guest) as p2m:
        oracle = oracle_of(guest, max_domain_pages=500 * GIB_PAGES)
        check_answers(p2m, oracle, [pfn for pfn in asked(oracle, 2**27) if pfn < 2**27])
        beyond = [2**27, 2**27 + 1, 2**62, 2**63 + 5, 2**64 - 1]
        assert p2m.lookup(np.array(beyond, np.uint64)).tolist() == [pfn | 2**62 for pfn in beyond]
        # 131072000 / 512 leaves, 500 mids of 1 GiB.
        assert (p2m.footprint().pages["leaf"], p2m.footprint().pages["mid"]) == (256000, 500)


def test_the_whole_tree_can_be_filled() -> None:
    guest = plain(2**27, 64)
    with p2mperf.build("pv-tree", guest, max_domain_pages=2**27) as p2m:
        oracle = oracle_of(guest)
        check_answers(p2m, oracle, asked(oracle, 2**27))
        # 2^27 / 512 leaves under 512 mids: every slot of the top page.
        assert (p2m.footprint().pages["leaf"], p2m.footprint().pages["mid"]) == (262144, 512)


def test_a_mid_of_its_own_is_one_page_of_ptes_or_two() -> None:
    # Two GiB are two mids at 64 bit; at 32 bit 512 leaves need one page of PTEs and get the pair.
    assert find("pv-linear").predict_footprint(plain(2 * GIB_PAGES, 64)).pages["pte"] == 2
    assert find("pv-linear").predict_footprint(plain(2 * GIB_PAGES, 32)).pages["pte"] == 2


# ---- markers ----


@pytest.mark.parametrize("design", [*DESIGNS, "pv-linear-nested"])
@pytest.mark.parametrize("name", ["dom0-64-e820", "dom0-32-e820", "domu-64-8g"])
def test_a_frame_that_equals_its_pfn_is_no_identity(name: str, design: str) -> None:
    guest = Guest.preset(name)
    pfn = guest.coincident_pfn
    assert pfn > 0
    with p2mperf.build(design, guest) as p2m:
        assert p2m.lookup([pfn]).tolist() == p2m.pfn_to_mfn([pfn]).tolist() == [pfn]
        runs = [kind for first, end, kind in p2m.kind_runs() if first <= pfn < end]
        assert runs == ["pfn"]


def test_every_other_frame_differs_from_its_pfn() -> None:
    guest = Guest.preset("dom0-64-e820")
    with p2mperf.build("pv-linear", guest) as p2m:
        pfns = np.arange(262144)
        assert np.flatnonzero(p2m.lookup(pfns) == pfns.astype(np.uint64)).tolist() == [guest.coincident_pfn]


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("bits", [64, 32])
def test_the_kinds_of_raw_entries(bits: int, design: str) -> None:
    identity, foreign, invalid = 1 << (bits - 2), 1 << (bits - 1), INVALID[bits]
    with p2mperf.build(design, f"dom0-{bits}-e820") as p2m:
        leaf = p2m.pool.words(int(p2m.leaf_frames[0]), p2m.guest.geometry.dtype)
        leaf[[3, 4, 5]] = [77 | foreign, 4 | identity, invalid]
        assert p2m.lookup([3, 4, 5]).tolist() == [77 | foreign, 4 | identity, invalid]
        assert p2m.pfn_to_mfn([3, 4, 5]).tolist() == [77, 4, invalid]
        assert [kind for _, _, kind in p2m.kind_runs()][:4] == ["pfn", "foreign", "identity", "missing"]


# ---- back again ----


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("name", ["dom0-64-e820", "dom0-32-e820", "domu-64-2049m"])
def test_frames_lead_back_to_their_pfns(name: str, design: str) -> None:
    with p2mperf.build(design, name) as p2m:
        # The first GiB of each is RAM.
        pfns = np.arange(0, 262144, 7, dtype=np.uint64)
        assert (p2m.mfn_to_pfn(p2m.pfn_to_mfn(pfns)) == pfns).all()


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("bits", [64, 32])
def test_device_memory_is_its_own_pfn(bits: int, design: str) -> None:
    invalid = INVALID[bits]
    with p2mperf.build(design, f"dom0-{bits}-e820") as p2m:
        owned = set(p2m.lookup(np.arange(262144)).tolist())
        # Frames in the hole 1029M to 2001M that no RAM page happens to have, and 2^25, beyond the machine.
        device = [mfn for mfn in range(263424, 512256) if mfn not in owned][:3] + [2**25]
        assert p2m.mfn_to_pfn(device).tolist() == device
        # RAM without memory (2001M on) and frames of others: nobody's.
        strange = [mfn for mfn in range(512256, 786432) if mfn not in owned][:3]
        assert p2m.mfn_to_pfn(strange).tolist() == [invalid] * 3


def test_frames_beyond_the_machine_are_nobodys_where_nothing_is_above() -> None:
    with p2mperf.build("pv-linear", "dom0-64-e820", above="invalid") as p2m:
        assert p2m.mfn_to_pfn(np.array([2**25, 2**64 - 1], np.uint64)).tolist() == [2**64 - 1] * 2


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("bits", [64, 32])
def test_a_foreign_frame_leads_nowhere(bits: int, design: str) -> None:
    with p2mperf.build(design, f"dom0-{bits}-e820") as p2m:
        words = p2m.pool.words(int(p2m.leaf_frames[0]), p2m.guest.geometry.dtype)
        # A frame whose own number is RAM, so that identity cannot answer for it.
        index = next(i for i in range(8, 500) if int(words[i]) < 262144)
        mfn = int(words[index])
        assert p2m.mfn_to_pfn([mfn]).tolist() == [index]
        words[index] |= p2m.guest.geometry.foreign_bit
        assert p2m.mfn_to_pfn([mfn]).tolist() == [INVALID[bits]]


def test_a_frame_whose_pfn_has_moved_on_leads_nowhere() -> None:
    with p2mperf.build("pv-tree", "dom0-64-e820") as p2m:
        words = p2m.pool.words(int(p2m.leaf_frames[0]), np.uint64)
        index = next(i for i in range(8, 500) if int(words[i]) < 262144)
        mfn = int(words[index])
        p2m.mfn_to_pfn([mfn])
        words[index] = 2**64 - 1
        assert p2m.mfn_to_pfn([mfn]).tolist() == [2**64 - 1]


# ---- loads ----

# dom0-64-e820. Leaf 514 (pfn 263168) is half INVALID, half identity; 515-999 identity; from 1001 on empty.
# For the tree all empty leaves are the missing one; for the list they are private up to 2021, as ballooning
# may fill them, and 2022-2047 are missing.
LOADS_64 = {
    # kind of frame: pfn, loads of the tree, loads of the list
    "RAM": (1000, 3, 1),
    "identity in a private leaf": (263424, 3, 1),
    "identity in a shared leaf": (400000, 2, 1 + 4),
    "INVALID in a private leaf": (263423, 3, 1 + 4 + 1),
    "INVALID in a missing leaf": (1036000, 3, 1 + 4 + 1),
    "above the map": (2**27, 0, 0),
}
# 32 bit: leaf 257 (263168 = 257 * 1024) is the half one; the list's private leaves end before leaf 1011,
# and 1036000 / 1024 = 1011.7.
LOADS_32 = {
    "RAM": (1000, 3, 1),
    "identity in a private leaf": (263424, 3, 1),
    "identity in a shared leaf": (400000, 2, 1 + 3),
    "INVALID in a private leaf": (263423, 3, 1 + 3 + 1),
    "INVALID in a missing leaf": (1036000, 3, 1 + 3 + 1),
    "above the map": (2**30, 0, 0),
}
LOADS = [(64, *case) for case in LOADS_64.items()] + [(32, *case) for case in LOADS_32.items()]


@pytest.fixture(scope="module")
def built() -> Any:
    kept: dict[tuple[str, str], Any] = {}

    def get(design: str, guest: str) -> Any:
        if (design, guest) not in kept:
            kept[design, guest] = p2mperf.build(design, guest)
        return kept[design, guest]

    yield get
    for p2m in kept.values():
        p2m.close()


@pytest.mark.parametrize(("bits", "kind", "case"), LOADS)
def test_the_loads_of_a_lookup(built: Any, bits: int, kind: str, case: tuple[int, int, int]) -> None:
    pfn, n_tree, n_list = case
    guest = f"dom0-{bits}-e820"
    tree, linear = (built(design, guest).lookup_path(pfn) for design in DESIGNS)
    assert (len(tree.steps), len(linear.steps)) == (n_tree, n_list)
    assert tree.entry == linear.entry
    nested = built("pv-linear-nested", guest).lookup_path(pfn)
    # Each level of page table read through the m2p costs an m2p load and the p2m load that verifies it.
    n_levels = (4 if bits == 64 else 3) if n_list > 1 else 0
    assert len(nested.steps) == n_list + 2 * n_levels
    assert nested.entry == tree.entry


def test_the_pages_that_a_tree_walk_reads(built: Any) -> None:
    p2m = built("pv-tree", "dom0-64-e820")
    # 263424 = 1 * 262144 + 2 * 512 + 256.
    steps = p2m.lookup_path(263424).steps
    assert [(s.level, s.view, s.index) for s in steps] == [
        ("top", "direct", 1),
        ("mid", "direct", 2),
        ("leaf", "direct", 256),
    ]
    # 400000 = 1 * 262144 + 269 * 512 + 128: the mid names the shared leaf, and that is enough.
    assert [(s.level, s.index) for s in p2m.lookup_path(400000).steps] == [("top", 1), ("mid", 269)]
    # Mid 100 is above the map: the shared mid of identity leaves. 100 * 262144 + 3 * 512 + 4.
    steps = p2m.lookup_path(100 * 262144 + 3 * 512 + 4).steps
    assert [(s.level, s.index) for s in steps] == [("top", 100), ("mid_shared", 3)]
    # Mid 2 is all balloonable: the shared mid of missing leaves, and the missing leaf itself.
    steps = p2m.lookup_path(2 * 262144 + 9 * 512 + 8).steps
    assert [(s.level, s.index) for s in steps] == [("top", 2), ("mid_shared", 9), ("leaf_shared", 8)]


def test_the_pages_that_the_slow_walk_reads(built: Any) -> None:
    p2m = built("pv-linear", "dom0-64-e820")
    # 400000: the window shows the identity leaf, index 400000 % 512 = 128. Then the page table of
    # 0xffffc90000000000 + 8 * 400000 = ...0030d400: bits 39-47 are 0xc90 << 44 >> 39 = 402, bits 30-38 are 0,
    # bits 21-29 are 1 (0x30d400 >> 21), bits 12-20 are 0x30d400 >> 12 & 511 = 781 - 512 = 269.
    expected = [
        ("leaf_shared", "window", 128),
        ("pgd", "direct", 402),
        ("pud", "direct", 0),
        ("pmd", "direct", 1),
        ("pte", "direct", 269),
    ]
    steps = p2m.lookup_path(400000).steps
    assert [(s.level, s.view, s.index) for s in steps] == expected
    # A missing frame is read once more. 1036000 = 3 * 262144 + 487 * 512 + 224.
    steps = p2m.lookup_path(1036000).steps
    assert [(s.level, s.index) for s in steps] == [
        ("leaf_shared", 224),
        ("pgd", 402),
        ("pud", 0),
        ("pmd", 3),
        ("pte", 487),
        ("leaf_shared", 224),
    ]


def test_the_slow_walk_of_a_32_bit_guest_has_three_levels(built: Any) -> None:
    # The area begins at 0xee000000 (0xc0000000 + 735 MiB, in steps of 4 MiB: 736). 400000 * 4 = 0x186a00.
    # Bits 30-31 are 3; bits 21-29 of 0xee186a00 are 0x2e000000 >> 21 = 368; bits 12-20 are 0x186 = 390.
    steps = built("pv-linear", "dom0-32-e820").lookup_path(400000).steps
    assert [(s.level, s.index) for s in steps[1:]] == [("pgd", 3), ("pmd", 368), ("pte", 390)]


def test_nested_reads_go_through_the_m2p_and_back(built: Any) -> None:
    p2m = built("pv-linear-nested", "dom0-64-e820")
    steps = p2m.lookup_path(400000).steps
    levels = [step.level for step in steps]
    through = [name for level in ("pgd", "pud", "pmd", "pte") for name in (level, "m2p", "leaf")]
    assert levels == ["leaf_shared", *through]
    words = p2m.m2p.words()
    for slot, m2p, p2m_step in zip(steps[1::3], steps[2::3], steps[3::3], strict=True):
        # The slot holds an mfn; the m2p entry of that mfn is a pfn; the p2m entry of that pfn is the mfn.
        mfn = int(p2m.pool.words(slot.frame, np.uint64)[slot.index]) >> 12
        pfn = (p2m_step.address - p2m.window.base) // 8
        assert m2p.address == p2m.m2p.base + 8 * mfn
        assert int(words[mfn]) == pfn
        assert p2m.lookup([pfn]).tolist() == [mfn]


@pytest.mark.parametrize("design", DESIGNS)
def test_a_probe_notes_the_very_words_that_are_read(built: Any, design: str) -> None:
    p2m = built(design, "dom0-64-e820")
    for pfn in (1000, 263424, 400000, 1036000):
        found = p2m.lookup_path(pfn)
        assert found.entry == p2m.lookup([pfn])[0]
        *_, last = found.steps
        assert last.address % PAGE_SIZE == last.index * 8


# ---- audit ----


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


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("what", CORRUPTIONS)
def test_an_audit_names_what_was_broken(what: str, design: str) -> None:
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


@pytest.mark.parametrize("design", DESIGNS)
def test_an_audit_of_32_bit_tables(design: str) -> None:
    with p2mperf.build(design, "dom0-32-e820") as p2m:
        p2m.audit()
        words_of(p2m, int(p2m.leaf_frames[0]))[7] = 2**32 - 1
        with pytest.raises(AuditError, match="262143 frames have memory where 262144 should"):
            p2m.audit()


# ---- input ----


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("pfns", [[1.5], [-1], ["a"], [True], [None], "5", [2**64], np.array([-1, 2])])
def test_what_is_no_frame_number_is_refused(built: Any, design: str, pfns: Any) -> None:
    p2m = built(design, "dom0-64-e820")
    for ask in (p2m.lookup, p2m.pfn_to_mfn, p2m.mfn_to_pfn):
        with pytest.raises(BadInputError, match="must be whole and not negative"):
            ask(pfns)


@pytest.mark.parametrize("design", DESIGNS)
def test_answers_have_the_shape_of_the_question(built: Any, design: str) -> None:
    p2m = built(design, "dom0-64-e820")
    one, two = p2m.lookup([263423, 263424]).tolist()
    assert p2m.lookup([[263423], [263424]]).tolist() == [[one], [two]]
    assert p2m.lookup(np.zeros((0, 3), np.int64)).shape == (0, 3)
    assert p2m.lookup([]).dtype == np.uint64
    assert p2m.lookup(263424).shape == ()
    assert p2m.lookup(263424) == two
    # numpy makes floating-point numbers of such a list.
    assert p2m.lookup([263424, 2**64 - 1]).tolist() == [two, 2**64 - 1]
    # Every width and sign of integer, and arrays that are not contiguous.
    for dtype in (np.int32, np.uint32, np.int64, np.uint64):
        assert p2m.lookup(np.array([263423, 0, 263424, 0], dtype)[::2]).tolist() == [one, two]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("pv-tre", "dom0-64-e820"), {}, "unknown design 'pv-tre': did you mean 'pv-tree'"),
        (("pv-tree", "dom0-64-e8"), {}, "unknown guest 'dom0-64-e8': did you mean 'dom0-64-e820'"),
        (("pv-tree", "dom0-64-e820", "hugh"), {}, "unknown page backing 'hugh': did you mean 'huge'"),
        (("pv-tree", "dom0-64-e820"), {"above": "invalids"}, "unknown policy above the end 'invalids'"),
        (("pv-linear", "dom0-64-e820"), {"above": "none"}, "unknown policy above the end 'none'"),
        (("pv-tree", "dom0-64-e820"), {"max_domian_pages": 4}, "pv-tree has no option max_domian_pages"),
        (("pv-linear", "dom0-64-e820"), {"max_domain_pages": 4}, "pv-linear has no option max_domain_pages"),
    ],
)
def test_what_cannot_be_built_is_said(
    arguments: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        p2mperf.build(*arguments, **options)


def test_a_guest_too_small_for_its_own_nested_list_is_refused() -> None:
    # The pool is 2 MiB at least: 512 frames, which 256 pages of RAM do not hold.
    with pytest.raises(BadInputError, match="no 512 pages of RAM in a row to hold its own p2m"):
        p2mperf.build("pv-linear-nested", Guest.plain("1M"))
