"""What is said of the commit's kernel build: its table, tree -> list, and one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2mperf.analysis.kernel_build.budget import Number, combined
from p2mperf.analysis.kernel_build.parts import PredictedTime, tight_of
from p2mperf.model.published_build import as_clock
from p2mperf.workload.translation_stream import Entered

if TYPE_CHECKING:
    from p2mperf.analysis.kernel_build.prediction import KernelBuild

Rows = list[tuple[str, ...]]
_TITLES = {
    Entered.ANONYMOUS_WRITE: "anonymous write",
    Entered.ZERO_READ: "read of the zero page",
    Entered.PRIVATE_FILE_WRITE: "write to a private file page",
    Entered.FILE_READ: "read of a file, its neighbours mapped",
    Entered.ZERO_PAGE_WRITE: "write to the zero page",
    Entered.COPY_ON_WRITE: "copy on write",
    Entered.REUSE: "write to a page of its own",
    Entered.UNCLASSIFIED: "not classified",
    Entered.FORK: "fork",
    Entered.EXEC: "exec",
    Entered.EXIT: "exit",
    Entered.MUNMAP: "munmap",
    Entered.MPROTECT: "mprotect",
    Entered.SWITCH: "switch of address spaces",
}
TABLE_HEADS = ("", "published, one run each", "predicted: cold replay here", "predicted: counts x latencies")


def entry_title(name: str) -> str:
    """Say in words why the kernel was entered.

    Parameters
    ----------
    name : str
        Name of a `p2mperf.workload.translation_stream.Entered`; another stands for itself.

    Examples
    --------
    >>> entry_title("FORK"), entry_title("ALL")
    ('fork', 'ALL')
    """
    return _TITLES[Entered[name]] if name in Entered.__members__ else name


def table_rows(found: KernelBuild) -> Rows:
    """Lines of the commit's table: as published, and predicted by either road.

    Parameters
    ----------
    found : KernelBuild
        What was predicted.

    Returns
    -------
    list of tuple of str
        Cells below `TABLE_HEADS`: name; tree -> list, and the change with what is open in it.
    """
    return [
        (
            f"{time.published.name}:",
            f"{as_clock(time.published.before_s)} -> {as_clock(time.published.after_s)}"
            f" ({time.published.change_s:+.0f} s +- {time.published.noise_s:.0f})",
            predicted_cell(time, time.here),
            predicted_cell(time, time.modelled),
        )
        for time in found.times
    ]


def predicted_cell(time: PredictedTime, change: Number | None) -> str:
    """Write a predicted line as the commit writes it, and its change with its interval.

    Parameters
    ----------
    time : PredictedTime
        The line.
    change : Number or None
        One of its changes.
    """
    if change is None:
        return "not measured"
    before = time.published.before_s
    return (
        f"{as_clock(before)} -> {as_clock(before + change.middle)} ({change.middle:+.1f} s{interval(change)})"
    )


def interval(number: Number, form: str = ".1f") -> str:
    """Write a number's range behind it."""
    if not number.is_bounded:
        return ", not bounded"
    return f", {number.low:{form}} to {number.high:{form}}"


def sentence(found: KernelBuild) -> str:
    """Say in one sentence what was found; every number in it is one of the result's.

    Parameters
    ----------
    found : KernelBuild
        What was predicted.

    Returns
    -------
    str
    """
    faults, system, published = found.faults, found.system.here, found.system.published
    assert system is not None
    delta = found.estimate.per_fault_ns
    computed = found.system.modelled
    by_counts = (
        f"; counts times the laptop's latencies say {computed.middle:.1f} s{interval(computed)}"
        if computed is not None
        else ""
    )
    tight = tight_of(found.deltas, found.estimate)
    in_a_loop = f", where a tight loop has {tight.per_fault_ns.estimate:.1f} ns" if tight is not None else ""
    return (
        f"A page fault of a recorded build asks the p2m {found.counts.p2m_per_fault:.1f} times, and replayed"
        f" cold that costs {delta.estimate:.0f} ns more with the {_short(found.before)} than with the"
        f" {_short(found.after)} ({delta.low:.0f} to {delta.high:.0f}){in_a_loop}: by"
        f" {faults.middle / 1e6:.0f} million faults"
        f" ({faults.low / 1e6:.0f} to {faults.high / 1e6:.0f}) the commit's build would change by"
        f" {system.middle:.1f} s of system time{interval(system)}{by_counts}; published are"
        f" {published.change_s:.0f} s +- {published.noise_s:.0f} s: {found.verdict.kind}."
    )


