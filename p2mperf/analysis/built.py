"""Tables that are built to count in them, where the memory of this machine holds them."""

from __future__ import annotations

from p2mperf.designs import find
from p2mperf.designs.backing import KERNEL
from p2mperf.designs.base import Design
from p2mperf.guests.guest import Guest
from p2mperf.host.memory import require_memory


def built(design: str, guest: Guest, **options: object) -> Design:
    """Build a design's tables on the pages that its family's system has.

    Parameters
    ----------
    design : str
        Its name.
    guest : Guest
        Whose tables.
    **options
        What the design takes.

    Returns
    -------
    Design
        A context manager.

    Raises
    ------
    BadInputError
        For an unknown design, or a guest or option that it does not take.
    DoesNotFitError
        When memory does not suffice.
    """
    kind = find(design)
    kind.check_options(options)
    footprint = kind.predict_footprint(guest, KERNEL, **options)
    require_memory(footprint.memory_bytes + footprint.page_table_bytes, f"{design} of {guest.name}")
    return kind(guest, KERNEL, **options)
