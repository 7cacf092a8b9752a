"""What single writes to a p2m take, what tools see of it, and what kernels once got wrong: on real tables.

The guest is the example map of the source: a dom0 with an identity range, and memory that it may balloon
into. Nothing here is timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from p2mperf.analysis.built import built
from p2mperf.errors import BadInputError, shown
from p2mperf.guests.guest import Guest
from p2mperf.units import GIB, MIB, PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2mperf.designs.base import Design
    from p2mperf.designs.pv.scenarios import P2m

EXAMPLE = "dom0-64-e820"
LIMIT = "16G"
DESIGNS = ("pv-tree", "pv-linear")
# Frames of the example map: in its identity range, and where memory may be ballooned to.
_IDENTITY_PFN = 1500 * MIB // PAGE_SIZE
_BALLOONABLE_PFN = 2500 * MIB // PAGE_SIZE
# Beyond its map, up to the limit; and beyond that.
_HOTPLUG_PFN = 5 * GIB // PAGE_SIZE
_BEYOND_PFN = 1 << 40
# What of a leaf's neighbours a kernel forgot: the design, and the quirk by name.
_QUIRKS = (
    ("pv-tree", ()),
    ("pv-tree", ("alloc-forgets-identity",)),
    ("pv-linear", ()),
    ("pv-linear", ("identity-from-written-pfn",)),
)
_WRITTEN_AFTER = 200  # frames from the leaf's first to the one that is written


def single_writes() -> pd.DataFrame:
    """Write single frames of the example map, and count the pages that each write takes.

    Returns
    -------
    pandas.DataFrame
        A row a write: ``written``, what and where; ``tree_pages`` and ``list_pages`` that it took, missing
        where it was refused; and ``reads_alike``, whether all entries of both read the same afterwards.

    Raises
    ------
    AuditError
        When a write broke an invariant.
    DoesNotFitError
        When memory does not suffice.
    """
    guest = Guest.preset(EXAMPLE)
    with _built("pv-tree", guest, limit=LIMIT) as tree, _built("pv-linear", guest, limit=LIMIT) as linear:
        writes = _writes(guest, tree.unused_mfns(4).tolist())
        rows = []
        for written, (pfn, entry) in writes.items():
            took = [_pages_of(p2m, pfn, entry) for p2m in (tree, linear)]
            rows.append((written, *took, tree.dump() == linear.dump()))
        for p2m in (tree, linear):
            p2m.audit()
    table = pd.DataFrame(rows, columns=["written", "tree_pages", "list_pages", "reads_alike"])
    return table.astype({"tree_pages": "Int64", "list_pages": "Int64"})


def _writes(guest: Guest, spare_mfns: Sequence[int]) -> dict[str, tuple[int, int]]:
    shape = guest.geometry
    return {
        "an mfn over an mfn": (0, spare_mfns[0]),
        "identity under identity": (_IDENTITY_PFN, _IDENTITY_PFN | shape.identity_bit),
        "INVALID under identity": (_IDENTITY_PFN, shape.invalid),
        "an mfn beside it": (_IDENTITY_PFN + 1, spare_mfns[1]),
        "an mfn where memory may be ballooned to": (_BALLOONABLE_PFN, spare_mfns[2]),
        "INVALID beyond the map, up to the limit": (_HOTPLUG_PFN, shape.invalid),
        "anything beyond the limit": (_BEYOND_PFN, spare_mfns[3]),
    }


def _pages_of(p2m: P2m, pfn: int, entry: int) -> int | None:
    before = p2m.footprint().n_pages
    done = bool(p2m.set([pfn], [entry])[0])
    return p2m.footprint().n_pages - before if done else None


def balloonable_leaves(guest: Guest | str = EXAMPLE) -> dict[str, int]:
    """Count the leaves that hold nothing but memory which a guest may once have.

    Parameters
    ----------
    guest : Guest or str
        A PV guest, or the name of a preset.

    Returns
    -------
    dict of str to int
        By design. The list makes such memory INVALID at boot, frame by frame; the tree shares one leaf there.
    """
    guest = guest if isinstance(guest, Guest) else Guest.preset(guest)
    found = {}
    for name in DESIGNS:
        with _built(name, guest) as p2m:
            found[name] = p2m.n_extra_leaves
    return found


@dataclass(frozen=True)
class SeenByTools:
    """What the toolstack reads of a p2m, beside what the guest's kernel reads.

    Attributes
    ----------
    n_entries : int
        Entries that tools read.
    n_hidden : int
        Frames that are identity to the guest and look missing to tools.
    n_otherwise : int
        Frames that differ in any other way.
    """

    n_entries: int
    n_hidden: int
    n_otherwise: int

    @property
    def hidden_bytes(self) -> int:
        """Address space that looks missing to tools [bytes]."""
        return self.n_hidden * PAGE_SIZE


def seen_by_tools(p2m: Design) -> SeenByTools:
    """Follow the tools' tree from the shared info page, and compare what stands there with the p2m.

    Parameters
    ----------
    p2m : Design
        A PV design.

    Returns
    -------
    SeenByTools

    Raises
    ------
    BadInputError
        For a design of another family.
    """
    lived = _as_lived(p2m)
    shape = lived.guest.geometry
    seen = lived.tools.read()
    said = lived.lookup(np.arange(seen.size))
    identity = (said != np.uint64(shape.invalid)) & ((said & np.uint64(shape.identity_bit)) != 0)
    hidden = identity & (seen == np.uint64(shape.invalid))
    return SeenByTools(
        n_entries=int(seen.size),
        n_hidden=int(np.count_nonzero(hidden)),
        n_otherwise=int(np.count_nonzero((seen != said) & ~hidden)),
    )


@dataclass(frozen=True)
class Restored:
    """A guest that was saved, and woke up on other memory.

    Attributes
    ----------
    n_frames : int
        Frames that have memory.
    n_moved : int
        Those whose machine frame is another than before.
    n_pages_before, n_pages_after : int
        Pages of the p2m.
    """

    n_frames: int
    n_moved: int
    n_pages_before: int
    n_pages_after: int


def restore_elsewhere(p2m: Design, seed: int = 2) -> Restored:
    """Save a guest and restore it on other machine frames; its p2m is audited afterwards.

    Parameters
    ----------
    p2m : Design
        A PV design.
    seed : int
        Which machine frames it gets.

    Returns
    -------
    Restored

    Raises
    ------
    BadInputError
        For a design of another family.
    AuditError
        When the p2m is broken afterwards.
    """
    lived = _as_lived(p2m)
    lived.tools.read()  # the tools' tree, made when it is first asked for, is among the pages
    n_before = lived.footprint().n_pages
    saved = lived.save()
    memory = np.flatnonzero(saved.has_memory)
    before = lived.lookup(memory)
    lived.restore(saved, seed=seed)
    lived.audit()
    moved = lived.lookup(memory) != before
    return Restored(memory.size, int(np.count_nonzero(moved)), n_before, lived.footprint().n_pages)


def quirk_effects() -> pd.DataFrame:
    """Write one frame of the example map's identity range as kernels really did, and ask its neighbours.

    Returns
    -------
    pandas.DataFrame
        A row a design with and without its quirk: ``design``, ``quirk`` (its name, or ""), ``written_pfn``,
        ``neighbour_pfn``, and what that neighbour says then: ``kind``, and ``mfn`` where it names a frame.

    Raises
    ------
    DoesNotFitError
        When memory does not suffice.
    """
    guest = Guest.preset(EXAMPLE)
    leaf = guest.geometry.leaf_frames
    first = _IDENTITY_PFN // leaf * leaf
    rows = []
    for design, quirks in _QUIRKS:
        with _built(design, guest, quirks=quirks) as p2m:
            p2m.set([first + _WRITTEN_AFTER], p2m.unused_mfns(1))
            said = p2m.explain(int(p2m.lookup([first])[0]))
        rows.append((design, *(quirks or ("",)), first + _WRITTEN_AFTER, first, said["kind"], said["mfn"]))
    columns = ["design", "quirk", "written_pfn", "neighbour_pfn", "kind", "mfn"]
    return pd.DataFrame(rows, columns=columns).astype({"mfn": "Int64"})


def _built(design: str, guest: Guest, **options: object) -> P2m:
    return cast("P2m", built(design, guest, **options))


def _as_lived(p2m: Design) -> P2m:
    from p2mperf.designs.pv.linear import PvLinear
    from p2mperf.designs.pv.tree import PvTree

    if not isinstance(p2m, PvTree | PvLinear):
        raise BadInputError(f"tools and restores are those of pv-tree and pv-linear, not of {shown(p2m)}")
    return p2m
