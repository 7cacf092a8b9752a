"""Domains that share the window of an ARM host take turns, and go without leaving anything."""

from __future__ import annotations

import numpy as np
import pytest
from arm_guests import GIB, RAM_BITS

from p2mperf.designs.arm.vlpt import ArmVlpt
from p2mperf.errors import BadInputError
from p2mperf.guests.guest import Guest
from p2mperf.streams import make_stream


def test_two_traced_domains_share_the_window_and_take_turns() -> None:
    guests = [Guest.plain("1G", geometry="lpae", seed=seed) for seed in (1, 2)]
    gfns = make_stream("uniform", guests[0], 500)
    with ArmVlpt(guests[0]) as first, ArmVlpt(guests[1], domid=1, window=first.window) as second:
        events = first.window.events
        for domain, guest in ((first, guests[0]), (second, guests[1])) * 2:
            before = events.copy()
            assert np.array_equal(domain.lookup(gfns), guest.entries(gfns))
            # One GiB is one slot: compared, stored, and its 512 pages invalidated, between barriers.
            spent = {name: n for name, n in (events - before).items() if n}
            assert spent in ({"dsb": 2, "isb": 1, "compare": 1, "entry_store": 1, "tlbi": 512},)
        before = events.copy()
        second.restore()
        # Nothing to rewrite: the comparison and the barriers are the cost.
        assert dict(events - before) == {"dsb": 2, "isb": 1, "compare": 1}
        first.audit()
        second.audit()


def test_a_domain_that_goes_takes_only_its_own_slots() -> None:
    guests = [Guest.plain(size, geometry="lpae", seed=seed) for size, seed in (("3G", 1), ("1G", 2))]
    with ArmVlpt(guests[0]) as large:
        window = large.window
        with ArmVlpt(guests[1], domid=1, window=window) as small:
            # The small one is shown; slots 67 and 68 still show the large one, as the patch leaves them.
            assert np.flatnonzero(window.second).tolist() == [66, 67, 68]
            large.cleanup()
            assert np.flatnonzero(window.second).tolist() == [66]
            gfns = make_stream("uniform", guests[1], 500)
            assert np.array_equal(small.lookup(gfns), guests[1].entries(gfns))
            with pytest.raises(BadInputError, match="domid 1 shares this window"):
                ArmVlpt(guests[0], domid=1, window=window)
        assert not window.second.any()


def test_a_second_cleanup_gives_no_other_domain_s_domid_away() -> None:
    guests = [Guest.plain("16M", geometry="lpae", seed=seed) for seed in (1, 2)]
    with ArmVlpt(guests[0], domid=1) as first:
        first.cleanup()
        with ArmVlpt(guests[1], domid=1, window=first.window) as second:
            first.cleanup()
            # Theirs would look alike: each would find the other's frames.
            with pytest.raises(BadInputError, match="domid 1 shares this window"):
                first.prepare()
            gfns = make_stream("uniform", guests[1], 500)
            assert np.array_equal(second.lookup(gfns), guests[1].entries(gfns))
        first.prepare()


def test_the_last_entry_of_the_window() -> None:
    guest = Guest.plain(16 << 20, geometry="lpae", base=64 * GIB - (16 << 20))
    with ArmVlpt(guest) as p2m:
        # 64 GiB - 4 KiB is frame 2**24 - 1: 8 bytes before the end of 128 MiB.
        step = p2m.lookup_path((1 << 24) - 1).steps[0]
        assert step.address - p2m.window.base == (128 << 20) - 8
        p2m.audit()


def test_cleanup_leaves_nothing_behind() -> None:
    guest = Guest.plain("1G", geometry="lpae")
    gfn = int(guest.ram.first_pfn[0])
    with ArmVlpt(guest) as p2m:
        p2m.cleanup()
        assert not p2m.window.second.any()
        assert not p2m.copy.any()
        assert (p2m.first_slot, p2m.end_slot) == (0, 0)
        assert p2m.lookup([gfn]).tolist() == [0]
        p2m.prepare()
        assert np.array_equal(p2m.lookup([gfn]), guest.entries(np.array([gfn])))


def test_as_posted_checks_let_the_window_run_over() -> None:
    guest = Guest.plain("62G", geometry="lpae")
    with ArmVlpt(guest, checks="as-posted") as p2m:
        # Ends at 64 GiB exactly: slots 66 to 127 are right, and one more is copied, VMAP's first.
        assert (p2m.first_slot, p2m.end_slot) == (66, 129)
        assert [run.split(":")[0] for run in p2m.overruns] == ["xen_second[128]", "xen_second[128..128]"]
    with ArmVlpt(guest) as p2m:
        assert (p2m.first_slot, p2m.end_slot, p2m.overruns) == (66, 128, ())
        assert p2m.lookup([(64 * GIB >> 12) - 1])[0] & np.uint64(0xFFF) == RAM_BITS
