"""Builds and closes designs again and again, and says what stays: started by test_build_close_cycles.

    python tests/support/build_close_cycles.py N_CYCLES DESIGN ...

Prints for each a line of JSON after two fifths of its cycles, and one after all of them: memory, mappings,
descriptors and threads of this process.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import own_process
from small_guests import small_guest

import p2mperf
from p2mperf.designs import find
from p2mperf.designs.arm.window import VlptWindow
from p2mperf.designs.capabilities import SharesWindow, Traceable, Writable
from p2mperf.errors import DoesNotFitError
from p2mperf.families import families
from p2mperf.guests.guest import Guest
from p2mperf.migration.tracing import Tracer

BACKINGS = ("kernel", "kernel", "mixed", "huge", "swapped")
PV_LAYOUTS: tuple[dict[str, Any], ...] = ({}, {"above": "invalid"}, {"run_frames": 3}, {"limit": "4G"})
ARM_LAYOUTS: tuple[dict[str, Any], ...] = ({}, {"run_frames": 1}, {"n_regions": 3}, {"domid": 5})
HAP_LAYOUTS: tuple[dict[str, Any], ...] = ({}, {"hap_2mb": False}, {"hap_1gb": False}, {"pool_pages": 600})
LAYOUTS = {"pv": PV_LAYOUTS, "arm": ARM_LAYOUTS, "hap": HAP_LAYOUTS}


def guests_of(family: str) -> list[Guest]:
    """Small ones, of each geometry of the family."""
    if family == "arm":
        rows = [("1G", "1030M", "ram"), ("3G", "3083M", "ram")]
        return [
            Guest.plain("16M", geometry="lpae"),
            Guest.plain("8M", geometry="lpae", base=(3 << 30) - (4 << 20), seed=3),
            Guest.from_e820(rows, "17M", geometry="lpae"),
        ]
    plain = [Guest.plain("16M", geometry=name) for name in families()[family].geometries]
    if family == "hap":
        return [*plain, Guest.plain("1030M", geometry="hap64", seed=2)]
    return [*plain, Guest.plain("24M", seed=2), small_guest(64), small_guest(32)]


def live_pv(p2m: Any, random: Random) -> None:
    """What may happen between building and closing."""
    p2m.lookup(np.arange(3000, dtype=np.uint64))
    p2m.mfn_to_pfn([7, 8])
    p2m.footprint(), p2m.views()
    can_be_written = isinstance(p2m, Writable)
    if not can_be_written:
        return
    life: Any = p2m
    freed = life.balloon_down(range(2000))
    life.balloon_up(range(1000, 2000), freed[:1000])
    life.set([0, 1, 5000], [freed[1000], freed[1001], p2m.guest.geometry.invalid])
    life.set_identity(1024, 700)
    life.hotplug(p2m.guest.covered_pfn - 600, 500)
    if random.random() < 0.5:
        life.tools.read()
    if random.random() < 0.5:
        life.restore(life.save(), random.randrange(9))
    if random.random() < 0.2:
        with p2m.again(n_spare=0) as other:
            try:
                other.tools  # noqa: B018
            except DoesNotFitError:
                other.lookup([0])
    p2m.audit()


def live_arm(p2m: Any, random: Random) -> None:
    """Others over the same tables and in the same window, closed in any order, and traced writes."""
    gfns = p2m.guest.ram.first_pfn[0] + np.arange(1500)
    others = [p2mperf.build(name, p2m.guest, like=p2m) for name in random.sample(ARM, 2)]
    shares_window = isinstance(p2m, SharesWindow)
    if shares_window:
        others.append(p2m.neighbour())
        others.append(find(p2m.name)(p2m.guest, domid=33, window=p2m.window))
        p2m.restore()
    for one in (p2m, *others):
        one.lookup(gfns)
        is_traceable = isinstance(one, Traceable)
        if is_traceable:
            tracer = Tracer(one)
            tracer.start()
            tracer.write(gfns)
            tracer.clean()
            tracer.stop()
    p2m.audit()
    if random.random() < 0.3:
        p2m.close()
    random.shuffle(others)
    for one in others:
        one.close()


def live_hap(p2m: Any, random: Random) -> None:
    """Superpages split and put back, pages moved and retyped."""
    p2m.lookup(np.arange(3000, dtype=np.uint64))
    p2m.footprint(), p2m.views()
    first = random.randrange(1000)
    mfns = p2m.lookup(np.arange(first, first + 600)) >> np.uint64(12)
    p2m.remove(np.arange(first, first + 600))
    p2m.add(np.arange(first, first + 600), mfns[::-1])
    p2m.change_type([first, 2000], "ram_rw", "ram_logdirty")
    p2m.change_type_global("ram_rw", "ram_ro")
    p2m.add(0, int(p2m.lookup([0])[0]) >> 12 >> 10 << 10, 10)
    p2m.audit()


ARM = [spec.name for spec in families()["arm"].designs]


def cycle(design: str, number: int, guests: list[Guest]) -> None:
    """One of them: guests by turns, all else by the number."""
    random, guest = Random(number), guests[number % len(guests)]
    kind = find(design)
    options = dict(random.choice(LAYOUTS[kind.family]))
    if kind.family == "arm":
        if design == "arm-vlpt" and random.random() < 0.3:
            # A window that lives longer than the domain in it.
            window = VlptWindow()
            with p2mperf.build(design, guest, window=window) as p2m:
                live_arm(p2m, random)
            window.close()
    elif "m2p_override" in kind.options:
        options |= {"m2p_override": random.random() < 0.3, "n_spare": random.choice((None, None, 40))}
    p2m = p2mperf.build(design, guest, random.choice(BACKINGS), **options)
    any_p2m: Any = p2m
    if random.random() < 0.5 and kind.family == "pv":
        any_p2m.m2p  # noqa: B018
    {"pv": live_pv, "arm": live_arm, "hap": live_hap}[kind.family](p2m, random)
    # Some are not closed, but forgotten.
    if random.random() < 0.8:
        p2m.close()


def counted() -> dict[str, Any]:
    """What this process holds, once Python and libc have given back what they have no use for.

    The heap is one mapping or many, as it happens: numpy asks for large pages for large arrays inside it.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return {
        "anonymous_bytes": own_process.status_bytes("RssAnon"),
        "shared_bytes": own_process.status_bytes("RssShmem"),
        "page_table_bytes": own_process.status_bytes("VmPTE"),
        "mappings": own_process.n_areas(but="[heap]"),
        "held_mappings": own_process.n_held_areas(),
        "descriptors": sorted(own_process.descriptors()),
        "threads": own_process.n_threads(),
    }


def main(design: str, n_cycles: int) -> Iterator[dict[str, Any]]:
    """Go through the cycles, and count after two fifths of them and at the end.

    Python's table of interned strings is made anew once, a MiB larger, between cycle 100 and cycle 200.
    """
    guests = guests_of(find(design).family)
    if design == "pv-linear-nested":  # it stands in the guest's own memory
        guests = [guest for guest in guests if guest.n_boot_pages > 4000]
    for number in range(n_cycles):
        if number == 2 * n_cycles // 5:
            yield counted()
        cycle(design, number, guests)
    yield counted()


if __name__ == "__main__":
    for asked in sys.argv[2:]:
        for told in main(asked, int(sys.argv[1])):
            sys.stdout.write(json.dumps(told) + "\n")
