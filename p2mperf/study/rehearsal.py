"""The small guest on which a unit tries everything before anything is timed."""

from __future__ import annotations

from p2mperf.guests.guest import Guest
from p2mperf.units import MIB

REHEARSAL_BYTES = 64 * MIB


def rehearsal_guest(guest: Guest) -> Guest:
    """Make a guest like `guest`, but small: its tables are a trifle, not so their mappings.

    Parameters
    ----------
    guest : Guest
        Whose geometry it has.

    Returns
    -------
    Guest
        With nothing but RAM.
    """
    return Guest.plain(min(REHEARSAL_BYTES, guest.memory_bytes), geometry=guest.geometry.name)
