"""Block of data/README.md, on which code measured what ships: `readme.py` writes it into the page."""

from __future__ import annotations

from collections.abc import Iterator

from measured_page import table  # beside this file

import p2mperf
from p2mperf.analysis.kernel_build.replay_file import read_replays
from p2mperf.analysis.samples import runs_of
from p2mperf.host.card import Card
from p2mperf.shipped import RECORDINGS, REPLAYS, SWEEPS, shipped

# A commit whose sources have the hash that stands in the file.
COMMITS = {
    "shipped": "5df5d9935e1c",
    "shipped-zen4": "75679edd93fd",
    "shipped-zen3": "e79eb496a503",
    "shipped-backings": "5df5d9935e1c",
    "shipped-life": "5df5d9935e1c",
    "shipped-hap": "5df5d9935e1c",
    "shipped-replays": "5df5d9935e1c",
}


def codes(name: str) -> set[str]:
    """Hashes of the code that measured a shipped sweep, or shipped replays."""
    if name in REPLAYS:
        return {read_replays(shipped(name)).code.partition("-")[0]}
    return {run["code"].partition("-")[0] for run in runs_of(p2mperf.load(name))}


def data() -> str:
    """A row a file that was measured, and one a recording."""
    return table(("name", "file", "machine", "measured", "code", "commit"), _rows())


def _rows() -> Iterator[tuple[str, ...]]:
    for name in SWEEPS:
        runs = runs_of(p2mperf.load(name))
        dates = " to ".join(sorted({run["started"][:10] for run in runs}))
        yield _row(name, _machine(runs[-1]["machine"]), dates)
    for name in REPLAYS:
        yield _row(name, _machine(read_replays(shipped(name)).machine), "")
    for name in RECORDINGS:
        about = p2mperf.read_recording(name).about
        yield name, shipped(name).name, f"Linux {about.kernel_release}", "", "-", "-"


def _row(name: str, machine: str, date: str) -> tuple[str, ...]:
    return name, shipped(name).name, machine, date, ", ".join(sorted(codes(name))), COMMITS[name]


def _machine(card: Card) -> str:
    return f"{card['cpu_model']}, {card['llvm_cpu_name']}, Linux {card['kernel_release']}"


BLOCKS = {"data": data}
