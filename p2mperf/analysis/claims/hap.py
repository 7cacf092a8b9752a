"""Claims of the proposal that a HAP p2m should have large pages, and of the two answers to it."""

from __future__ import annotations

import numpy as np

from p2mperf.analysis.claims.base import Claim, Document, Finding, decided, shows, untested
from p2mperf.analysis.claims.evidence import Evidence, NotMeasuredError
from p2mperf.analysis.claims.measured import in_ram
from p2mperf.analysis.claims.populated import (
    BUILDER,
    FINDS,
    builder_untouched,
    falls_back,
    fine_for_now,
    hint,
    opportunistic,
)
from p2mperf.errors import AuditError
from p2mperf.guests.extents import Extents
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.guests.hap import P2mBit
from p2mperf.units import GIB, HUGE_SIZE, MIB, PAGE_SIZE, format_size, readable_size

HAP = Document(
    "hap",
    "HAP large pages, 2007",
    "W. Huang and J. Byrne, large page support for HAP, xen-devel, November 2007, against changeset 16281",
)
_LARGE = 9


def _mixed(evidence: Evidence, geometry: str) -> Guest:
    """A guest with leaves of both sizes, and holes between them."""
    given = evidence.populate("64M", BUILDER, fragmentation=0.5)
    return Guest.from_extents(given.extents, geometry)


def _frames(guest: Guest) -> Words:
    """All frames of a small guest, and as many behind each of its stretches of RAM."""
    ends = guest.ram.end_pfn
    around = [np.arange(first, end) for first, end in zip(guest.ram.first_pfn, ends, strict=True)]
    around += [np.arange(end, end + (1 << _LARGE)) for end in ends]
    frames = np.unique(np.concatenate(around))
    return frames[frames < guest.covered_pfn].astype(np.uint64)


def _worked(evidence: Evidence) -> Finding:
    wrong, n_frames = [], 0
    for geometry in ("hap64", "hap-pae"):
        guest = _mixed(evidence, geometry)
        frames = _frames(guest)
        n_frames += frames.size
        expected = guest.entries(frames)
        with evidence.windows(guest) as windows, evidence.walk(guest) as walk:
            answers = windows.lookup(frames), walk.lookup(frames)
            try:
                windows.audit()
            except AuditError as error:
                wrong.append(str(error))
        wrong += [geometry] * (not all(np.array_equal(each, expected) for each in answers))
    return decided(
        not wrong,
        f"{n_frames} frames in leaves of 4 KiB and 2 MiB, and in holes, of 64-bit and PAE tables: "
        + ("all are found right, by walk and windows." if not wrong else f"wrong: {', '.join(wrong)}."),
        "Both formats translate right with leaves of both sizes.",
        "A table is not in order, or answers wrongly.",
    )


def _references(evidence: Evidence) -> dict[int, int]:
    """References of a walk by a guest of four levels on 4 KiB, by the page size of the host."""
    return {
        case.host_data_bytes: case.n_counted
        for case in evidence.references
        if (case.guest_paging, case.guest_page_bytes) == ("4-level", PAGE_SIZE)
        and case.host_tables_bytes == case.host_data_bytes
    }


def _benefit(evidence: Evidence) -> Finding:
    counted = _references(evidence)
    small, large = counted[PAGE_SIZE], counted[HUGE_SIZE]
    ours = f"A two-dimensional walk makes {small} references over 4 KiB and {large} over 2 MiB"
    try:
        rows = in_ram(evidence.pairs("hap", "hap-walk-2m", "hap-walk-4k"))
        whole = rows[rows["guest"].str.startswith("hap-") & (rows["stream"] == "uniform")]
        # Of the two, the walk of 4 KiB is the one that is divided by the other.
        times = f"{whole['ratio'].min():.2f} to {whole['ratio'].max():.2f} times"
        ours += f"; Xen's own walk takes {times} as long over 4 KiB as over 2 MiB"
    except NotMeasuredError:
        ours += "; these results have not measured Xen's own walk"
    why = "The mail names no benchmark and gives no number, and no guest runs on our tables."
    return Finding(f"{ours}.", "cannot be tested here", why)


