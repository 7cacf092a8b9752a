"""Parts of a design that a user closes alone: the design answers as before or refuses, and nothing crashes.

They are closed in a process of their own, for what it was mended for ended the process: it names each part
that was survived.
"""

from __future__ import annotations

import signal

import pytest
from started import run_started

_CHILD = """
import sys
from operator import attrgetter
import numpy as np
import p2mperf
from p2mperf.errors import AuditError, ClosedError, P2mperfError

design, geometry, *parts = sys.argv[1:]
guest = p2mperf.Guest.plain("16M", geometry=geometry)
options = {"limit": "1G"} if geometry.startswith("pv") else {}


def survive(part):
    p2m = p2mperf.build(design, guest, **options)
    first = int(guest.ram.first_pfn[0])
    frames = np.array([first, first + 5, guest.covered_pfn - 1, guest.covered_pfn, 2**40], np.uint64)
    before = p2m.lookup(frames).tolist()
    attrgetter(part)(p2m).close()
    beyond = guest.covered_pfn + 5
    doors = {
        "lookup": lambda: p2m.lookup(frames).tolist() == before or sys.exit("another answer"),
        "path": lambda: p2m.lookup_path(first).entry == before[0] or sys.exit("another answer"),
        "set": lambda: p2m.set([beyond], [7]) if hasattr(p2m, "set") else None,
        "add": lambda: p2m.add([0], [7]) if hasattr(p2m, "add") else None,
        "balloon": lambda: p2m.balloon_down([first]) if hasattr(p2m, "set") else None,
        "audit": p2m.audit,
        "footprint": p2m.footprint,
        "views": p2m.views,
        "cleanup": getattr(p2m, "cleanup", lambda: None),
        "close": p2m.close,
    }
    for name, act in doors.items():
        try:
            act()
        except P2mperfError as error:
            assert name != "close" and not isinstance(error, AuditError), (name, error)
    try:
        p2m.lookup(frames)
    except ClosedError:
        print(part, flush=True)


for part in parts:
    survive(part)
"""


_NOT_ALONE = """
import sys
from operator import attrgetter
import p2mperf
from p2mperf.errors import P2mperfError

for case in sys.argv[1:]:
    design, geometry, *parts = case.split()
    guest = p2mperf.Guest.plain("16M", geometry=geometry)
    p2m = p2mperf.build(design, guest)
    frames = guest.ram.first_pfn[:1]
    before = p2m.lookup(frames).tolist()
    if hasattr(p2m, "m2p"):
        p2m.m2p
    for part in parts:
        try:
            attrgetter(part)(p2m).close()
        except (AttributeError, P2mperfError):
            pass
        else:
            sys.exit(f"{part} of {design} was closed")
        assert p2m.lookup(frames).tolist() == before
        p2m.audit()
    p2m.close()
    print(case, flush=True)
"""


@pytest.mark.parametrize(
    ("code", "status", "complaint"),
    [
        ("import os; os.abort()", -signal.SIGABRT, "Fatal Python error: Aborted"),
        ("import sys; print(*sys.argv[1:]); sys.exit(3)", 3, ""),
        ("5 / 0", 1, "ZeroDivisionError"),
        ("import atexit, os; atexit.register(os._exit, 7)", 7, ""),
    ],
)
def test_how_a_process_of_its_own_ends_is_told(code: str, status: int, complaint: str) -> None:
    child = run_started(code, "a", "b")
    assert child.returncode == status
    assert child.stdout == ("a b\n" if status == 3 else "")
    assert complaint in child.stderr


def test_what_is_only_of_the_design_cannot_be_closed_alone() -> None:
    cases = [
        "pv-tree pv64 kept store way_back",
        "pv-linear pv32 kept store way_back list_tables",
        "pv-linear-nested pv64 kept store way_back list_tables",
        "arm-walk lpae kept table",
        "arm-vlpt lpae kept table domain",
        "hap-walk hap64 kept table",
        "hap-linear hap-nonpae kept table windows",
    ]
    child = run_started(_NOT_ALONE, *cases)
    assert (child.returncode, child.stdout.splitlines()) == (0, cases), child.stderr[-2000:]


@pytest.mark.parametrize(
    ("design", "geometry", "parts"),
    [
        ("pv-tree", "pv64", ["pool", "m2p"]),
        ("pv-linear", "pv64", ["pool", "m2p", "window"]),
        ("pv-linear", "pv32", ["window"]),
        ("pv-linear-nested", "pv64", ["pool", "m2p", "window"]),
        ("pv-linear-nested", "pv32", ["m2p"]),
        ("arm-walk", "lpae", ["pool"]),
        ("arm-walk-direct", "lpae", ["pool"]),
        ("arm-vlpt", "lpae", ["pool", "window", "window.area"]),
        ("hap-walk", "hap64", ["pool", "m2p"]),
        ("hap-walk", "hap-nonpae", ["pool", "m2p"]),
        ("hap-linear", "hap64", ["pool", "m2p", "windows.area"]),
    ],
)
def test_a_part_that_is_closed_alone(design: str, geometry: str, parts: list[str]) -> None:
    child = run_started(_CHILD, design, geometry, *parts)
    assert (child.returncode, child.stdout.splitlines()) == (0, parts), child.stderr[-2000:]
