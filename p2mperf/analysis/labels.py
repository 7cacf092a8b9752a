"""What results call by short names, in words that a title or an axis can bear."""

from __future__ import annotations

import pandas as pd

from p2mperf.analysis.summary import short_name
from p2mperf.analysis.words import n_of
from p2mperf.errors import BadInputError
from p2mperf.families import find_preamble
from p2mperf.measure.operations.registry import operations
from p2mperf.units import format_size

TREE, LIST = "pv-tree", "pv-linear"
_MOST_PAIRS = 2  # that a title bears
_DESIGNS = {
    TREE: "tree",
    LIST: "list",
    "pv-linear-nested": "nested list",
    "pv-tree-4k": "tree on 4K pages",
    "pv-tree-2m": "tree on 2M pages",
    "pv-linear-4k": "list on 4K pages",
    "pv-linear-2m": "list on 2M pages",
    "arm-walk": "walk",
    "arm-walk-thrashing": "thrashing walk",
    "arm-walk-direct": "walk of a direct map",
    "arm-vlpt": "window",
    "hap-walk": "walk",
    "hap-linear": "window",
    "hap-walk-2m": "walk of 2M leaves",
    "hap-linear-2m": "window of 2M leaves",
    "hap-walk-4k": "walk of 4K leaves",
    "hap-linear-4k": "window of 4K leaves",
}


def design_word(design: str, family: str) -> str:
    """Call a design in a sentence.

    Parameters
    ----------
    design, family : str
        Its name, and its family's.

    Examples
    --------
    >>> design_word("pv-linear", "pv"), design_word("toy-mine", "toy")
    ('list', 'mine')
    """
    return _DESIGNS.get(design, short_name(design, family))


def operation_words(operation: str) -> str:
    """Call an operation in words; one that is not known here by its name.

    Examples
    --------
    >>> operation_words("latency")
    'lookups one after the other'
    """
    spec = operations().get(operation)
    return spec.title if spec and spec.title else operation


def preamble_words(preamble: str, family: str) -> str:
    """Say what comes before an entry; "" where nothing does.

    Examples
    --------
    >>> preamble_words("flush+8M", "pv"), preamble_words("tight", "pv")
    ('after a flush and 8M of work', 'at once')
    """
    if not preamble:
        return ""
    try:
        known = find_preamble(family, preamble)
    except BadInputError:  # results of somebody else
        return f"after {preamble}"
    parts = ["a flush"] * known.flush + [f"{format_size(known.work_bytes)} of work"] * (known.work_bytes > 0)
    return f"after {' and '.join(parts)}" if parts else "at once"


def asked_words(operation: str, preamble: str, family: str) -> str:
    """Call what is asked of a table in words: an operation, with what comes before it.

    Parameters
    ----------
    operation, preamble, family : str
        As results call them.

    Examples
    --------
    >>> asked_words("entry", "flush+8M", "pv"), asked_words("latency", "", "pv")
    ('entry after a flush and 8M of work', 'lookups one after the other')
    """
    return f"{operation} {preamble_words(preamble, family)}" if preamble else operation_words(operation)


def who_is_faster(table: pd.DataFrame) -> str:
    """Count in a sentence who is faster, of each pair of designs.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a `p2mperf.analysis.summary.summary`, judged among each other.

    Returns
    -------
    str
        Without its full stop; the two pairs with the most rows, and how many more there are.
    """
    groups = table.groupby(["family", "design", "reference"], sort=False)
    pairs = sorted(groups, key=lambda pair: -len(pair[1]))
    said = [_counted(part) for _, part in pairs[:_MOST_PAIRS]]
    n_more = len(pairs) - len(said)
    return "; ".join([*said, *([f"{n_more} more pair{'s' * (n_more > 1)}"] if n_more else [])])


def _counted(part: pd.DataFrame) -> str:
    """Who of two is faster how often: the one that is so more often stands first."""
    family, design, reference = (str(part[name].iloc[0]) for name in ("family", "design", "reference"))
    wins = {name: int((part["faster"] == name).sum()) for name in (reference, design)}
    first, second = sorted(wins, key=lambda name: -wins[name])
    one, other = design_word(first, family), design_word(second, family)
    n, n_open = len(part), len(part) - sum(wins.values())
    comparisons = f"comparison{'s' * (n != 1)}"
    if not wins[first]:  # which is not to say that they are equal
        return f"neither {one} nor {other} is seen to be faster in {n} {comparisons}"
    said = f"the {one} is faster than the {other} in {n_of(wins[first], n)} {comparisons}"
    rest = [f"{what} in {n}" for what, n in (("slower", wins[second]), ("neither", n_open)) if n]
    return ", ".join([said, *rest])
