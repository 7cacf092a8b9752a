"""How long and how often a cell is timed: light, for those who plan it and those who do it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Settings:
    """How long and how often a cell is timed.

    Attributes
    ----------
    n_rounds : int
        Blocks over all designs.
    target_ns : int
        Wanted length of one timed pass [ns].
    min_lookups, max_lookups : int
        Bounds of the loop count, which all designs of a cell share.
    control : bool
        Time the first design twice, against itself: the noise floor.
    warm_up_ns : int
        How long a run's first process computes before it times anything [ns].
    """

    n_rounds: int = 6
    target_ns: int = 6_000_000
    min_lookups: int = 1 << 15
    max_lookups: int = 1 << 17
    control: bool = True
    warm_up_ns: int = 1_000_000_000

    def to_json(self) -> dict[str, int]:
        """Plain data, as an order has it."""
        return asdict(self)

    def changes(self) -> dict[str, int]:
        """Plain data, as far as it differs from the default: how a plan is told, whose key is made of it."""
        default = asdict(Settings())
        return {name: value for name, value in asdict(self).items() if value != default[name]}
