"""A small guest in which every kind of leaf and mid occurs, as the package and as the oracle have it."""

from __future__ import annotations

import numpy as np
from design_names import PvName
from naive import LEAF_PAGES, PAGE, Oracle
from naive_life import Life

import p2mperf
from p2mperf.designs.base import Design
from p2mperf.designs.pv.scenarios import P2m
from p2mperf.guests.guest import Guest


def small_guest(entry_bits: int, n_mids: int = 3) -> Guest:
    """RAM, a hole inside a leaf, extra and missing RAM, then a mid of identity and mids of missing.

    In leaves of 512 frames (1024 at 32 bits):
      [0, 2.5) RAM; [2.5, 3.5) + 3 frames reserved; up to 20 RAM, of which 8 leaves are the maximum;
      a gap up to mid 2; RAM that will never have memory in mids 2 and above.
    Boot memory is 3 leaves: half a leaf of it is displaced to frame 3.5 leaves + 3.
    """
    leaf = LEAF_PAGES[entry_bits]
    hole = (leaf * 5 // 2, leaf * 7 // 2 + 3)
    pages = [
        (0, hole[0], "ram"),
        (*hole, "reserved"),
        (hole[1], 20 * leaf, "ram"),
        (2 * leaf * leaf, n_mids * leaf * leaf, "ram"),
    ]
    rows = [(first * PAGE, end * PAGE, kind) for first, end, kind in pages]
    geometry = f"pv{entry_bits}"
    return Guest.from_e820(
        rows, 3 * leaf * PAGE, 8 * leaf * PAGE, geometry=geometry, name=f"small-{entry_bits}"
    )


def oracle_of(guest: Guest, above: str = "identity") -> Oracle:
    """The oracle over the same rows, with the frames that the guest's machine gave it."""
    bits = guest.geometry.entry_bits
    rows = [(row.start, row.end, row.type) for row in guest.rows]
    blank = Oracle(rows, guest.n_boot_pages, guest.max_pages, bits, [(guest.n_boot_pages, 0)], above)
    pfns = [blank._pfn_of_boot_index(index) for index in range(guest.n_boot_pages)]
    mfns = guest.entries(np.array(pfns)).tolist()
    return Oracle(rows, guest.n_boot_pages, guest.max_pages, bits, [(1, mfn) for mfn in mfns], above)


def life_of(p2m: P2m, above: str = "identity") -> Life:
    """The judge of one built design."""
    return Life(oracle_of(p2m.guest, above), p2m.name, p2m.end_pfn, p2m.n_spare_left)


def build(design: PvName, entry_bits: int, **options: object) -> P2m:
    """One design of the small guest."""
    return p2mperf.build(design, small_guest(entry_bits), "kernel", **options)


def unused(p2m: Design, n_frames: int) -> list[int]:
    """Machine frames that no frame of the guest had at boot."""
    guest = p2m.guest
    ram = guest.runs.kind == 0
    runs = zip(guest.runs.first_mfn[ram].tolist(), guest.runs.n_frames[ram].tolist(), strict=True)
    taken = {mfn for first, n in runs for mfn in range(first, first + n)}
    return [mfn for mfn in range(guest.machine.n_frames) if mfn not in taken][:n_frames]
