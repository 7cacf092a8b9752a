"""Where and when results were measured, and what makes them less than they could be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from p2mperf.analysis.card import card
from p2mperf.analysis.samples import measured, of_designs, runs_of, unrest_of
from p2mperf.analysis.words import sentence
from p2mperf.errors import cut
from p2mperf.families import families
from p2mperf.host.card import caveats
from p2mperf.host.watch import Snapshot, unrest
from p2mperf.report.content import Warned
from p2mperf.results.fields import CELL_AXES
from p2mperf.units import readable_size

_NOT_MEASURED = {
    "skipped_memory": "did not fit into memory",
    "skipped_maps": "needed more mappings than a process may have",
    "failed": "failed",
}
# In the machine card, a row of what warnings say here.
_CAVEAT = "to know"
_LONGEST_REASON = 300


def facts(frame: pd.DataFrame) -> dict[str, str]:
    """Say where, when and how the samples of one machine were measured.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples of one machine, as `p2mperf.load` gives them.

    Returns
    -------
    dict of str to str
        What is asked, and the answer, both in words: the machine card of the newest run, and what all runs
        have come to.
    """
    rows = card(frame).itertuples(index=False, name=None)
    found = {str(what): str(value) for what, value in rows if what != _CAVEAT}
    runs = runs_of(frame)
    if runs and (end := Snapshot.from_json((runs[-1].get("watched") or {}).get("end"))).load_average:
        found["load at the end"] = f"{end.load_average[0]:.2f}"
    return {
        **found,
        "cells": _cells(frame),
        "timed passes": _passes(frame),
        "machine and boot": _places(frame),
    }


def warnings_on(frame: pd.DataFrame) -> Iterator[Warned]:
    """Say what to keep in mind about samples of one machine.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples of one machine, as `p2mperf.load` gives them.

    Yields
    ------
    Warned
        What spoilt the timings and what to do, as the machine's card and the watch tell it; then what is not
        there.
    """
    yield from (Warned(sentence(one.seen), f"{one.matters}; {one.advice}") for one in unrest_of(frame))
    found: dict[str, None] = {}
    for run in runs_of(frame):
        machine = run["machine"]
        of_the_moment = set(map(str, unrest(Snapshot.from_json(machine))))  # said above, for the whole run
        told = caveats(machine) if "environment" in machine else ()  # what was made by hand is no whole card
        found.update(dict.fromkeys(one.rstrip(".") for one in told if one not in of_the_moment))
        found.update(dict.fromkeys(f"{sentence(one)}: left out" for one in run.get("left_out") or ()))
    yield from map(Warned, (*found, *_missing_cells(frame)))


def layout_of(family: str) -> str:
    """Say on which pages a family's system has its tables, and who says so; "" where that is not known."""
    known = families().get(family)
    if known is None or not known.kernel_layout.source:
        return ""
    layout = known.kernel_layout
    tables, windows = map(readable_size, (layout.direct_bytes, layout.window_bytes))
    pages = f"tables on pages of {tables}, windows on pages of {windows}"
    return f"The page backing called kernel has {pages}. {layout.source}."


def _missing_cells(frame: pd.DataFrame) -> Iterator[str]:
    for run in runs_of(frame):
        of_run = frame[frame["run"] == run["run"]]
        if (n_there := len(_cells_of(of_run))) < run["n_cells"]:
            has = f"Run {run['run']} has {n_there} of its {run['n_cells']} cells"
            yield f"{has}: the same sweep goes on with it"
    lacking = frame[~frame.index.isin(measured(frame).index)]
    for status, part in lacking.groupby("status", sort=False):
        guests = ", ".join(dict.fromkeys(part["guest"]))
        n_cells = len(part)
        how = _NOT_MEASURED.get(str(status), str(status))
        why = cut("; ".join(dict.fromkeys(filter(None, part["error"]))), _LONGEST_REASON)
        yield f"{n_cells} cell{'s' * (n_cells != 1)} of {guests} {how}" + f": {why}" * bool(why)


def _cells(frame: pd.DataFrame) -> str:
    cells = _cells_of(frame)
    counts = Counter("measured" if status == "done" else "not measured" for status in cells["status"])
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def _cells_of(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each cell of each process."""
    return frame.drop_duplicates([*CELL_AXES, "run", "replicate"])


def _passes(frame: pd.DataFrame) -> str:
    done = measured(frame)
    causes = Counter(cause for cause in done["flagged"].fillna("") if cause)
    flagged = ", ".join(f"{count} {cause}" for cause, count in causes.most_common())
    n_designs = of_designs(done)["design"].nunique()
    return f"{len(done)} of {n_designs} designs; flagged as outliers, and kept: {flagged or 'none'}"


def _places(frame: pd.DataFrame) -> str:
    places = measured(frame)[["machine", "boot"]].drop_duplicates().itertuples(index=False, name=None)
    return "; ".join(f"{machine}, {boot or 'boot unknown'}" for machine, boot in places)
