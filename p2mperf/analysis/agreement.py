"""Whether several machines, or several boots of one, say the same of two designs.

An interval of a summary covers the processes of one boot. What changes from boot to boot, and from machine
to machine, it does not cover: two boots may differ by more than either interval is wide. So a machine, and a
boot of it, are levels: their ratios stand beside each other, and a verdict over all needs all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, nan
from statistics import median
from typing import TYPE_CHECKING, Literal

from p2mperf.analysis.statistics import ratio_interval
from p2mperf.results.samples import as_samples
from p2mperf.units import flag

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["agree", "oppose", "differ", "open", "one"]
# Ratios that are further apart are not one result, whatever their verdicts.
APART = 0.05
# With fewer observations no interval of 95 % over machines or boots is exact.
N_FOR_INTERVAL = 6
_PLACE = ["machine", "boot"]
# Where it is not known in which boot a run was measured, the run stands for it.
_UNKNOWN = "of run "


@dataclass(frozen=True)
class Place:
    """What one boot of one machine says of two designs.

    Attributes
    ----------
    machine, boot : str
        Their keys; for processes that do not know their boot, the run that they are of.
    ratio, low, high : float
        Cost of one design over the other, with its interval over processes.
    verdict, faster : str
        As a summary has them: of the two, the faster one where that is resolved.
    marks : str
        What makes its ratio doubtful, as a summary has it.
    """

    machine: str
    boot: str
    ratio: float
    low: float
    high: float
    verdict: str
    faster: str
    marks: str = ""


@dataclass(frozen=True)
class Agreement:
    """What several boots or machines say together.

    Attributes
    ----------
    n_machines, n_boots : int
        How many there are; boots of all machines together.
    ratio, low, high : float
        Median ratio, and its interval over `level`; nan ends where these are fewer than six.
    level : str
        What is one observation of that interval: machines, or boots where there is one machine.
    lowest, highest : float
        Of the ratios of all boots.
    agreement : str
        ``oppose``: one is faster here and the other there; ``differ``: else, where ratios are more than 5 %
        apart; ``agree``: else, where all have one verdict that says something; ``open``: some do not decide;
        ``one``: there is one boot of one machine.
    verdict : str
        ``resolved`` or ``equivalent`` where every boot of every machine says so, in one direction.
    faster : str
        The faster design, where that is resolved everywhere.
    in_words : str
        All of it in a sentence.
    """

    n_machines: int
    n_boots: int
    ratio: float
    low: float
    high: float
    level: str
    lowest: float
    highest: float
    agreement: Kind
    verdict: str
    faster: str
    in_words: str


def agreement(frame: pd.DataFrame, force: bool = False) -> pd.DataFrame:
    """Say for each cell whether machines, and boots of them, agree on the faster design, and by how much.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples of several machines or boots, as `p2mperf.load` gives them for several results.
    force : bool
        Put cells side by side too that different code measured. What they differ by may then be the code's.

    Returns
    -------
    pandas.DataFrame
        One row a cell and design beside its reference: the cell and, without `force`, the code that measured
        it, stream_label,
        design, reference, what `Agreement` says, and ratios: those of all places, in words.
        ``attrs["places"]`` has the (machine, boot) that their numbers stand for.

    Raises
    ------
    BadInputError
        For what is no samples.

    Notes
    -----
    Only equal cells are put side by side, and of equal code unless forced. What each place says with all its
    digits is in `p2mperf.summary` of the same frame.
    """
    import pandas as pd

    from p2mperf.analysis.summary import CELL_COLUMNS, summary

    levels = [*_PLACE, "code"] if flag(force, "force") else _PLACE
    frame = as_samples(frame)
    boots = frame["boot"].where(frame["boot"] != "", _UNKNOWN + frame["run"])
    table = summary(frame.assign(boot=boots))
    key = [name for name in CELL_COLUMNS if name not in levels] + ["stream_label", "design", "reference"]
    shown = ["ratio", "low", "high", "verdict", "faster", "marks"]
    places = list(table[_PLACE].drop_duplicates().itertuples(index=False, name=None))
    rows = []
    for cell, group in table.groupby(key, sort=False):
        said = [Place(*row) for row in group[_PLACE + shown].itertuples(index=False, name=None)]
        ratios = "; ".join(f"{1 + places.index((one.machine, one.boot))}: {_interval(one)}" for one in said)
        rows.append([*cell, *vars(over_places(said)).values(), ratios])
    result = pd.DataFrame(rows, columns=[*key, *Agreement.__dataclass_fields__, "ratios"])
    result.attrs = {"places": places}
    return result


def over_places(places: Sequence[Place]) -> Agreement:
    """Say what several boots or machines say together of two designs.

    Parameters
    ----------
    places : sequence of Place
        One for each boot of each machine, at least one.

    Returns
    -------
    Agreement

    Examples
    --------
    >>> here = Place("intel", "b1", 1.10, 1.05, 1.15, "resolved", "list")
    >>> there = Place("amd", "b2", 0.90, 0.85, 0.95, "resolved", "tree")
    >>> over_places([here, there]).in_words
    'verdicts oppose on 2 machines: list faster on 1, tree faster on 1; ratios 0.900 to 1.100'
    """
    machines = {
        one.machine: [log(place.ratio) for place in places if place.machine == one.machine] for one in places
    }
    level = "machines" if len(machines) > 1 else "boots"
    logs = list(map(median, machines.values())) if len(machines) > 1 else [log(one.ratio) for one in places]
    low, high = nan, nan
    if len(logs) >= N_FOR_INTERVAL:
        over = ratio_interval(logs)
        low, high = over.low, over.high
    lowest, highest = (end(one.ratio for one in places) for end in (min, max))
    verdict, faster = _common(places)
    kind = _kind(places, highest / lowest - 1, verdict)
    if kind == "differ" and verdict == "equivalent":
        verdict = "not resolved"
    return Agreement(
        n_machines=len(machines),
        n_boots=len(places),
        ratio=exp(median(logs)),
        low=low,
        high=high,
        level=level,
        lowest=lowest,
        highest=highest,
        agreement=kind,
        verdict=verdict,
        faster=faster,
        in_words=_in_words(kind, places, len(machines), faster),
    )


def _common(places: Sequence[Place]) -> tuple[str, str]:
    """Verdict that all have, and the design that is faster by it."""
    verdicts, faster = {one.verdict for one in places}, {one.faster for one in places}
    if len(verdicts) == len(faster) == 1 and verdicts <= {"resolved", "equivalent"}:
        return verdicts.pop(), faster.pop()
    return "not resolved", ""


def _kind(places: Sequence[Place], apart: float, verdict: str) -> Kind:
    if len(places) == 1:
        return "one"
    if len({one.faster for one in places if one.faster}) > 1:
        return "oppose"
    if apart > APART:
        return "differ"
    return "open" if verdict == "not resolved" else "agree"


def _in_words(kind: Kind, places: Sequence[Place], n_machines: int, faster: str) -> str:
    boots = f"{len(places)} {'runs' if any(one.boot.startswith(_UNKNOWN) for one in places) else 'boots'}"
    machines = f"{n_machines} machines"
    where = boots if n_machines == 1 else machines if n_machines == len(places) else f"{boots} of {machines}"
    counts = {one.faster: sum(other.faster == one.faster for other in places) for one in places if one.faster}
    said = ", ".join(f"{name} faster on {count}" for name, count in sorted(counts.items()))
    lowest, highest = min(one.ratio for one in places), max(one.ratio for one in places)
    ratios = f"ratios {lowest:.3f} to {highest:.3f}"
    if kind == "one":
        return "measured in one boot of one machine"
    if kind == "oppose":
        return f"verdicts oppose on {where}: {said}; {ratios}"
    if kind == "agree":
        return f"{f'{faster} faster' if faster else 'equivalent'} on all of {where}; {ratios}"
    undecided = len(places) - sum(counts.values())
    verdicts = ", ".join(filter(None, (said, f"no faster one on {undecided}" if undecided else "")))
    if kind == "open":
        return f"not decided on all of {where}: {verdicts}; {ratios}"
    # Intervals that do not meet are further apart than processes explain; those that do may still be of two.
    beyond = max(one.low for one in places) > min(one.high for one in places)
    how = "more than their intervals explain" if beyond else "within their intervals"
    return f"ratios differ by {100 * (highest / lowest - 1):.1f} % on {where}, {how}: {verdicts}; {ratios}"


def _interval(one: Place) -> str:
    interval = f" [{one.low:.3f}, {one.high:.3f}]" if one.low > 0 else ""
    return f"{one.ratio:.3f}{interval}" + f" ({one.marks})" * bool(one.marks)
