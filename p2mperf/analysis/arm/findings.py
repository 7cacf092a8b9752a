"""ARM's virtual-linear page table: what the window saves, whom it serves, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from p2mperf.analysis.arm.costs import arm_costs, vlpt_answer
from p2mperf.analysis.arm.vlpt import board_costs, migrate, vlpt_acceptance, vlpt_defects, vlpt_events


@dataclass(frozen=True)
class ArmFindings:
    """What is found of the window. `arm_vlpt` makes one.

    Attributes
    ----------
    costs : pandas.DataFrame
        The walk over the window as a sweep measured them, as `p2mperf.analysis.arm.costs.arm_costs` has it.
    events : pandas.DataFrame
        What a lookup executes, as `p2mperf.analysis.arm.vlpt.vlpt_events` has it; and so on:
    board : pandas.DataFrame
        What finding an entry takes on the board of the patch, computed, as `board_costs` has it.
    accepted : pandas.DataFrame
        Whom the patch takes, as `vlpt_acceptance` has it.
    defects : pandas.DataFrame
        What is wrong with it, as `vlpt_defects` has it.
    guest_memory : str or int
        Of the guest whose tables were built [bytes].
    """

    costs: pd.DataFrame
    events: pd.DataFrame
    board: pd.DataFrame
    accepted: pd.DataFrame
    defects: pd.DataFrame
    guest_memory: str | int

    @property
    def answer(self) -> str:
        """What was found, in Markdown, a line a sentence."""
        return vlpt_answer(self.events, self.board, self.costs, self.accepted, self.defects)

    def migrate(self, dirty_rate: float, bandwidth: float) -> pd.DataFrame:
        """Move the guest while it writes to one page after the other.

        Parameters
        ----------
        dirty_rate : float
            Pages that it writes in a second.
        bandwidth : float
            Bytes that are sent in a second.

        Returns
        -------
        pandas.DataFrame
            A row a round, traced by either design and by the recurrence, as
            `p2mperf.analysis.arm.vlpt.migrate` has them.

        Raises
        ------
        BadInputError
            For rates that are none.
        DoesNotFitError
            When memory does not suffice.
        """
        return migrate(self.guest_memory, dirty_rate, bandwidth)


def arm_vlpt(frame: pd.DataFrame, guest_memory: str | int = "1G") -> ArmFindings:
    """Say what the virtual-linear page table saves, whom it serves, and what is wrong with it as posted.

    Parameters
    ----------
    frame : pandas.DataFrame
        Samples, as `p2mperf.load` gives them, with walk and window of ARM.
    guest_memory : str or int
        Of the guest whose tables are built to count in them [bytes].

    Returns
    -------
    ArmFindings

    Raises
    ------
    BadInputError
        For what is no samples, or samples without walk and window; and for a size that is none.
    DoesNotFitError
        When memory does not suffice.
    """
    return ArmFindings(
        costs=arm_costs(frame),
        events=vlpt_events(guest_memory),
        board=board_costs(),
        accepted=vlpt_acceptance(),
        defects=vlpt_defects(),
        guest_memory=guest_memory,
    )
