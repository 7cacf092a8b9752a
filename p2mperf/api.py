"""What a notebook calls; thin, and imported only when used."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from p2mperf.building import build
from p2mperf.errors import BadInputError, shown
from p2mperf.populating.populate import populate
from p2mperf.progress import Bar, Progress
from p2mperf.shipped import SWEEPS, shipped
from p2mperf.sizing import limits
from p2mperf.units import PAGE_SHIFT, flag

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from p2mperf.designs.base import Design
    from p2mperf.designs.pv.scenarios import P2m
    from p2mperf.guests.guest import Guest
    from p2mperf.study.executors.base import Executor

# Frames, entries before and after, and flags, of every frame up to the limit, at the worst.
_SCENARIO_BYTES = 48

__all__ = [
    "build",
    "figure",
    "life",
    "limits",
    "load",
    "populate",
    "summary",
    "sweep",
    "table",
]


def life(guest: Guest | str, scenario: str, design: str, limit: str | int = "16G") -> pd.DataFrame:
    """Let something happen to a guest: ballooning, save and restore, or passthrough, audited step by step.

    Parameters
    ----------
    guest : Guest or str
        A PV guest, or its name, as `build` takes it.
    scenario : str
        "balloon", "save-restore" or "passthrough".
    design : str
        "pv-tree" or "pv-linear".
    limit : str or int
        Memory that may be hot-plugged up to; it must leave room above the guest's map [bytes].

    Returns
    -------
    pandas.DataFrame
        One row a step; columns guest, scenario, design, and those of `p2mperf.designs.pv.scenarios.Step`.

    Raises
    ------
    BadInputError
        For names that are none, and a guest or limit that is too small for the scenario.
    DoesNotFitError
        When memory does not suffice for the tables and what is kept of all their entries.
    AuditError
        When a step breaks an invariant.

    Examples
    --------
    >>> life("domu-64-2049m", "save-restore", "pv-tree")["done"].tolist()
    [True, True, False, True, True]
    """
    import pandas as pd

    from p2mperf.designs import find
    from p2mperf.designs.pv.scenarios import check, run_scenario
    from p2mperf.guests.guest import Guest, require_guest

    kind = find(design)
    check(scenario, kind)
    guest = Guest.named(guest) if isinstance(guest, str) else guest
    require_guest(guest)
    _require_life(kind, guest, scenario, limit)
    # `check` has seen that scenarios can happen to it
    with cast("P2m", build(design, guest, limit=limit)) as p2m:
        names = {"guest": p2m.guest.name, "scenario": scenario, "design": design}
        return pd.DataFrame([{**names, **step._asdict()} for step in run_scenario(scenario, p2m)])


def _require_life(kind: type[Design], guest: Guest, scenario: str, limit: str | int) -> None:
    """Refuse a limit that there cannot be, and what memory does not hold, before anything is built."""
    from p2mperf.designs.pv.area import area_entries
    from p2mperf.families import find_family
    from p2mperf.host.memory import require_memory
    from p2mperf.study.narrow import parse_limit

    limit_pages = parse_limit(limit) >> PAGE_SHIFT
    if guest.geometry.name in find_family(kind.family).geometries:  # the design says better what is wrong
        reach = guest.geometry.hotplug_reach_bytes >> PAGE_SHIFT
        n_entries = area_entries(guest, min(limit_pages, reach))
        require_memory(n_entries * _SCENARIO_BYTES, f"{scenario} of {guest.name}")


def sweep(
    plan: str = "quick",
    *,
    sizes: Sequence[str] = (),
    guests: Sequence[str] = (),
    designs: Sequence[str] = (),
    streams: Sequence[str] = (),
    operations: Sequence[str] = (),
    entry_bits: int | None = None,
    geometries: Sequence[str] = (),
    backings: Sequence[str] = (),
    n_replicates: int | None = None,
    control: bool | None = None,
    limit: str | int | None = None,
    preambles: Sequence[str] = (),
    out: str | Path | None = None,
    fresh: bool = False,
    quiet: bool = False,
    executor: Executor | None = None,
) -> pd.DataFrame:
    """Measure a plan, or what is left of it, and return its samples.

    Parameters
    ----------
    plan : str
        "quick", "default", "full", "life" or "hap".
    sizes, guests, designs, streams, operations, backings : sequence of str
        Replace the plan's own; a size gives a guest with nothing but RAM. A backing on whose pages a family's
        kernel has its tables, as "small" of PV, is measured once and called "kernel".
    entry_bits : int, optional
        Only guests of this width.
    geometries : sequence of str
        Only guests of these geometries; a size is of the first of its width in a family unless they say so.
    n_replicates : int, optional
        Fresh processes for each point.
    control : bool, optional
        Time the first design of each cell against itself too, which shows the noise; default: as the plan
        says, which the quick one alone does not.
    limit : str, optional
        Memory that may be hot-plugged later, as "512G": PV tables have room for it.
    preambles : sequence of str
        What comes before entries, by name; default: what the plan has, or all where entries are asked for.
    out : str or Path, optional
        Results directory, which makes the run resumable. Default: a temporary one that is deleted.
    fresh : bool
        Begin anew instead of resuming.
    quiet : bool
        No progress on stderr.
    executor : p2mperf.study.executors.base.Executor, optional
        Where units run; default: here, a process each.

    Returns
    -------
    pandas.DataFrame
        One row a timed pass; columns as in `p2mperf.results.fields.COLUMNS`.

    Raises
    ------
    BadInputError
        For names and sizes that are none, and for what is no executor.
    ResultsError
        When `out` cannot be used.
    NothingFitsError
        When nothing fits this machine.
    """
    from p2mperf.results.export import load as load_frame
    from p2mperf.results.files import as_path
    from p2mperf.study.executors.base import Executor
    from p2mperf.study.knees import measured_knees
    from p2mperf.study.narrow import narrow
    from p2mperf.study.plans import make_plan, wants_knees
    from p2mperf.study.sweep import sweep as run

    if executor is not None and not isinstance(executor, Executor):
        raise BadInputError(f"units run on an Executor, which {shown(executor)} is not")
    fresh, quiet = flag(fresh, "fresh"), flag(quiet, "quiet")
    with tempfile.TemporaryDirectory() as temporary:
        is_kept = out is not None and not (isinstance(out, str) and not out)
        directory = as_path(out) if is_kept else Path(temporary, "results")
        knees = measured_knees(directory, executor) if wants_knees(plan) else None
        grid = narrow(
            make_plan(plan, knees.sizes_bytes if knees else ()),
            guests=guests,
            sizes=sizes,
            entry_bits=entry_bits,
            geometries=geometries,
            designs=designs,
            streams=streams,
            operations=operations,
            backings=backings,
            n_replicates=n_replicates,
            control=control,
            limit=limit,
            preambles=preambles,
        )
        progress = Progress() if quiet else Bar().progress
        return load_frame(run(grid, directory, fresh, progress, knees, executor))


def load(source: str | Path | Sequence[str | Path] = "results", run: str = "latest") -> pd.DataFrame:
    """Load samples.

    Parameters
    ----------
    source : str, Path, or sequence of them
        A results directory, a journal, an exported .parquet file, or one of the sweeps that come with
        p2mperf: "shipped" (the default plan), "shipped-zen4" and "shipped-zen3" (the same on two other
        machines), "shipped-backings", "shipped-life" or "shipped-hap". Or several of these, of one machine or
        of many, as a list.
    run : str
        "latest", "all", or a run id, where `source` is a directory.

    Returns
    -------
    pandas.DataFrame
        One row a timed pass; columns as in `p2mperf.results.fields.COLUMNS`.

    Raises
    ------
    ResultsError
        When there is nothing to load, it is not ours, or two of several hold the same run.

    Examples
    --------
    >>> sorted(load("shipped")["family"].unique())[-1]
    'pv'
    >>> load(["shipped", "shipped-zen3"])["machine"].nunique()
    2
    """
    from p2mperf.results.export import load as load_frame

    if isinstance(source, list | tuple):
        return load_frame([_located(each) for each in source], run)
    return load_frame(_located(cast("str | Path", source)), run)


def _located(source: str | Path) -> str | Path:
    return shipped(source) if isinstance(source, str) and source in SWEEPS else source


def figure(name: str, frame: object = None, family: str | None = None) -> Figure:
    """Draw a figure.

    Parameters
    ----------
    name : str
        "map", "ratio", "cost", "footprint", "life", "limit-area" ...; an unknown name lists all.
    frame : pandas.DataFrame, Recording, sequence of Recording, Replays or KernelBuild; optional
        Samples, or for figures of a kernel build what the figure is about; default: what is shipped, where
        the figure needs any.
    family : str, optional
        Whose designs to show, where a figure compares those of one family; default: the first family that
        the samples have something to show of.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    BadInputError
        For an unknown name or family, for what is no samples, and when there is nothing to draw.
    """
    from p2mperf.figures import figure as draw, find

    spec = find(name)
    if frame is None and spec.measured:
        frame = load(spec.shipped)
    return draw(name, frame, family)


def table(name: str, frame: object = None, family: str | None = None) -> pd.DataFrame:
    """Make the table that a figure is drawn from.

    Parameters
    ----------
    name, frame
        As `figure`.
    family : str, optional
        Whose samples alone are taken, for a figure that compares designs of one family; default: all.

    Returns
    -------
    pandas.DataFrame
        Tidy; units are in the names of its columns.

    Raises
    ------
    BadInputError
        As `figure`.
    """
    from p2mperf.figures import find, table as make_table

    spec = find(name)
    if frame is None and spec.measured:
        frame = load(spec.shipped)
    return make_table(name, frame, family)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare the designs of each cell: costs, paired ratio with its interval, verdict.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `load` and `sweep` give them.

    Returns
    -------
    pandas.DataFrame
        One row a cell and pair of designs; see `p2mperf.analysis.summary.summary`.

    Raises
    ------
    BadInputError
        For what is no samples.
    """
    from p2mperf.analysis.summary import summary as summarize
    from p2mperf.results.samples import as_samples

    return summarize(as_samples(frame))
