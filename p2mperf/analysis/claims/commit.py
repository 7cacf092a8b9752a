"""Claims of the commit that brought the linear list, and of what it was tested with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from p2mperf.analysis.claims.base import Claim, Document, Finding, decided
from p2mperf.analysis.claims.build import beyond_noise, predicted
from p2mperf.analysis.claims.evidence import Evidence
from p2mperf.analysis.claims.measured import in_holes, in_ram, judged
from p2mperf.errors import AuditError
from p2mperf.guests.geometry import Kind
from p2mperf.guests.guest import Guest
from p2mperf.units import GIB, MIB, PAGE_SIZE, readable_size

if TYPE_CHECKING:
    from p2mperf.designs.base import Design
    from p2mperf.guests.geometry import Words

COMMIT = Document(
    "commit",
    "Linux 054954eb051f, 2014",
    "J. Gross, xen: switch to linear virtual mapped sparse p2m list, Linux commit 054954eb051f, 28"
    " November 2014",
)
_NAMES = ("the list", "the tree")
_SIZES = {"pv64": "64 bits", "pv32": "32 bits"}
# The map of the tree's own comment: identity from 1029 to 2001 MB, boot memory up to 1 GB, 3 GB at most.
_WITH_HOLES = ("dom0-64-e820", "dom0-32-e820")
_INSIDE = 1500 * MIB // PAGE_SIZE
# Room above the map, which scenarios plug memory into.
_LIMIT = "16G"
_N_FRAMES = 4096


def _three_levels(evidence: Evidence) -> Finding:
    with evidence.tree(Guest.preset("domu-64-2049m")) as tree:
        levels = [step.level for step in tree.lookup_path(0).steps]
    return decided(
        len(set(levels)) == 3,
        f"A lookup reads one page each of: {', '.join(levels)}.",
        "Each level is one load, and its address is what the load before has read.",
        "A lookup does not read three pages.",
    )


def _one_index(evidence: Evidence) -> Finding:
    said, hold = [], True
    for geometry, width in _SIZES.items():
        guest = Guest.plain("64M", geometry=geometry)
        n_bytes = guest.geometry.entry_bytes
        with evidence.tree(guest) as tree, evidence.linear(guest) as linear:
            base = int(linear.list_tables.window.base)
            frames = (0, guest.n_boot_pages // 3, guest.n_boot_pages - 1)
            found = [[step.address for step in linear.lookup_path(pfn).steps] for pfn in frames]
            n_of_tree = len(tree.lookup_path(0).steps)
        hold = hold and found == [[base + n_bytes * pfn] for pfn in frames]
        n_loads = max(map(len, found))
        said.append(f"{n_loads} at {width} (base + {n_bytes} x pfn), where the tree needs {n_of_tree}")
    return decided(
        hold,
        f"Loads of a lookup in RAM: {'; '.join(said)}.",
        "For a frame of RAM the one load that base and pfn give is all there is to read.",
        "More than that one load is needed, or it goes elsewhere.",
    )


def _one_index_in_holes(evidence: Evidence) -> Finding:
    said, most = [], 0
    for name, width in zip(_WITH_HOLES, _SIZES.values(), strict=True):
        guest = Guest.preset(name)
        assert guest.entry_kinds([guest.n_boot_pages, _INSIDE]).tolist() == [Kind.EXTRA, Kind.IDENTITY]
        with evidence.tree(guest) as tree, evidence.linear(guest) as linear:
            (hole, identity), of_tree = (
                [len(p2m.lookup_path(pfn).steps) for pfn in (guest.n_boot_pages, _INSIDE)]
                for p2m in (linear, tree)
            )
        most = max(most, hole, identity)
        said.append(
            f"{hole} for a hole and {identity} for identity at {width} (tree: {of_tree[0]}, {of_tree[1]})"
        )
    return decided(
        most == 1,
        f"Loads of a lookup outside of RAM: {'; '.join(said)}.",
        "There too the one load is all there is to read.",
        "Where the list reads INVALID it cannot tell a hole from identity, and walks the page table of its"
        " area"
        " in software.",
    )


def _one_page_for_holes(evidence: Evidence) -> Finding:
    guest = Guest.preset(_WITH_HOLES[0])
    shape = guest.geometry
    first, end = (edge * MIB // PAGE_SIZE for edge in (1029, 2001))
    leaves = np.arange(-(-first // shape.leaf_frames), end // shape.leaf_frames)
    with evidence.linear(guest) as linear:
        base = int(linear.list_tables.window.base)
        shown = {linear.step_at(base + PAGE_SIZE * leaf).frame for leaf in leaves.tolist()}
        words = [linear.store.pool.words(frame, shape.dtype) for frame in shown]
        only_invalid = all(bool((page == shape.invalid).all()) for page in words)
    pages = f"{len(shown)} page{'s' * (len(shown) != 1)}"
    return decided(
        len(shown) == 1 and only_invalid,
        f"{leaves.size} leaves of the range from 1029 to 2001 MB are shown by {pages},"
        f" {'all' if only_invalid else 'not all'} of whose entries are INVALID.",
        "One page stands for all of them; there is one more of its kind, for holes that are not identity.",
        "More than one page stands for them, or a page that says something else.",
    )


def _faster_in_ram(evidence: Evidence) -> Finding:
    rows = in_ram(evidence.pairs("pv", "pv-linear", "pv-tree"))
    return judged(rows, "pv-linear", "pv-tree", _NAMES, "lookups in RAM")


def _faster_in_holes(evidence: Evidence) -> Finding:
    rows = in_holes(evidence.pairs("pv", "pv-linear", "pv-tree"))
    return judged(rows, "pv-linear", "pv-tree", _NAMES, "lookups of which some are in holes")


# ---- what it was tested with ----


def _sizes(evidence: Evidence, *presets: str) -> Finding:
    wrong, n_frames, landed = [], 0, _as_landed()
    for name in presets:
        guest = Guest.preset(name)
        frames = _frames_of(guest)
        n_frames += frames.size
        expected = guest.entries(frames)
        designs: dict[str, Callable[[], Design]] = {
            "tree": partial(evidence.tree, guest),
            "list": partial(evidence.linear, guest),
            "list as it landed": partial(evidence.linear, guest, quirks=landed),
        }
        wrong += [f"{name}, {what}" for what, made in designs.items() if not _answers(made, frames, expected)]
    return decided(
        not wrong,
        f"Built as tree, as list, and as list with the {len(landed)} defects it landed with:"
        f" {n_frames} frames of {', '.join(presets)}"
        + (f"; wrong: {'; '.join(wrong)}." if wrong else "; audits hold, and all answers are right."),
        "Such guests get right answers from the list, and do not meet what was wrong with it at first.",
        "A table of such a guest is not in order, or answers wrongly.",
    )


def _as_landed() -> list[str]:
    """Defects that the list had when it landed, by their names as quirks."""
    from p2mperf.designs.pv.quirks import QUIRKS

    of_list = {name: quirk for name, quirk in QUIRKS.items() if "list" in quirk.layouts}
    return [name for name, quirk in of_list.items() if quirk.kernels == "as landed"]


def _frames_of(guest: Guest) -> Words:
    """Frames on either side of every edge of a guest's map, and some in between, the padding included."""
    edges = np.concatenate([guest.runs.first_pfn, guest.runs.end_pfn])
    around = np.concatenate(
        [edges - 1, edges, np.linspace(0, guest.covered_pfn - 1, _N_FRAMES).astype(np.int64)]
    )
    return np.unique(around[(around >= 0) & (around < guest.covered_pfn)]).astype(np.uint64)


