"""How long a plan is going to take, before anything is measured: arithmetic on its jobs.

The numbers below were read once from the shipped sweeps, of a virtual machine with two processors: cells from
what each took, processes and tables from what was left of whole plans. Other machines take twice or half as
long, and one whose free memory lies in pieces longer to build large tables. What a plan settles (visits,
slices, the length of a pass) is taken from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from p2mperf.measure.operations.registry import find_operation
from p2mperf.measure.rounds import whole_squares
from p2mperf.measure.settings import Settings
from p2mperf.results.keys import CellSpec
from p2mperf.study.jobs import Job, fixed_bytes

# A process: forked, with its share of the one that forks it; and one pass of each loop over a small guest.
PROCESS_NS = 600_000_000
# Filling tables and mapping them, the control's included.
BUILD_NS_PER_BYTE = 1.0
# A pass of the mean design, as the fastest one fills the wanted time.
PASS_RATIO = 1.3
# Untimed passes of a visit, and what else it has: its frames are made, its tables touched.
N_UNTIMED, VISIT_NS = 4, 8_000_000
# A visit by what one is of an operation that does a fixed amount; that to a whole table goes by its bytes.
FIXED_VISIT_NS = {"entry": 18_000_000, "frame": 48_000_000, "leaf": 28_000_000}
# The same of what undoes what it does to leaves.
UNDONE_VISIT_NS = 11_000_000
# Making a table anew; what only reads one takes less.
TABLE_NS_PER_BYTE = 0.4
# The ladder of a machine's latencies, once in a run that has it.
LADDER_NS = 8_000_000_000


@dataclass(frozen=True)
class Estimate:
    """How long something takes.

    Attributes
    ----------
    process_ns, build_ns, cells_ns : int
        Starting processes, building tables, and timing cells [ns].
    """

    process_ns: int
    build_ns: int
    cells_ns: int

    @property
    def total_ns(self) -> int:
        """All of it [ns]."""
        return self.process_ns + self.build_ns + self.cells_ns


def estimate(jobs: Iterable[Job], settings: Settings) -> Estimate:
    """Estimate how long jobs take, one after the other.

    Parameters
    ----------
    jobs : iterable of Job
        Those that fit their machine.
    settings : Settings
        How long and how often a cell is timed.

    Returns
    -------
    Estimate
        A process for each job; its tables by the bytes that are predicted; and of each cell its visits, by
        as many designs as there are, with their slices of passes.
    """
    work = list(jobs)
    return Estimate(
        PROCESS_NS * len(work),
        int(BUILD_NS_PER_BYTE * sum(_table_bytes(job, settings) for job in work)),
        sum(_cell_ns(job, cell, settings) for job in work for cell in job.cells),
    )


def _table_bytes(job: Job, settings: Settings) -> int:
    """Tables of a job's process, with those of controls [bytes]."""
    return job.need_bytes - fixed_bytes(settings)


def _cell_ns(job: Job, cell: CellSpec, settings: Settings) -> int:
    spec = find_operation(cell.operation)
    per = spec.per
    n_designs = len(job.unit.designs) + settings.control
    n_visits = n_designs * whole_squares(settings.n_visits, n_designs)
    if per == "table":
        return int(n_visits * TABLE_NS_PER_BYTE * _table_bytes(job, settings) / n_designs)
    if per == "leaf" and spec.keeps_tables:
        return n_visits * UNDONE_VISIT_NS
    if per in FIXED_VISIT_NS:
        return n_visits * FIXED_VISIT_NS[per]
    passes_ns = (settings.n_slices + N_UNTIMED) * PASS_RATIO * settings.target_ns
    return n_visits * (VISIT_NS + int(passes_ns))
