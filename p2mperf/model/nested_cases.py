"""References of each kind of guest over each kind of host: computed, and counted by real walks."""

from __future__ import annotations

from typing import NamedTuple

from p2mperf.designs.hap.walk import HapWalk, HapWalk2m, HapWalk4k
from p2mperf.guests.guest import Guest
from p2mperf.model.nested import PAGINGS, GuestTables, WalkedP2m
from p2mperf.units import PAGE_SIZE

# Each of the guest's tables, and the data, lies in a region of 2 MiB of its own, whose entries in the host's
# L2 are a cache line apart: as many lines are touched as can be in a guest of 1 GiB.
TABLES = (0x2000, 0x4000, 0x6000, 0x8000)
DATA = 0xC345
PAGE = 0x8C345  # its place in its GiB is that of the data, so that it can be part of a page of any size


class NestedCase(NamedTuple):
    """One guest over one host.

    Attributes
    ----------
    guest_paging : str
        One of `p2mperf.model.nested.PAGINGS`.
    guest_page_bytes : int
        Page of the guest that is translated; 0 where its paging is off [bytes].
    host_tables_bytes, host_data_bytes : int
        Pages of the host under the guest's tables, and under the data [bytes].
    n_guest_levels : int
        Tables of the guest that are read: the references there are without nesting.
    n_computed, n_counted : int
        References by the formula, and of a walk.
    n_lines : int
        Cache lines that the walk touches, each once.
    """

    guest_paging: str
    guest_page_bytes: int
    host_tables_bytes: int
    host_data_bytes: int
    n_guest_levels: int
    n_computed: int
    n_counted: int
    n_lines: int


def nested_cases() -> list[NestedCase]:
    """Walk every kind of guest over hosts of one page size, and one over hosts of two.

    Returns
    -------
    list of NestedCase
        All pagings and their page sizes, over 4 KiB, 2 MiB and 1 GiB each; then a guest of 4 KiB pages whose
        tables lie in split regions of a host on 2 MiB, and one whose data does.

    Raises
    ------
    DoesNotFitError
        When memory does not suffice for the p2m of a guest of 1 GiB.
    """
    guest, cases = Guest.plain("1G", geometry="hap64"), []
    for design in (HapWalk4k, HapWalk2m, HapWalk):
        with design(guest) as p2m:
            cases += [
                _case(p2m, paging, order) for paging, shape in PAGINGS.items() for order in shape.orders
            ]
    # A neighbour in the same 2 MiB is given back, which splits them.
    for neighbours in ([gfn + 1 for gfn in TABLES], [DATA + 1]):
        with HapWalk2m(guest) as p2m:
            p2m.remove(neighbours)
            cases.append(_case(p2m, "4-level", 0))
    return cases


def _case(p2m: WalkedP2m, paging: str, order: int) -> NestedCase:
    tables, is_paged = GuestTables(p2m, paging, TABLES), paging != "off"
    if is_paged:
        tables.map(PAGE >> order << order, DATA >> order << order, order)
    page = PAGE if is_paged else DATA
    walk = tables.walk(page)
    below, data = (PAGE_SIZE << int(p2m.page_orders(gfn)[0]) for gfn in (TABLES[0], DATA))
    return NestedCase(
        guest_paging=paging,
        guest_page_bytes=PAGE_SIZE << order if is_paged else 0,
        host_tables_bytes=below if is_paged else data,
        host_data_bytes=data,
        n_guest_levels=sum(reference.dimension == "guest" for reference in walk.references),
        n_computed=tables.predict(page),
        n_counted=walk.n_references,
        n_lines=walk.n_lines,
    )
