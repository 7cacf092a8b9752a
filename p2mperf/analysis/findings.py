"""What was found, in sentences that are made of the data: what README, the first notebook and the report say.

Each finding takes samples, as `p2mperf.load` gives them, or a predicted kernel build, and says nothing where
these do not have what it is about. No number in a sentence stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from p2mperf.analysis.hap.costs import windows_over_walks
from p2mperf.analysis.kernel_build.prediction import KernelBuild
from p2mperf.analysis.labels import LIST, TREE
from p2mperf.analysis.summary import between, summary, with_verdicts
from p2mperf.analysis.words import span
from p2mperf.control import CONTROL
from p2mperf.errors import known
from p2mperf.measure.operations.registry import entries, lookups
from p2mperf.sizing import limits, readable_size

_HOW = {
    "latency": "when each waits for the one before",
    "throughput": "when they overlap",
    "entry": "in a kernel entry of nine lookups, cold",
}


@dataclass(frozen=True)
class Finding:
    """A finding.

    Attributes
    ----------
    about : str
        What it is about, in a few words.
    said : str
        What was found, in whole sentences.
    page : str
        Where its tables are: a page below docs/, with what stands there.
    notebook : str
        Which notebook tells the story: its number.
    """

    about: str
    said: str
    page: str
    notebook: str


def in_ram(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare list and tree in the kernel's layout, over uniform frames of guests that are all RAM.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples.

    Returns
    -------
    pandas.DataFrame
        Rows of a `summary`, judged among each other, the smallest guest first, 64 bits before 32. Entries are
        those after other work, as a kernel begins them.
    """
    has_holes = frame["guest"].str.endswith("-e820")
    is_asked = frame["operation"].isin((*lookups(), *entries())) & (frame["preamble"] != "tight")
    shown = _list_and_tree(frame[_is_uniform(frame) & is_asked & ~has_holes & (frame["backing"] == "kernel")])
    return with_verdicts(
        shown[shown["stream_label"] == "uniform"].sort_values(
            ["entry_bits", "guest_bytes"], ascending=[False, True]
        )
    )


