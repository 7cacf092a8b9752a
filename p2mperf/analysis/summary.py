"""The designs of each cell against their reference, paired, with intervals and a verdict.

What report, README, figures and notebooks say of two designs comes from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from math import nan
from typing import Any

import pandas as pd

from p2mperf.analysis.rounds import CellRounds, rounds_of_cells
from p2mperf.analysis.samples import OF_STREAM, host_note, stream_label
from p2mperf.analysis.statistics import Ratio
from p2mperf.analysis.verdicts import COVERS, judge, marks_of
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
    ratio, low, high, level : float
        Cost over reference, with its interval over processes and the coverage that this has exactly.
    p_value : float
        Of the same test.
    sign_low, sign_high, sign_level : float
        Interval of the sign test, which asks less of the processes.
    control_low, control_high : float
        Interval of one of them against itself; NaN without control.
    n_processes : int
        Observations.
    trend : str
        Which of the two becomes steadily slower or faster within its processes, and by how much; or "".
    marks : str
        What makes the row doubtful: ``biased``, ``unsteady``, both with a comma between, or "".
    verdict : str
        What the ratio shows in the table that it stands in.
    faster : str
        The faster design, where that is resolved.
    reason : str
        Why that verdict and those marks, in words.
    """

    stream_label: str
    design: str
    reference: str
    cost_ns: float
    reference_ns: float
    ratio: float
    low: float
    high: float
    level: float
    p_value: float
    sign_low: float
    sign_high: float
    sign_level: float
    control_low: float
    control_high: float
    n_processes: int
    trend: str
    marks: str
    verdict: str = ""
    faster: str = ""
    reason: str = ""

    @property
    def said(self) -> str:
        """Which design is faster, or why none is said to be, and the marks in brackets."""
        return self.finding + f" ({self.marks})" * bool(self.marks)

    @property
    def finding(self) -> str:
        """Which design is faster, or why none is said to be."""
        return f"{self.faster} faster" if self.faster else self.verdict

    @property
    def doubts(self) -> list[str]:
        """Why it has its marks, a sentence each."""
        control = f"{self.control_low:.3f} to {self.control_high:.3f}"
        reasons = {
            "biased": f"biased: the control's interval {control} excludes 1",
            "unsteady": f"unsteady: {self.trend}",
        }
        return [reason for mark, reason in reasons.items() if mark in self.marks]

    @property
    def as_ratio(self) -> Ratio:
        """What of it a verdict stands on."""
        return Ratio(self.ratio, self.low, self.high, self.level, self.p_value, self.n_processes)


SUMMARY_COLUMNS = (*CELL_COLUMNS, *(field.name for field in fields(Pair)))


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
    Intervals are not widened for the number of rows; verdicts are those of the whole table. Who shows a part
    of it asks `with_verdicts` for those of that part.
    """
    rows = [
        [*cell.values(), *astuple(pair)]
        for cell, rounds in rounds_of_cells(frame, CELL_COLUMNS)
        for pair in _pairs(cell, rounds)
    ]
    table = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
    table.attrs["note"] = f"{host_note(frame)}; {COVERS}"
    return with_verdicts(table)


def with_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Judge the rows of a table among each other.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a `summary`, all that are shown together.

    Returns
    -------
    pandas.DataFrame
        The same with verdict, faster and reason of this table: what excludes 1 has to stay so under
        Benjamini and Hochberg's procedure over these rows.
    """
    pairs = list(pairs_of(table))
    said = judge([pair.as_ratio for pair in pairs])
    judged = zip(pairs, said, strict=True)
    faster = [_faster(pair) if one.verdict == "resolved" else "" for pair, one in judged]
    reasons = ["; ".join([one.reason, *pair.doubts]) for pair, one in zip(pairs, said, strict=True)]
    return table.assign(verdict=[one.verdict for one in said], faster=faster, reason=reasons)


def _faster(pair: Pair) -> str:
    return pair.reference if pair.ratio > 1 else pair.design


