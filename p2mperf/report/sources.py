"""Whose numbers a report shows: named results, those in ./results, or what ships with p2mperf; in parts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from p2mperf.analysis.samples import measured, runs_of
from p2mperf.api import load
from p2mperf.errors import BadInputError, DamagedResultsWarning
from p2mperf.host.card import card_key, machine_card
from p2mperf.results.export import has_results
from p2mperf.results.frame import RunRecords, joined, machine_cards
from p2mperf.shipped import SWEEPS

OWN = Path("results")
_LEVELS = ["machine", "boot", "code"]
_SHIPPED_TITLES = {
    "shipped": "The default sweep",
    "shipped-backings": "The sweep over page sizes",
    "shipped-life": "The sweep over a p2m's life",
    "shipped-hap": "The sweep over leaf sizes of HAP",
    "shipped-zen4": "The default sweep on a Zen 4",
    "shipped-zen3": "The default sweep on a Zen 3",
}


@dataclass(frozen=True)
class Part:
    """What one machine measured in one boot with one version of the code.

    Attributes
    ----------
    title : str
        Which results these are.
    source : str
        The shipped sweep that it is of; "" for results of the reader's choice.
    frame : pandas.DataFrame
        Its samples.
    """

    title: str
    source: str
    frame: pd.DataFrame


@dataclass(frozen=True)
class Numbers:
    """What a report shows.

    Attributes
    ----------
    whose : str
        Whose numbers they are, in a sentence or two.
    names : tuple of str
        What was loaded, as `p2mperf.load` takes it; none where it is all that ships with p2mperf.
    frame : pandas.DataFrame
        All samples.
    parts : tuple of Part
        The same, each for itself; at least one.
    passed_over : tuple of str
        Files that could not be read, a sentence each.
    """

    whose: str
    names: tuple[str, ...]
    frame: pd.DataFrame
    parts: tuple[Part, ...]
    passed_over: tuple[str, ...] = ()


def numbers(results: Sequence[str] = ()) -> Numbers:
    """Load what is to be reported.

    Parameters
    ----------
    results : sequence of str
        Directories, journals, .parquet files or shipped sweeps. Without any: ./results where it has a
        measured cell, else all that ships with p2mperf.

    Returns
    -------
    Numbers

    Raises
    ------
    ResultsError
        When there is nothing to load.
    BadInputError
        When nothing of it was measured.
    """
    names = tuple(results) or ((str(OWN),) if has_results(OWN) else ())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DamagedResultsWarning)
        if names:
            loaded = {"": load(list(names))}
        else:
            loaded = {name: load(name) for name in SWEEPS}
    passed_over = tuple(dict.fromkeys(str(one.message) for one in caught))
    parts = tuple(part for source, frame in loaded.items() for part in _parts(source, frame))
    if not parts:
        raise BadInputError(
            "nothing of these results was measured: there is nothing to report; `python -m p2mperf sweep` "
            "measures"
        )
    frame = joined(list(loaded.values()))
    return Numbers(_whose(names, frame), names, frame, parts, passed_over)


def _whose(names: tuple[str, ...], frame: pd.DataFrame) -> str:
    here = card_key(machine_card()) in set(frame["machine"])
    machines = "this machine" if here else "another machine than this one"
    if here and len(set(frame["machine"])) > 1:
        machines = "this machine and others"
    if not names or set(names) <= set(SWEEPS):
        return (
            f"These numbers ship with p2mperf and were measured on {machines}. For your own run "
            "`python -m p2mperf sweep` and then `python -m p2mperf report`."
        )
    named = ", ".join(f"`{name}`" for name in names)
    return f"These numbers were read from {named}, and measured on {machines}."


def _parts(source: str, frame: pd.DataFrame) -> Iterator[Part]:
    """What one machine measured in one boot with one code; what it skipped goes with each of its boots."""
    cards, done = machine_cards(frame), frame.index.isin(measured(frame).index)
    places = list(measured(frame)[_LEVELS].drop_duplicates().itertuples(index=False, name=None))
    for machine, boot, code in places:
        there = (frame["machine"] == machine) & (frame["code"] == code) & ((frame["boot"] == boot) | ~done)
        part = frame[there].reset_index(drop=True)
        part.attrs = {"runs": RunRecords(runs_of(part))}
        processor = cards.get(machine, {}).get("cpu_model") or "an unnamed processor"
        title = f"Machine {machine}, {processor}, boot {boot or 'unknown'}, code {code}"
        if source:
            title = _SHIPPED_TITLES.get(source, source) + f": {title}" * (len(places) > 1)
        yield Part(title, source, part)
