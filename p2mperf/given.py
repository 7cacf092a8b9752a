"""What a notebook is given: samples that ship, a reader's own or measured on the spot, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from p2mperf.api import load, sweep
from p2mperf.errors import BadInputError, shown as told

if TYPE_CHECKING:
    import pandas as pd

    from p2mperf.analysis.findings import Finding


class Narrowing(TypedDict, total=False):
    """What narrows a plan: parameters of `p2mperf.sweep`, by their names."""

    sizes: Sequence[str]
    guests: Sequence[str]
    designs: Sequence[str]
    streams: Sequence[str]
    operations: Sequence[str]
    entry_bits: int | None
    geometries: Sequence[str]
    backings: Sequence[str]
    n_replicates: int | None
    control: bool | None
    limit: str | int | None
    preambles: Sequence[str]
    fresh: bool
    quiet: bool


def samples(
    data: str | Path = "shipped",
    plan: str = "quick",
    *,
    shipped: str = "shipped",
    keep: str | Path = "../results",
    **only: Unpack[Narrowing],
) -> pd.DataFrame:
    """Load samples or measure them, as a notebook's ``data`` says; what is measured is kept.

    Parameters
    ----------
    data : str or Path
        "shipped"; "measure", to measure now; or what `load` takes: a results directory or file.
    plan : str
        What "measure" runs: a plan of `sweep`.
    shipped : str
        What "shipped" stands for: a name of `load`.
    keep : str or Path
        Results directory of what "measure" measures, which can be resumed; where nothing was left to
        measure, what is kept there is loaded.
    **only
        What narrows the plan, by the names of `sweep`: ``sizes=["64M"]``, ``n_replicates=1`` ...

    Returns
    -------
    pandas.DataFrame
        As `load`; `origin` says whose numbers they are and where they are kept.

    Raises
    ------
    BadInputError
        For what `sweep` cannot be asked, and a directory without a name.
    ResultsError
        When there is nothing to load, or nothing can be kept there.
    NothingFitsError
        When nothing fits this machine.

    Examples
    --------
    >>> import p2mperf
    >>> p2mperf.origin(samples())[-23:]
    'They come with p2mperf.'
    """
    from p2mperf.analysis.card import ORIGIN

    if data == "measure":
        if isinstance(keep, str) and not keep:
            raise BadInputError("what is measured is kept: say where, as keep='results'")
        frame, said = sweep(plan, out=keep, **only), f"They are kept in {told(str(keep))}"
        said += f': set `data = "{keep}"` to see them again.'
    elif data == "shipped":
        frame, said = load(shipped), "They come with p2mperf."
    else:
        frame, said = load(data), f"They were read from {told(str(data))}."
    frame.attrs[ORIGIN] = said
    return frame


def findings() -> list[Finding]:
    """Say what the data that come with p2mperf show, in sentences that are made of them.

    Returns
    -------
    list of p2mperf.analysis.findings.Finding
        At most eight; ``about``, ``said``, and where more is told.

    Raises
    ------
    ResultsError
        When this installation has no shipped data.

    Examples
    --------
    >>> findings()[0].about
    'Lookups in RAM'
    """
    from p2mperf.analysis.findings import SWEEPS_WITH_FINDINGS, findings as told
    from p2mperf.study.kernel_builds import DEFAULT_RECORDING, SHIPPED_REPLAYS, kernel_build

    build = kernel_build(DEFAULT_RECORDING, SHIPPED_REPLAYS, quiet=True)
    return told({name: load(name) for name in SWEEPS_WITH_FINDINGS}, build)
