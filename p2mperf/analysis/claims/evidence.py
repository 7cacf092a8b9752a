"""Where claims take their numbers from: samples, replays, tables that are built for them, and arithmetic.

Claims ask for nothing else, so that a test which tampers with data puts another `Evidence`
in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from p2mperf.control import CONTROL
from p2mperf.shipped import REPLAYS, shipped
from p2mperf.sizing import limits

if TYPE_CHECKING:
    import pandas as pd

    from p2mperf.analysis.kernel_build.prediction import KernelBuild
    from p2mperf.designs.arm.posted_defects import Outcome
    from p2mperf.designs.arm.vlpt import ArmVlpt
    from p2mperf.designs.arm.walk import ArmWalk
    from p2mperf.designs.hap.door import HapOptions
    from p2mperf.designs.hap.linear import HapLinear
    from p2mperf.designs.hap.walk import HapWalk
    from p2mperf.designs.pv.linear import ListOptions, PvLinear
    from p2mperf.designs.pv.scenarios import P2m, Step
    from p2mperf.designs.pv.tree import PvTree, TreeOptions
    from p2mperf.guests.geometry import Geometry
    from p2mperf.guests.guest import Guest
    from p2mperf.model.nested_cases import NestedCase
    from p2mperf.model.published_build import PublishedTime
    from p2mperf.populating.populate import Populated

# Which of the shipped sweeps has measured the designs of a family.
_SWEEPS = {"pv": "shipped", "arm": "shipped", "hap": "shipped-hap"}
_RECORDING = "shipped-defconfig"


class NotMeasuredError(Exception):
    """These results have not measured what a claim is about."""


class Evidence:
    """What claims are decided from.

    Parameters
    ----------
    results : pandas.DataFrame, optional
        Samples, as `p2mperf.load` gives them; default: the sweeps that come with p2mperf.
    """

    def __init__(self, results: pd.DataFrame | None = None) -> None:
        self._results = results
        self._frames: dict[str, pd.DataFrame] = {}
        self._pairs: dict[tuple[str, ...], pd.DataFrame] = {}

    # ---- measured ----

    def samples(self, family: str) -> pd.DataFrame:
        """Samples that measured the designs of a family."""
        from p2mperf.results.export import load

        if self._results is not None:
            return self._results
        file = _SWEEPS[family]
        if file not in self._frames:
            self._frames[file] = load(shipped(file))
        return self._frames[file]

    def pairs(self, family: str, *designs: str) -> pd.DataFrame:
        """Compare designs cell by cell, in the layout that the family's system has.

        Parameters
        ----------
        family : str
            Theirs.
        *designs : str
            Which, and no others beside them.

        Returns
        -------
        pandas.DataFrame
            Rows as `p2mperf.summary` gives them.

        Raises
        ------
        NotMeasuredError
            When no cell has measured them together.
        """
        from p2mperf.analysis.summary import summary
        from p2mperf.designs.backing import KERNEL

        if designs not in self._pairs:
            frame = self.samples(family)
            chosen = frame["design"].str.removeprefix(CONTROL).isin(designs) & (frame["backing"] == KERNEL)
            self._pairs[designs] = summary(frame[chosen.fillna(False)])
        if self._pairs[designs].empty:
            raise NotMeasuredError(f"no cell with {' and '.join(designs)}, in the layout of their system")
        return self._pairs[designs]

    @cached_property
    def kernel_build(self) -> KernelBuild:
        """The commit's kernel build, by the recording and the replays that come with p2mperf."""
        from p2mperf.analysis.kernel_build.prediction import kernel_build
        from p2mperf.analysis.kernel_build.replay_file import read_replays
        from p2mperf.workload.recording_file import read_recording

        (replays,) = REPLAYS
        return kernel_build(read_recording(_RECORDING), read_replays(shipped(replays)))

    @cached_property
    def published_times(self) -> tuple[PublishedTime, ...]:
        """Lines of the commit's table: one run each."""
        from p2mperf.model.published_build import PUBLISHED_TIMES

        return PUBLISHED_TIMES

    # ---- built and read back ----

    def tree(self, guest: Guest, **options: Unpack[TreeOptions]) -> PvTree:
        """Build the tree of 3.18; `options` as `PvTree`."""
        from p2mperf.designs.pv.tree import PvTree

        return PvTree(guest, **options)

    def linear(self, guest: Guest, **options: Unpack[ListOptions]) -> PvLinear:
        """Build the list of 3.19; `options` as `PvLinear`."""
        from p2mperf.designs.pv.linear import PvLinear

        return PvLinear(guest, **options)

    def scenario(self, name: str, p2m: P2m) -> Iterator[Step]:
        """Let something happen to a PV p2m, and audit it after each step."""
        from p2mperf.designs.pv.scenarios import run_scenario

        return run_scenario(name, p2m)

    def walk(self, guest: Guest, **options: Unpack[HapOptions]) -> HapWalk:
        """Build a p2m with superpages, read by its tables; `options` as `HapWalk`."""
        from p2mperf.designs.hap.walk import HapWalk

        return HapWalk(guest, **options)

    def windows(self, guest: Guest, **options: Unpack[HapOptions]) -> HapLinear:
        """Build a p2m with superpages, read through windows; `options` as `HapLinear`."""
        from p2mperf.designs.hap.linear import HapLinear

        return HapLinear(guest, **options)

    def vlpt(self, guest: Guest) -> ArmVlpt:
        """Build the virtual-linear page table of an ARM guest."""
        from p2mperf.designs.arm.vlpt import ArmVlpt

        return ArmVlpt(guest)

    def arm_walk(self, guest: Guest) -> ArmWalk:
        """Build the table of an ARM guest, read as 32-bit Xen does."""
        from p2mperf.designs.arm.walk import ArmWalk

        return ArmWalk(guest)

    # ---- by arithmetic and models ----

    def geometry(self, name: str) -> Geometry:
        """Format of a table, by its name."""
        from p2mperf.guests.geometries import find_geometry

        return find_geometry(name)

    limits = staticmethod(limits)

    def populate(
        self, guest_memory: str, policy: str, *, fragmentation: float = 0.0, demand_4k: bool = False
    ) -> Populated:
        """Give a HAP guest its memory.

        Parameters
        ----------
        guest_memory, policy, fragmentation, demand_4k
            As `p2mperf.populate`.
        """
        from p2mperf.populating.populate import populate

        return populate(guest_memory, policy, fragmentation=fragmentation, demand_4k=demand_4k)

    @cached_property
    def references(self) -> list[NestedCase]:
        """References of two-dimensional walks, computed and counted."""
        from p2mperf.model.nested_cases import nested_cases

        return nested_cases()

    def posted(self, scenario: str, as_posted: bool) -> Outcome:
        """Run a scenario of the posted ARM patch on a model of CPUs, as posted or mended."""
        from p2mperf.designs.arm.posted_defects import run_scenario

        return run_scenario(scenario, as_posted)

    def acceptance(self) -> list[dict[str, Any]]:
        """Which ARM guests the posted checks accept, and which they should."""
        from p2mperf.designs.arm.checks import acceptance

        return acceptance()

    def board_ns(self, way: str) -> list[float]:
        """What finding an entry takes on the Arndale board, for each assumption and residency [ns]."""
        from p2mperf.model.arndale import ASSUMPTIONS, RESIDENCIES, find_ns

        return [find_ns(way, where, assumed) for assumed in ASSUMPTIONS.values() for where in RESIDENCIES]
