"""Claims of the first thread on the linear list: what it is for, and whether 32-bit guests have room."""

from __future__ import annotations

import re
from functools import partial

from p2mperf.analysis.claims.base import WORRY, Claim, Document, Finding, decided, shows
from p2mperf.analysis.claims.build import in_page_faults, is_critical
from p2mperf.analysis.claims.evidence import Evidence
from p2mperf.analysis.claims.measured import as_entered, judged
from p2mperf.errors import AuditError
from p2mperf.guests.guest import Guest
from p2mperf.units import GIB, MIB, PAGE_SIZE, readable_size

THREAD = Document(
    "thread",
    "[PATCH 0/2] thread, 2014",
    "J. Gross, D. Vrabel, I. Campbell and A. Cooper, [PATCH 0/2] xen: Switch to virtual mapped linear p2m"
    " list,"
    " xen-devel and linux-kernel, 27 and 28 October 2014",
)
_UP_TO = "64G"
# Of version 3, 7/8: what the mail says below its list of files, and the parts of arch/x86/xen/p2m.c in which
# only the comment at its head changes (old first line and lines, new first line and lines).
_DIFFSTAT = "342 insertions(+), 438 deletions(-)"
_COMMENT_HUNKS = ("@@ -3,21 +3,22 @@", "@@ -30,6 +31,9 @@", "@@ -39,122 +43,20 @@")


def _sped_up(evidence: Evidence) -> Finding:
    rows = as_entered(evidence.pairs("pv", "pv-linear", "pv-tree"))
    return judged(rows, "pv-linear", "pv-tree", ("the list", "the tree"), "entries into a kernel")


def _simplified(evidence: Evidence) -> Finding:
    added, deleted = map(int, re.findall(r"(\d+) (?:insertions|deletions)", _DIFFSTAT))
    lengths = [tuple(map(int, re.findall(r",(\d+)", hunk))) for hunk in _COMMENT_HUNKS]
    comment = sum(after - before for before, after in lengths)
    whole = added - deleted
    ours = (
        f"Version 3 of the change adds {added} lines and deletes {deleted}, {whole:+d} in all; the comment"
        " at the head"
        f" of p2m.c alone changes by {comment:+d}, so that all the rest changes by {whole - comment:+d}."
    )
    if whole - comment < 0:
        return Finding(ours, "reproduced", "Without that comment too there are fewer lines than before.")
    why = (
        "By lines it is not the code that became shorter, and whether it is simpler no count of lines"
        " can tell."
    )
    return Finding(ours, "not resolved", why)


# ---- room for the list ----


def _list_of(published_bytes: int, evidence: Evidence) -> Finding:
    answer = evidence.limits(_UP_TO, entry_bits=32)
    n_bytes = answer.parameters.shape.entry_bytes
    return decided(
        answer.list_bytes == published_bytes,
        f"{answer.n_pages} entries of {n_bytes} bytes are {readable_size(answer.list_bytes)}.",
        f"An entry of a 32-bit guest has {n_bytes} bytes.",
        f"An entry of a 32-bit guest has {n_bytes} bytes, not {published_bytes // answer.n_pages}.",
    )


def _too_large(evidence: Evidence) -> Finding:
    area = evidence.limits(_UP_TO, entry_bits=32).on("vmalloc-area")
    return decided(
        not area.fits,
        f"The list needs {readable_size(area.needed_bytes)} of the {readable_size(area.available_bytes)}"
        " of virtual"
        " area that a 32-bit kernel has by default.",
        f"{WORRY}: there is less virtual area than it needs.",
        f"{WORRY}: it does; an array of the size that he feared would not.",
    )


def _m2p_of_16m(evidence: Evidence, hypervisor: str) -> Finding:
    answer = evidence.limits("16G", entry_bits=32, hypervisor=hypervisor)
    m2p = [one for one in answer.verdicts if one.limit.startswith("m2p")]
    largest = min(one.largest_guest_bytes for one in m2p)
    kind = {"native": "32-bit", "compat": "64-bit"}[hypervisor]
    return decided(
        largest == 16 * GIB,
        f"On a {kind} hypervisor the m2p lets a 32-bit guest have {readable_size(largest)}.",
        "An m2p of 16 MiB has an entry of 4 bytes for each page of 16 GiB, and a guest's memory lies"
        " within it.",
        "The m2p of 16 MiB is that of a 32-bit hypervisor; under a 64-bit one it is larger.",
    )


