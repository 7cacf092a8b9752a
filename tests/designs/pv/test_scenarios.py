"""What was done to domUs in 2014: every step of every scenario, run, audited, against the oracle."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import pytest
from design_names import PV_DESIGNS, PvName
from naive import CONFIGURATIONS, boot_extents, machine_frames
from naive_scenarios import GIB_PAGES, JUDGES, RangeLife
from small_guests import small_guest

import p2mperf
from p2mperf.designs.pv.scenarios import SCENARIOS, Step, run_scenario
from p2mperf.errors import AuditError, BadInputError
from p2mperf.units import GIB

GUESTS = ("domu-64-8g", "domu-32-8g")
N_RANDOM_PFNS = 2000
# 16 GiB, in whole mids of 1 GiB and of 4 GiB.
END = 16 * GIB_PAGES
SPARE = 10**6

both = pytest.mark.parametrize("design", PV_DESIGNS)
guests = pytest.mark.parametrize("guest", GUESTS)
all_scenarios = pytest.mark.parametrize("name", SCENARIOS)


@cache
def judge_at_boot(guest: str, design: PvName) -> RangeLife:
    return RangeLife(CONFIGURATIONS[guest].oracle(boot_extents(guest)), design, END, SPARE)


def judge(guest: str, design: PvName) -> RangeLife:
    return judge_at_boot(guest, design).fresh(SPARE)


@cache
def asked(guest: str) -> list[int]:
    """Around every end of what is written, both ends of every leaf, the oracle's own, and random ones."""
    oracle = CONFIGURATIONS[guest].oracle(boot_extents(guest))
    ends = [3, 4, 8, 9, 16]
    around = [gib * GIB_PAGES + offset for gib in ends for offset in (-2, -1, 0, 1)]
    # The step across the limit begins half an eighth, 0.5 GiB, below it.
    around += [END - GIB_PAGES // 2 + offset for offset in (-1, 0, 1)]
    leaves = [pfn + at for pfn in range(0, END, oracle.leaf_pages) for at in (0, oracle.leaf_pages - 1)]
    choose = random.Random(guest)
    return [*around, *leaves, *oracle.boundaries(), *(choose.randrange(END) for _ in range(N_RANDOM_PFNS))]


def differences(p2m: Any, life: RangeLife, pfns: list[int]) -> list[tuple[int, str, str]]:
    answers, entry = p2m.lookup(np.array(pfns, np.uint64)).tolist(), life.as_it_is()
    wrong = [(pfn, a, entry(pfn)) for pfn, a in zip(pfns, answers, strict=True) if a != entry(pfn)]
    return [(pfn, hex(answer), hex(right)) for pfn, answer, right in wrong]


def took(step: Step) -> tuple[int, int, int]:
    return step.pages_after - step.pages_before, step.n_leaves_broken, step.n_mids_broken


@both
@guests
@pytest.mark.parametrize("name", ["balloon", "passthrough"])
def test_every_step_leaves_what_the_oracle_says(guest: str, design: PvName, name: str) -> None:
    life = judge(guest, design)
    expected = JUDGES[name](life, machine_frames(guest))
    n_before = (0, 0, 0)
    with p2mperf.build(design, guest, limit="16G") as p2m:
        assert differences(p2m, life, asked(guest)) == []
        for step, done in zip(run_scenario(name, p2m), expected, strict=True):
            assert (step.done, step.wanted) == (done, done), step.what
            n_now = (life.n_taken, life.n_broken["leaf"], life.n_broken["mid"])
            assert took(step) == tuple(n - m for n, m in zip(n_now, n_before, strict=True)), step.what
            n_before = n_now
            assert differences(p2m, life, asked(guest)) == [], step.what


@both
@guests
def test_a_restore_changes_every_mfn_and_nothing_else(guest: str, design: PvName) -> None:
    life = judge(guest, design)
    expected = JUDGES["save-restore"](life, machine_frames(guest))
    n_boot = life.boot.n_boot_pages
    with p2mperf.build(design, guest, limit="16G") as p2m:
        steps = []
        for step, done in zip(run_scenario("save-restore", p2m), expected, strict=True):
            assert (step.done, step.wanted) == (done, done), step.what
            steps.append(step)
            if step.what.startswith("restore"):
                break
            assert differences(p2m, life, asked(guest)) == [], step.what
        # The tools' tree is all that was taken.
        assert [took(step) for step in steps] == [(life.n_taken, 0, 0), *[(0, 0, 0)] * 3]
        mfns, other = p2m.lookup(np.arange(n_boot)), [pfn for pfn in asked(guest) if pfn >= n_boot]
        assert not [pfn for pfn in asked(guest) if pfn < n_boot and int(mfns[pfn]) == life.entry(pfn)]
        assert np.bincount(mfns.astype(np.int64)).max() == 1
        assert mfns.max() < machine_frames(guest)
        assert differences(p2m, life, other) == []
        assert np.array_equal(p2m.tools.read(), mfns)
        # It can be written again.
        assert p2m.balloon_down([0]).tolist() == [int(mfns[0])]


# What ballooning an eighth above the map takes, worked out by hand: 1 GiB is 262144 frames.
#   64 bits: 262144 / 512 = 512 leaves, a mid of its own for 8 to 9 GiB (a page of the tree, or of PTEs).
#   32 bits: 262144 / 1024 = 256 leaves in a mid of 4 GiB: a page of the tree, but two of PTEs.
ABOVE = {
    ("domu-64-8g", "pv-tree"): (512 + 1, 512, 1),
    ("domu-64-8g", "pv-linear"): (512 + 1, 512, 1),
    ("domu-32-8g", "pv-tree"): (256 + 1, 256, 1),
    ("domu-32-8g", "pv-linear"): (256 + 2, 256, 1),
}
# The tools' tree is 4 pages and one for each mid with memory: 8 of 1 GiB, or 2 of 4 GiB.
TOOLS = {"domu-64-8g": 4 + 8, "domu-32-8g": 4 + 2}
# A window shows the guest's leaves in one mapping, and each identity mid of 8 to 16 GiB (8, or 2) in one
# more. New leaves stand in the pool one after the other: one mapping. At 64 bits they fill their mid; at 32
# bits three quarters of it go on showing the hole.
MAPPINGS = {
    ("domu-64-8g", "pv-tree"): (0, 0),
    ("domu-32-8g", "pv-tree"): (0, 0),
    ("domu-64-8g", "pv-linear"): (1 + 8, 1 + 1 + 7),
    ("domu-32-8g", "pv-linear"): (1 + 2, 1 + 1 + 1 + 1),
}


@both
@guests
def test_what_scenarios_take_by_hand(guest: str, design: PvName) -> None:
    totals = {
        "balloon": (ABOVE[guest, design], MAPPINGS[guest, design]),
        "save-restore": ((TOOLS[guest], 0, 0), (MAPPINGS[guest, design][0],) * 2),
        "passthrough": (ABOVE[guest, design], MAPPINGS[guest, design]),
    }
    for name, (taken, mappings) in totals.items():
        steps = p2mperf.life(guest, name, design)
        assert steps["done"].tolist() == steps["wanted"].tolist()
        first, last = steps.iloc[0], steps.iloc[-1]
        n_taken = last["pages_after"] - first["pages_before"]
        assert (n_taken, *steps[["n_leaves_broken", "n_mids_broken"]].sum()) == taken, name
        assert (first["mappings_before"], last["mappings_after"]) == mappings, name
        # Each step begins where the one before it ended.
        for what in ("pages", "mappings"):
            assert steps[f"{what}_before"][1:].tolist() == steps[f"{what}_after"][:-1].tolist()


def test_how_many_frames_each_step_is_about() -> None:
    n_boot, n_hole = 8 * GIB_PAGES, GIB_PAGES
    expected = {
        "balloon": [n_boot // 2] * 4 + [n_boot // 8] * 3,
        "save-restore": [n_boot, n_boot, 1, n_boot, n_boot],
        # Behind the map of 8 GiB and 1 GiB of displaced memory, 16 GiB leave 7.
        "passthrough": [n_hole, n_hole, 7 * GIB_PAGES],
    }
    for name, n_frames in expected.items():
        steps = p2mperf.life("domu-64-8g", name, "pv-tree")
        assert steps["n_frames"].tolist() == n_frames
        assert (steps["elapsed_ns"] > 0).all()
        assert steps.columns.tolist() == ["guest", "scenario", "design", *Step._fields]
        assert steps[["guest", "scenario", "design"]].drop_duplicates().to_numpy().tolist() == [
            ["domu-64-8g", name, "pv-tree"]
        ]


# ---- other guests ----


@both
@pytest.mark.parametrize("guest", ["domu-64-2049m", "domu-32-512m", "dom0-32-e820", small_guest(64)])
@pytest.mark.parametrize("name", ["balloon", "save-restore"])
def test_what_needs_no_hole_happens_to_any_guest(guest: Any, design: PvName, name: str) -> None:
    # An odd size with padding, one mid in part, balloonable memory, identity between frames with memory.
    steps = p2mperf.life(guest, name, design, limit="8G")
    assert steps["done"].tolist() == steps["wanted"].tolist()


@both
@pytest.mark.parametrize("n_pages", [1, 7, 8, 9])
def test_the_smallest_guests(design: PvName, n_pages: int) -> None:
    guest = p2mperf.Guest.plain(n_pages * 4096)
    for name in ("balloon", "save-restore"):
        steps = p2mperf.life(guest, name, design, limit=GIB)
        assert steps["done"].tolist() == steps["wanted"].tolist(), name


@both
@pytest.mark.parametrize("guest", ["domu-32-512m", "domu-64-2049m", "dom0-64-8g"])
def test_a_guest_without_memory_in_the_hole_is_told_so(guest: str, design: PvName) -> None:
    with pytest.raises(BadInputError, match=f"needs memory from 3 to 4 GiB, which {guest} has not"):
        p2mperf.life(guest, "passthrough", design)


@both
@pytest.mark.parametrize(
    ("name", "limit", "enough"),
    [("balloon", "8G", "9G"), ("passthrough", 0, "9G"), ("passthrough", "8G", "9G")],
)
def test_a_limit_that_is_too_low_is_told_so(design: PvName, name: str, limit: Any, enough: str) -> None:
    with pytest.raises(BadInputError, match=f"no room above its map: set a limit of {enough} or more"):
        p2mperf.life("domu-64-8g", name, design, limit=limit)
    steps = p2mperf.life("domu-64-8g", name, design, limit=enough)
    assert (steps["done"] == steps["wanted"]).all()


@pytest.mark.parametrize(
    ("scenario", "design", "message"),
    [
        ("baloon", "pv-tree", "unknown scenario 'baloon': did you mean 'balloon'"),
        ("balloon", "pv-three", "unknown design 'pv-three': did you mean 'pv-tree'"),
        ("balloon", "arm-vlpt", "arm-vlpt cannot be written as a PV p2m is: take pv-tree"),
        ("balloon", "pv-linear-nested", "pv-linear-nested cannot be written"),
    ],
)
def test_what_is_no_scenario_or_has_no_life(scenario: str, design: PvName, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        p2mperf.life("domu-64-8g", scenario, design)
    if message.startswith("pv-linear-nested"):
        with p2mperf.build(design, "domu-64-2049m") as p2m, pytest.raises(BadInputError, match=message):
            run_scenario(scenario, p2m)


# ---- what goes wrong is seen ----


def steps_of(p2m: Any, name: str) -> list[Step]:
    return list(run_scenario(name, p2m))


@both
def test_a_lack_of_pages_is_a_step_that_was_not_done(design: PvName) -> None:
    # An eighth of 16 MiB is 2 MiB, the leaf behind the map: it needs a page, and there is none.
    with p2mperf.build(design, p2mperf.Guest.plain("16M"), limit="1G", n_spare=0) as p2m:
        steps = steps_of(p2m, "balloon")
    undone = [step.what for step in steps if step.done != step.wanted]
    assert undone == ["hotplug 2M above the map", "balloon that up"]


@both
def test_a_step_that_breaks_an_invariant_is_an_audit_error(
    design: PvName, monkeypatch: pytest.MonkeyPatch
) -> None:
    with p2mperf.build(design, p2mperf.Guest.plain("16M"), limit="1G") as p2m:
        steps = run_scenario("balloon", p2m)
        next(steps)
        p2m.pool.words(int(p2m.leaves[0]), np.uint64)[0] = p2m.lookup([1])[0]
        with pytest.raises(AuditError, match="mfns back two frames"):
            next(steps)


def leaves_one(p2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    give_up = p2m.balloon_down
    monkeypatch.setattr(p2m, "balloon_down", lambda pfns: np.append(give_up(pfns[:-1]), np.uint64(0)))


def keeps_mfns(p2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(p2m, "restore", lambda saved: setattr(p2m.store, "suspended", False))


def forgets_a_frame(p2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    restore = p2m.restore

    def forgetful(saved: Any) -> None:
        restore(saved)
        p2m.balloon_down([5])

    monkeypatch.setattr(p2m, "restore", forgetful)


def is_never_suspended(p2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    save = p2m.save

    def without_suspending() -> Any:
        saved = save()
        p2m.store.suspended = False
        return saved

    monkeypatch.setattr(p2m, "save", without_suspending)
    monkeypatch.setattr(p2m, "restore", lambda saved: None)


def shows_tools_another(p2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = p2m.lookup(np.arange(p2m.guest.n_boot_pages))
    monkeypatch.setattr(type(p2m.tools), "read", lambda tools: entries[::-1])


def hotplugs_anything(p2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hotplug = p2m.hotplug
    monkeypatch.setattr(p2m, "hotplug", lambda first, n: hotplug(first, n) or True)


@both
@pytest.mark.parametrize(
    ("fault", "name", "seen"),
    [
        (leaves_one, "balloon", ["balloon half down", "balloon it up, the same mfns"]),
        (hotplugs_anything, "balloon", ["hotplug across the limit"]),
        (keeps_mfns, "save-restore", ["restore on other mfns"]),
        (forgets_a_frame, "save-restore", ["restore on other mfns"]),
        (is_never_suspended, "save-restore", ["write while it is saved", "restore on other mfns"]),
        (shows_tools_another, "save-restore", ["tools read it"]),
    ],
)
def test_what_a_p2m_does_wrongly_is_seen(
    monkeypatch: pytest.MonkeyPatch, design: PvName, fault: Any, name: str, seen: list[str]
) -> None:
    with p2mperf.build(design, p2mperf.Guest.plain("16M"), limit="1G") as p2m:
        steps_of(p2m, name)  # compiled, and as it should be
    with p2mperf.build(design, p2mperf.Guest.plain("16M"), limit="1G") as p2m:
        fault(p2m, monkeypatch)
        wrong = [step.what for step in steps_of(p2m, name) if step.done != step.wanted]
    assert wrong[: len(seen)] == seen
