"""The life of a PV p2m: what writing, ballooning and restoring cost in either design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from p2mperf.analysis.built import built
from p2mperf.analysis.life.costs import life_answer, life_costs, life_growth, live_through, scenario_totals
from p2mperf.analysis.life.writes import (
    EXAMPLE,
    Restored,
    SeenByTools,
    balloonable_leaves,
    quirk_effects,
    restore_elsewhere,
    seen_by_tools,
    single_writes,
)
from p2mperf.guests.guest import Guest

_GUESTS = ("domu-64-8g", "domu-32-8g")
_SCENARIOS = ("balloon", "save-restore", "passthrough")


@dataclass(frozen=True)
class LifeFindings:
    """What is found of a p2m's life. `life_of_a_p2m` makes one.

    Attributes
    ----------
    costs : pandas.DataFrame
        Tree and list compared, as `p2mperf.analysis.life.costs.life_costs` has them.
    growth : pandas.DataFrame
        Pages and mappings, as `p2mperf.analysis.life.costs.life_growth` has them.
    writes : pandas.DataFrame
        What single writes take, as `p2mperf.analysis.life.writes.single_writes` has it.
    balloonable_leaves : mapping of str to int
        Leaves that hold nothing but memory which the example guest may once have, by design.
    """

    costs: pd.DataFrame
    growth: pd.DataFrame
    writes: pd.DataFrame
    balloonable_leaves: Mapping[str, int]

    @property
    def answer(self) -> str:
        """What was found, in Markdown, a line a sentence."""
        return life_answer(self.costs, self.growth, self.balloonable_leaves)

    @cached_property
    def scenarios(self) -> pd.DataFrame:
        """What the commit was tested with, as `p2mperf.analysis.life.costs.scenario_totals` has it."""
        return scenario_totals(live_through(_GUESTS, _SCENARIOS))

    @cached_property
    def quirks(self) -> pd.DataFrame:
        """What kernels got wrong; built when asked for, by `p2mperf.analysis.life.writes.quirk_effects`."""
        return quirk_effects()

    @cached_property
    def seen_by_tools(self) -> SeenByTools:
        """What the toolstack reads of the example guest's list."""
        with built("pv-linear", Guest.preset(EXAMPLE)) as p2m:
            return seen_by_tools(p2m)

    @cached_property
    def restored(self) -> Restored:
        """What became of the example guest's list when it was restored on other memory."""
        with built("pv-linear", Guest.preset(EXAMPLE)) as p2m:
            return restore_elsewhere(p2m)


def life_of_a_p2m(frame: pd.DataFrame) -> LifeFindings:
    """Say what a p2m's life costs with the tree and with the list: in time, in pages and in mappings.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them, with more than lookups, as `sweep --plan life` has them.

    Returns
    -------
    LifeFindings

    Raises
    ------
    BadInputError
        For what is no samples, and for samples of lookups alone.
    DoesNotFitError
        When memory does not suffice for the tables of the example guest.
    """
    return LifeFindings(life_costs(frame), life_growth(frame), single_writes(), balloonable_leaves())