def _m2p_of_hole(evidence: Evidence) -> Finding:
    hole = 4 * GIB - 0xF5800000  # where the hypervisor's part of a 32-bit guest's addresses begins
    answer = evidence.limits("16G", entry_bits=32, hypervisor="compat").on("m2p-hole")
    return decided(
        hole == 168 * MIB and answer.largest_guest_bytes > 16 * GIB,
        f"From 0xF5800000 to 4 GiB there are {readable_size(hole)}, an m2p for"
        f" {readable_size(answer.largest_guest_bytes)} of machine memory.",
        "So large an m2p covers more memory than any 32-bit kernel takes.",
        "The hole has another size, or covers no more.",
    )


def _low_memory(evidence: Evidence) -> Finding:
    low = [evidence.limits(size, entry_bits=32).on("low-memory") for size in ("32G", _UP_TO)]
    shares = [f"{100 * one.needed_bytes / one.available_bytes:.0f} %" for one in low]
    largest = low[0].largest_guest_bytes
    ours = (
        f"mem_map, list and page tables of a guest of 32G take {shares[0]} of low memory, those of"
        f" {_UP_TO} take"
        f" {shares[1]}; by these alone {readable_size(largest)} would fit."
    )
    if largest < 32 * GIB:
        return Finding(ours, "contradicted", "It runs out of low memory below 32 GB.")
    if largest <= 64 * GIB:
        return Finding(ours, "reproduced", "It runs out of low memory in that range.")
    why = (
        "What was counted does not fill it; what else a kernel keeps there is not known here, nor struct"
        " page's size."
    )
    return Finding(ours, "not resolved", why)


def _m2p_cut(evidence: Evidence) -> Finding:
    answer = evidence.limits("16G", entry_bits=32).on("m2p-cut")
    return decided(
        answer.largest_guest_bytes == 128 * GIB,
        f"An m2p of 128 MiB covers {readable_size(answer.largest_guest_bytes)}.",
        "The arithmetic is right; that there is such a cut is his observation, which was not tried here.",
        "Such an m2p covers another size.",
    )


def _low_memory_limits(evidence: Evidence) -> Finding:
    answer = evidence.limits("32G", entry_bits=32, without=("max-domain-memory",))
    first = ", ".join(answer.binds)
    return decided(
        answer.binds == ("low-memory",),
        f"Without the cap that a kernel is configured with, {first} gives out first, at"
        f" {readable_size(answer.largest_guest_bytes)}.",
        "Of all limits that are known here it is the nearest, if struct page has 32 bytes.",
        "Another limit is nearer.",
    )


def _split_helps(evidence: Evidence) -> Finding:
    largest = [
        evidence.limits("32G", entry_bits=32, split=split).on("low-memory").largest_guest_bytes
        for split in ("3:1", "2:2")
    ]
    sizes = list(map(readable_size, largest))
    return decided(
        largest[1] > largest[0],
        f"By what is counted here low memory suffices for {sizes[0]} at 3:1 and for {sizes[1]} at 2:2.",
        "At 2:2 the kernel has a gigabyte more of addresses, and all of it is low memory.",
        "A split of 2:2 gives no more low memory.",
    )


def _sixty_four(evidence: Evidence) -> Finding:
    answer = evidence.limits(_UP_TO, entry_bits=32)
    guest = Guest.plain(_UP_TO, geometry="pv32")
    with evidence.linear(guest) as linear:
        n_leaves = linear.footprint().pages["leaf"]
        last = guest.n_boot_pages - 1
        right = linear.lookup([0, last]).tolist() == guest.entries([0, last]).tolist()
        try:
            linear.audit()
        except AuditError:
            right = False
    return decided(
        answer.fits and right,
        f"{answer.verdict}. Built, its list has {n_leaves} leaves, {readable_size(n_leaves * PAGE_SIZE)}"
        + ("; the audit holds." if right else "; it is not in order."),
        "No limit that is known here refuses such a guest, and its list is built and in order.",
        "A limit refuses such a guest, or its list cannot be built.",
    )


def _past_512g(evidence: Evidence) -> Finding:
    lifted = ("max-domain-memory", "tree-top", "initial-mapping")
    now, later = (evidence.limits("1T", entry_bits=64, without=left_out) for left_out in ((), lifted))
    refusing = ", ".join(now.refused_by)
    return decided(
        later.fits and "vmalloc-area" not in now.refused_by,
        f"A list of 1T fits its virtual area; {refusing or 'nothing'}"
        f" refuse{'s' * (len(now.refused_by) == 1)} such a"
        f" guest, and without these {readable_size(later.largest_guest_bytes)} would fit.",
        "The list itself has no such end; later kernels lifted what else stood in the way.",
        "The list itself, or what cannot be lifted, refuses such a guest.",
    )


