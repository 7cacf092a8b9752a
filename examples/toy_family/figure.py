"""A figure: what toys cost."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from p2mperf.analysis.samples import medians, of_designs
from p2mperf.figures.spec import FigureSpec


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Take the median cost of each operation and design."""
    toys = of_designs(frame[frame["family"] == "toy"])
    return medians(toys, ["operation", "design"])


def draw(table: pd.DataFrame, ax: Axes) -> None:
    """Draw a bar for each."""
    ax.bar(table["operation"] + "\n" + table["design"], table["cost_ns"])
    ax.set_ylabel("ns")


FIGURE = FigureSpec(name="toy-costs", question="What toys cost", data=data, draw=draw)