def _sets_pse(evidence: Evidence) -> Finding:
    guest, found = Guest.plain("64M", geometry="hap64"), {}
    for is_large in (True, False):
        with evidence.walk(guest, hap_1gb=False, hap_2mb=is_large) as p2m:
            steps = p2m.lookup_path(5).steps
            last = steps[-1]
            word = int(p2m.pool.words(last.frame, guest.geometry.dtype)[last.index])
            found[is_large] = len(steps), bool(word & P2mBit.SUPERPAGE)
    (n_large, has_bit), (n_small, has_bit_too) = found[True], found[False]
    return decided(
        has_bit and not has_bit_too and n_large < n_small,
        f"Of a leaf of 2 MiB the entry that ends the walk, after {n_large} loads, has PSE"
        f" {'set' if has_bit else 'clear'}; on 4 KiB the walk takes {n_small}.",
        "The order that is asked for decides which level ends the walk, and PSE says so.",
        "PSE does not tell a large leaf from a small one.",
    )


def _splits(evidence: Evidence) -> Finding:
    guest = Guest.plain("64M", geometry="hap64")
    frames = np.arange(guest.n_boot_pages, dtype=np.uint64)
    with evidence.walk(guest) as p2m:
        before, answers = p2m.leaves, p2m.lookup(frames)
        p2m.set_entry([5], guest.extents.entries([5]))
        after, same = p2m.leaves, np.array_equal(p2m.lookup(frames), answers)
    n_small, n_large = after.get(0, 0), after.get(_LARGE, 0)
    return decided(
        same and n_small == 1 << _LARGE and n_large == before.get(_LARGE, 0) - 1,
        f"One frame set on its own: {before.get(_LARGE, 0)} leaves of 2 MiB become {n_large} and {n_small}"
        " of 4 KiB,"
        f" and {'no' if same else 'some'} translation changes.",
        "The leaf that the frame lies in is split, and says what it said.",
        "The leaf is not split, or a split changes what is translated.",
    )


def _no_merge(evidence: Evidence) -> Finding:
    guest = Guest.plain("64M", geometry="hap64")
    frames = np.arange(1 << _LARGE)
    machine = guest.extents.entries(frames)
    with evidence.walk(guest) as p2m:
        before = p2m.leaves.get(_LARGE, 0)
        p2m.remove(frames)
        p2m.add(frames, machine)
        after = p2m.leaves.get(_LARGE, 0)
        same = np.array_equal(p2m.lookup(frames), guest.entries(frames.astype(np.uint64)))
    return decided(
        same and after == before - 1,
        f"All frames of a leaf taken away one by one and put back where they were: {before} leaves of 2 MiB"
        f" become {after}.",
        "Small entries stay small, even where they are whole, aligned and side by side again.",
        "The leaf is large again, or its frames are not back.",
    )


def _current(evidence: Evidence) -> Finding:
    guest = _mixed(evidence, "hap64")
    frames = _frames(guest)
    with evidence.windows(guest, hap_1gb=False) as windows, evidence.walk(guest) as walk:
        same = np.array_equal(windows.lookup(frames), walk.lookup(frames))
        orders = walk.page_orders(frames)
        n_loads = {
            order: len(windows.lookup_path(int(frames[np.argmax(orders == order)])).steps)
            for order in (_LARGE, 0)
        }
    return decided(
        same and n_loads[_LARGE] < n_loads[0],
        f"Windows answer as the walk for {'all' if same else 'not all'} of {frames.size} frames, with"
        f" {n_loads[_LARGE]} loads for a leaf of 2 MiB and {n_loads[0]} for one of 4 KiB.",
        "The window of L1 is read only where that of L2 has no superpage: below one it would show guest"
        " memory.",
        "Windows and walk differ, or a superpage saves no load.",
    )


