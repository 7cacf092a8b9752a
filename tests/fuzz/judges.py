"""What statements of a case call besides the package: judges, and what threads, forks and copies do."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import os
import pickle
import sys
import time
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import numpy as np
from outcomes import Own, Wrong

import p2mperf
from p2mperf.errors import AuditError, BadInputError, ClosedError, P2mperfError

# What a closed design must refuse, and what that is called with.
_CLOSED_DOORS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("footprint", "audit", "views", "dump", "kind_runs", "save", "prepare", "cleanup"), ()),
    "lookup": ([0],),
    "lookup_path": (0,),
    "events": (0,),
    "unused_mfns": (1,),
    "balloon_down": ([0],),
    "remove": (0,),
    "add": (0, 0),
    "page_orders": ([0],),
    "mfn_to_gfn": ([0],),
    "set_allocation": (1000,),
}


def check(design: Any, has_m2p: bool = True) -> None:
    """See that a design is whole, its m2p too unless somebody has set entries alone, or says it is closed."""
    if design.closed:
        for name, arguments in _CLOSED_DOORS.items():
            if hasattr(type(design), name):
                _check_refused(design, name, arguments)
        return
    with contextlib.suppress(ClosedError):  # what it stands on may be closed although it is not
        _audit(design, has_m2p)
        _check_paths(design)


def _check_refused(design: Any, name: str, arguments: tuple[Any, ...]) -> None:
    try:
        getattr(design, name)(*arguments)
    except ClosedError:
        return
    raise Wrong(f"{name} of a closed design answers")


def _audit(design: Any, has_m2p: bool) -> None:
    try:
        design.audit()
    except AuditError as error:
        # Whoever gives one machine frame to two frames is told so, and rightly.
        is_of_m2p = any(f": {name}: " in str(error) for name in ("I1", "I2"))
        if "back two frames" not in str(error) and (has_m2p or not is_of_m2p):
            raise Wrong(f"audit: {str(error).partition(': ')[2]}") from error


def _check_paths(design: Any) -> None:
    """The two ways to ask must agree."""
    guest = design.guest
    first = int(guest.ram.first_pfn[0])
    frames = [first, first + 1, guest.covered_pfn - 1, guest.covered_pfn, 2**40 + 5, 2**64 - 1]
    for frame, entry in zip(frames, design.lookup(frames).tolist(), strict=True):
        path = design.lookup_path(frame).entry
        if path != entry:
            raise Wrong(f"lookup_path({frame}) gives {path:#x} and lookup {entry:#x}")


def expect(design: Any) -> None:
    """See that a design that nobody wrote to, or only traces, answers as its guest's map says."""
    if design.closed:
        return
    frames = np.arange(design.guest.covered_pfn, dtype=np.uint64)[-3000:]
    with contextlib.suppress(ClosedError, BadInputError):  # a window that was cleaned up shows nothing
        getattr(design, "require_ready", lambda: None)()
        wanted = design.guest.entries(frames)
        if (untraced(design, design.lookup(frames)) != wanted).any():
            raise Wrong("lookup answers otherwise than the guest's map")
        for place in (0, 5, -1):
            (entry,) = untraced(design, np.array([design.lookup_path(frames[place]).entry], np.uint64))
            if entry != wanted[place]:
                raise Wrong("lookup_path answers otherwise than the guest's map")


def untraced(design: Any, entries: Any) -> Any:
    """Entries as they are where nobody traces writes."""
    if design.family != "arm":
        return entries
    from p2mperf.designs.arm.fault_kernels import TRACED
    from p2mperf.guests.lpae import Stage2

    return np.where(entries & np.uint64(Stage2.LOG_DIRTY), entries ^ TRACED, entries)


def copied(owner: Any, way: str) -> None:
    """Copy something that owns memory, and let the copy go."""
    ways: dict[str, Callable[[Any], Any]] = {
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
        "pickle": lambda it: pickle.loads(pickle.dumps(it)),
    }
    try:
        made = ways[way](owner)
    except P2mperfError:
        return
    with contextlib.suppress(AttributeError):
        made.close()
    del made
    gc.collect()


def held(design: Any, act: Callable[[], Any]) -> None:
    """Act while the design is held open."""
    with design.in_use():
        act()


def forked(design: Any, act: Callable[[], Any]) -> None:
    """Act in a fork's child, and see that nothing has changed here."""
    frames = np.arange(int(design.guest.ram.first_pfn[0]), design.guest.covered_pfn, dtype=np.uint64)
    before = design.lookup(frames)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(Exception):
            act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise Wrong(f"a fork's child died: {status}")
    if (design.lookup(frames) != before).any():
        raise Wrong("a fork's child has written here")


