"""The one budget of mappings: what vm.max_map_count leaves to windows, and what page tables grow to."""

from __future__ import annotations

import re
from pathlib import Path

from p2mperf.errors import DoesNotFitError, P2mperfError
from p2mperf.host.probes import Root, read_number, read_text

# Left to everything else in a process that has windows: libraries and compiled code that are loaded later,
# and memory that Python and numpy map meanwhile.
SPARE_MAPS = 4000


def max_maps(root: Root = "/") -> int:
    """Mappings that a process may have, vm.max_map_count.

    Raises
    ------
    P2mperfError
        When /proc does not tell.
    """
    limit = read_number(root, "proc/sys/vm/max_map_count")
    if limit is None:
        raise P2mperfError(f"no vm.max_map_count below {Path(root, 'proc')}")
    return limit


def n_maps_in_use(root: Root = "/") -> int:
    """Count this process' mappings.

    Raises
    ------
    P2mperfError
        When /proc does not tell.
    """
    try:
        with Path(root, "proc/self/maps").open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError:
        raise P2mperfError(f"no maps of this process below {Path(root, 'proc')}") from None


def n_maps_available(root: Root = "/", n_used: int | None = None) -> int:
    """Mappings that windows may still add: vm.max_map_count less those in use, and less `SPARE_MAPS`.

    Parameters
    ----------
    root : str or Path
        Where /proc is found.
    n_used : int, optional
        Mappings in use; default: those of this process. Who plans for another process says what that one
        will have.

    Returns
    -------
    int
        Number of mappings, not below 0.

    Raises
    ------
    P2mperfError
        When /proc does not tell.
    """
    limit = max_maps(root)
    return max(0, limit - (n_maps_in_use(root) if n_used is None else n_used) - SPARE_MAPS)


def require_maps(n_maps: int, what: str) -> None:
    """Refuse to start a mapping that the kernel would refuse half-way.

    Parameters
    ----------
    n_maps : int
        Mappings that are to be added.
    what : str
        Who needs them, as the sentence begins.

    Raises
    ------
    DoesNotFitError
        When fewer are available.
    """
    if n_maps > (available := n_maps_available()):
        raise DoesNotFitError(
            f"{what} needs {n_maps} mappings and {available} are left (vm.max_map_count {max_maps()}): raise "
            "it with sysctl vm.max_map_count, close other designs, or use a map with fewer holes"
        )


def page_table_bytes(root: Root = "/") -> int:
    """Page tables of this process, as the kernel counts them [bytes]; 0 where it does not."""
    found = re.search(r"^VmPTE:\s+(\d+) kB$", read_text(root, "proc/self/status") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
