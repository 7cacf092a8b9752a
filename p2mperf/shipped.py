"""What data comes with p2mperf, and where it is."""

from __future__ import annotations

from pathlib import Path

from p2mperf.errors import ResultsError, known

SWEEPS = {
    "shipped": "default-sweep.parquet",
    "shipped-zen4": "default-sweep-zen4.parquet",
    "shipped-zen3": "default-sweep-zen3.parquet",
    "shipped-backings": "backings-sweep.parquet",
    "shipped-life": "life-sweep.parquet",
    "shipped-hap": "hap-sweep.parquet",
}
RECORDINGS = {
    "shipped-tinyconfig": "kernel-build-tinyconfig.parquet",
    "shipped-defconfig": "kernel-build-defconfig.parquet",
}
REPLAYS = {"shipped-replays": "kernel-build-replays.json"}

_OWN = {
    **dict.fromkeys(SWEEPS, "run `python -m p2mperf sweep` for your own"),
    **dict.fromkeys(RECORDINGS, "run `python -m p2mperf record -- COMMAND` for your own"),
    **dict.fromkeys(REPLAYS, "run `python -m p2mperf replay FILE` for your own"),
}


def shipped(name: str = "shipped") -> Path:
    """Where data that ships with p2mperf is: beside the package's modules, or in the checkout.

    Parameters
    ----------
    name : str
        One of `SWEEPS`, `RECORDINGS` or `REPLAYS`.

    Raises
    ------
    BadInputError
        For another name.
    ResultsError
        When this installation has none.

    Examples
    --------
    >>> shipped("shipped-life").name
    'life-sweep.parquet'
    """
    file = {**SWEEPS, **RECORDINGS, **REPLAYS}[known("shipped data", name, _OWN)]
    package = Path(__file__).parent
    for directory in (package / "_data", package.parent / "data"):
        if (path := directory / file).exists():
            return path
    raise ResultsError(f"this installation has no shipped data {file}: {_OWN[name]}")