def answer(found: KernelBuild) -> str:
    """Tell in a few sentences what was asked, what was found, and how sure that is.

    Parameters
    ----------
    found : KernelBuild
        What was predicted.

    Returns
    -------
    str
        Markdown, a line a sentence; every number in it is one of the result's.
    """
    published, system, faults = found.system.published, found.system, found.faults
    before, after = _short(found.before), _short(found.after)
    cold, tight = found.estimate.per_fault_ns, tight_of(found.deltas, found.estimate)
    in_a_loop = (
        f" In a loop that does nothing else it would be {tight.per_fault_ns.estimate:.1f} ns."
        if tight is not None
        else ""
    )
    roads = {"measured cold": system.here, "computed for the commit's laptop": system.modelled}
    seconds = "; ".join(
        f"{number.middle:.1f} s ({number.low:.1f} to {number.high:.1f}), {how}"
        for how, number in roads.items()
        if number is not None and number.is_bounded
    )
    lines = [
        f"**Published:** {published.change_s:+.0f} s of system time, from {as_clock(published.before_s)} to"
        f" {as_clock(published.after_s)}, one run of each kernel. Two runs of one kernel would differ by up"
        f" to {published.noise_s:.0f} s.",
        f"**What is asked:** a page fault, with all that the kernel does for it, asks the p2m"
        f" {found.counts.p2m_per_fault:.1f} times and the m2p {found.counts.m2p_per_fault:.1f} times.",
        f"**What that costs:** {cold.estimate:.0f} ns more with the {before} than with the {after}"
        f" ({cold.low:.0f} to {cold.high:.0f}), when the kernel is entered cold.{in_a_loop}",
        f"**In seconds:** by {faults.middle / 1e6:.0f} million page faults"
        f" ({faults.low / 1e6:.0f} to {faults.high / 1e6:.0f} million) the build's system time changes by"
        f" {seconds or 'an amount that is not bounded'}.",
        f"**So:** {found.verdict.sentence}.",
    ]
    return "\n".join(f"* {line}" for line in lines)


def _short(design: str) -> str:
    return {"pv-tree": "tree", "pv-linear": "list"}.get(design, design)


def delta_rows(found: KernelBuild) -> Rows:
    """What a page fault costs more before than after: condition by condition, and by counts.

    Parameters
    ----------
    found : KernelBuild
        What was predicted.

    Returns
    -------
    list of tuple of str
        Cells below `DELTA_HEADS`.
    """
    rows: Rows = []
    for one in found.deltas:
        whole, control = one.per_fault_ns, one.control_ns
        rows.append(
            (
                f"{one.condition}, {one.guest}" + ", large pages" * one.large_pages,
                "measured" + ", the estimate" * (one is found.estimate),
                f"{whole.estimate:.1f}",
                f"{whole.low:.1f} to {whole.high:.1f} ({whole.n} processes)",
                f"{one.per_p2m_ns:.2f}",
                "-" if control is None else f"{control.low:.1f} to {control.high:.1f}",
            )
        )
    for number in found.modelled:
        per_p2m = number.middle / found.counts.p2m_per_fault
        ends = f"{number.low:.1f} to {number.high:.1f}"
        rows.append((number.source, number.origin, f"{number.middle:.1f}", ends, f"{per_p2m:.2f}", "-"))
    return rows


DELTA_HEADS = ("a page fault costs more", "", "ns", "from, to", "ns a lookup", "against itself")
BUDGET_HEADS = ("what is open", "factor", "why")
SWING_HEADS = ("what the prediction hangs on", "from", "to", "system time from", "to")
NEEDED_HEADS = (
    "for the published change",
    "ns a fault",
    "ns a lookup",
    "times the cold estimate",
    "times a tight loop",
)


def budget_rows(found: KernelBuild) -> Rows:
    """Factors of the interval, and all together."""
    rows = [(part.name, f"x/ {part.factor:.2f}", part.source) for part in found.budget]
    return [*rows, ("together", f"x/ {combined(found.budget):.2f}", "in quadrature, in logs")]


def swing_rows(found: KernelBuild) -> Rows:
    """What moves the prediction, widest first."""
    return [(one.name, *one.ends, *(f"{seconds:.1f} s" for seconds in one.seconds)) for one in found.swings]


def needed_rows(found: KernelBuild) -> Rows:
    """What would have to be true."""
    return [
        (
            f"{one.n_faults / 1e6:.0f} million faults",
            f"{one.per_fault_ns:.0f}",
            f"{one.per_p2m_ns:.1f}",
            f"{one.of_estimate:.2f}",
            f"{one.of_tight:.1f}",
        )
        for one in found.needed
    ]
