"""What a stream of lookups is made of, counted, and how far a share may be off by chance."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from p2mperf import Guest
from p2mperf.guests.geometry import Kind


def kinds(guest: Guest, pfns: Any) -> list[int]:
    counted: list[int] = np.bincount(guest.entry_kinds(pfns), minlength=len(Kind)).tolist()
    return counted


def five_sigma(share: float, n_lookups: int) -> float:
    """Five standard deviations of a binomial share: a right stream exceeds this once in a million seeds."""
    return 5 * sqrt(share * (1 - share) / n_lookups)
