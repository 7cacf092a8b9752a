"""What is said of the commit's kernel build, as tables: one for each part of the story."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from p2mperf.analysis.kernel_build.words import entry_title, table_rows
from p2mperf.errors import known
from p2mperf.model.published_build import PUBLISHED_TIMES, as_clock
from p2mperf.workload.translation_stream import Entered

if TYPE_CHECKING:
    from p2mperf.analysis.kernel_build.prediction import KernelBuild

# Steps of the slider that goes through what the page faults of the commit's build may have been.
N_FAULT_STEPS = 25


def build_table(found: KernelBuild, name: str) -> pd.DataFrame:
    """Lay out one part of what was found.

    Parameters
    ----------
    found : KernelBuild
        What was predicted.
    name : str
        One of `TABLES`.

    Returns
    -------
    pandas.DataFrame
        As the function of that name in `TABLES` says.

    Raises
    ------
    BadInputError
        For another name.
    """
    return TABLES[known("table of a kernel build", name, TABLES)](found)


def _published(found: KernelBuild) -> pd.DataFrame:
    """The commit's own lines: as it writes them, their change, and how far two equal runs are apart."""
    return pd.DataFrame(
        [
            (time.name, as_clock(time.before_s), as_clock(time.after_s), time.change_s, time.noise_s)
            for time in PUBLISHED_TIMES
        ],
        columns=["time", "with_tree", "with_list", "change_s", "equal_runs_differ_by_s"],
    )


def _asked(found: KernelBuild) -> pd.DataFrame:
    """Entries of each class, those that ask for most first, and what one of them asks of p2m and m2p."""
    counts = found.counts
    rows = [
        (
            Entered[name] <= Entered.UNCLASSIFIED,
            entry_title(name),
            each.n_entries,
            each.n_p2m / max(1.0, each.n_entries),
            each.n_m2p / max(1.0, each.n_entries),
            100 * each.n_p2m / counts.n_p2m,
            each.asked.n_mids,
        )
        for name, each in counts.classes.items()
        if each.n_entries
    ]
    columns = [
        "is_fault",
        "entered_by",
        "n_entries",
        "asks_p2m",
        "asks_m2p",
        "lookups_percent",
        "gib_slots",
    ]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("lookups_percent", ascending=False, ignore_index=True)


def _costs(found: KernelBuild) -> pd.DataFrame:
    """What a page fault costs more with the first design: measured, condition by condition, and modelled."""
    rows = []
    for one in found.deltas:
        whole, control = one.per_fault_ns, one.control_ns
        ends = (np.nan, np.nan) if control is None else (control.low, control.high)
        told = ("measured", one.condition, one.guest, one is found.estimate, one.large_pages)
        rows.append((*told, whole.estimate, whole.low, whole.high, *ends, one.per_p2m_ns, whole.n))
    for number in found.modelled:
        per_p2m = number.middle / found.counts.p2m_per_fault
        told = (number.origin, number.source, "", False, False)
        rows.append((*told, number.middle, number.low, number.high, np.nan, np.nan, per_p2m, 0))
    columns = [
        "origin",
        "condition",
        "guest",
        "is_estimate",
        "large_pages",
        "per_fault_ns",
        "low_ns",
        "high_ns",
    ]
    columns += ["control_low_ns", "control_high_ns", "per_p2m_ns", "n_processes"]
    return pd.DataFrame(rows, columns=columns)


def _predicted(found: KernelBuild) -> pd.DataFrame:
    """The commit's table in words: as published, and as predicted by either road."""
    table = pd.DataFrame(table_rows(found), columns=["time", "published", "measured", "modelled"])
    return table.assign(modelled=table["modelled"].replace("not measured", "not modelled"))


def _by_faults(found: KernelBuild) -> pd.DataFrame:
    """Change of system time, if the commit's build had so many page faults, by either road [s]."""
    numbers = np.linspace(found.faults.low, found.faults.high, N_FAULT_STEPS)
    roads = {"measured_s": found.system.here, "modelled_s": found.system.modelled}
    seconds = {
        name: numbers / found.faults.middle * number.middle
        for name, number in roads.items()
        if number is not None
    }
    published_s = found.system.published.change_s
    return pd.DataFrame({"million_faults": numbers / 1e6, **seconds, "published_s": published_s})


def _swings(found: KernelBuild) -> pd.DataFrame:
    """What the prediction hangs on, the widest first: each assumption moved to its ends."""
    rows = [(one.name, *one.ends, *one.seconds, one.width_s) for one in found.swings]
    columns = ["assumption", "from_end", "to_end", "from_s", "to_s", "width_s"]
    return pd.DataFrame(rows, columns=columns)


def _needed(found: KernelBuild) -> pd.DataFrame:
    """What one page fault would have to cost more, if the p2m were the reason of all that was published."""
    rows = [
        (one.n_faults / 1e6, one.per_fault_ns, one.per_p2m_ns, one.of_estimate, one.of_tight)
        for one in found.needed
    ]
    columns = ["million_faults", "a_fault_ns", "a_lookup_ns", "times_the_cold_estimate", "times_a_tight_loop"]
    return pd.DataFrame(rows, columns=columns)


TABLES: dict[str, Callable[[KernelBuild], pd.DataFrame]] = {
    "published": _published,
    "asked": _asked,
    "costs": _costs,
    "predicted": _predicted,
    "by-faults": _by_faults,
    "swings": _swings,
    "needed": _needed,
}
