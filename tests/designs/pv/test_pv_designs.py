"""Both PV designs at every size and frame where something changes, load by load, and what an audit sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName
from naive import INVALID, MAX_P2M_PFN, Oracle

import p2mperf
from p2mperf import Guest
from p2mperf.designs import find
from p2mperf.errors import BadInputError
from p2mperf.guests.geometry import Kind
from p2mperf.units import PAGE_SIZE

POLICIES = ("identity", "invalid")

# 64 bit: leaves of 512 pfns, mids of 512 * 512 = 262144 (1 GiB); 32 bit: 1024 and 1024 * 1024 (4 GiB).
LEAF = {64: 512, 32: 1024}
MID = {64: 262144, 32: 1048576}
MIB_PAGES, GIB_PAGES = 256, 262144


def oracle_of_plain(guest: Guest, above: str = "identity", max_domain_pages: int | None = None) -> Oracle:
    """The oracle over a plain guest; only which mfns its machine handed out is taken from the guest."""
    ram = guest.runs.select(Kind.RAM)
    extents = list(zip(ram.n_frames.tolist(), ram.first_mfn.tolist(), strict=True))
    rows = [(row.start, row.end, row.type) for row in guest.rows]
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
@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize(("entry_bits", "n_pages"), SIZES)
def test_every_size_answers_as_the_oracle_does(
    entry_bits: int, n_pages: int, design: PvName, above: str
) -> None:
    guest = plain(n_pages, entry_bits)
    oracle = oracle_of_plain(guest, above)
    with p2mperf.build(design, guest, above=above) as p2m:
        check_answers(p2m, oracle, asked(oracle, n_pages))
        assert p2m.dump().splitlines() == oracle.dump()
        p2m.audit()
        counted = p2m.footprint().pages
    # One leaf for each 512 or 1024 pages, one mid (or 1 or 2 pages of 512 PTEs) for each 512 or 1024 leaves.
    n_leaves, n_mids = -(-n_pages // LEAF[entry_bits]), -(-n_pages // MID[entry_bits])
    assert counted == type(p2m).predict_footprint(guest, above=above).pages
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
        oracle = oracle_of_plain(guest)
        check_answers(p2m, oracle, asked(oracle, 2**27 + extra))
        assert p2m.footprint().pages["leaf"] == 2**18 + extra


@pytest.mark.parametrize("extra", [0, 1])
def test_512_gib_with_the_tree(extra: int) -> None:
    # 500 GiB = 131072000 pages are what the tree takes by default; RAM above has no frames, and from 2^27 on
    # there is no slot for it at all: identity, even for the one page too many.
    guest = plain(2**27 + extra, 64)
    with p2mperf.build("pv-tree", guest) as p2m:
        oracle = oracle_of_plain(guest, max_domain_pages=500 * GIB_PAGES)
        check_answers(p2m, oracle, [pfn for pfn in asked(oracle, 2**27) if pfn < 2**27])
        beyond = [2**27, 2**27 + 1, 2**62, 2**63 + 5, 2**64 - 1]
        assert p2m.lookup(np.array(beyond, np.uint64)).tolist() == [pfn | 2**62 for pfn in beyond]
        # 131072000 / 512 leaves, 500 mids of 1 GiB.
        assert (p2m.footprint().pages["leaf"], p2m.footprint().pages["mid"]) == (256000, 500)


def test_the_whole_tree_can_be_filled() -> None:
    guest = plain(2**27, 64)
    with p2mperf.build("pv-tree", guest, max_domain_pages=2**27) as p2m:
        oracle = oracle_of_plain(guest)
        check_answers(p2m, oracle, asked(oracle, 2**27))
        # 2^27 / 512 leaves under 512 mids: every slot of the top page.
        assert (p2m.footprint().pages["leaf"], p2m.footprint().pages["mid"]) == (262144, 512)


def test_a_mid_of_its_own_is_one_page_of_ptes_or_two() -> None:
    # Two GiB are two mids at 64 bit; at 32 bit 512 leaves need one page of PTEs and get the pair.
    assert find("pv-linear").predict_footprint(plain(2 * GIB_PAGES, 64)).pages["pte"] == 2
    assert find("pv-linear").predict_footprint(plain(2 * GIB_PAGES, 32)).pages["pte"] == 2


# ---- markers ----


@pytest.mark.parametrize("design", [*PV_DESIGNS, "pv-linear-nested"])
@pytest.mark.parametrize("name", ["dom0-64-e820", "dom0-32-e820", "domu-64-8g"])
def test_a_frame_that_equals_its_pfn_is_no_identity(name: str, design: PvName) -> None:
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


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("bits", [64, 32])
def test_the_kinds_of_raw_entries(bits: int, design: PvName) -> None:
    identity, foreign, invalid = 1 << (bits - 2), 1 << (bits - 1), INVALID[bits]
    with p2mperf.build(design, f"dom0-{bits}-e820") as p2m:
        leaf = p2m.pool.words(int(p2m.leaf_frames[0]), p2m.guest.geometry.dtype)
        leaf[[3, 4, 5]] = [77 | foreign, 4 | identity, invalid]
        assert p2m.lookup([3, 4, 5]).tolist() == [77 | foreign, 4 | identity, invalid]
        assert p2m.pfn_to_mfn([3, 4, 5]).tolist() == [77, 4, invalid]
        assert [kind for _, _, kind in p2m.kind_runs()][:4] == ["pfn", "foreign", "identity", "missing"]


# ---- back again ----


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("name", ["dom0-64-e820", "dom0-32-e820", "domu-64-2049m"])
def test_frames_lead_back_to_their_pfns(name: str, design: PvName) -> None:
    with p2mperf.build(design, name) as p2m:
        # The first GiB of each is RAM.
        pfns = np.arange(0, 262144, 7, dtype=np.uint64)
        assert (p2m.mfn_to_pfn(p2m.pfn_to_mfn(pfns)) == pfns).all()


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("bits", [64, 32])
def test_device_memory_is_its_own_pfn(bits: int, design: PvName) -> None:
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


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("bits", [64, 32])
def test_a_foreign_frame_leads_nowhere(bits: int, design: PvName) -> None:
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


# ---- input ----


@pytest.mark.parametrize("design", PV_DESIGNS)
@pytest.mark.parametrize("pfns", [[1.5], [-1], ["a"], [True], [None], "5", [2**64], np.array([-1, 2])])
def test_what_is_no_frame_number_is_refused(built: Any, design: PvName, pfns: Any) -> None:
    p2m = built(design, "dom0-64-e820")
    for ask in (p2m.lookup, p2m.pfn_to_mfn, p2m.mfn_to_pfn):
        with pytest.raises(BadInputError, match="must be whole and not negative"):
            ask(pfns)


@pytest.mark.parametrize("design", PV_DESIGNS)
def test_answers_have_the_shape_of_the_question(built: Any, design: PvName) -> None:
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
