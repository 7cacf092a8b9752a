"""What prepare_vlpt of the posted patch accepts and refuses, what it should, and what it overwrites.

Arithmetic of "xen/arm: Implement virtual-linear page table for guest p2m mapping in live migration" (v5 4/6,
xen-devel, 2013): a window of 128 MiB at 0x08000000, below VMAP, indexed by guest address from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2mperf.errors import BadInputError, DoesNotFitError, known
from p2mperf.units import GIB, MIB, PAGE_SIZE, format_size

WINDOW_START, WINDOW_END = 0x08000000, 0x10000000  # VIRT_LIN_P2M_START, VIRT_LIN_P2M_END = VMAP_VIRT_START
WINDOW_BYTES = WINDOW_END - WINDOW_START
LPAE_SHIFT = 9  # 12 bits of page less 3 bits of entry: bytes of entries for a span of addresses
FIRST_SLOT = WINDOW_START >> 21  # of xen_second: each entry maps 2 MiB, the entries of 1 GiB of guest
END_SLOT = WINDOW_END >> 21
N_SECOND = 1024  # entries of xen_second
SLOT_BYTES = 2 * MIB
INVALIDATIONS_PER_SLOT = SLOT_BYTES // PAGE_SIZE
CHECKS = ("correct", "as-posted")
_REACH = 1 << 40


@dataclass(frozen=True)
class Acceptance:
    """What one set of checks says of a guest.

    Attributes
    ----------
    accepted : bool
        Whether the window is prepared.
    refused_by : str
        Which check refused; empty where none did.
    required_bytes : int
        What that set of checks takes for the size of the guest's entries [bytes].
    first_slot, end_slot : int
        Entries of xen_second that are copied, end exclusive; equal when refused.
    overruns : tuple of str
        What is written or read beyond the window.
    """

    accepted: bool
    refused_by: str
    required_bytes: int
    first_slot: int
    end_slot: int
    overruns: tuple[str, ...] = ()

    @property
    def n_slots(self) -> int:
        return self.end_slot - self.first_slot

    @property
    def n_invalidations(self) -> int:
        """TLB invalidations of flush_vlpt: one for each 4 KiB of the slots."""
        return self.n_slots * INVALIDATIONS_PER_SLOT


def posted_verdict(start_bytes: int, end_bytes: int) -> Acceptance:
    """Judge a guest as the posted patch does.

    Parameters
    ----------
    start_bytes, end_bytes : int
        gma_start and gma_end: guest addresses of its RAM, end exclusive [bytes].

    Returns
    -------
    Acceptance
        The first check measures the RAM although the window is indexed from address 0; the second guards
        the end of xen_second, which the first already keeps out of reach; and one entry too many is copied
        where RAM ends on a GiB.

    Raises
    ------
    BadInputError
        For addresses that are no range of whole pages below 1 TiB.
    """
    _check_range(start_bytes, end_bytes)
    required = (end_bytes - start_bytes) >> LPAE_SHIFT
    first = FIRST_SLOT + (start_bytes >> 30)
    end = FIRST_SLOT + (end_bytes >> 30) + 1
    if required > WINDOW_BYTES:
        return Acceptance(False, "check 1", required, first, first)
    if end >= N_SECOND:
        return Acceptance(False, "check 2", required, first, first)
    return Acceptance(True, "", required, first, end, tuple(_overruns(end_bytes, first, end)))


def correct_verdict(start_bytes: int, end_bytes: int) -> Acceptance:
    """Judge a guest by where its last entry stands in the window; parameters as `posted_verdict`.

    Raises
    ------
    BadInputError
        As `posted_verdict`.
    """
    _check_range(start_bytes, end_bytes)
    required = end_bytes >> LPAE_SHIFT
    first = FIRST_SLOT + (start_bytes >> 30)
    if required > WINDOW_BYTES:
        return Acceptance(False, "end of the window", required, first, first)
    return Acceptance(True, "", required, first, FIRST_SLOT + -(-end_bytes >> 30))


def verdict(checks: str, start_bytes: int, end_bytes: int) -> Acceptance:
    """Judge a guest by one set of checks.

    Parameters
    ----------
    checks : str
        One of `CHECKS`.
    start_bytes, end_bytes : int
        As `posted_verdict`.

    Returns
    -------
    Acceptance

    Raises
    ------
    BadInputError
        For other checks, and as `posted_verdict`.
    """
    known("checks", checks, CHECKS)
    judge = posted_verdict if checks == "as-posted" else correct_verdict
    return judge(start_bytes, end_bytes)


def require(checks: str, start_bytes: int, end_bytes: int, what: str) -> Acceptance:
    """Return the verdict of a guest that is accepted.

    Parameters
    ----------
    checks : str
        One of `CHECKS`.
    start_bytes, end_bytes : int
        As `posted_verdict`.
    what : str
        How an error names the guest.

    Returns
    -------
    Acceptance

    Raises
    ------
    DoesNotFitError
        When it is refused: the patch's -ENOMEM.
    BadInputError
        As `verdict`.
    """
    found = verdict(checks, start_bytes, end_bytes)
    if not found.accepted:
        raise DoesNotFitError(
            f"-ENOMEM: the window holds {WINDOW_BYTES} bytes of entries ({format_size(WINDOW_BYTES)}) and "
            f"{what} requires {found.required_bytes} ({format_size(found.required_bytes)}), refused by "
            f"{found.refused_by} ({checks} checks): take a guest that ends below 64G, or arm-walk"
        )
    return found


def _overruns(end_bytes: int, first: int, end: int) -> list[str]:
    """Name what the posted checks let happen beyond the window."""
    needed = FIRST_SLOT + -(-end_bytes >> 30)
    found = []
    if end > needed:
        found.append(f"xen_second[{end - 1}]: one root entry too many")
    beyond = range(max(first, END_SLOT), end)
    if beyond:
        slots = f"xen_second[{beyond[0]}..{beyond[-1]}]"
        found.append(f"{slots}: overwrites VMAP, which begins with vmap's own bitmap")
    if end_bytes >> LPAE_SHIFT > WINDOW_BYTES:
        past = (end_bytes >> LPAE_SHIFT) - WINDOW_BYTES
        found.append(f"{past} bytes of entries lie behind the window, in VMAP")
    return found


def _check_range(start_bytes: int, end_bytes: int) -> None:
    for name, value in (("start", start_bytes), ("end", end_bytes)):
        if value % PAGE_SIZE:
            raise BadInputError(f"the {name} of guest memory, {value:#x}, is not page-aligned")
    if not 0 <= start_bytes < end_bytes:
        raise BadInputError(f"guest memory [{start_bytes:#x}, {end_bytes:#x}) is empty or reversed")
    if end_bytes > _REACH:
        raise BadInputError(f"guest memory ends at {end_bytes:#x}, above the 40 bits of stage-2 addresses")


SIZES_GIB = (0.25, 0.5, 0.75, 1, 2, 4, 8, 16, 32, 61, 62, 63, 64, 65, 128, 400)
BASES = (0, 2 * GIB)


def acceptance(
    bases: tuple[int, ...] = BASES, sizes_gib: tuple[float, ...] = SIZES_GIB
) -> list[dict[str, object]]:
    """Table of which guests the posted checks accept and what that costs, beside the correct ones.

    Parameters
    ----------
    bases : tuple of int
        RAM bases [bytes].
    sizes_gib : tuple of float
        RAM sizes [GiB].

    Returns
    -------
    list of dict
        One row a guest: ram_base_bytes, ram_bytes, required_bytes (as posted), needed_bytes (from address
        0), n_slots, first_slot, last_slot (-1 for none), n_invalidations, posted, correct, overwritten.
    """
    rows: list[dict[str, object]] = []
    for base in bases:
        for size in sizes_gib:
            n_bytes = int(size * GIB)
            posted = posted_verdict(base, base + n_bytes)
            correct = correct_verdict(base, base + n_bytes)
            rows.append(
                {
                    "ram_base_bytes": base,
                    "ram_bytes": n_bytes,
                    "required_bytes": posted.required_bytes,
                    "needed_bytes": correct.required_bytes,
                    "n_slots": posted.n_slots,
                    "first_slot": posted.first_slot if posted.n_slots else -1,
                    "last_slot": posted.end_slot - 1 if posted.n_slots else -1,
                    "n_invalidations": posted.n_invalidations,
                    "posted": "accepted" if posted.accepted else f"-ENOMEM ({posted.refused_by})",
                    "correct": "accepted" if correct.accepted else f"-ENOMEM ({correct.refused_by})",
                    "overwritten": "; ".join(posted.overruns),
                }
            )
    return rows