def _answers(made: Callable[[], Design], frames: Words, expected: Words) -> bool:
    from p2mperf.designs.pv.quirks import BugError

    try:
        with made() as p2m:
            p2m.audit()
            return bool(np.array_equal(p2m.lookup(frames), expected))
    except (AuditError, BugError):
        return False


def _scenario(evidence: Evidence, name: str, size: str, geometry: str) -> Finding:
    n_steps = n_right = 0
    guest = Guest.plain(size, geometry=geometry)
    for build in (evidence.tree, evidence.linear):
        with build(guest, limit=_LIMIT) as p2m:
            try:
                for step in evidence.scenario(name, p2m):
                    n_steps, n_right = n_steps + 1, n_right + (step.done == step.wanted)
            except AuditError:
                n_steps += 1
    return decided(
        n_steps == n_right > 0,
        f"{n_right} of {n_steps} steps of tree and list went as they must, each audited; guest {guest.name}.",
        "Both do all that it takes, refuse what they must, and are in order after every step.",
        "A step went otherwise than it must, or left a table that is not in order.",
    )


def _no_more_than_43g(evidence: Evidence) -> Finding:
    answer = evidence.limits("43G", entry_bits=32)
    largest, first = answer.largest_guest_bytes, ", ".join(answer.binds)
    nearest = sorted(answer.verdicts, key=lambda verdict: verdict.largest_guest_bytes)[:2]
    ours = "Nearest limits: " + ", ".join(
        f"{one.limit} at {readable_size(one.largest_guest_bytes)}" for one in nearest
    )
    if not answer.fits:
        return Finding(f"{ours}.", "contradicted", f"43 GB would not fit either: {first} gives out before.")
    if largest < 44 * GIB:
        return Finding(f"{ours}.", "reproduced", f"{first} gives out before 44 GB.")
    why = (
        "No limit that is known here gives out between 43 and 44 GB, and no source that we know says"
        " what did."
    )
    return Finding(f"{ours}.", "not resolved", why)


