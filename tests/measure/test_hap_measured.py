"""What sweeps do to HAP p2ms is done, is undone, and costs what it must."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from design_names import AnyHapName

import p2mperf
from p2mperf.designs import find
from p2mperf.errors import P2mperfError
from p2mperf.guests.guest import Guest
from p2mperf.measure.engine import rehearse
from p2mperf.measure.operations.ability import why_not
from p2mperf.measure.operations.registry import find_operation
from p2mperf.streams import make_stream
from p2mperf.study.rehearsal import rehearsal_guest

OPERATIONS = ("split", "populate", "remove", "retype")
# 64 superpages a pass, of 128: so that neighbours and others are not the same.
GUEST = Guest.plain("256M", geometry="hap64")


@pytest.mark.parametrize("design", ["hap-walk", "hap-linear", "hap-walk-4k"])
@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_leaves_the_p2m_as_it_was(name: str, scattered: bool, design: AnyHapName) -> None:
    spec = find_operation(name)
    with p2mperf.build(design, GUEST) as p2m:
        if reason := why_not(spec, type(p2m), GUEST):
            assert (name, design, reason) == ("split", "hap-walk-4k", "hap-walk-4k has no superpages")
            return
        every = np.arange(p2m.end_gfn, dtype=np.uint64)
        leaves, before = p2m.leaves, p2m.lookup(every)
        operation: Any = spec.make()
        operation.begin({design: p2m}, 1000, np.random.default_rng(1) if scattered else None)
        frames = np.zeros(operation.n_fixed, np.uint64)
        for _ in range(3):
            timed, n_writes = operation.prepare(p2m, frames), p2m.counts["writes"]
            result = timed()
            written = p2m.counts["writes"] - n_writes
            # 512 entries and one above, and the one that is asked for; a whole leaf; 512 leaves of 4 KiB.
            large = {"split": 514, "retype": 514, "populate": 1, "remove": 1}
            small = {"populate": 512, "remove": 512, "retype": 1}
            assert written == 64 * (small if design == "hap-walk-4k" else large)[name]
            operation.finish(p2m, frames, result)
            assert p2m.leaves == leaves
            assert np.array_equal(p2m.lookup(every), before)
        assert operation.end({design: p2m})


def test_a_guest_without_enough_superpages_is_refused() -> None:
    with p2mperf.build("hap-walk", Guest.plain("64M", geometry="hap64")) as p2m:
        operation: Any = find_operation("split").make()
        with pytest.raises(P2mperfError, match="hap-64m has 32 whole superpages, and 64 are split"):
            operation.begin({"hap-walk": p2m}, 64, None)


@pytest.mark.parametrize("geometry", ["hap64", "hap-pae", "hap-nonpae"])
def test_every_operation_is_rehearsed_on_a_small_guest(geometry: str) -> None:
    small = rehearsal_guest(Guest.plain("1G", geometry=geometry))
    with p2mperf.build("hap-linear", small) as p2m:
        before = p2m.leaves
        for name in OPERATIONS:
            rehearse(name, p2m, partial(make_stream, "sequential", small))
        assert p2m.leaves == before
        p2m.audit()


def test_only_p2ms_with_superpages_are_asked() -> None:

    assert (
        why_not(find_operation("split"), find("pv-tree"), Guest.plain("64M")) == "pv-tree is not Superpaged"
    )
