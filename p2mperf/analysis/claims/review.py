"""Claims of the review of version 3, and of the comment in arch/x86/xen/p2m.c that the change took away."""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from p2mperf.analysis.claims.base import WORRY, Claim, Document, Finding, decided, shows, untested
from p2mperf.analysis.claims.evidence import Evidence
from p2mperf.guests.guest import Guest
from p2mperf.units import MIB, PAGE_SIZE, readable_size

REVIEW = Document(
    "review",
    "[PATCH V3 7/8] review, 2014",
    "K. R. Wilk's review of J. Gross, [PATCH V3 7/8] xen: switch to linear virtual mapped sparse p2m list,"
    " xen-devel"
    " and linux-kernel, 19 November 2014, with what it quotes",
)
_GEOMETRIES = ("pv64", "pv32")
_EXAMPLE = "dom0-64-e820"
_FIRST, _END = (edge * MIB // PAGE_SIZE for edge in (1029, 2001))
_FRAMES = "[1029MB = 263424 (0x40500), 2001MB = 512256 (0x7D100), 2048MB = 524288 (0x80000)]"
_BEYOND = 0x90909090
# An identity range whose ends lie in two different gigabytes, neither of which has memory at boot.
_ACROSS = ((0, "1537M", "ram"), ("2561M", "5G", "ram"))


def _padded(evidence: Evidence) -> Finding:
    said, hold = [], True
    for geometry in _GEOMETRIES:
        guest = Guest.plain("1025M", geometry=geometry)
        padding = np.arange(guest.n_boot_pages, guest.covered_pfn)
        with evidence.linear(guest) as linear:
            entries = linear.lookup(padding)
        n_invalid = int(np.count_nonzero(entries == guest.geometry.invalid))
        hold = hold and n_invalid == padding.size > 0
        said.append(f"{n_invalid} of {padding.size} at {guest.geometry.entry_bits} bits")
    return decided(
        hold,
        f"Entries behind the last page of a guest of 1025 MB that read INVALID: {', '.join(said)}.",
        "What is left of the last leaf is filled, and none of it has a value of its own.",
        "What is left of the last leaf is not all INVALID.",
    )


def _frames_of_megabytes(evidence: Evidence) -> Finding:
    rows = [
        (int(mb), int(pfn), int(word, 16))
        for mb, pfn, word in re.findall(r"(\d+)MB = (\d+) \((0x\w+)\)", _FRAMES)
    ]
    right = [mb * MIB // PAGE_SIZE == pfn == word for mb, pfn, word in rows]
    ours = ", ".join(f"{mb} MB = {mb * MIB // PAGE_SIZE} ({mb * MIB // PAGE_SIZE:#x})" for mb, _, _ in rows)
    return decided(
        all(right) and bool(rows), f"{ours}.", "All three are so at 4 KiB a page.", "Not all of them are so."
    )


def _boundaries(evidence: Evidence) -> Finding:
    with evidence.tree(Guest.preset(_EXAMPLE)) as tree:
        shared = {tree.store.missing_leaf, tree.store.identity_leaf}
        paths = [tree.lookup_path(pfn).steps for pfn in (_FIRST, _END)]
        places = [f"p2m[{top.index}][{mid.index}]" for top, mid, _ in paths]
        private = not shared & {leaf.frame for _, _, leaf in paths}
    return decided(
        places == ["p2m[1][2]", "p2m[1][488]"] and private,
        f"The edges lie in {' and '.join(places)}, which are"
        f" {'pages of their own' if private else 'shared'}.",
        "Neither edge is that of a leaf, so that each leaf says two things and cannot be shared.",
        "The edges lie elsewhere, or in shared leaves.",
    )


def _three_pages(evidence: Evidence) -> Finding:
    across = Guest.from_e820(_ACROSS, "1G", "3G", name="across")
    taken = {
        "the example": _more_pages(evidence, Guest.preset(_EXAMPLE)),
        "across": _more_pages(evidence, across),
    }
    return decided(
        max(taken.values()) <= 3,
        f"The example takes {taken['the example']} pages, and a range from 1537 to 2561 MB takes"
        f" {taken['across']}.",
        "No range that was tried takes more.",
        "Where a range begins in one gigabyte and ends in another, each end takes a mid page and a leaf.",
    )


def _more_pages(evidence: Evidence, guest: Guest) -> int:
    """Pages of a tree beyond those of the same memory without a range of identity."""
    counts = []
    for each in (guest, Guest.plain(guest.memory_bytes)):
        with evidence.tree(each) as tree:
            pages = tree.footprint().pages
            counts.append(pages["leaf"] + pages["mid"])
    return counts[0] - counts[1]


def _up_to_256(evidence: Evidence) -> Finding:
    guest = Guest.preset(_EXAMPLE)
    shape = guest.geometry
    leaf = _END // shape.leaf_frames * shape.leaf_frames
    frames = np.arange(leaf, leaf + shape.leaf_frames, dtype=np.uint64)
    with evidence.tree(guest) as tree:
        is_identity = tree.lookup(frames) == frames | np.uint64(shape.identity_bit)
    last = int(np.flatnonzero(is_identity)[-1])
    return decided(
        last == 256,
        f"In p2m[1][488] entries 0 to {last} are identity; pfn {leaf + last + 1} reads INVALID.",
        "Entry 256 is identity.",
        "The range is given by its end, which is the first frame that is not in it: the comment is one too"
        " far.",
    )


def _leaf_reach(evidence: Evidence) -> Finding:
    wide, narrow = (evidence.geometry(name).leaf_frames * PAGE_SIZE for name in _GEOMETRIES)
    return decided(
        (wide, narrow) == (2 * MIB, 4 * MIB),
        f"A leaf covers {readable_size(wide)} at 64 bits and {readable_size(narrow)} at 32.",
        "A page holds that many entries, of 8 and of 4 bytes.",
        "A leaf covers something else.",
    )


def _beyond_reads_invalid(evidence: Evidence) -> Finding:
    said = {}
    for geometry in _GEOMETRIES:
        guest = Guest.plain("16M", geometry=geometry)
        shape = guest.geometry
        identity = _BEYOND | shape.identity_bit
        for name, build in (("tree", evidence.tree), ("list", evidence.linear)):
            with build(guest) as p2m:
                (entry,) = p2m.lookup([_BEYOND]).tolist()
            what = {shape.invalid: "INVALID", identity & shape.invalid: "identity"}.get(entry, hex(entry))
            said[f"{name} at {shape.entry_bits} bits"] = what
    answers = ", ".join(f"{what} ({who})" for who, what in said.items())
    return decided(
        set(said.values()) == {"INVALID"},
        f"Frame {_BEYOND:#x} of a guest of 16 MB reads {answers}.",
        "All of them say that there is nothing.",
        "The frame is beyond all that a tree can index, and since 3.18 that is identity, in both layouts.",
    )


def _reach_of_top(evidence: Evidence) -> Finding:
    reach = {name: evidence.geometry(name).leaf_frames ** 3 * PAGE_SIZE for name in _GEOMETRIES}
    limit = {
        name: evidence.limits("1G", geometry=name).on("tree-top").largest_guest_bytes for name in _GEOMETRIES
    }
    sizes = " and ".join(map(readable_size, reach.values()))
    return decided(
        reach == limit,
        f"Three pages of 512 entries, and of 1024, reach {sizes}, at 64 and at 32 bits.",
        "That is how far the tree of the tools reaches; the list itself goes on, up to its virtual area.",
        "The product is another size than where the tree ends.",
    )


def _small_area(evidence: Evidence, entry_bits: int) -> Finding:
    answer = evidence.limits("400G", entry_bits=entry_bits, vmalloc="1M")
    area = answer.on("vmalloc-area")
    shares = (
        f"{readable_size(area.needed_bytes)} of list for {readable_size(area.available_bytes)} of"
        " virtual area"
    )
    if answer.fits:
        why = f"{WORRY}: it does, as a kernel of 64 bits does not know that parameter."
        return Finding(f"{shares}.", "contradicted", why)
    others = ", ".join(name for name in answer.refused_by if name != "vmalloc-area")
    if area.fits:
        return Finding(
            f"{shares}.", "contradicted", f"{WORRY}: it fits; what refuses such a guest is {others}."
        )
    why = f"{WORRY}: it does not; but no such guest could be had anyway, and a kernel of 2014 did not look."
    return Finding(f"{shares}; {others or 'nothing'} refuse it too.", "reproduced", why)


_LOOKUP = "python -m p2mperf lookup --design pv-tree --guest"
_COMMENT = "comment in p2m.c, before"

CLAIMS = (
    Claim(
        "padding",
        REVIEW,
        "K. R. Wilk, on xen_build_dynamic_phys_to_machine",
        "we had to be careful about filling the xen_p2m_addr with INVALID_P2M_ENTRY - otherwise they would"
        " have the"
        " default of zero. You are doing that - good",
        "computed",
        f"{_LOOKUP} domu-64-2049m 524543 524544 524799 --json",
        _padded,
    ),
    Claim(
        "past-the-end",
        REVIEW,
        "K. R. Wilk, on xen_build_dynamic_phys_to_machine",
        "I believe in the past we would just return INVALID_P2M_ENTRY.",
        "none",
        "python -m p2mperf lookup --design pv-tree --guest domu-64-2049m 4294967296 --above invalid",
        untested(
            "-",
            "That is about kernels, and was only read: 3.14 returned INVALID beyond what it can index,"
            " 3.18 identity."
            " Both can be built here.",
        ),
    ),
    Claim(
        "vmalloc-64",
        REVIEW,
        "K. R. Wilk, on xen_vmalloc_p2m_tree; of 64 bits",
        "What happens if somebody boots with 'vmalloc=1MB' and we boot an 400GB guest?",
        "computed",
        "python -m p2mperf limits --question vmalloc-1m-64bit",
        partial(_small_area, entry_bits=64),
    ),
    Claim(
        "vmalloc-32",
        REVIEW,
        "K. R. Wilk, on xen_vmalloc_p2m_tree; of 32 bits",
        "What happens if somebody boots with 'vmalloc=1MB' and we boot an 400GB guest?",
        "computed",
        "python -m p2mperf limits --question vmalloc-1m-32bit",
        partial(_small_area, entry_bits=32),
    ),
    Claim(
        "top-page",
        REVIEW,
        "comment in p2m.c",
        "The p2m_top_mfn level is limited to 1 page, so the maximum representable pseudo-physical address"
        " space is:"
        " P2M_TOP_PER_PAGE * P2M_MID_PER_PAGE * P2M_PER_PAGE pages",
        "computed",
        "python -m p2mperf limits --guest-memory 1G --entry-bits 64",
        _reach_of_top,
    ),
    Claim(
        "beyond-reads-invalid",
        REVIEW,
        "comment in p2m.c",
        "So (for example) pfn_to_mfn(0x90909090)=INVALID_P2M_ENTRY.",
        "computed",
        f"{_LOOKUP} domu-64-2049m {_BEYOND}",
        _beyond_reads_invalid,
    ),
    Claim(
        "example-frames", REVIEW, _COMMENT, _FRAMES, "computed", shows("example-frames"), _frames_of_megabytes
    ),
    Claim(
        "leaf-reach",
        REVIEW,
        _COMMENT,
        "this way covering 4MB (or 2MB) PFN space",
        "computed",
        shows("leaf-reach"),
        _leaf_reach,
    ),
    Claim(
        "boundary-leaves",
        REVIEW,
        _COMMENT,
        "In our example 263424 and 512256 both fail the check so we reserve_brk two pages. Populate them with"
        ' INVALID_P2M_ENTRY (so they both have "missing" values) and assign them to p2m[1][2] and p2m[1][488]'
        " respectively.",
        "computed",
        f"{_LOOKUP} {_EXAMPLE} {_FIRST} {_END} --json",
        _boundaries,
    ),
    Claim(
        "three-pages",
        REVIEW,
        _COMMENT,
        "Each call to set_phys_range_identity has at maximum a three page cost.",
        "computed",
        shows("three-pages"),
        _three_pages,
    ),
    Claim(
        "identity-to-256",
        REVIEW,
        _COMMENT,
        "set from p2m[1][2][256->511] and p2m[1][488][0->256] with IDENTITY_FRAME_BIT set.",
        "computed",
        f"{_LOOKUP} {_EXAMPLE} {_END - 1} {_END}",
        _up_to_256,
    ),
)
