"""Faults of the published code that show at boot already: each beside the same guest without it."""

from __future__ import annotations

import numpy as np
import pytest
from small_guests import unused

import p2mperf
from p2mperf.designs.pv.quirks import BugError
from p2mperf.guests.guest import Guest


def test_identity_is_misnamed_at_boot() -> None:
    # Balloonable memory goes on at 2001 MiB = frame 512256 = 0x7d100, index 256 of the leaf of 512000: what
    # is before it there counts from 0x7d100 on, up to 0x7d100 + 255. 1024 MiB, where the other run begins,
    # is the first frame of a leaf, and hides it.
    wrong, right = [
        p2mperf.build("pv-linear", "dom0-64-e820", quirks=quirks)
        for quirks in (("identity-from-written-pfn",), ())
    ]
    with wrong, right:
        asked = [512000, 512255, 512256, 511999, 263424]
        assert [hex(entry) for entry in wrong.lookup(asked)] == [
            "0x400000000007d100",
            "0x400000000007d1ff",
            "0xffffffffffffffff",
            "0x400000000007cfff",
            "0x4000000000040500",
        ]
        assert [hex(entry) for entry in right.lookup(asked[:2])] == [
            "0x400000000007d000",
            "0x400000000007d0ff",
        ]
        right.audit()


def far_guest(*rows: tuple[str, str, str], maximum: str) -> Guest:
    """512 MiB of memory below holes of many mids of 4 GiB, at 32 bits."""
    return Guest.from_e820([(0, "512M", "ram"), *rows], "512M", maximum, geometry="pv32")


def test_half_a_window_is_not_healed() -> None:
    # An area of 20 GiB: mids of 2^20 frames, and halves of 2^19. Mid 2 is all identity.
    guest = far_guest(("512M", "19G", "reserved"), ("19G", "20G", "ram"), maximum="512M")
    invalid, identity = 2**32 - 1, 1 << 30
    first, second = 2 * 2**20, 2 * 2**20 + 2**19
    wrong, right = [p2mperf.build("pv-linear", guest, quirks=quirks) for quirks in (("half-window",), ())]
    with wrong, right:
        one, two = unused(wrong, 2)
        assert wrong.end_pfn == 20 * 2**18
        # The second of two new pages goes back: no slot had the one that it was to replace.
        for p2m, n_pages in ((wrong, 1), (right, 2)):
            assert p2m.set([first + 5], one).all()
            assert p2m.store.taken == {"pte": n_pages, "leaf": 1}
            assert p2m.lookup([first + 5, first]).tolist() == [one, first | identity]
        assert wrong.lookup([second]).tolist() == [invalid]
        for entry in (two, invalid, second | identity):
            with pytest.raises(BugError, match="never linked"):
                wrong.set([second], entry)
        with pytest.raises(BugError, match="never linked"):
            wrong.break_leaves(np.array([second // 1024]))
        assert right.lookup([second]).tolist() == [second | identity]
        assert right.set([second], two).all()
        right.audit()


@pytest.mark.parametrize("n_gib", [1, 4])
def test_half_a_window_stops_the_boot(n_gib: int) -> None:
    # RAM from 20 GiB on, mid 5, of which 3.5 GiB may be ballooned up to: both halves of the mid. With 1 GiB
    # it is 512 MiB, in the first half: then only that the second page cannot be freed stops the kernel.
    guest = far_guest(("512M", "20G", "reserved"), ("20G", "24G", "ram"), maximum=f"{n_gib}G")
    with pytest.raises(BugError, match="freed while booting" if n_gib == 1 else "never linked"):
        p2mperf.build("pv-linear", guest, quirks=("half-window", "early-free-bug"))
    for quirk in ("half-window", "early-free-bug"):
        if (n_gib, quirk) == (4, "half-window"):
            with pytest.raises(BugError, match="never linked"):
                p2mperf.build("pv-linear", guest, quirks=(quirk,))
            continue
        with p2mperf.build("pv-linear", guest, quirks=(quirk,)) as p2m:
            assert p2m.lookup([20 * 2**18]).tolist() == [2**32 - 1]
