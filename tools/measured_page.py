"""What tables of measured pairs have in common, on whatever page they stand: costs and notes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

import pandas as pd

from p2mperf.analysis.summary import Pair, intervals_of, short_name
from p2mperf.analysis.verdicts import notes_on
from p2mperf.units import format_ns

_WAYS = {"walk": "walk", "list": "windows"}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def items(said: Iterable[str]) -> str:
    """Lay out a list of sentences."""
    return "\n".join(textwrap.fill(f"- {one}", 118, subsequent_indent="  ") for one in said)


def cost(pair: Pair) -> str:
    """Both costs, the reference's first, their ratio, and who is faster."""
    times = f"{format_ns(pair.reference_ns)}, {format_ns(pair.cost_ns)}"
    return f"{times}: {pair.ratio:.2f} [{pair.low:.2f}, {pair.high:.2f}], {said_of(pair)}"


def said_of(pair: Pair) -> str:
    """What is said of two designs, by the short names of these pages."""
    said = short_name(pair.said, "pv").replace("linear", "list")
    return re.sub(r"hap-(walk|list)(-\w+)?", lambda name: _WAYS[name[1]], said)


def notes(shown: pd.DataFrame) -> list[str]:
    """What to know of a table, after it."""
    intervals = intervals_of(shown).replace("interval", "Wilcoxon intervals")
    among = f"verdicts hold among these {len(shown)} rows (Benjamini-Hochberg at 5 %)"
    return ["", "; ".join([intervals, among, *notes_on(shown["verdict"], shown["marks"])]) + "."]