def _foreign(evidence: Evidence) -> Finding:
    guest = _mixed(evidence, "hap64")
    frames = _frames(guest)
    with evidence.walk(guest) as p2m:
        answers, orders = p2m.lookup(frames), p2m.page_orders(frames)
    same = np.array_equal(answers, guest.entries(frames))
    return decided(
        same and {0, _LARGE} <= set(orders.tolist()),
        f"The walk is right for {'all' if same else 'not all'} of {frames.size} frames, of which"
        f" {np.count_nonzero(orders == _LARGE)} are in leaves of 2 MiB.",
        "A leaf of 2 MiB gives the frame within it, one of 4 KiB the frame itself.",
        "The walk is wrong where leaves are of both sizes.",
    )


def _m2p_per_frame(evidence: Evidence) -> Finding:
    guest = Guest.plain("64M", geometry="hap64")
    frames = np.arange(guest.n_boot_pages, dtype=np.uint64)
    with evidence.walk(guest) as p2m:
        n_large, back = p2m.leaves.get(_LARGE, 0), p2m.mfn_to_gfn(guest.extents.entries(frames))
    same = np.array_equal(back, frames)
    return decided(
        same and n_large > 0,
        f"{n_large} leaves of 2 MiB, and {np.unique(back).size} entries of the m2p that lead back to"
        f" {'their' if same else 'other'} frames.",
        "The m2p has an entry for each 4 KiB, whatever the leaves are.",
        "The m2p does not lead back to each frame.",
    )


def _four_megabytes(evidence: Evidence) -> Finding:
    blocks = {"two of 2 MiB": [(0, 1024, 9), (512, 1536, 9)], "one of 4 MiB": [(0, 1024, 10)]}
    leaves = {}
    for name, rows in blocks.items():
        with evidence.walk(Guest.from_extents(Extents.of(rows), "hap-nonpae")) as p2m:
            leaves[name] = p2m.leaves
    large = evidence.geometry("hap-nonpae").orders[-1]
    two, one = ({order: n for order, n in found.items() if n} for found in leaves.values())
    return decided(
        large == 10 and two == {0: 1024} and one == {10: 1},
        f"A large page is {format_size(PAGE_SIZE << large)} without PAE; two extents of 2 MiB, side by"
        " side, give"
        f" {two.get(large, 0)} of them, and one of 4 MiB gives {one.get(large, 0)}.",
        "The builder would have to ask for extents of a second size; with PAE a large page is 2 MiB.",
        "Extents of 2 MiB would do.",
    )


def _gigabytes(evidence: Evidence) -> Finding:
    counted = _references(evidence)
    pages = {}
    for size, switches in ((2 * MIB, {"hap_1gb": False}), (GIB, {})):
        with evidence.walk(Guest.plain("4G", geometry="hap64"), **switches) as p2m:
            pages[size] = p2m.allocation[0]
    return Finding(
        f"A two-dimensional walk makes {counted[GIB]} references instead of {counted[HUGE_SIZE]}, and the"
        " tables of a"
        f" whole guest of 4G take {readable_size(pages[GIB] * PAGE_SIZE)} instead of"
        f" {readable_size(pages[2 * MIB] * PAGE_SIZE)}.",
        "cannot be tested here",
        "He says what he is after and not what it brings; what it saves is counted, and no guest runs on"
        " our tables.",
    )


_POPULATE = "python -m p2mperf populate --guest-memory 256M --fragmentation 0.3"

