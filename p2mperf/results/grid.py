"""Which units a plan has: its grid, as far as a run record tells of it."""

from __future__ import annotations

from p2mperf.errors import ResultsError, cut, shown
from p2mperf.results.fields import Record
from p2mperf.results.values import COUNT, NAME

# What a unit record and the samples frame have, by which a plan can tell a unit to be its own.
UNIT_AXES = ("guest", "geometry", "backing", "replicate")


def check_grid(plan: Record) -> None:
    """Refuse a grid that no plan has; what the record does not tell is not asked for.

    Parameters
    ----------
    plan : dict
        As a run record has it.

    Raises
    ------
    ResultsError
        Naming what is wrong.
    """
    guests, backings = (plan.get(name, []) for name in ("guests", "backings"))
    are_right = {
        "guests": _is_row(guests) and all(isinstance(guest, dict) and _is_guest(guest) for guest in guests),
        "backings": _is_row(backings) and all(map(NAME.holds, backings)),
        "n_replicates": COUNT.holds(plan.get("n_replicates", 0)),
    }
    if wrong := next((name for name, is_right in are_right.items() if not is_right), ""):
        raise ResultsError(f"{wrong!r} of the plan of a run record cannot be {shown(plan[wrong])}")


def _is_row(value: object) -> bool:
    return isinstance(value, list | tuple)  # a plan has tuples, as long as it was not written


def _is_guest(guest: Record) -> bool:
    return NAME.holds(guest.get("name")) and NAME.holds(guest.get("geometry"))


def refuse_stranger(plan: Record, unit: Record) -> None:
    """Hold a unit to the plan it is said to be of.

    Parameters
    ----------
    plan : dict
        As a run record has it.
    unit : dict
        Anything that holds the `UNIT_AXES`.

    Raises
    ------
    ResultsError
        When the plan has no such unit.
    """
    named = {(guest["name"], guest["geometry"]) for guest in plan.get("guests", ())}
    is_there = (
        ("guests" not in plan or (unit["guest"], unit["geometry"]) in named)
        and ("backings" not in plan or unit["backing"] in plan["backings"])
        and ("n_replicates" not in plan or unit["replicate"] < plan["n_replicates"])
    )
    if not is_there:
        raise ResultsError(
            f"replicate {unit['replicate']} of guest {cut(unit['guest'])} ({cut(unit['geometry'])}) with "
            f"backing {cut(unit['backing'])} is no unit of plan {cut(plan['name'])}"
        )
