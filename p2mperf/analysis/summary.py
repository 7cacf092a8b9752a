"""The designs of each cell against the reference of their family, paired, with intervals and a verdict.

What report, README, figures and notebooks say of two designs comes from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from math import nan

import pandas as pd

from p2mperf.analysis.samples import host_note, measured, stream_label
from p2mperf.analysis.statistics import Ratio, process_ratio, ratio_interval, verdict
from p2mperf.control import CONTROL
from p2mperf.families import families
from p2mperf.results.fields import CELL_AXES

# What a cell is, whoever measured it; a guest's size is shown in bytes, not in pages.
_SHOWN_AS = {"geometry": ("geometry", "entry_bits"), "guest_pages": ("guest_bytes",)}
SHOWN_AXES = tuple(column for axis in CELL_AXES for column in _SHOWN_AS.get(axis, (axis,)))
# The same, and on which machine, in which boot of it and with which code it was measured.
CELL_COLUMNS = ("family", "machine", "boot", "code", *(column for column in SHOWN_AXES if column != "family"))


@dataclass(frozen=True)
class Pair:
    """A design and its reference in one cell.

    Attributes
    ----------
    stream_label : str
        The stream with the shares of it that leave RAM.
    design, reference : str
        The two.
    cost_ns, reference_ns : float
        Medians over processes of the process median [ns].
    ratio, low, high : float
        Cost over reference, with its interval over processes.
    hodges_lehmann : float
        Second opinion on the ratio.
    control_low, control_high : float
        Interval of one of them against itself; NaN without control.
    n_processes : int
        Observations.
    method : str
        How the interval was made.
    verdict : str
        What it shows.
    faster : str
        The faster design, where that is resolved.
    """

    stream_label: str
    design: str
    reference: str
    cost_ns: float
    reference_ns: float
    ratio: float
    low: float
    high: float
    hodges_lehmann: float
    control_low: float
    control_high: float
    n_processes: int
    method: str
    verdict: str
    faster: str


SUMMARY_COLUMNS = (*CELL_COLUMNS, *(field.name for field in fields(Pair)))
_PROCESS = ["run", "replicate"]
_OF_STREAM = ("stream", "hole_fraction", "identity_fraction", "hole_pattern")


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare designs cell by cell.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        One row a cell and design beside the reference, which the row names: `CELL_COLUMNS` and what `Pair`
        says of the two.

    Notes
    -----
    Each interval stands for itself: it is not widened for the number of cells in the table.
    """
    rows = [
        [*key, *astuple(pair)]
        for key, cell in measured(frame).groupby(list(CELL_COLUMNS), sort=False)
        for pair in _pairs(cell)
    ]
    table = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
    table.attrs["note"] = host_note(frame)
    return table


def _pairs(cell: pd.DataFrame) -> Iterator[Pair]:
    wide = cell.pivot_table(index=[*_PROCESS, "round"], columns="design", values="cost_ns", aggfunc="first")
    names = [name for name in wide.columns if not name.startswith(CONTROL)]
    first = cell.iloc[0]
    if len(names) < 2:
        return
    reference = reference_of(first["family"], names)
    control = _control(wide)
    costs = wide.groupby(level=_PROCESS).median().median()
    for name in names:
        if name == reference:
            continue
        ratio = _ratio(wide, name, reference)
        if ratio is None:
            continue  # rows of a frame may be picked so that no round has both
        said = verdict(ratio, control=control)
        yield Pair(
            stream_label=stream_label(*first[list(_OF_STREAM)]),
            design=name,
            reference=reference,
            cost_ns=costs[name],
            reference_ns=costs[reference],
            ratio=ratio.estimate,
            low=ratio.low,
            high=ratio.high,
            hodges_lehmann=ratio.hodges_lehmann,
            control_low=control.low if control else nan,
            control_high=control.high if control else nan,
            n_processes=ratio.n_processes,
            method=ratio.method,
            verdict=said,
            faster=(reference if ratio.estimate > 1 else name) if said == "resolved" else "",
        )


def pairs_of(table: pd.DataFrame) -> Iterator[Pair]:
    """Rows of a summary, or of a part of one, as what they say of the two designs."""
    names = [field.name for field in fields(Pair)]
    return (Pair(*row) for row in table[names].itertuples(index=False, name=None))


def reference_of(family: str, names: Sequence[str]) -> str:
    """Name the design that the others of a cell are compared to.

    Parameters
    ----------
    family : str
        Theirs.
    names : sequence of str
        Designs that were measured in the cell.

    Returns
    -------
    str
        The family's reference; where that is none of them, or no family of that name is known here, as in
        results of somebody else's, the first by name.
    """
    known = families().get(family)
    return known.reference if known and known.reference in names else min(names)


def short_name(design: str, family: str) -> str:
    """Shorten a design's name where its family is known anyway.

    Examples
    --------
    >>> short_name("pv-linear-nested", "pv"), short_name("mine", "pv")
    ('linear-nested', 'mine')
    """
    return design.removeprefix(f"{family}-")


def _ratio(wide: pd.DataFrame, above: str, below: str) -> Ratio | None:
    """Ratio of two designs, paired within rounds; None where no round has both."""
    both = wide[[above, below]].dropna()
    if both.empty:
        return None
    pairs = both.groupby(level=_PROCESS)
    return ratio_interval([process_ratio(process[above], process[below]) for _, process in pairs])


def _control(wide: pd.DataFrame) -> Ratio | None:
    for name in wide.columns:
        if name.startswith(CONTROL) and name.removeprefix(CONTROL) in wide.columns:
            return _ratio(wide, name, name.removeprefix(CONTROL))
    return None