CLAIMS = (
    Claim(
        "formats-worked",
        HAP,
        "W. Huang, results",
        "My testings showed that 32bit PAE and 64bit worked well.",
        "computed",
        "python -m p2mperf lookup --design hap-linear --geometry hap-pae --size 1G 5 --json",
        _worked,
    ),
    Claim(
        "benefit",
        HAP,
        "W. Huang, results",
        "Also I saw decent performance improvement for certain benchmarks.",
        "measured",
        "python -m p2mperf plot hap-nested hap-orders",
        _benefit,
    ),
    Claim(
        "falls-back",
        HAP,
        "W. Huang, 1. large page requests",
        "If it can not handle it, falls back to 4KB pages.",
        "modelled",
        f"{_POPULATE} --policy {BUILDER}",
        falls_back,
    ),
    Claim(
        "sets-pse",
        HAP,
        "W. Huang, 2. P2M table",
        "It builds P2M table (setting PSE bit, etc.) according to page size.",
        "computed",
        "python -m p2mperf lookup --design hap-walk-2m --size 64M 5 --json",
        _sets_pse,
    ),
    Claim(
        "splits",
        HAP,
        "W. Huang, 2. P2M table",
        "Large page will be split into 4KB page in P2M table if needed.",
        "computed",
        shows("splits"),
        _splits,
    ),
    Claim(
        "no-merge",
        HAP,
        "W. Huang, 2. P2M table",
        "There is NO merge from 4KB pages to large page.",
        "computed",
        shows("no-merge"),
        _no_merge,
    ),
    Claim(
        "ok-for-now",
        HAP,
        "W. Huang, 2. P2M table",
        "Since large page is only used at the very beginning, guest_physmap_add(), this is OK for now.",
        "modelled",
        "python -m p2mperf plot hap-survival",
        fine_for_now,
    ),
    Claim(
        "foreign-walks",
        HAP,
        "W. Huang, 4. gfn_to_mfn translation",
        "gfn_to_mfn_foreign() traverses P2M table and handles address translation correctly based on PSE"
        " bit.",
        "computed",
        "python -m p2mperf lookup --design hap-walk --size 64M 5 --json",
        _foreign,
    ),
    Claim(
        "current-falls-back",
        HAP,
        "W. Huang, 4. gfn_to_mfn translation",
        "Otherwise, it falls back to normal RO_MPT_VIRT_START address space to access P2M L1 pages.",
        "computed",
        "python -m p2mperf lookup --design hap-linear --size 64M 5 --json",
        _current,
    ),
    Claim(
        "m2p-per-4k",
        HAP,
        "W. Huang, 5. M2P translation",
        "M2P translation still happens on 4KB level.",
        "computed",
        shows("m2p-per-4k"),
        _m2p_per_frame,
    ),
    Claim(
        "4mb-pages",
        HAP,
        "W. Huang, areas that need comments",
        "32bit use 4MB for large page. This is very annoying for xc_hvm_build.c.",
        "computed",
        "python -m p2mperf lookup --design hap-walk --geometry hap-nonpae --size 64M 5 --json",
        _four_megabytes,
    ),
    Claim(
        "shadow",
        HAP,
        "W. Huang, areas that need comments",
        "This implementation will affect shadow mode",
        "none",
        shows("shadow"),
        untested("-", "There are no shadow page tables here."),
    ),
    Claim(
        "1gb-pages",
        HAP,
        "J. Byrne",
        "I am interested in trying 1GB pages to see what they can do.",
        "computed",
        "python -m p2mperf plot hap-nested hap-footprint",
        _gigabytes,
    ),
    Claim(
        "opportunistic",
        HAP,
        "J. Byrne",
        "modify populate_physmap() to opportunistically allocate large pages, if possible.",
        "modelled",
        f"{_POPULATE} --policy {FINDS}",
        opportunistic,
    ),
    Claim(
        "builder-untouched",
        HAP,
        "W. Huang, answer",
        "xc_hvm_build.c does not have to be modified, if memory.c is smart enough to scan all page_array"
        " information.",
        "modelled",
        f"python -m p2mperf populate --guest-memory 1G --policy {FINDS}",
        builder_untouched,
    ),
    Claim(
        "hint",
        HAP,
        "W. Huang, answer",
        "That requires extra information passed from tools (e.g., xc_hvm_build.c) to memory.c",
        "modelled",
        f"python -m p2mperf populate --guest-memory 256M --policy {FINDS} --demand-4k",
        hint,
    ),
)
