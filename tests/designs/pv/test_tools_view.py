"""What tools see: the whole p2m by machine frames, whole leaves as a count, and every change of a mapping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName
from naive import LEAF_PAGES
from small_guests import build, life_of, unused

import p2mperf
from p2mperf.designs.pv.linear import PvLinear
from p2mperf.errors import AuditError, BadInputError
from p2mperf.guests.guest import Guest

both = pytest.mark.parametrize("design", PV_DESIGNS)
widths = pytest.mark.parametrize("bits", [64, 32])


@both
@pytest.mark.parametrize("preset", ["dom0-64-e820", "dom0-32-e820", "domu-64-2049m", "domu-32-512m"])
def test_tools_read_what_the_guest_reads(design: PvName, preset: str) -> None:
    # Identity is not for tools: where a shared leaf means it they read INVALID, in a private one the entry.
    with p2mperf.build(design, preset) as p2m:
        seen = p2m.tools.read()
        pfns = np.arange(seen.size)
        entries = p2m.lookup(pfns)
        shared = np.repeat(
            p2m.leaf_state[: seen.size // p2m.guest.geometry.leaf_frames] != 0, p2m.guest.geometry.leaf_frames
        )
        assert (seen == np.where(shared, p2m.guest.geometry.invalid, entries)).all()
        assert seen.size % p2m.guest.geometry.leaf_frames == 0
        ram = p2m.guest.ram
        assert ram.end_pfn[-1] <= seen.size


@both
@widths
def test_whole_mids_that_are_shared_look_missing(design: PvName, bits: int) -> None:
    # Checklist 10. The small guest has one mid with leaves of its own, one all identity, one all missing.
    with build(design, bits) as p2m:
        tools = p2m.tools
        top = p2m.pool.words(tools._top, p2m.guest.geometry.dtype)
        missing = tools.mfn_of(tools._mid_missing)
        assert top[0] != missing
        assert (top[1:] == missing).all()
        assert p2m.store.taken == {"tools": 3, "shared_info": 1, "tools_mid": 1}
        p2m.audit()


@both
@widths
def test_the_tree_follows_each_leaf(design: PvName, bits: int) -> None:
    leaf = LEAF_PAGES[bits]
    with build(design, bits) as p2m:
        life = life_of(p2m)
        assert life.build_tools()
        p2m.tools.read()
        pfns = [12 * leaf, leaf**2 + 5, 2 * leaf**2 + leaf + 7]
        mfns = unused(p2m, 3)
        assert p2m.set(pfns, mfns).tolist() == [life.set(p, m) for p, m in zip(pfns, mfns, strict=True)]
        seen = p2m.tools.read()
        asked = [*pfns, *(pfn + 1 for pfn in pfns), 30 * leaf]
        assert seen[asked].tolist() == [life.seen_by_tools(pfn) for pfn in asked]
        assert p2m.store.taken["tools_mid"] == 3
        p2m.audit()


@widths
def test_the_generation_tells_changes_of_the_mapping(bits: int) -> None:
    # Checklist 10: even when idle, two more for each leaf and each page-table page put in, none for an entry.
    leaf = LEAF_PAGES[bits]
    with build("pv-linear", bits) as p2m:
        mfns = unused(p2m, 4)
        tools = p2m.tools
        assert tools.generation == 0
        p2m.set([0, 1], mfns[:2])
        p2m.balloon_down([5])
        assert tools.generation == 0
        p2m.set([12 * leaf], mfns[2])
        assert tools.generation == 2
        p2m.set([leaf**2], mfns[3])
        group = {64: 1, 32: 2}[bits]
        assert tools.generation == 2 + 2 * (group + 1)


@widths
def test_the_generation_is_odd_while_a_mapping_changes(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = LEAF_PAGES[bits]
    with build("pv-linear", bits) as p2m:
        assert isinstance(p2m, PvLinear)
        tools, seen = p2m.tools, []
        remap = p2m.window.remap

        def watched(*arguments: Any) -> None:
            seen.append(tools.generation)
            remap(*arguments)

        monkeypatch.setattr(p2m.window, "remap", watched)
        p2m.set([12 * leaf], unused(p2m, 1))
        assert (seen, tools.generation) == ([1], 2)


@both
@widths
def test_a_tree_has_no_linear_interface(design: PvName, bits: int) -> None:
    with build(design, bits) as p2m:
        info = p2m.tools.info
        if design == "pv-tree":
            assert (info["p2m_cr3"], info["p2m_vaddr"], info["p2m_generation"]) == (0, 0, 0)
            with pytest.raises(BadInputError, match="no linear list"):
                p2m.tools.read_linear()
            return
        assert int(info["p2m_vaddr"]) % (2 << 20) == 0
        assert (p2m.tools.read_linear() == p2m.tools.read()).all()
        p2m.set([12 * LEAF_PAGES[bits]], unused(p2m, 1))
        assert (p2m.tools.read_linear() == p2m.tools.read()).all()


@both
@widths
def test_the_count_grows_by_whole_leaves(design: PvName, bits: int) -> None:
    # 16 MiB at boot are whole leaves at either width; the count is an exclusive end.
    guest = Guest.plain("16M", geometry=f"pv{bits}")
    leaf = LEAF_PAGES[bits]
    with p2mperf.build(design, guest, limit="1G") as p2m:
        tools = p2m.tools
        assert tools.n_entries == 16 * 256
        p2m.set([20 * leaf], unused(p2m, 1))
        assert tools.n_entries == 21 * leaf
        p2m.set([17 * leaf], unused(p2m, 2)[1])
        assert tools.n_entries == 21 * leaf
        assert int(tools.read()[20 * leaf]) == unused(p2m, 1)[0]


@both
@widths
def test_an_odd_end_is_counted_up(design: PvName, bits: int) -> None:
    # 2049 MiB = 524544 pages: 1024 leaves of 512 and half a leaf; 512 of 1024 and a quarter.
    with p2mperf.build(design, Guest.plain("2049M", geometry=f"pv{bits}")) as p2m:
        assert p2m.tools.n_entries == {64: 1025 * 512, 32: 513 * 1024}[bits]


@both
def test_a_corrupt_tree_is_found(design: PvName) -> None:
    with build(design, 64) as p2m:
        tools = p2m.tools
        mid = p2m.pool.words(int(tools._mids[0]), np.uint64)
        mid[0], mid[1] = mid[1], mid[0]
        with pytest.raises(AuditError, match="tools see another leaf"):
            p2m.audit()
        mid[0] = 1
        with pytest.raises(AuditError, match="no page of the p2m"):
            tools.read()