def _pairs(cell: dict[str, Any], rounds: CellRounds) -> Iterator[Pair]:
    names = rounds.designs
    if len(names) < 2:
        return
    references = references_of(cell["family"], names)
    costs = {name: rounds.cost(name) for name in names}
    control = rounds.control()
    trends = {name: rounds.trend(name) for name in names}
    for name, reference in references.items():
        ratio = rounds.ratio(name, reference)
        if ratio is None:
            continue  # rows of a frame may be picked so that no round has both
        trend = ", ".join(filter(None, (trends[name], trends[reference])))
        yield Pair(
            stream_label=stream_label(*(cell[name] for name in OF_STREAM)),
            design=name,
            reference=reference,
            cost_ns=costs[name],
            reference_ns=costs[reference],
            ratio=ratio.estimate,
            low=ratio.low,
            high=ratio.high,
            level=ratio.level,
            p_value=ratio.p_value,
            sign_low=ratio.sign_low,
            sign_high=ratio.sign_high,
            sign_level=ratio.sign_level,
            control_low=control.low if control else nan,
            control_high=control.high if control else nan,
            n_processes=ratio.n_processes,
            trend=trend,
            marks=marks_of(control, trend),
        )


def pairs_of(table: pd.DataFrame) -> Iterator[Pair]:
    """Rows of a summary, or of a part of one, as what they say of the two designs."""
    names = [field.name for field in fields(Pair)]
    return (Pair(*row) for row in table[names].itertuples(index=False, name=None))


def between(table: pd.DataFrame, design: str, reference: str) -> pd.DataFrame:
    """Rows of a table that compare one design with another.

    Parameters
    ----------
    table : pandas.DataFrame
        Comparisons, those of a `summary` or others.
    design, reference : str
        The two, in this order.
    """
    return table[(table["design"] == design) & (table["reference"] == reference)]


def costs_of_two(pairs: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """Lay comparisons of two designs out, each called by a word.

    Parameters
    ----------
    pairs : pandas.DataFrame
        Rows of a `summary`, at least one, all `between` the same two and judged among each other.
    words : mapping of str to str
        What either design is called; costs stand in this order.

    Returns
    -------
    pandas.DataFrame
        A row a comparison: ``guest``, ``backing``, the cost of either as its word with ``_ns`` behind [ns],
        ``ratio`` of the design over its reference with its interval ``low`` to ``high``, ``verdict``,
        ``faster`` (a word, or ""), and ``marks``.
    """
    design, reference = pairs[["design", "reference"]].iloc[0]
    costs = {design: pairs["cost_ns"], reference: pairs["reference_ns"]}
    return pd.DataFrame(
        {
            "guest": pairs["guest"],
            "backing": pairs["backing"],
            **{f"{word}_ns": costs[name] for name, word in words.items()},
            **{name: pairs[name] for name in ("ratio", "low", "high", "verdict")},
            "faster": pairs["faster"].map({**words, "": ""}),
            "marks": pairs["marks"],
        }
    )


def references_of(family: str, names: Sequence[str]) -> dict[str, str]:
    """Name the design that each of a cell is compared to.

    Parameters
    ----------
    family : str
        Theirs.
    names : sequence of str
        Designs that were measured in the cell.

    Returns
    -------
    dict of str to str
        For each but one: what it is declared to be compared to; where that is none of them, the family's
        reference; and where that is none of them either, or no family of that name is known here, as in
        results of somebody else's, the first by name of those that are compared to none of the others.

    Examples
    --------
    >>> references_of("hap", ["hap-walk", "hap-linear", "hap-walk-4k", "hap-linear-4k"])
    {'hap-linear': 'hap-walk', 'hap-walk-4k': 'hap-walk', 'hap-linear-4k': 'hap-walk-4k'}
    >>> references_of("hap", ["hap-linear-4k", "hap-walk-4k"])
    {'hap-linear-4k': 'hap-walk-4k'}
    """
    known = families().get(family)
    declared = {spec.name: spec.reference for spec in known.designs} if known else {}
    own = {name: declared[name] for name in names if declared.get(name) in names}
    usual = known.reference if known and known.reference in names else min(set(names) - set(own))
    return {name: own.get(name, usual) for name in names if name != usual}


def short_name(design: str, family: str) -> str:
    """Shorten a design's name where its family is known anyway.

    Examples
    --------
    >>> short_name("pv-linear-nested", "pv"), short_name("mine", "pv")
    ('linear-nested', 'mine')
    """
    return design.removeprefix(f"{family}-")


def intervals_of(table: pd.DataFrame) -> str:
    """Name the intervals of a table by what they cover, from the least to the most.

    Examples
    --------
    >>> [intervals_of(pd.DataFrame({"level": levels})) for levels in ([0.96875, 0.875, 0.0], [0.0])]
    ['87.5 to 96.9 % interval', 'no interval']
    """
    levels = sorted({f"{100 * level:.1f}" for level in table["level"] if level}, key=float)
    return " to ".join(dict.fromkeys([levels[0], levels[-1]])) + " % interval" if levels else "no interval"
