"""What a benchmark hands back, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from p2mperf.analysis.statistics import Ratio


@dataclass(frozen=True)
class Criterion:
    """One promise, and whether it was kept.

    Attributes
    ----------
    name : str
        What was promised, with its bound.
    found : str
        What was measured.
    holds : bool
        Whether the promise was kept.
    """

    name: str
    found: str
    holds: bool

    @classmethod
    def as_fast(cls, what: str, ratio: Ratio, bound: float) -> Criterion:
        """Promise that numba takes at most so much longer than gcc, by the lower end of its interval."""
        found = f"{ratio.estimate:.3f} {interval_text(ratio)}"
        return cls(f"{what}: lower end of numba/gcc <= {bound}", found, ratio.low <= bound)


@dataclass(frozen=True)
class Report:
    """Outcome of one benchmark.

    Attributes
    ----------
    title : str
        What was measured.
    columns : sequence of str
        Heads of the table, with units.
    rows : list of list of str
        Cells of the table.
    notes : list of str
        How it was measured.
    criteria : list of Criterion
        What was promised.
    """

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    criteria: list[Criterion] = field(default_factory=list)

    def text(self) -> str:
        """Write the report for a person: title, notes, table, criteria."""
        verdicts = [f"  {_MARK[c.holds]}  {c.name}: {c.found}" for c in self.criteria]
        return "\n".join([f"== {self.title}", *self.notes, "", *self._table(), "", *verdicts, ""])

    def plain(self) -> dict[str, Any]:
        """Give the report as plain data."""
        return asdict(self)

    def _table(self) -> list[str]:
        lines = [list(self.columns), *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return ["  ".join(map(str.rjust, line, widths)) for line in lines]


_MARK = {True: "holds ", False: "MISSED"}


def milliseconds(nanoseconds: float) -> str:
    """Write a time in ms with one decimal."""
    return f"{nanoseconds / 1e6:.1f}"


def mebibytes(n_bytes: float) -> str:
    """Write a size in MiB with one decimal."""
    return f"{n_bytes / 2**20:.1f}"


def interval_text(ratio: Ratio) -> str:
    """Write a ratio's interval."""
    return f"[{ratio.low:.3f}, {ratio.high:.3f}]"
