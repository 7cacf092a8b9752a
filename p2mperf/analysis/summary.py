"""The designs of each cell against the reference of their family, paired, with intervals and a verdict.

What report, README, figures and notebooks say of two designs comes from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from p2mperf.analysis.samples import host_note, measured, stream_label
from p2mperf.analysis.statistics import Ratio, process_ratio, ratio_interval, verdict
from p2mperf.families import families
from p2mperf.results.fields import CONTROL

CELL = [
    "family",
    "machine",
    "code",
    "guest",
    "geometry",
    "entry_bits",
    "guest_bytes",
    "backing",
    "limit_bytes",
    "stream",
    "hole_fraction",
    "identity_fraction",
    "operation",
]
COLUMNS = [
    *CELL,
    "stream_label",
    "design",
    "reference",
    "cost_ns",
    "reference_ns",
    "ratio",
    "low",
    "high",
    "hodges_lehmann",
    "control_low",
    "control_high",
    "n_processes",
    "method",
    "verdict",
    "faster",
]
_PROCESS = ["run", "replicate"]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare designs cell by cell.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    pandas.DataFrame
        One row a cell and design beside the reference: ``cost_ns`` and ``reference_ns`` (medians over
        processes of the process median), ``ratio``, ``low``, ``high`` (of cost over reference, interval
        over processes), ``control_low``, ``control_high`` (one of them against itself; NaN without
        control), ``n_processes``, ``method``, ``verdict`` and ``faster``.

    Notes
    -----
    Each interval stands for itself: it is not widened for the number of cells in the table.
    """
    groups = measured(frame).groupby(CELL, sort=False)
    rows = [row for key, cell in groups for row in _rows(dict(zip(CELL, key, strict=True)), cell)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.attrs["note"] = host_note(frame)
    return table


def _rows(facts: dict[str, Any], cell: pd.DataFrame) -> list[dict[str, Any]]:
    wide = cell.pivot_table(index=[*_PROCESS, "round"], columns="design", values="cost_ns", aggfunc="first")
    names = [name for name in wide.columns if not name.startswith(CONTROL)]
    reference = reference_of(facts["family"], names)
    if reference not in names:
        return []
    control = _control(wide)
    costs = wide.groupby(level=_PROCESS).median().median()
    label = stream_label(facts["stream"], facts["hole_fraction"], facts["identity_fraction"])
    rows = []
    for name in names:
        if name == reference:
            continue
        ratio = _ratio(wide, name, reference)
        said = verdict(ratio, control=control)
        rows.append(
            {
                **facts,
                "stream_label": label,
                "design": name,
                "reference": reference,
                "cost_ns": costs[name],
                "reference_ns": costs[reference],
                "ratio": ratio.estimate,
                "low": ratio.low,
                "high": ratio.high,
                "hodges_lehmann": ratio.hodges_lehmann,
                "control_low": control.low if control else float("nan"),
                "control_high": control.high if control else float("nan"),
                "n_processes": ratio.n_processes,
                "method": ratio.method,
                "verdict": said,
                "faster": (reference if ratio.estimate > 1 else name) if said == "resolved" else "",
            }
        )
    return rows


def reference_of(family: str, names: Sequence[str]) -> str:
    """Name the design that the others of a family are compared to.

    Parameters
    ----------
    family : str
        Its name.
    names : sequence of str
        Designs that were measured, in alphabetical order: of a family that is not known here, as in results
        of somebody else's, the first of them.
    """
    known = families()
    return known[family].reference if family in known else names[0]


def short_name(design: str, family: str) -> str:
    """Shorten a design's name where its family is known anyway.

    Examples
    --------
    >>> short_name("pv-linear-nested", "pv"), short_name("mine", "pv")
    ('linear-nested', 'mine')
    """
    return design.removeprefix(f"{family}-")


def _ratio(wide: pd.DataFrame, above: str, below: str) -> Ratio:
    pairs = wide[[above, below]].dropna().groupby(level=_PROCESS)
    return ratio_interval([process_ratio(process[above], process[below]) for _, process in pairs])


def _control(wide: pd.DataFrame) -> Ratio | None:
    for name in wide.columns:
        if name.startswith(CONTROL) and name.removeprefix(CONTROL) in wide.columns:
            return _ratio(wide, name, name.removeprefix(CONTROL))
    return None