def outside_ram(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare list and tree over uniform frames of guests that have holes and identity ranges.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples.

    Returns
    -------
    pandas.DataFrame
        Rows of a `summary`, lookups alone, judged among each other.
    """
    has_holes = frame["guest"].str.endswith("-e820")
    return with_verdicts(
        _list_and_tree(frame[_is_uniform(frame) & has_holes & frame["operation"].isin(lookups())])
    )


def on_pages(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare list and tree, each on pages of 4 KiB, with itself on pages of 2 MiB.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples of ``pv-linear-4k``, ``pv-linear-2m`` and the same of the tree.

    Returns
    -------
    pandas.DataFrame
        Rows of a `summary`, judged among each other.
    """
    names = frame["design"].str.removeprefix(CONTROL)
    parts = [frame[names.str.startswith(f"{design}-").fillna(False)] for design in (TREE, LIST)]
    shown = pd.concat(map(summary, parts))
    return with_verdicts(shown.sort_values(["design", "guest_bytes"], kind="stable"))


def _is_uniform(frame: pd.DataFrame) -> pd.Series[bool]:
    return (frame["family"] == "pv") & (frame["stream"] == "uniform")


def _list_and_tree(cells: pd.DataFrame) -> pd.DataFrame:
    """Compare the two in cells that were picked before: a summary of all takes longer than what is said."""
    return between(summary(cells), TREE, LIST)


def _count(shown: pd.DataFrame, design: str) -> int:
    return int((shown["faster"] == design).sum())


def _of_ram(frame: pd.DataFrame) -> str:
    shown = in_ram(frame)
    if shown.empty:
        return ""
    spans = [
        f"{span(rows['ratio'])} times as long {_HOW[str(operation)]}"
        for operation, rows in shown.groupby("operation", sort=False)
    ]
    return (
        f"In RAM the list is faster in {_count(shown, LIST)} of {len(shown)} comparisons, the tree in "
        f"{_count(shown, TREE)}. Lookups in the tree take {', '.join(spans)}."
    )


def _of_holes(frame: pd.DataFrame) -> str:
    shown = outside_ram(frame)
    holes = shown[shown["hole_fraction"] > 0]
    if holes.empty:
        return ""
    at_random, in_runs = (holes[holes["hole_pattern"] == pattern]["ratio"] for pattern in ("random", "runs"))
    return (
        f"Where half of the frames are holes the tree is faster in {_count(holes, TREE)} of {len(holes)} "
        f"comparisons: it takes {span(at_random)} times as long as the list if holes come at random, and "
        f"{span(in_runs)} if they come in runs, which a branch predictor learns. The list reads INVALID "
        "there, and walks the page table of its own area in software."
    )


def _of_pages(frame: pd.DataFrame) -> str:
    shown = on_pages(frame)
    if shown.empty:
        return ""
    largest = shown[shown["guest_bytes"] == shown["guest_bytes"].max()]
    of_list, of_tree = (largest.loc[largest["design"] == f"{name}-4k", "ratio"] for name in (LIST, TREE))
    size = readable_size(int(largest["guest_bytes"].iloc[0]))
    return (
        f"On 4 KiB pages, which are all that a PV kernel has, lookups take the list {span(of_list)} times as "
        f"long as on 2 MiB pages, and the tree {span(of_tree)}, in a guest of {size}."
    )


def _of_life(frame: pd.DataFrame) -> str:
    is_life = (frame["family"] == "pv") & ~frame["operation"].isin((*lookups(), *entries()))
    pairs = with_verdicts(_list_and_tree(frame[is_life]))
    ballooned, written, leaves, tables = (
        pairs[pairs["operation"].isin(names)]
        for names in (("balloon-down", "balloon-up"), ("set",), ("cow",), ("build", "rebuild"))
    )
    written = written[written["stream"] == "uniform"]
    if any(part.empty for part in (ballooned, written, leaves, tables)):
        return ""
    return (
        f"Ballooning takes the tree {span(ballooned['ratio'])} times as long as the list, and writing at "
        f"random {span(written['ratio'])}. A shared leaf is broken faster in the tree in "
        f"{_count(leaves, TREE)} of {len(leaves)} comparisons, and a whole table is built faster in it in "
        f"{_count(tables, TREE)} of {len(tables)}; but for these the list calls `mmap` here, which a kernel "
        "does not."
    )


def _of_arm(frame: pd.DataFrame) -> str:
    pairs = summary(frame[(frame["family"] == "arm") & frame["operation"].isin(lookups())])
    is_walk = pairs["design"].isin(("arm-walk", "arm-walk-direct")) & (pairs["reference"] == "arm-vlpt")
    arm = with_verdicts(pairs[is_walk])
    if arm.empty:
        return ""
    mapped, direct = (arm.loc[arm["design"] == name, "ratio"] for name in ("arm-walk", "arm-walk-direct"))
    return (
        f"On ARM the window is faster than the walk in {_count(arm, 'arm-vlpt')} of {len(arm)} comparisons. "
        f"The walk of a 32-bit Xen, which maps a page for each level, takes {span(mapped)} times as long to "
        f"find an entry, and one through a direct map {span(direct)}. Barriers and TLB invalidations of a "
        "real ARM are counted here, and not timed."
    )


def _of_hap(frame: pd.DataFrame) -> str:
    windows = windows_over_walks(frame[frame["family"] == "hap"])
    is_whole = frame["design"].isin(("hap-walk-2m", "hap-walk-4k")) & frame["guest"].str.startswith("hap-")
    smaller = summary(frame[is_whole & frame["operation"].isin(lookups()) & (frame["stream"] == "uniform")])
    if windows.empty or smaller.empty:
        return ""
    n_window, n_walk = (int((windows["faster"] == windows[name]).sum()) for name in ("design", "reference"))
    return (
        f"A walk down to leaves of 4 KiB takes {span(smaller['ratio'])} times as long as one to superpages "
        f"of 2 MiB. Windows over the same leaves are faster than the walk in {n_window} of {len(windows)} "
        f"comparisons, the walk in {n_walk}."
    )


def of_limits() -> str:
    """Say how large the list may be: arithmetic, from the limits of Linux 3.19 and Xen 4.5.

    Returns
    -------
    str
    """
    wide = limits("400G", entry_bits=64, vmalloc="1M")
    narrow = limits(entry_bits=32)
    fits = "fits" if wide.fits else "does not fit"
    return (
        f"At 64 bits `vmalloc=1M` has no effect: the list of a guest of 400 GB takes "
        f"{readable_size(wide.area_bytes)} of virtual memory, and {fits}. At 32 bits the largest guest has "
        f"{readable_size(narrow.largest_guest_bytes)}; the limit that stops a larger one first is "
        f"{' and '.join(narrow.binds)}."
    )


def of_build(found: KernelBuild) -> str:
    """Say what a recorded kernel build makes of the published seconds.

    Parameters
    ----------
    found : KernelBuild
        What was predicted, tree before list.

    Returns
    -------
    str
        Empty without a replay on this host.
    """
    system = found.system.here
    if system is None:
        return ""
    delta, published = found.estimate.per_fault_ns, found.system.published
    return (
        f"A page fault of a recorded kernel build asks the p2m {found.counts.p2m_per_fault:.1f} times. As "
        f"cold as a kernel meets them, that takes {delta.estimate:.0f} ns more in the tree ({delta.low:.0f} "
        f"to {delta.high:.0f}). For the published build it makes {-system.middle:.0f} s of system time "
        f"({-system.high:.0f} to {-system.low:.0f}). Published are {-published.change_s:.0f} s, from one run "
        f"each, which may be off by {published.noise_s:.0f} s. The two are {found.verdict.kind}, which does "
        "not prove that the p2m is the cause."
    )


@dataclass(frozen=True)
class _Told:
    about: str
    of: Callable[[pd.DataFrame], str]
    page: str
    notebook: str


# By the shipped sweep that has what a finding is about.
_MEASURED: Mapping[str, tuple[_Told, ...]] = {
    "shipped": (
        _Told("Lookups in RAM", _of_ram, "results.md#tree-and-list-in-memory-that-is-all-ram", "01"),
        _Told("Lookups in holes", _of_holes, "results.md#the-same-where-frames-are-in-holes", "01"),
        _Told("ARM, live migration", _of_arm, "results.md#arm-window-or-walk", "04"),
    ),
    "shipped-backings": (_Told("Page sizes", _of_pages, "results.md#is-it-the-pages", "01"),),
    "shipped-life": (_Told("Life of a table", _of_life, "results.md#what-the-life-of-a-p2m-costs", "06"),),
    "shipped-hap": (
        _Told("HAP, superpages", _of_hap, "results.md#hap-does-the-window-pay-with-superpages", "05"),
    ),
}
SWEEPS_WITH_FINDINGS = tuple(_MEASURED)
_ORDER = (
    "Lookups in RAM",
    "A kernel build",
    "Lookups in holes",
    "Page sizes",
    "Life of a table",
    "Size of the list",
    "ARM, live migration",
    "HAP, superpages",
)


def findings_on(frame: pd.DataFrame) -> list[Finding]:
    """Say what some results show: all findings that they have the samples for.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    list of Finding
        In the order in which they are told; empty where the samples have none.
    """
    told = [(one, one.of(frame)) for group in _MEASURED.values() for one in group]
    return _in_order([_finding(one, said) for one, said in told if said])


def findings(sweeps: Mapping[str, pd.DataFrame], build: KernelBuild | None = None) -> list[Finding]:
    """Say what the shipped results show, each finding from the sweep that was made for it.

    Parameters
    ----------
    sweeps : mapping of str to pandas.DataFrame
        Samples, by the names of `p2mperf.shipped.SWEEPS`.
    build : KernelBuild, optional
        The prediction of the commit's kernel build.

    Returns
    -------
    list of Finding
        At most eight, in the order in which they are told.

    Raises
    ------
    BadInputError
        For a sweep of a name that has no findings.
    """
    found = [
        _finding(one, said)
        for name, frame in sweeps.items()
        for one in _MEASURED[known("sweep with findings", name, _MEASURED)]
        if (said := one.of(frame))
    ]
    found.append(Finding("Size of the list", of_limits(), "limits.md", "03"))
    if build is not None and (said := of_build(build)):
        found.append(Finding("A kernel build", said, "kernel-build.md", "02"))
    return _in_order(found)


def _finding(one: _Told, said: str) -> Finding:
    return Finding(one.about, said, one.page, one.notebook)


def _in_order(found: list[Finding]) -> list[Finding]:
    return sorted(found, key=lambda one: _ORDER.index(one.about))
