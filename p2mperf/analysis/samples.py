"""What is asked of a samples frame again and again: the rows that were measured, their medians, and where."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from p2mperf.control import CONTROL
from p2mperf.errors import BadInputError
from p2mperf.host.watch import Snapshot, Unrest, unrest
from p2mperf.measure.ladder import Knee
from p2mperf.results.fields import Record

# What `stream_label` takes, by the names of columns.
OF_STREAM = ("stream", "hole_fraction", "identity_fraction", "hole_pattern")


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that have a cost."""
    return frame[(frame["status"] == "done").fillna(False).astype(bool)]


def of_designs(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of designs: no controls, which are designs timed twice, and no cells without a design."""
    return frame[~frame["design"].fillna(CONTROL).str.startswith(CONTROL)]


def medians(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Median over processes of each process' median cost, with the lowest and highest process.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.
    keys : sequence of str
        Columns that tell the rows of the answer apart.

    Returns
    -------
    pandas.DataFrame
        `keys`, cost_ns, low_ns and high_ns, all per lookup, frame, leaf or table [ns].

    Raises
    ------
    BadInputError
        As `refuse_mixture`.
    """
    refuse_mixture(frame)
    keys = list(keys)
    processes = measured(frame).groupby([*keys, "run", "replicate"], sort=False)["cost_ns"].median()
    grouped = processes.groupby(level=keys, sort=False)
    table = pd.DataFrame({"cost_ns": grouped.median(), "low_ns": grouped.min(), "high_ns": grouped.max()})
    return table.reset_index().astype({"cost_ns": "float64"})


def runs_of(frame: pd.DataFrame) -> list[Record]:
    """Run records of a frame's rows: where rows were chosen, the attributes tell of others too."""
    there = set(frame[["run", "host", "machine"]].drop_duplicates().itertuples(index=False, name=None))
    runs = frame.attrs.get("runs") or []
    return [run for run in runs if (run["run"], run["host"], run["machine_key"]) in there]


def versions_of(frame: pd.DataFrame) -> list[int]:
    """Versions of the results' format that the runs of a frame's rows were written in, as far as it says."""
    return sorted({run["schema"] for run in runs_of(frame)})


def refuse_mixture(frame: pd.DataFrame) -> None:
    """Refuse samples that no median can be taken over.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Raises
    ------
    BadInputError
        When they are of several machines, or of versions of the results' format in which one name may mean
        two measurements.
    """
    machines = sorted(set(frame["machine"]))
    if len(machines) > 1:
        raise BadInputError(
            f"a figure shows one machine, and these samples are of {len(machines)}: choose one, as "
            f"frame[frame['machine'] == {machines[0]!r}]"
        )
    if len(versions := versions_of(frame)) > 1:
        raise BadInputError(
            f"these samples are of versions {' and '.join(map(str, versions))} of the results' format, in "
            "which one name may mean two measurements: choose runs of one, as "
            f"frame[frame['run'] == {runs_of(frame)[-1]['run']!r}]"
        )


def knees_of(frame: pd.DataFrame) -> list[Knee]:
    """Knees recorded with the newest run of a frame; none where none were measured."""
    runs = runs_of(frame)
    found = (runs[-1]["machine"].get("knees") or []) if runs else []
    return [Knee(knee["name"], knee["bytes"], knee["source"]) for knee in found]


def host_note(frame: pd.DataFrame) -> str:
    """One line under a table or figure: measured where, when, by how many processes."""
    runs = runs_of(frame)
    if not runs:
        return "measured by p2mperf"
    card = runs[-1]["machine"]
    n_processes = int(frame["replicate"].nunique())
    n_machines = len({run["machine_key"] for run in runs})
    if n_machines > 1:
        return f"measured on {n_machines} machines until {runs[-1]['started'][:10]}"
    parts = [
        f"measured {runs[-1]['started'][:10]} on {card.get('cpu_model') or 'an unnamed processor'}",
        f"Linux {card.get('kernel_release')}",
        f"{n_processes} processes a point",
    ]
    if card.get("hypervisor"):
        parts.insert(1, "in a virtual machine")
    return ", ".join(parts)


def unrest_of(frame: pd.DataFrame) -> list[Unrest]:
    """What spoilt the timings of a frame, as the runs' machine cards and ends tell it.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them.

    Returns
    -------
    list of Unrest
        At most one of each name; empty too where runs of earlier versions did not look.
    """
    found: dict[str, Unrest] = {}
    for run in runs_of(frame):
        watched = run.get("watched") or {}
        start, end = (Snapshot.from_json(watched.get(name)) for name in ("start", "end"))
        # The card is of the session that began the run, which need not be the one that ended it.
        for one in (*unrest(start, end), *unrest(Snapshot.from_json(run["machine"]))):
            found.setdefault(one.name, one)
    return list(found.values())


def refuse_empty(table: pd.DataFrame, why: str) -> None:
    """Say that there is nothing to draw.

    Raises
    ------
    BadInputError
        When the table is empty.
    """
    if not len(table):
        raise BadInputError(f"nothing to draw: {why}")


def stays_in_ram(frame: pd.DataFrame) -> pd.Series[bool]:
    """Which rows ask for frames of RAM alone: none in holes or identity ranges."""
    return (frame["hole_fraction"] == 0) & (frame["identity_fraction"] == 0)


def shares_outside(hole_fraction: float, identity_fraction: float) -> list[str]:
    """Say which shares of a stream leave RAM, and to where.

    Examples
    --------
    >>> shares_outside(0.5, 0.25), shares_outside(0.0, 0.0)
    (['50 % holes', '25 % identity'], [])
    """
    shares = {"holes": hole_fraction, "identity": identity_fraction}
    return [f"{100 * share:g} % {what}" for what, share in shares.items() if share]


def stream_label(
    stream: str, hole_fraction: float, identity_fraction: float, hole_pattern: str = "random"
) -> str:
    """Name a stream with the shares of it that leave RAM, and how they come if not at random.

    Parameters
    ----------
    stream : str
        Its name.
    hole_fraction, identity_fraction : float
        Shares of it that land in holes and in identity ranges.
    hole_pattern : str
        How those come.

    Returns
    -------
    str

    Examples
    --------
    >>> stream_label("uniform", hole_fraction=0.5, identity_fraction=0.0)
    'uniform, 50 % holes'
    >>> stream_label("uniform", hole_fraction=0.5, identity_fraction=0.0, hole_pattern="runs")
    'uniform, 50 % holes in runs'
    """
    parts = [stream, *shares_outside(hole_fraction, identity_fraction)]
    return ", ".join(parts) + ("" if hole_pattern == "random" else f" in {hole_pattern}")


def operation_label(operation: str, preamble: str) -> str:
    """Name an operation with what comes before it.

    Examples
    --------
    >>> operation_label("entry", "flush+8M"), operation_label("latency", "")
    ('entry, flush+8M', 'latency')
    """
    return f"{operation}, {preamble}" if preamble else operation


def operation_labels(table: pd.DataFrame) -> list[str]:
    """The same of each row of a table."""
    return [operation_label(*row) for row in zip(table["operation"], table["preamble"], strict=True)]
