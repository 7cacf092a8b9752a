"""NamedTuples that compiled code is given: no two of them may have one name, for numba tells them by it."""

from __future__ import annotations

from p2mperf.errors import PluginError

_met: dict[tuple[str, tuple[str, ...]], type] = {}


def refuse_namesakes(design: str, *values: object) -> None:
    """Refuse a NamedTuple whose class has the name and the fields of another.

    numba 0.68 finds the code for a call by the name of such a class and the types of its fields alone: of two
    with one name, whichever was compiled first would run for both, and lookups would be wrong.

    Parameters
    ----------
    design : str
        Name of the design that hands them over.
    *values
        What compiled code is given; what a tuple consists of is looked at, too.

    Raises
    ------
    PluginError
        When there is another class of that name, or the same was defined again, as by a cell of a notebook.
    """
    for value in values:
        if not isinstance(value, tuple):
            continue
        refuse_namesakes(design, *value)
        kind = type(value)
        if kind is tuple:
            continue
        met = _met.setdefault((kind.__name__, tuple(type(field).__name__ for field in value)), kind)
        if met is kind:
            continue
        here, there = (f"{each.__module__}.{each.__qualname__}" for each in (kind, met))
        if here == there:
            raise PluginError(
                f"{here}, of which the tables of {design} are, was defined again: compiled code would run "
                "what was defined first; restart Python, or give it another name"
            )
        raise PluginError(
            f"the tables of {design} are {here}, and {there} has the same name and fields: compiled code "
            "would take one for the other; give one of them another name"
        )
