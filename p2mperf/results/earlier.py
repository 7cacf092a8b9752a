"""What earlier versions of results called otherwise, read as what it is called today.

Names of versions 1 and 2 that mean something else since: of PV, the page backing ``kernel`` was tables on
2 MiB pages and the list on 4 KiB pages; and two streams were not what their names say. All else has the name
that it had. A run record keeps its `schema`, which tells samples of an earlier version from others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2mperf.results.fields import Record
from p2mperf.results.keys import CellSpec, unit_key

if TYPE_CHECKING:
    import pandas as pd

_RENAMED_IN = 3
_PV_GEOMETRIES = ("pv64", "pv32")  # those that there were
_OLD_KERNEL, _MIXED = "kernel", "mixed"
_STREAMS = {"leaf-stride": "leaf-stride-v1", "zipf": "log-uniform"}


def record_as_today(record: Record, version: int) -> Record:
    """Read a record of a journal.

    Parameters
    ----------
    record : dict
        One that was found right.
    version : int
        Of its run.

    Returns
    -------
    dict
        The same where nothing of it is called otherwise; keys of units and cells say what their fields say.
    """
    if version >= _RENAMED_IN:
        return record
    name = record["record"]
    if name == "run":
        return run_as_today(record, version)
    if name not in ("unit", "cell"):
        return record
    today = record | {"backing": _backing(record["backing"], record["geometry"])}
    # The first files of version 2 did not name the limit of a unit in its key.
    names_all = record["unit"] != unit_key(record, with_optional=False)
    today["unit"] = unit_key(today, with_optional=names_all)
    if name == "cell":
        today["stream"] = _stream(record["stream"])
        today["cell"] = CellSpec.from_json(today).key_in(today["unit"])
    return today


def run_as_today(run: Record, version: int) -> Record:
    """Read a run record, whose plan names what its units have."""
    if version >= _RENAMED_IN:
        return run
    plan = dict(run["plan"])
    if "backings" in plan:
        geometries = [guest["geometry"] for guest in plan.get("guests", ())] or [*_PV_GEOMETRIES, ""]
        names = (_backing(name, geometry) for name in plan["backings"] for geometry in geometries)
        plan["backings"] = list(dict.fromkeys(names))
    if isinstance(plan.get("streams"), list):
        plan["streams"] = list(map(_told_stream, plan["streams"]))
    return run | {"plan": plan}


def frame_as_today(frame: pd.DataFrame, version: int) -> pd.DataFrame:
    """Read a samples frame out of a file of an earlier version."""
    if version >= _RENAMED_IN:
        return frame
    was_kernel = frame["geometry"].isin(_PV_GEOMETRIES) & (frame["backing"] == _OLD_KERNEL)
    renamed = {
        "backing": frame["backing"].mask(was_kernel, _MIXED),
        "stream": frame["stream"].replace(_STREAMS),
    }
    return frame.assign(**renamed)


def _backing(name: str, geometry: str) -> str:
    return _MIXED if name == _OLD_KERNEL and geometry in _PV_GEOMETRIES else name


def _stream(name: str) -> str:
    return _STREAMS.get(name, name)


def _told_stream(stream: object) -> object:
    """A stream as a plan has it: a table with its name and its shares."""
    if isinstance(stream, dict) and isinstance(stream.get("name"), str):
        return stream | {"name": _stream(stream["name"])}
    return stream