_QUESTION = "python -m p2mperf limits --question"
_BUILD = "python -m p2mperf kernel-build --shipped"

CLAIMS = (
    Claim(
        "page-table-entries",
        THREAD,
        "cover letter",
        "This p2m tree is used for construction of page table entries",
        "computed",
        _BUILD,
        in_page_faults,
    ),
    Claim(
        "critical",
        THREAD,
        "cover letter",
        "so the p2m tree walk is performance critical.",
        "modelled",
        _BUILD,
        is_critical,
    ),
    Claim(
        "sped-up",
        THREAD,
        "cover letter",
        "By using a linear virtual mapped p2m list accesses to p2m elements can be sped up",
        "measured",
        "python -m p2mperf plot entry",
        _sped_up,
    ),
    Claim(
        "simplified",
        THREAD,
        "cover letter",
        "while even simplifying code",
        "computed",
        shows("simplified"),
        _simplified,
    ),
    Claim(
        "128m-array",
        THREAD,
        "D. Vrabel",
        "a 32-bit guest could have up to 64 GiB of PFNs, which would require a 128 MiB p2m array",
        "computed",
        f"{_QUESTION} 64g-32bit",
        partial(_list_of, 128 * MIB),
    ),
    Claim(
        "too-large",
        THREAD,
        "D. Vrabel",
        "which would require a 128 MiB p2m array, which is too large?",
        "computed",
        f"{_QUESTION} 64g-32bit",
        _too_large,
    ),
    Claim(
        "64m-array",
        THREAD,
        "J. Gross, answer",
        "It is 64 MB (one entry on 32 bit is 32 bits :-) ).",
        "computed",
        f"{_QUESTION} 64g-32bit",
        partial(_list_of, 64 * MIB),
    ),
    Claim(
        "m2p-16m-native",
        THREAD,
        "J. Gross, answer; of a 32-bit hypervisor",
        "With a m2p array of only 16 MB size I doubt a 32 bit guest can be larger than 16 GB",
        "computed",
        f"{_QUESTION} m2p-16m",
        partial(_m2p_of_16m, hypervisor="native"),
    ),
    Claim(
        "m2p-16m-compat",
        THREAD,
        "J. Gross, answer; of a 64-bit hypervisor",
        "With a m2p array of only 16 MB size I doubt a 32 bit guest can be larger than 16 GB",
        "computed",
        f"{_QUESTION} m2p-16m",
        partial(_m2p_of_16m, hypervisor="compat"),
    ),
    Claim(
        "m2p-168m",
        THREAD,
        "I. Campbell",
        "I think they can be bigger, the compat r/o m2p is 168MB",
        "computed",
        f"{_QUESTION} m2p-16m",
        _m2p_of_hole,
    ),
    Claim(
        "low-memory",
        THREAD,
        "I. Campbell",
        "a 32-bit kernel starts to get pretty unhappy somewhere between 32 and 64GB because it runs out of"
        " low"
        " memory",
        "computed",
        f"{_QUESTION} low-memory",
        _low_memory,
    ),
    Claim(
        "m2p-cut",
        THREAD,
        "A. Cooper",
        "cuts off at 128MB of the compat m2p, allowing for 32bit guest pages to exist in the first 128GB"
        " of host RAM.",
        "computed",
        "python -m p2mperf limits --guest-memory 16G --entry-bits 32",
        _m2p_cut,
    ),
    Claim(
        "low-memory-limits",
        THREAD,
        "A. Cooper",
        "kernel lowmem will be the limiting factor.",
        "computed",
        "python -m p2mperf limits --guest-memory 32G --entry-bits 32 --without max-domain-memory",
        _low_memory_limits,
    ),
    Claim(
        "split-helps",
        THREAD,
        "A. Cooper",
        "Switching to a 2/2 split will help",
        "computed",
        "python -m p2mperf limits --guest-memory 32G --entry-bits 32 --split 2:2",
        _split_helps,
    ),
    Claim(
        "64g-works",
        THREAD,
        "A. Cooper",
        "OEL formally supports 64GB 32bit PV VMs, and as a result, the XenServer VM lifecycle tests do"
        " test it, and"
        " it works.",
        "computed",
        "python -m p2mperf limits --guest-memory 64G --entry-bits 32 --prove",
        _sixty_four,
    ),
    Claim(
        "past-512g",
        THREAD,
        "J. Gross, last mail",
        "paving the way for support of more than 512 GB of domain memory.",
        "computed",
        f"{_QUESTION} past-512g",
        _past_512g,
    ),
)
