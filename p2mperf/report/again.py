"""The command that measures the same again: a run's grid, said in the words of the command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from p2mperf.errors import BadInputError
from p2mperf.results.fields import Record
from p2mperf.streams import HOLE_PATTERNS
from p2mperf.study.plans import make_plan, wants_knees
from p2mperf.units import format_size

_SWEEP = "python -m p2mperf sweep"
# What an option repeats a name for, by the field of the grid.
_NAMES = {
    "backings": "--backing",
    "operations": "--operation",
    "designs": "--design",
    "preambles": "--preamble",
}


def sweep_command(run: Record) -> str:
    """Say how a run is measured again.

    Parameters
    ----------
    run : dict
        Its run record.

    Returns
    -------
    str
        A command for a shell. Options name only what the plan itself does not have.
    """
    grid = run["plan"]
    name = str(grid.get("name"))
    try:
        usual = _plain(make_plan(name).as_dict())
        has_own_guests = wants_knees(name)  # around the knees of its machine, which are measured anew
    except BadInputError:
        name, usual, has_own_guests = "quick", {}, False
    words = [f"{_SWEEP} --plan {shlex.quote(name)}"]
    for option, value in _options(grid, usual, has_own_guests):
        words.append(f"{option} {shlex.quote(value)}" if value else option)
    return " ".join(words)


def _options(
    grid: Mapping[str, Any], usual: Mapping[str, Any], has_own_guests: bool
) -> Iterator[tuple[str, str]]:
    """Options and their values, where the grid differs from the plan of its name."""

    def changed(field: str) -> bool:
        return bool(grid.get(field)) and grid.get(field) != usual.get(field)

    if changed("guests") and not has_own_guests:
        yield from (("--guest", str(guest["name"])) for guest in grid["guests"])
    if changed("streams"):
        yield from (("--stream", _stream(stream)) for stream in grid["streams"])
    for field, option in _NAMES.items():
        if changed(field):
            yield from ((option, str(name)) for name in grid[field])
    if changed("n_replicates"):
        yield "--replicates", str(grid["n_replicates"])
    if grid.get("limit_bytes", 0) != usual.get("limit_bytes", 0):
        limit_bytes = int(grid.get("limit_bytes", 0))
        yield "--limit", format_size(limit_bytes) if limit_bytes else "0"
    settings, usual_settings = grid.get("settings") or {}, usual.get("settings") or {}
    if settings.get("control", True) and not usual_settings.get("control", True):
        yield "--control", ""


def _stream(stream: Mapping[str, Any] | str) -> str:
    """A stream as ``--stream`` takes it."""
    if isinstance(stream, str):
        return stream
    shares = {"hole": stream.get("hole_fraction", 0), "identity": stream.get("identity_fraction", 0)}
    options = [f"{name}={share:g}" for name, share in shares.items() if share]
    pattern = stream.get("hole_pattern", HOLE_PATTERNS[0])
    options += [f"pattern={pattern}"] * (pattern != HOLE_PATTERNS[0])
    return f"{stream['name']}:{','.join(options)}" if options else str(stream["name"])


def _plain(grid: Mapping[str, Any]) -> dict[str, Any]:
    """A grid as a record has it."""
    read: dict[str, Any] = json.loads(json.dumps(grid))
    return read


def commands(names: Sequence[str]) -> list[str]:
    """Commands that make this report, its figures and its claims again.

    Parameters
    ----------
    names : sequence of str
        Results that it shows; none where it shows what ships.
    """
    given = " ".join(map(shlex.quote, names))
    results = f" --results {given}" if given else ""
    figures = f" --results {shlex.quote(names[0])}" if len(names) == 1 else ""
    return [
        f"python -m p2mperf report{results}",
        f"python -m p2mperf plot all{figures}",
        f"python -m p2mperf claims{figures}",
    ]
