"""Where the pages of a guest's stage-2 table stand: which are needed, and in which frames of the pool.

All of it is arithmetic on the guest's map, before any memory is taken.

LPAE: entries of 8 bytes, two concatenated root pages (40-bit guest addresses), second- and third-level pages
of 512 entries, leaves of 4 KiB only (xen/arch/arm/p2m.c as of November 2013; both root pages are used from
4.4 on). Entries that point to tables are without the write bit, as from 4.4 on: taken for a stage-1
descriptor, which is what the virtual-linear table does, that bit would mean read-only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest, require_guest
from p2mperf.guests.lpae import Lpae, Stage2
from p2mperf.memory.pool import Frames
from p2mperf.tables.radix import Level, Radix, Sharing, count_pages
from p2mperf.units import PAGE_SIZE, whole_number

ENTRIES = 512  # LPAE_ENTRIES
N_ROOT_PAGES = 2
FIRST_SHIFT, SECOND_SHIFT = 18, 9  # of a gfn: what one entry of the level covers, 1 GiB and 2 MiB
MAX_FRAMES = 1 << 28
REGION_FRAMES = 1 << 19  # 2 GiB: frames this far apart have one home among 1024 map slots of 2 MiB
DOMAIN_FRAMES = 1 << 22  # 16 GiB of machine memory for the tables of one domain
N_DOMAINS = MAX_FRAMES // DOMAIN_FRAMES
ADDRESS_MASK = np.uint64(((1 << 40) - 1) & ~(PAGE_SIZE - 1))
# What stands above the third level, whose entries are the guest's frames.
TABLE_SHAPE = Radix(
    (Level("second", ENTRIES), Level("root", N_ROOT_PAGES * ENTRIES)),
    slot_bytes=8,
    flags=Stage2.POINTS,
    kind_mask=Stage2.VALID | Stage2.TABLE,
    address_mask=int(ADDRESS_MASK),
)


class Layout(NamedTuple):
    """Which table pages a guest needs.

    Attributes
    ----------
    has_third : ndarray of bool, shape (n,)
        For each 2 MiB up to the end of the map: whether RAM lies in it.
    """

    has_third: NDArray[np.bool_]

    @property
    def n_third(self) -> int:
        return int(np.count_nonzero(self.has_third))

    def targets(self, third: Frames) -> Frames:
        """Page behind every slot of the second level, from those that are needed; -1 for none."""
        frames = np.full(self.has_third.size, -1, np.int64)
        frames[self.has_third] = third
        return frames


def plan_tables(guest: Guest) -> Layout:
    """Say which table pages a guest needs: those that map RAM, and their parents."""
    require_guest(guest)
    ram = guest.ram
    n_seconds = -(-int(ram.end_pfn[-1]) >> FIRST_SHIFT)
    has_third = np.zeros(n_seconds * ENTRIES, np.bool_)
    for first, end in zip(ram.first_pfn.tolist(), ram.end_pfn.tolist(), strict=True):
        has_third[first >> SECOND_SHIFT : (end - 1 >> SECOND_SHIFT) + 1] = True
    return Layout(has_third)


def predict_pages(guest: Guest) -> dict[str, int]:
    """Pages of a guest's table by kind, by arithmetic on the guest."""
    layout = plan_tables(guest)
    targets = layout.targets(np.arange(layout.n_third))
    return {"third": layout.n_third, **count_pages(targets, TABLE_SHAPE, Sharing())}


def check_options(name: str, guest: Guest, domid: int, n_regions: int) -> None:
    """Refuse a guest or options that tables cannot be laid out for.

    Parameters
    ----------
    name : str
        Design that an error names.
    guest : Guest
        Who the tables are for.
    domid, n_regions : int
        As `Stage2Table`.

    Raises
    ------
    BadInputError
        For a guest of another geometry, or a number out of range.
    """
    if not isinstance(guest.geometry, Lpae):
        raise BadInputError(
            f"{name} translates ARM guests, and {guest.name} is one of geometry {guest.geometry.name}: take "
            'Guest.plain(size, geometry="lpae")'
        )
    whole_number(domid, "domid", 0, N_DOMAINS - 1)
    whole_number(n_regions, "n_regions", 1)
    most = min(DOMAIN_FRAMES // REGION_FRAMES, plan_tables(guest).n_third)
    if not 1 <= n_regions <= most:
        raise BadInputError(f"n_regions {n_regions} must lie in [1, {most}] for {guest.name}")


def third_frames(guest: Guest, run_frames: int = 0, n_regions: int = 1) -> Frames:
    """Say in which pool frames a guest's third-level pages will stand.

    Parameters
    ----------
    guest : Guest
        An ARM guest.
    run_frames, n_regions : int
        As `Stage2Table`.

    Returns
    -------
    ndarray of int64
        Frames in order of guest addresses.
    """
    n_regions = whole_number(n_regions, "n_regions", 1, DOMAIN_FRAMES // REGION_FRAMES)
    page = np.arange(plan_tables(guest).n_third, dtype=np.int64)
    dealt = page % n_regions * REGION_FRAMES + page // n_regions
    return scattered(dealt, run_frames, guest.seed)


def region_pages(pages: dict[str, int], n_regions: int) -> list[int]:
    """Pages in each region: third-level ones dealt out, all others behind the last of them."""
    n_regions = whole_number(n_regions, "n_regions", 1, max(1, pages["third"]))
    parts = [len(range(region, pages["third"], n_regions)) for region in range(n_regions)]
    parts[-1] += sum(pages.values()) - pages["third"]
    return parts


def scattered(frames: Frames, run_frames: int, seed: int) -> Frames:
    """Put frames into runs of their own order, the runs in a random one.

    Parameters
    ----------
    frames : ndarray of int64
        Frames.
    run_frames : int
        Length of a run; 0 leaves all as they are [frames].
    seed : int
        Seed of the order.

    Returns
    -------
    ndarray of int64
        The same frames.
    """
    run_frames = min(whole_number(run_frames, "run_frames", 0), max(1, frames.size))
    if run_frames == 0:
        return frames
    order = np.random.default_rng(seed).permutation(-(-frames.size // run_frames))
    index = (order[:, None] * run_frames + np.arange(run_frames)).ravel()
    return frames[index[index < frames.size]]
