"""What a notebook calls; thin, and imported only when used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from p2mperf.sizing import limits

if TYPE_CHECKING:
    from p2mperf.guests import Guest

__all__ = ["build", "designs", "limits"]


def designs() -> list[str]:
    """Names of all registered designs.

    Examples
    --------
    >>> designs()[:2]
    ['pv-tree', 'pv-linear']
    """
    from p2mperf.designs import registry

    return list(registry())


def build(design: str, guest: Guest | str, backing: str = "kernel", **options: Any) -> Any:
    """Build a design's tables for a guest.

    Parameters
    ----------
    design : str
        A name of `designs`.
    guest : Guest or str
        A guest, or the name of a preset.
    backing : str
        Page sizes of the views: "kernel" (direct map on 2 MiB, windows on 4 KiB pages), "small", "huge" or
        "swapped".
    **options
        What the design takes: ``above="invalid"``, ``max_domain_pages=...``, ``run_frames=...``

    Returns
    -------
    Design
        A context manager; its memory is given back on `close`.

    Raises
    ------
    BadInputError
        For an unknown design, guest or option.
    DoesNotFitError
        When memory or mappings do not suffice.

    Examples
    --------
    >>> with build("pv-tree", "domu-64-2049m") as p2m:
    ...     p2m.footprint().pages["leaf"]
    1025
    """
    from p2mperf.designs import find
    from p2mperf.guests import Guest

    kind = find(design)
    return kind(Guest.preset(guest) if isinstance(guest, str) else guest, backing, **options)