def _tested(name: str, published: str, *presets: str) -> Claim:
    command = f"python -m p2mperf dump --design pv-linear --guest {presets[-1]}"
    return Claim(
        name,
        COMMIT,
        "tested with",
        published,
        "computed",
        command,
        lambda evidence: _sizes(evidence, *presets),
    )


def _lived(name: str, published: str, scenario: str, bits: int) -> Claim:
    # Passing 3 to 4 GiB through takes a guest that has memory there.
    size = "4G" if scenario == "passthrough" else "512M"
    return Claim(
        name,
        COMMIT,
        "tested with",
        published,
        "computed",
        f"python -m p2mperf life --guest domu-{bits}-8g --scenario {scenario}",
        lambda evidence: _scenario(evidence, scenario, size, f"pv{bits}"),
    )


def _scenarios() -> Iterator[Claim]:
    for bits in (32, 64):
        domu = f"{bits} bit domU"
        yield _lived(f"balloon-{bits}", f"{domu}, ballooning up and down", "balloon", bits)
        yield _lived(f"save-restore-{bits}", f"{domu}, save and restore", "save-restore", bits)
        yield _lived(f"passthrough-{bits}", f"{domu} with PCI passthrough", "passthrough", bits)


_LOOKUP = "python -m p2mperf lookup --design pv-linear --guest"
_BUILD = "python -m p2mperf kernel-build --shipped"

CLAIMS = (
    Claim(
        "three-levels",
        COMMIT,
        "message",
        "accessed via a three level p2m tree",
        "computed",
        "python -m p2mperf lookup --design pv-tree --guest domu-64-2049m 0 --json",
        _three_levels,
    ),
    Claim(
        "one-page-for-holes",
        COMMIT,
        "message",
        'The holes are covered by mapping a pre-defined page consisting only of "invalid mfn" entries.',
        "computed",
        f"{_LOOKUP} dom0-64-e820 {_INSIDE} {_INSIDE + 512} --json",
        _one_page_for_holes,
    ),
    Claim(
        "one-index",
        COMMIT,
        "message",
        "Access to a mfn entry is possible by just using the virtual base address of the mfn list and the pfn"
        " as index into that list.",
        "computed",
        f"{_LOOKUP} domu-64-2049m 5 --json",
        _one_index,
    ),
    Claim(
        "one-index-in-holes",
        COMMIT,
        "message, of frames in holes",
        "Access to a mfn entry is possible by just using the virtual base address of the mfn list and the pfn"
        " as index into that list.",
        "computed",
        f"{_LOOKUP} dom0-64-e820 262144 {_INSIDE} --json",
        _one_index_in_holes,
    ),
    Claim(
        "hot-path",
        COMMIT,
        "message",
        "This speeds up the (hot) path of determining the mfn of a pfn.",
        "measured",
        "python -m p2mperf plot ratio",
        _faster_in_ram,
    ),
    Claim(
        "hot-path-in-holes",
        COMMIT,
        "message, of frames in holes",
        "This speeds up the (hot) path of determining the mfn of a pfn.",
        "measured",
        "python -m p2mperf plot ratio",
        _faster_in_holes,
    ),
    Claim(
        "improvements",
        COMMIT,
        "kernel build",
        "Kernel build on a Dell Latitude E6440 (2 cores, HT) in 64 bit Dom0 showed following improvements",
        "computed",
        _BUILD,
        beyond_noise,
    ),
    Claim(
        "elapsed",
        COMMIT,
        "kernel build",
        "Elapsed time: 32:50 -> 32:35",
        "modelled",
        _BUILD,
        partial(predicted, "Elapsed time"),
    ),
    Claim(
        "system",
        COMMIT,
        "kernel build",
        "System: 18:07 -> 17:47",
        "modelled",
        _BUILD,
        partial(predicted, "System"),
    ),
    Claim(
        "user",
        COMMIT,
        "kernel build",
        "User: 104:00 -> 103:30",
        "modelled",
        _BUILD,
        partial(predicted, "User"),
    ),
    _tested("dom0-8g", "64 bit dom0, 8GB RAM", "dom0-64-8g"),
    _tested("dom0-128g", "64 bit dom0, 128 GB RAM, PCI-area above 4 GB", "dom0-64-128g-pci"),
    _tested("domu-32", "32 bit domU, 512 MB, 8 GB, 43 GB", "domu-32-512m", "domu-32-8g", "domu-32-43g"),
    Claim(
        "43g",
        COMMIT,
        "tested with",
        "43 GB (more wouldn't work even without the patch)",
        "computed",
        "python -m p2mperf limits --question 43g-32bit",
        _no_more_than_43g,
    ),
    _tested("domu-64", "64 bit domU, 8 GB, 2049 MB, 5000 MB", "domu-64-8g", "domu-64-2049m", "domu-64-5000m"),
    *_scenarios(),
)
