"""How long and how often a cell is timed: light, for those who plan it and those who do it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Settings:
    """How long and how often a cell is timed.

    Attributes
    ----------
    n_visits : int
        Visits to each design, at least: all designs of a cell are visited equally often in each place of the
        order, so that there are some more where their number does not divide it.
    n_slices : int
        Timed passes of a visit, each over frames of its own.
    target_ns : int
        Wanted length of one timed pass of the fastest design [ns].
    min_lookups, max_lookups : int
        Bounds of the loop count, which all designs of a cell share. The upper one bounds memory, 8 bytes a
        lookup, and makes passes of sequential lookups that overlap shorter, 0.6 ms: their frames took longer
        to make than to look up.
    control : bool
        Time a second build of the first design too: what differs between the two is noise.
    warm_up_ns : int
        How long a run's first process computes before it times anything [ns].
    """

    n_visits: int = 3
    n_slices: int = 3
    target_ns: int = 1_600_000
    min_lookups: int = 1 << 13
    max_lookups: int = 1 << 20
    control: bool = True
    warm_up_ns: int = 1_000_000_000

    def to_json(self) -> dict[str, int]:
        """Plain data, as an order has it."""
        return asdict(self)

    def changes(self) -> dict[str, int]:
        """Plain data, as far as it differs from the default: how a plan is told, whose key is made of it."""
        default = asdict(Settings())
        return {name: value for name, value in asdict(self).items() if value != default[name]}
