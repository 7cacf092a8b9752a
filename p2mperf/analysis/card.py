"""The machine card as a short table, and whose numbers a frame holds, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from p2mperf.analysis.samples import host_note, runs_of
from p2mperf.errors import BadInputError, shown
from p2mperf.host.card import Card, caveats, machine_card
from p2mperf.results.fields import Record
from p2mperf.results.samples import as_samples
from p2mperf.units import GIB, readable_size

# Where a frame says in its attributes who has its numbers from where.
ORIGIN = "origin"


def card(of: object = None) -> pd.DataFrame:
    """Say in a short table on what machine something was measured, and what spoils timings there.

    Parameters
    ----------
    of : pandas.DataFrame or mapping, optional
        Samples, as `p2mperf.load` gives them: then the machine of their newest run, and that run. Or a
        machine card, as results hold it. Default: this machine.

    Returns
    -------
    pandas.DataFrame
        Columns what and value, both in words: a row a fact, and at the end a row a caveat.

    Raises
    ------
    BadInputError
        When it is none of these.

    Examples
    --------
    >>> card()["what"].tolist()[:3]
    ['processor', 'processors', 'virtual machine']
    """
    if of is None:
        rows = [*_machine(machine_card())]
    elif isinstance(of, pd.DataFrame):
        runs = runs_of(as_samples(of))
        rows = [*_run(of, runs[-1]), *_machine(runs[-1]["machine"])] if runs else []
    elif isinstance(of, Mapping):
        rows = [*_machine(dict(of))]
    else:
        raise BadInputError(f"a machine card is of samples or of this machine, not of {shown(of)}")
    return pd.DataFrame(rows, columns=["what", "value"])


def origin(frame: pd.DataFrame) -> str:
    """Say whose numbers samples are, where and when they were measured, and where they are kept.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.samples` and `p2mperf.load` give them.

    Returns
    -------
    str
        Markdown, one or two sentences.

    Raises
    ------
    BadInputError
        For what is no samples.
    """
    samples = as_samples(frame)
    note = host_note(samples)
    return " ".join(filter(None, [f"Numbers below were {note}.", str(samples.attrs.get(ORIGIN, ""))]))


def _run(frame: pd.DataFrame, run: Record) -> Iterator[tuple[str, str]]:
    """The run: when, what, and by how many processes."""
    yield "measured", str(run["started"])[:16].replace("T", " ")
    yield "plan", str(run["plan"]["name"])
    yield "processes a point", str(frame["replicate"].nunique())
    yield "run", str(run["run"])
    yield "code", str(run["code"])


def _machine(card: Card) -> Iterator[tuple[str, str]]:
    """The machine: what a timing depends on, and what spoils it."""
    yield "processor", str(card.get("cpu_model") or "unnamed")
    yield "processors", str(card.get("n_cpus") or "not known")
    yield "virtual machine", str(card.get("hypervisor") or "no")
    for cache in card.get("caches") or ():
        kind = {"Data": " data", "Instruction": " instruction"}.get(cache["type"] or "", "")
        yield f"L{cache['level']}{kind} cache", readable_size(cache["size_bytes"])
    if memory := card.get("memory_total_bytes"):
        yield "memory", f"{memory / GIB:.1f} GiB"
    yield "kernel", f"Linux {card.get('kernel_release') or 'not known'}"
    yield "frequency governor", str(card.get("governor") or "not visible")
    yield "transparent huge pages", str(card.get("thp_enabled") or "not known")
    if load := card.get("load_average"):
        yield "load when it began", f"{load[0]:.2f}"
    for name, version in (card.get("versions") or {}).items():
        yield name, str(version or "not installed")
    # What somebody wrote by hand need not be a whole card.
    for sentence in caveats(card) if "environment" in card else ():
        yield "to know", sentence
