"""Claims of the posted virtual-linear page table of Xen on ARM, its comments and its code included."""

from __future__ import annotations

from functools import partial

import numpy as np

from p2mperf.analysis.claims.base import Claim, Document, Finding, Verdict, decided, shows, untested
from p2mperf.analysis.claims.evidence import Evidence
from p2mperf.analysis.claims.measured import in_ram, judged
from p2mperf.guests.guest import Guest
from p2mperf.units import GIB, format_size, readable_size

VLPT = Document(
    "vlpt",
    "Xen/ARM VLPT v5 4/6, 2013",
    "J. Yoo, [PATCH v5 4/6] xen/arm: Implement virtual-linear page table for guest p2m mapping in live"
    " migration,"
    " xen-devel, 2013; never merged",
)
_ENTRY_BYTES = 8
_MODEL = "in a model of processors with translation buffers of their own, made from reading the patch"
_INFERRED = "Inferred from this patch and its tree: another of the series may have dealt with it."


def _guest() -> Guest:
    return Guest.plain("1G", geometry="lpae")


def _one_shift(evidence: Evidence) -> Finding:
    guest = _guest()
    (first,), (end,) = guest.ram.first_pfn.tolist(), guest.ram.end_pfn.tolist()
    frames = np.arange(first, end, dtype=np.uint64)
    with evidence.vlpt(guest) as p2m:
        right = np.array_equal(p2m.lookup(frames), guest.entries(frames))
        base = p2m.window.base
        some = (first, (first + end) // 2, end - 1)
        found = [[step.address for step in p2m.lookup_path(gfn).steps] for gfn in some]
    direct = found == [[base + _ENTRY_BYTES * gfn] for gfn in some]
    return decided(
        right and direct,
        f"{'All' if right else 'Not all'} {frames.size} entries of a guest of 1G are found at"
        f" window + {_ENTRY_BYTES} x (address >> 12), with {max(map(len, found))} load.",
        "A table is as large as a page, so that each level of the guest stands one level lower in Xen's"
        " own walk.",
        "Entries are found elsewhere, or others than the guest's.",
    )


def _same_entries(evidence: Evidence) -> Finding:
    with evidence.vlpt(_guest()) as p2m:
        first, end = p2m.first_slot, p2m.end_slot
        slots, roots = p2m.window.second[first:end], p2m.domain.roots
        n_same = int(np.count_nonzero((slots == roots) & (slots != 0)))
    return decided(
        n_same == end - first > 0,
        f"{n_same} of {end - first} slots of Xen's second level hold the guest's own root entry.",
        "An entry of the guest's root is valid there as it is, and points to the guest's second level.",
        "What Xen's second level holds is not what the guest's root holds.",
    )


def _at_once(evidence: Evidence) -> Finding:
    guest = _guest()
    gfn = int(guest.ram.first_pfn[0])
    with evidence.vlpt(guest) as p2m, evidence.arm_walk(guest) as walk:
        window, walked = p2m.events(gfn), walk.events(gfn)
    n_window, n_walk = window.get("entry_load", 0), walked.get("entry_load", 0)
    return decided(
        n_window == 1 < n_walk and not window.get("map", 0),
        f"The window takes {n_window} load of an entry and no map; the walk of 32-bit Xen {n_walk} loads,"
        " each after"
        f" a map, {walked.get('map', 0)} in all, with {walked.get('tlbi', 0)} invalidations.",
        "The processor's own walk does the rest, where its translation buffer does not know the page.",
        "The window takes as many loads as the walk, or a map.",
    )


def _faster_here(evidence: Evidence) -> Finding:
    rows = in_ram(evidence.pairs("arm", "arm-vlpt", "arm-walk"))
    return judged(rows, "arm-vlpt", "arm-walk", ("the window", "the walk"), "lookups")


def _faster_on_board(evidence: Evidence) -> Finding:
    walk = evidence.board_ns("arm-walk")
    ratios = [
        there / window
        for way in ("arm-vlpt, TLB hit", "arm-vlpt, TLB miss")
        for there, window in zip(walk, evidence.board_ns(way), strict=True)
    ]
    low, high = min(ratios), max(ratios)
    ours = f"Computed for the Arndale board, walk over window: {low:.1f} to {high:.1f}, by what is assumed."
    if low > 1:
        why = "Whatever barriers are assumed to cost, the walk takes longer; locks and the trap are left out."
        return Finding(ours, "reproduced", why)
    if high < 1:
        return Finding(ours, "contradicted", "Whatever is assumed, the walk is faster.")
    return Finding(ours, "not resolved", "It depends on what barriers cost, for which no figure was found.")


def _window_suffices(evidence: Evidence) -> Finding:
    answer = evidence.limits("1G", design="arm-vlpt")
    window, host = (answer.on(name).largest_guest_bytes for name in ("vlpt-window", "arm32-frametable"))
    base = answer.parameters.ram_base_bytes
    return decided(
        window >= host,
        f"128 MiB hold the entries of {readable_size(window + base)} of guest addresses, counted from 0: a"
        " guest whose"
        f" RAM begins at {readable_size(base)} may have {readable_size(window)}, and a 32-bit host has at"
        " most"
        f" {readable_size(host)}.",
        "Every guest that such a host can have fits.",
        "A host can have guests that do not fit.",
    )


def _frametable(evidence: Evidence) -> Finding:
    host = evidence.limits("1G", design="arm-vlpt").on("arm32-frametable").largest_guest_bytes
    return decided(
        host == 16 * GIB,
        f"From 32 to 128 MiB there is room for the pages of {readable_size(host)}.",
        "96 MiB at 24 bytes a page are exactly that.",
        "It is room for another size.",
    )


def _first_check(evidence: Evidence) -> Finding:
    rows = evidence.acceptance()
    wrong = [row for row in rows if row["posted"] == "accepted" != row["correct"]]
    guests = ", ".join(
        f"{format_size(row['ram_bytes'])} at {format_size(row['ram_base_bytes'])}" for row in wrong
    )
    return decided(
        not wrong,
        f"Of {len(rows)} guests it accepts {len(wrong)} whose entries do not fit the window"
        + (f" ({guests})." if wrong else "."),
        "What it refuses and what does not fit are the same.",
        "It measures from where RAM begins, but the window is indexed from address 0.",
    )


def _second_check(evidence: Evidence) -> Finding:
    rows = evidence.acceptance()
    n_refused = sum("check 2" in row["posted"] for row in rows)
    n_over = sum(row["posted"] == "accepted" and "overwrites VMAP" in row["overwritten"] for row in rows)
    return decided(
        n_over == 0,
        f"Of {len(rows)} guests it refuses {n_refused}; of those that are accepted {n_over} have entries"
        " copied over"
        " what lies behind the window.",
        "No entry is copied beyond the window.",
        "It guards the end of Xen's table, which the first check does not let anybody reach, and not that"
        " of the"
        " window.",
    )


def _as_posted(
    evidence: Evidence, scenarios: tuple[str, ...], why: str, fails: Verdict = "contradicted"
) -> Finding:
    """Run scenarios as posted; what fails there and holds as mended is the patch's own."""
    posted = [evidence.posted(name, True) for name in scenarios]
    mended = [evidence.posted(name, False) for name in scenarios]
    said = "; ".join(f"{one.name}: {one.found}" for one in posted)
    if all(one.holds for one in posted):
        return Finding(f"{said}, {_MODEL}.", "reproduced", "It does what it is there for.")
    if not all(one.holds for one in mended):
        return Finding(
            f"{said}, {_MODEL}.", "not resolved", "A mended one fails too, so that the model may be wrong."
        )
    return Finding(f"{said}, {_MODEL}.", fails, f"{why} {_INFERRED}" if fails == "contradicted" else why)


_LIMITS = "python -m p2mperf limits --design arm-vlpt --guest-memory"

CLAIMS = (
    Claim(
        "fast-here",
        VLPT,
        "message; of loads alone, without barriers",
        "Implement vlpt (virtual-linear page table) for fast accessing of 3rd PTE of guest p2m.",
        "measured",
        "python -m p2mperf plot arm-find",
        _faster_here,
    ),
    Claim(
        "fast-on-board",
        VLPT,
        "message; on the Arndale board",
        "Implement vlpt (virtual-linear page table) for fast accessing of 3rd PTE of guest p2m.",
        "modelled",
        "python -m p2mperf plot arm-find",
        _faster_on_board,
    ),
    Claim(
        "just-copy",
        VLPT,
        "message",
        "When creating a mapping for vlpt, just copy the 1st level PTE of guest p2m to the xen's 2nd level"
        " PTE.",
        "modelled",
        shows("just-copy"),
        partial(
            _as_posted,
            scenarios=("bit-7",),
            fails="not resolved",
            why="With table entries as Xen wrote them in November 2013 a store faults; whether another"
            " patch of the"
            " series changed these is not known here.",
        ),
    ),
    Claim(
        "same-entries",
        VLPT,
        "message",
        "xen's 2nd PTE (which is the same as 1st PTE of guest p2m)",
        "computed",
        "python -m p2mperf plot arm-shift",
        _same_entries,
    ),
    Claim(
        "at-once",
        VLPT,
        "message",
        "when domU write-fault is trapped by xen, xen can immediately locate the 3rd PTE of guest p2m.",
        "computed",
        "python -m p2mperf plot arm-events",
        _at_once,
    ),
    Claim(
        "comparison",
        VLPT,
        "message",
        "The following link shows the performance comparison for handling a dirty-page between vlpt and"
        " typical page"
        " table walking.",
        "none",
        shows("comparison"),
        untested(
            "-", "The mail behind that link could not be found, and no number of its author is used here."
        ),
    ),
    Claim(
        "without-barriers",
        VLPT,
        "changes from v4",
        "In the restoring vlpt, use __foo variant without barriers for write_pte and"
        " flush_xen_data_tlb_range_va.",
        "modelled",
        shows("without-barriers"),
        partial(
            _as_posted,
            scenarios=("barrier-order",),
            why="Without a barrier between, a walk may bring the old entry back behind the invalidation.",
        ),
    ),
    Claim(
        "size-check",
        VLPT,
        "prepare_vlpt",
        "required = (gma_end - gma_start) >> LPAE_SHIFT;",
        "computed",
        f"{_LIMITS} 64G",
        _first_check,
    ),
    Claim(
        "second-check",
        VLPT,
        "prepare_vlpt",
        "if ( xen_second_linear_base + gp2m_end_index >= LPAE_ENTRIES * 2 )",
        "computed",
        f"{_LIMITS} 62G",
        _second_check,
    ),
    Claim(
        "end-index",
        VLPT,
        "prepare_vlpt",
        "gp2m_end_index = (gma_end >> FIRST_SHIFT) + 1;",
        "modelled",
        shows("end-index"),
        partial(
            _as_posted,
            scenarios=("one-too-many",),
            why="The end is exclusive already, so that one entry too many is copied, behind the window if"
            " RAM ends there.",
        ),
    ),
    Claim(
        "context-switch",
        VLPT,
        "prepare_vlpt, comment",
        "we copy the mapping into domain's structure as a reference in case of the context switch (used in"
        " restore_vlpt)",
        "modelled",
        "python -m p2mperf plot arm-switch",
        partial(
            _as_posted,
            scenarios=("shared-table", "skip-if-equal"),
            why="All processors share one table, and its words do not tell what another processor's buffer"
            " still holds.",
        ),
    ),
    Claim(
        "strd",
        VLPT,
        "asm-arm/arm32/page.h",
        "STRD is atomic on CPUs that support LPAE",
        "none",
        shows("strd"),
        untested("-", "That takes a processor of 32-bit ARM."),
    ),
    Claim(
        "frametable",
        VLPT,
        "asm-arm/config.h",
        "32M - 128M Frametable: 24 bytes per page for 16GB of RAM",
        "computed",
        f"{_LIMITS} 16G",
        _frametable,
    ),
    Claim(
        "window",
        VLPT,
        "asm-arm/config.h",
        "128M - 256M Virtual-linear mapping to P2M table",
        "computed",
        f"{_LIMITS} 62G",
        _window_suffices,
    ),
    Claim(
        "one-shift",
        VLPT,
        "get_vlpt_3lvl_pte, comment",
        "one shift is enough for calculating the index of guest p2m table entry",
        "computed",
        "python -m p2mperf lookup --design arm-vlpt --size 1G 524288 --json",
        _one_shift,
    ),
)