def race(last: Callable[[], Any], *others: Callable[[], Any], after: float = 0.01) -> None:
    """Do `others` again and again, each in a thread, and `last` once meanwhile; none may go wrong."""
    failed: list[BaseException] = []
    stop = time.monotonic() + after + 0.15
    barrier = Barrier(len(others) + 1)

    def again(act: Callable[[], Any]) -> None:
        barrier.wait()
        while time.monotonic() < stop and not failed:
            _attempt(act, failed)

    threads = [Thread(target=again, args=(act,), daemon=True) for act in others]
    for thread in threads:
        thread.start()
    barrier.wait()
    time.sleep(after)
    _attempt(last, failed)
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _attempt(act: Callable[[], Any], failed: list[BaseException]) -> None:
    try:
        act()
    except P2mperfError:
        time.sleep(0.0005)
    except BaseException as error:
        failed.append(error)


def steady(design: Any, n_frames: int = 200_000) -> Callable[[], None]:
    """A lookup that must always answer the same, for threads."""
    frames, nothing = many(design, n_frames), np.uint64(design.guest.geometry.invalid)
    wanted = design.guest.entries(frames)

    def look() -> None:
        found = design.lookup(frames)
        # What was cleaned up meanwhile has nothing to say, which is no other design's word.
        if ((found != wanted) & (found != nothing)).any():
            raise Wrong("a thread's lookup gives another design's entries")

    return look


def many(design: Any, n_frames: int = 200_000) -> Any:
    """Frames in RAM, enough for a thread to be caught at work."""
    first, end = int(design.guest.ram.first_pfn[0]), int(design.guest.ram.end_pfn[-1])
    return np.random.default_rng(2).integers(first, end, n_frames).astype(np.uint64)


def tracer(design: Any) -> Any:
    """A started tracer of an ARM design."""
    from p2mperf.migration.tracing import Tracer

    made = Tracer(design)
    made.start()
    return made


def same_pieces(name: Any, guest: Any, seed: Any, holes: Any, identity: Any, pattern: Any) -> None:
    """See that a stream in pieces is the stream at one go, and that its holes are holes, as many as asked."""
    from p2mperf.guests.geometry import Kind
    from p2mperf.streams import make_stream, open_stream

    shares = {"hole_fraction": holes, "identity_fraction": identity, "hole_pattern": pattern}
    whole = make_stream(name, guest, 20_000, seed=seed, **shares)
    stream = open_stream(name, guest, seed=seed, **shares)
    pieces = np.concatenate([stream.take(n) for n in (0, 1, 63, 9_936, 10_000)])
    if not np.array_equal(whole, pieces):
        raise Wrong("a stream in pieces is another than at one go")
    is_hole = np.isin(guest.entry_kinds(whole), (Kind.EXTRA, Kind.MISSING))
    if abs(is_hole.mean() - float(holes)) > 0.05:
        raise Wrong(f"a stream with {holes} of holes has {is_hole.mean()}")


def changed(frame: Any, runs: Any = None, **columns: Any) -> Any:
    """Samples with other columns, or other runs in their attributes, where pandas can have them."""
    try:
        made = frame.assign(**columns)
    except Exception as error:
        raise Own("pandas has no such frame") from error
    made.attrs = {**frame.attrs, "runs": runs} if runs is not None else frame.attrs
    return made


def samples() -> Any:
    """A few shipped samples."""
    return p2mperf.load("shipped").head(400)


def names() -> dict[str, Any]:
    """All that statements may name."""
    from p2mperf import families, figures, sizing, streams, units
    from p2mperf.analysis.compare import compare
    from p2mperf.designs.arm.window import VlptWindow
    from p2mperf.designs.backing import Backing
    from p2mperf.designs.pv.saving import Saved
    from p2mperf.guests.extents import Extents
    from p2mperf.guests.runs import Runs
    from p2mperf.migration import precopy, tracing, writers
    from p2mperf.populating import ballooning, heap, tables
    from p2mperf.results.export import export

    own = (check, expect, copied, held, forked, race, steady, many, tracer, changed, same_pieces)
    public = (compare, export, dataclasses.replace, Backing, Extents, Runs, Saved, VlptWindow, p2mperf.build)
    found: dict[str, Any] = {made.__name__: made for made in (*own, *public, p2mperf.Guest, p2mperf.Machine)}
    rooms = {"families": families, "figures": figures, "sizing": sizing, "streams": streams, "units": units}
    rooms |= {"ballooning": ballooning, "heap": heap, "tables": tables}
    return {**found, **rooms, "p2mperf": p2mperf, "precopy": precopy, "writers": writers, "tracing": tracing}
