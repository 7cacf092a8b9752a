"""Plans: what is in them, what a user may change, and what of it every guest can serve."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from p2mperf.cli import main
from p2mperf.designs import find, registry
from p2mperf.designs.backing import NAMES as BACKINGS
from p2mperf.errors import BadInputError
from p2mperf.families import families, find_family
from p2mperf.guests.geometries import find_geometry, geometries
from p2mperf.measure.operations.registry import lookups, operations
from p2mperf.results.keys import fingerprint
from p2mperf.streams import STREAMS
from p2mperf.study import plans
from p2mperf.study.executors.base import Knees
from p2mperf.study.jobs import PROCESS_BYTES, jobs, stream_bytes
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import PLANS, Plan, make_plan, wants_knees
from p2mperf.study.specs import GuestSpec, StreamSpec, designs_of, parse_stream
from p2mperf.units import GIB, MIB, PAGE_SIZE

QUICK = make_plan("quick")


def names(plan: Plan) -> list[str]:
    return [guest.name for guest in plan.guests]


# ---- the named plans ----


def test_the_quick_plan() -> None:
    assert names(QUICK) == ["pv-64-512m", "pv-64-8g", "pv-32-512m", "arm-1g", "hap-1g"]
    assert QUICK.backings == ("kernel",)
    assert QUICK.operations == ("latency", "throughput")


def test_the_default_plan_has_all_that_was_promised() -> None:
    plan = make_plan("default")
    sizes = {(find_geometry(guest.geometry).entry_bits, guest.n_bytes // MIB) for guest in plan.guests}
    # 512 MiB to 400 GiB, both widths, a size that is no whole GiB
    assert {(64, 512), (64, 400 * 1024), (32, 512), (32, 43 * 1024), (64, 2049)} <= sizes
    # The two ends of locality; what lies between them is measured by the full plan alone.
    assert {stream.name for stream in plan.streams} == {"sequential", "uniform"}
    assert {stream.name for stream in make_plan("full").streams} == set(STREAMS)
    assert {"dom0-64-e820", "dom0-32-e820"} <= {guest.name for guest in plan.guests}
    looked_up = [cell for job in jobs(plan) if not job.unit.replicate for cell in job.cells]
    assert sum(cell.operation in lookups() for cell in looked_up) >= 60
    assert plan.n_replicates == make_plan("full").n_replicates == 9
    assert QUICK.n_replicates == 6  # the fewest that there can be a verdict of
    assert any(stream.hole_fraction for stream in plan.streams)
    assert any(stream.identity_fraction for stream in plan.streams)
    # Every stream that leaves RAM finds a guest that has such frames.
    asked = {stream for unit in plan.units() for stream, _ in plan.cells(unit.guest.build(unit.seed))}
    assert asked == set(plan.streams)


@pytest.mark.parametrize("name", ["quick", "default", "full"])
def test_every_family_takes_part(name: str) -> None:
    designs = {design for unit in make_plan(name).units() for design in unit.designs}
    headlines = {design for design, spec in registry().items() if spec.headline}
    # HAP's superpages are a question of their own, which the full plan asks too.
    by_order = {f"hap-{way}-{leaf}" for way in ("walk", "linear") for leaf in ("2m", "4k")}
    assert designs == headlines | (by_order if name == "full" else set())


def test_a_plan_of_hap_compares_all_sizes_of_leaves_within_a_process() -> None:
    plan = make_plan("hap")
    every = tuple(spec.name for spec in find_family("hap").designs)
    assert {unit.designs for unit in plan.units()} == {every}
    sizes = {guest.n_bytes // GIB for guest in plan.guests if guest.n_bytes}
    assert sizes == {1, 16, 64}
    (broken,) = (guest.build(1).extents for guest in plan.guests if not guest.n_bytes)
    assert set(broken.n_by_order) == {0, 9}
    for guest in plan.guests:
        cells = {(stream.name, operation) for stream, operation in plan.cells(guest.build(1))}
        changes = product(("sequential", "uniform"), ("split", "populate", "remove", "retype"))
        looked_up = product(("sequential", "uniform"), lookups())
        assert cells == {*changes, *looked_up, ("uniform", "entry")}


def test_an_entry_into_xen_is_measured_with_and_without_the_flush_that_it_may_not_have() -> None:
    cells = [cell for job in jobs(make_plan("default")) if job.id.geometry == "hap64" for cell in job.cells]
    assert {cell.preamble for cell in cells if cell.operation == "entry"} == {"8M", "flush+8M"}


@pytest.mark.parametrize(
    ("geometry", "entry_bytes", "limit"), [("pv64", 8, 400 * GIB), ("pv32", 4, 64 * GIB)]
)
def test_the_full_plan_has_points_on_both_sides_of_a_knee(
    geometry: str, entry_bytes: int, limit: int
) -> None:
    # Lists of 1 MiB and 12 MiB: 0.5 and 6 GiB of guest at 64 bit, twice that at 32 bit.
    knees = [1 * MIB, 12 * MIB]
    plan = make_plan("full", knees)
    lists = [
        g.n_bytes // PAGE_SIZE * entry_bytes for g in plan.guests if g.geometry == geometry and g.n_bytes
    ]
    for knee in knees:
        assert sum(knee / 3 < n < knee for n in lists) >= 2
        assert sum(knee < n < knee * 3 for n in lists) >= 2
    assert max(g.n_bytes for g in plan.guests if g.geometry == geometry) <= limit
    assert plan.backings == BACKINGS


def test_a_knee_beyond_all_guests_adds_none() -> None:
    # 64 GiB of list is 32 TiB of guest.
    assert make_plan("full", [64 * GIB]).guests == make_plan("full").guests


def test_names_in_plans_are_those_of_their_rooms() -> None:
    for plan in map(make_plan, PLANS):
        assert set(plan.backings) <= set(BACKINGS)
        assert set(plan.operations) <= set(operations())
        assert {stream.name for stream in plan.streams} <= set(STREAMS)


def test_an_unknown_plan_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInputError, match="unknown plan 'quik': did you mean 'quick'"):
        make_plan("quik")


# ---- what a plan is made of ----


def test_replicates_go_round_all_guests_before_they_repeat() -> None:
    plan = narrow(QUICK, sizes=["16M", "32M"], backings=["swapped", "huge"], n_replicates=2)
    units = [(unit.replicate, unit.guest.name, unit.backing) for unit in plan.units()]
    once = [(guest, backing) for guest in ("pv-64-16m", "pv-64-32m") for backing in ("swapped", "huge")]
    assert units == [(replicate, *rest) for replicate in (0, 1) for rest in once]


@pytest.mark.parametrize(
    ("geometry", "design", "expected"),
    [
        ("pv64", "pv-linear", ["kernel", "mixed", "huge", "swapped"]),
        ("pv32", "pv-tree", ["kernel", "mixed", "huge", "swapped"]),
        ("lpae", "arm-vlpt", ["kernel", "small", "huge", "swapped"]),
    ],
)
def test_every_layout_is_measured_once(geometry: str, design: str, expected: list[str]) -> None:
    full = [guest for guest in make_plan("full").units() if guest.guest.geometry == geometry]
    first = [unit.backing for unit in full if unit.replicate == 0 and unit.guest == full[0].guest]
    assert first == expected
    pages = [find(design).backing_of(name)[1:] for name in BACKINGS]
    assert len(set(pages)) == len(expected)
    assert [find(design).backing_of(name)[1:] for name in expected] == list(dict.fromkeys(pages))


def test_what_the_kernel_has_is_measured_as_kernel_whatever_it_is_called() -> None:
    both = narrow(QUICK, sizes=["16M"], backings=["small", "kernel", "mixed"], n_replicates=1)
    assert [unit.backing for unit in both.units()] == ["kernel", "mixed"]
    # What has pages of its own has one layout.
    paged = narrow(make_plan("full"), sizes=["16M"], designs=["pv-tree-4k", "pv-tree-2m"], n_replicates=1)
    assert [unit.backing for unit in paged.units()] == ["kernel"]
    arm = narrow(QUICK, sizes=["1G"], designs=["arm-vlpt"], backings=["mixed", "small"], n_replicates=1)
    assert [unit.backing for unit in arm.units()] == ["kernel", "small"]


def test_every_replicate_has_a_seed_of_its_own() -> None:
    plan = replace(narrow(QUICK, sizes=["16M"], n_replicates=3), seed=11)
    assert [unit.seed for unit in plan.units()] == [11, 12, 13]


def test_a_guest_serves_the_streams_it_has_frames_for() -> None:
    plan = make_plan("default")
    served = {
        name: {stream for stream, _ in plan.cells(GuestSpec.preset(name).build(1))}
        for name in ("dom0-64-e820", "domu-64-8g", "domu-64-2049m")
    }
    assert served["dom0-64-e820"] == set(plan.streams)
    plain = {stream for stream in plan.streams if not stream.hole_fraction and not stream.identity_fraction}
    assert served["domu-64-8g"] == plain
    # 2049 MiB end in half a leaf: 256 frames of padding are less than a leaf, too few to measure holes with.
    assert served["domu-64-2049m"] == plain


def test_keys_never_coincide_within_a_plan() -> None:
    keys = Counter(key for job in jobs(make_plan("default")) for key in job.keys)
    assert set(keys.values()) == {1}


def test_a_need_covers_the_tables_and_their_process() -> None:
    (job,) = jobs(narrow(QUICK, sizes=["8G"], n_replicates=1, designs=["pv-tree"]))
    # 8 GiB are 4096 leaves of 4 KiB; 8 mids, two shared ones, a top and two shared leaves fit in 2 MiB more.
    tables = 4096 * PAGE_SIZE + 2 * MIB
    assert tables < job.need_bytes - PROCESS_BYTES - stream_bytes(QUICK.settings) < tables * 1.01
    assert job.id.entry_bits == 64
    assert job.id.guest_pages == 2097152


def test_a_plan_has_a_fingerprint_of_all_its_parts() -> None:
    base = narrow(QUICK, sizes=["16M"], n_replicates=2)
    assert json.loads(json.dumps(base.as_dict())) == json.loads(json.dumps(base.as_dict()))
    others: list[Plan] = [
        replace(base, name="full"),
        replace(base, guests=base.guests * 2),
        replace(base, backings=("huge",)),
        replace(base, streams=base.streams[:1]),
        replace(base, operations=("latency",)),
        replace(base, designs=("pv-tree",)),
        replace(base, n_replicates=3),
        replace(base, seed=2),
        replace(base, settings=replace(base.settings, control=True)),
    ]
    prints = [fingerprint(plan.as_dict()) for plan in [base, *others]]
    assert len(set(prints)) == 10
    assert fingerprint(narrow(QUICK, sizes=["16M"], n_replicates=2).as_dict()) == prints[0]


# ---- guests by name ----


def test_a_spec_builds_what_it_names() -> None:
    guest = GuestSpec.preset("dom0-32-e820").build(5)
    assert (guest.name, guest.geometry.name, guest.seed) == ("dom0-32-e820", "pv32", 5)
    plain = GuestSpec.plain("16M", "pv32")
    assert plain.build(5).n_boot_pages == 4096
    assert plain.family == "pv"


def test_every_geometry_belongs_to_a_family() -> None:
    for geometry in geometries():
        assert GuestSpec("x", geometry).family in families()


def test_headline_designs_take_part_unasked() -> None:
    assert designs_of("pv", ()) == ("pv-tree", "pv-linear")
    assert designs_of("pv", ["pv-linear-nested", "pv-tree"]) == ("pv-tree", "pv-linear-nested")
    assert designs_of("pv", ["arm-walk"]) == ()


# ---- narrowing ----


def test_narrowing_replaces_what_is_named() -> None:
    plan = narrow(
        QUICK,
        guests=["dom0-64-e820"],
        sizes=["16M"],
        designs=["pv-tree", "pv-linear-nested"],
        streams=["uniform:hole=0.5", "zipf"],
        operations=["latency"],
        backings=["huge"],
        n_replicates=2,
        control=True,
    )
    assert names(plan) == ["dom0-64-e820", "pv-64-16m"]
    assert plan.designs == ("pv-tree", "pv-linear-nested")
    assert plan.streams == (StreamSpec("uniform", hole_fraction=0.5), StreamSpec("zipf"))
    assert (plan.operations, plan.backings, plan.n_replicates) == (("latency",), ("huge",), 2)
    assert plan.settings.control


def test_narrowing_by_nothing_changes_nothing() -> None:
    assert narrow(QUICK) == QUICK


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"entry_bits": 32}, ["pv-32-512m"]),
        ({"entry_bits": 64}, ["pv-64-512m", "pv-64-8g", "arm-1g", "hap-1g"]),
        ({"sizes": ["16M"], "entry_bits": 32}, ["pv-32-16m"]),
        ({"sizes": ["16M"]}, ["pv-64-16m"]),
        ({"sizes": ["1G", "1024M"]}, ["pv-64-1g"]),
        ({"sizes": ["1G"], "designs": ["arm-walk"]}, ["arm-1g"]),
        ({"sizes": ["1G"], "designs": ["arm-walk", "pv-tree"]}, ["arm-1g", "pv-64-1g"]),
    ],
)
def test_sizes_and_widths(options: dict[str, Any], expected: list[str]) -> None:
    assert names(narrow(QUICK, **options)) == expected


def test_a_size_means_a_guest_of_what_the_plan_measures() -> None:
    assert names(narrow(make_plan("hap"), sizes=["1G", "2G"])) == ["hap-1g", "hap-2g"]
    assert names(narrow(make_plan("hap"), sizes=["1G"], designs=["pv-tree"])) == ["pv-64-1g"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guests": ["domu-64-8"]}, "unknown guest 'domu-64-8': did you mean 'domu-64-8g'"),
        ({"designs": ["pv-lineal"]}, "unknown design 'pv-lineal': did you mean 'pv-linear'"),
        ({"streams": ["zip"]}, "unknown stream 'zip': did you mean 'zipf'"),
        ({"operations": ["through"]}, "unknown operation 'through': did you mean 'throughput'"),
        (
            {"backings": ["tiny"]},
            r"unknown page backing 'tiny': \(known: kernel, mixed, small, huge, swapped\)",
        ),
        ({"sizes": ["0"]}, "'0' is not a size"),
        ({"sizes": ["6K"]}, "'6K' is 1.5 pages"),
        ({"sizes": ["65G"], "entry_bits": 32}, "a 32-bit guest has at most 64G, not 65G: use 64-bit entries"),
        ({"entry_bits": 16}, "entries have 32 or 64 bits, not 16"),
        ({"n_replicates": 0}, "0 replicates: at least one process must measure"),
        ({"n_replicates": -3}, "-3 replicates"),
        ({"guests": ["domu-64-8g"], "entry_bits": 32}, "no chosen guest has 32-bit entries"),
        ({"sizes": ["1G"], "entry_bits": 32, "designs": ["arm-walk"]}, "no chosen guest has 32-bit"),
    ],
)
def test_what_cannot_be_measured_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        narrow(QUICK, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"streams": ["uniform", "uniform:hole=0"]},
        {"operations": ["latency", "latency"]},
        {"backings": ["huge", "huge"]},
        {"designs": ["pv-tree", "pv-linear", "pv-tree"]},
        {"guests": ["dom0-64-e820", "dom0-64-e820"]},
    ],
)
def test_what_is_named_twice_is_measured_once(options: dict[str, Any]) -> None:
    work = list(jobs(narrow(QUICK, n_replicates=1, **{"sizes": ["16M"], **options})))
    keys = [key for job in work for key in job.keys]
    assert len(keys) == len(set(keys))
    assert all(len(job.unit.designs) == len(set(job.unit.designs)) for job in work)


# ---- streams ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zipf", StreamSpec("zipf")),
        ("uniform:hole=0.5", StreamSpec("uniform", 0.5)),
        ("uniform:identity=0.25,hole=0.75", StreamSpec("uniform", 0.75, 0.25)),
        ("leaf-stride:", StreamSpec("leaf-stride")),
        ("uniform:hole=0.5,pattern=runs", StreamSpec("uniform", 0.5, hole_pattern="runs")),
        ("uniform:pattern=runs,identity=0.5", StreamSpec("uniform", 0.0, 0.5, "runs")),
        ("uniform:hole=0.5,pattern=random", StreamSpec("uniform", 0.5)),
    ],
)
def test_streams_as_they_are_written(text: str, expected: StreamSpec) -> None:
    assert parse_stream(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unifrom", "unknown stream 'unifrom': did you mean 'uniform'"),
        ("uniform:holes=0.5", "unknown option of stream 'uniform' 'holes': did you mean 'hole'"),
        ("uniform:hole=half", "'half' is not a number"),
        ("uniform:hole", "'' is not a number"),
        ("uniform:hole=-0.5", r"fractions lie in \[0, 1\]"),
        ("uniform:hole=0.6,identity=0.6", r"do not exceed 1 together"),
        ("uniform:hole=nan", r"fractions lie in \[0, 1\]"),
        ("uniform:hole=0.5,pattern=run", "unknown pattern of holes 'run': did you mean 'runs'"),
        ("uniform:pattern=runs", "nothing comes in runs without hole= or identity="),
    ],
)
def test_what_is_no_stream_is_said(text: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        parse_stream(text)


def test_only_a_quick_plan_goes_without_the_ladder_which_is_not_of_the_grid() -> None:
    plans = [make_plan(name) for name in PLANS]
    assert [plan.name for plan in plans if not plan.has_ladder] == ["quick"]
    assert all("has_ladder" not in plan.as_dict() for plan in plans)


def test_what_a_plan_wants_is_declared_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for name in PLANS if wants_knees(name)] == ["full"]
    monkeypatch.setitem(plans._PLANS, "wide", plans._PLANS["full"])
    asked: list[object] = []

    def no_knees(*arguments: object, will_write: bool = True) -> Knees:
        asked.append(arguments)
        return Knees({}, ())

    monkeypatch.setattr("p2mperf.study.knees.measured_knees", no_knees)
    for plan in ("default", "wide"):
        chosen = ["--size", "16M", "--operation", "latency", "--dry-run", "--json"]
        assert main(["sweep", "--plan", plan, *chosen]) == 0
    assert asked == [("results",)]


def test_a_plan_is_told_by_what_its_settings_change() -> None:
    # As runs that are on disk have it, whose plans are told apart by it.
    assert make_plan("quick").as_dict()["settings"] == {
        "n_visits": 2,
        "n_slices": 2,
        "control": False,
        "warm_up_ns": 500_000_000,
    }
    assert make_plan("default").as_dict()["settings"] == {}
