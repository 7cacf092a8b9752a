"""Where superpages of a HAP guest come from, how long they last, and what a split takes: all of it counted.

Guests are given memory by the domain builder, and tables are really built; nothing here is timed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from p2mperf.analysis.built import built
from p2mperf.errors import BadInputError, in_a_row, shown
from p2mperf.guests.guest import Guest
from p2mperf.populating.ballooning import count_runs, course, expected_survival
from p2mperf.populating.populate import Populated, populate
from p2mperf.populating.tables import MEGA
from p2mperf.units import real_number, whole_number

if TYPE_CHECKING:
    from p2mperf.designs.hap.walk import HapWalk

# Sizes of leaves, by their order.
_SIZES = {0: "4kib", 9: "2mib", 18: "1gib"}
# Which of them a table may have: what is allocated for the guest does not depend on it.
_MAY_HAVE = {
    "4 KiB": (False, False),
    "4 KiB and 2 MiB": (True, False),
    "4 KiB, 2 MiB and 1 GiB": (True, True),
}
# Walks of tables by their largest leaf.
_WALKS = {"1 GiB": "hap-walk", "2 MiB": "hap-walk-2m", "4 KiB": "hap-walk-4k"}
BROKEN_SHARES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
RELEASED_SHARES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
RUN_FRAMES = (1, 8, 64)


def _counted(given: Populated) -> dict[str, int]:
    """Leaves by size, and what the table takes."""
    leaves = {f"n_{name}": given.leaves[order] for order, name in _SIZES.items()}
    return {**leaves, "n_table_pages": given.tables.n_pages, "table_bytes": given.tables.n_bytes}


def superpage_leaves(guest_memory: str | int = "4G") -> pd.DataFrame:
    """Count the leaves of a guest's table, by the sizes that the table may have.

    Parameters
    ----------
    guest_memory : str or int
        The guest's memory, of a host whose memory is whole [bytes].

    Returns
    -------
    pandas.DataFrame
        A row for leaves of 4 KiB alone, with 2 MiB, and with 1 GiB as well: ``leaves`` says which;
        ``n_4kib``, ``n_2mib`` and ``n_1gib`` count them, ``n_table_pages`` and ``table_bytes`` the table;
        ``n_frames`` are those that are mapped, and ``is_as_predicted`` tells whether arithmetic on the memory
        map says the same.

    Raises
    ------
    BadInputError
        As `p2mperf.populate`.
    DoesNotFitError
        When the memory of this machine does not suffice.

    Examples
    --------
    >>> superpage_leaves("4G")["n_table_pages"].tolist()
    [2056, 9, 7]
    """
    rows = []
    for leaves, (hap_2mb, hap_1gb) in _MAY_HAVE.items():
        given = populate(guest_memory, hap_2mb=hap_2mb, hap_1gb=hap_1gb)
        predicted = given.predicted
        rows.append(
            {
                "leaves": leaves,
                **_counted(given),
                "n_frames": given.extents.n_frames,
                "is_as_predicted": (given.leaves, given.tables) == (predicted.leaves, predicted.tables),
            }
        )
    return pd.DataFrame(rows)


def superpage_supply(
    guest_memory: str | int = "4G", broken_shares: Iterable[float] = BROKEN_SHARES
) -> pd.DataFrame:
    """Say what leaves a guest gets from a host whose 2 MiB blocks are partly broken.

    Parameters
    ----------
    guest_memory : str or int
        The guest's memory [bytes].
    broken_shares : iterable of float
        Shares of the host's 2 MiB blocks that give no extent of 2 MiB any more.

    Returns
    -------
    pandas.DataFrame
        A row a share, ``broken_percent``: ``in_4kib_percent``, ``in_2mib_percent`` and ``in_1gib_percent`` of
        the guest's memory [%], ``n_failed_2mib`` extents that the builder asked for in vain,
        ``n_table_pages`` and ``table_bytes``.

    Raises
    ------
    BadInputError
        As `p2mperf.populate`.
    DoesNotFitError
        When the memory of this machine does not suffice.

    Examples
    --------
    >>> superpage_supply("1G", [0.0, 1.0])["in_4kib_percent"].round(1).tolist()
    [0.2, 100.0]
    """
    rows = []
    for share in in_a_row("shares", broken_shares):
        given = populate(guest_memory, fragmentation=share)
        of_memory = {
            f"in_{name}_percent": 100 * (given.leaves[order] << order) / given.extents.n_frames
            for order, name in _SIZES.items()
        }
        rows.append(
            {
                "broken_percent": 100 * float(share),
                **of_memory,
                "n_failed_2mib": given.failed[MEGA],
                "n_table_pages": given.tables.n_pages,
                "table_bytes": given.tables.n_bytes,
            }
        )
    return pd.DataFrame(rows)


def superpage_survival(
    guest_memory: str | int = "4G",
    released_shares: Iterable[float] = RELEASED_SHARES,
    run_frames: Iterable[int] = RUN_FRAMES,
    seed: int = 1,
) -> pd.DataFrame:
    """Count the superpages that are whole after a guest gave memory back, in a random order.

    Parameters
    ----------
    guest_memory : str or int
        The guest's memory, all of it in leaves of 2 MiB but for the edges [bytes].
    released_shares : iterable of float
        Shares of its memory that it has given back.
    run_frames : iterable of int
        Frames of the aligned runs in which it does, powers of two up to 512.
    seed : int
        Seed of the order.

    Returns
    -------
    pandas.DataFrame
        A row a share and length of runs: ``run_frames``, ``released_percent`` as it really came out,
        ``surviving_percent`` of the leaves of 2 MiB, and ``expected_percent`` by the closed form [%].

    Raises
    ------
    BadInputError
        For shares that are none, or lengths that are no power of two up to 512; and as `p2mperf.populate`.
    DoesNotFitError
        As `p2mperf.populate`.
    """
    leaves = populate(guest_memory, hap_1gb=False, seed=seed).extents
    n_2mib = leaves.n_by_order[MEGA]
    shares = np.array([_share(each) for each in in_a_row("shares", released_shares)])
    parts = []
    for n_frames in in_a_row("lengths of runs", run_frames):
        order = _run_order(n_frames)
        n_runs = count_runs(leaves, order)
        given = np.maximum(1, np.round(shares * n_runs)).astype(np.uint64)
        counted = course(leaves, given, order, seed)
        parts.append(
            pd.DataFrame(
                {
                    "run_frames": 1 << order,
                    "released_percent": 100 * counted.n_released / leaves.n_frames,
                    "surviving_percent": 100 * counted.n_2mb / n_2mib,
                    "expected_percent": 100 * expected_survival(n_runs, 1 << (MEGA - order), given),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _share(value: object) -> float:
    share = real_number(value, "a share of memory that is given back")
    if not 0 < share <= 1:
        raise BadInputError(f"a share of memory that is given back lies between 0 and 1, not {shown(value)}")
    return share


def _run_order(n_frames: object) -> int:
    number = whole_number(n_frames, "the frames of a run", 1, 1 << MEGA)
    if number & (number - 1):
        raise BadInputError(f"the frames of a run are a power of two up to {1 << MEGA}, not {number}")
    return number.bit_length() - 1


def superpage_splits(guest_memory: str | int = "2G", gfn: int = 5) -> pd.DataFrame:
    """Remove one frame from a guest whose leaves are as large as may be, and count what that takes.

    Parameters
    ----------
    guest_memory : str or int
        The guest's memory, all of it in leaves of one size [bytes].
    gfn : int
        The frame.

    Returns
    -------
    pandas.DataFrame
        A row for leaves of up to 1 GiB, 2 MiB and 4 KiB: ``leaf``, the largest; ``n_writes`` of entries,
        ``n_new_pages`` of the table and ``n_splits`` that it took; ``n_changed``, frames whose entry reads
        otherwise than before; and the leaves afterwards, ``n_4kib``, ``n_2mib`` and ``n_1gib``. Each table
        is audited.

    Raises
    ------
    BadInputError
        For a size that is none, and for a frame without memory.
    DoesNotFitError
        When memory does not suffice.
    AuditError
        When a table is broken afterwards.
    """
    guest = Guest.plain(guest_memory, geometry="hap64")
    rows = []
    for leaf, design in _WALKS.items():
        with built(design, guest) as p2m:
            rows.append({"leaf": leaf, **_removed(cast("HapWalk", p2m), gfn)})
            p2m.audit()
    return pd.DataFrame(rows)


def _removed(p2m: HapWalk, gfn: int) -> dict[str, int]:
    """Remove a frame, and look at every other one."""
    every = np.arange(p2m.guest.n_boot_pages)
    before, done = p2m.lookup(every), p2m.counts
    if not p2m.remove(gfn).all():
        raise BadInputError(f"frame {shown(gfn)} cannot be removed: it has no memory")
    took = {name: n - done[name] for name, n in p2m.counts.items()}
    leaves = p2m.leaves
    return {
        "n_writes": took["writes"],
        "n_new_pages": took["tables"],
        "n_splits": took["splits"],
        "n_changed": int(np.count_nonzero(p2m.lookup(every) != before)),
        **{f"n_{name}": leaves.get(order, 0) for order, name in _SIZES.items()},
    }
