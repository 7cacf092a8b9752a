"""Superpages of HAP: where they come from, how long they last, what they save, and if the window pays."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from p2mperf.analysis.hap.costs import costs_by_leaves, windows_over_walks
from p2mperf.analysis.hap.superpages import (
    superpage_leaves,
    superpage_splits,
    superpage_supply,
    superpage_survival,
)
from p2mperf.analysis.hap.windows import leaf_costs, window_outcomes
from p2mperf.analysis.hap.words import superpage_answer
from p2mperf.analysis.samples import refuse_empty, refuse_mixture
from p2mperf.results.samples import as_samples


@dataclass(frozen=True)
class HapFindings:
    """What is found of superpages. `hap_superpages` makes one.

    Attributes
    ----------
    leaves : pandas.DataFrame
        Leaves and pages of a guest's table by the sizes that it may have, as
        `p2mperf.analysis.hap.superpages.superpage_leaves` gives them; and so on:
    supply : pandas.DataFrame
        What a guest gets from a host that is partly broken, as `superpage_supply` has it.
    survival : pandas.DataFrame
        What is whole after memory was given back, as `superpage_survival` has it.
    splits : pandas.DataFrame
        What removing one frame takes, as `superpage_splits` has it.
    costs : pandas.DataFrame
        Costs of lookups by the size of leaves, as `p2mperf.analysis.hap.windows.leaf_costs` has them.
    windows : pandas.DataFrame
        Windows over walks, as `p2mperf.analysis.hap.costs.windows_over_walks` has them.
    outcomes : pandas.DataFrame
        The same counted, as `p2mperf.analysis.hap.windows.window_outcomes` has it.
    """

    leaves: pd.DataFrame
    supply: pd.DataFrame
    survival: pd.DataFrame
    splits: pd.DataFrame
    costs: pd.DataFrame
    windows: pd.DataFrame
    outcomes: pd.DataFrame

    @property
    def answer(self) -> str:
        """What was found, in Markdown, a line a sentence."""
        return superpage_answer(self.leaves, self.supply, self.survival, self.costs, self.outcomes)


def hap_superpages(frame: pd.DataFrame, guest_memory: str | int = "4G") -> HapFindings:
    """Say where superpages come from and how long they last, and what a sweep says of their cost.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples of one machine, as `p2mperf.load` gives them, with lookups of HAP guests.
    guest_memory : str or int
        Of the guest in whose tables is counted what is not timed [bytes].

    Returns
    -------
    HapFindings

    Raises
    ------
    BadInputError
        For what is no samples, or samples without HAP guests or of several machines; and for a size that is
        none.
    DoesNotFitError
        When memory does not suffice.
    """
    samples = as_samples(frame)
    refuse_mixture(samples)
    costs, windows = costs_by_leaves(samples), windows_over_walks(samples)
    for table in (costs, windows):
        refuse_empty(table, "no walk and window of a HAP guest were measured; `sweep --plan hap` does")
    return HapFindings(
        leaves=superpage_leaves(guest_memory),
        supply=superpage_supply(guest_memory),
        survival=superpage_survival(guest_memory),
        splits=superpage_splits(),
        costs=leaf_costs(costs),
        windows=windows,
        outcomes=window_outcomes(windows),
    )
