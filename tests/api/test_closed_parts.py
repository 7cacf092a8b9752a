"""Parts of a design that a user closes alone: the design answers as before or refuses, and nothing crashes.

Each runs in a process of its own, for what it was mended for ended the process.
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

design, geometry, part = sys.argv[1:]
guest = p2mperf.Guest.plain("16M", geometry=geometry)
options = {"limit": "1G"} if geometry.startswith("pv") else {}
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
    print("closed", end="")
"""


_NOT_ALONE = """
import sys
from operator import attrgetter
import p2mperf
from p2mperf.errors import P2mperfError

design, geometry, *parts = sys.argv[1:]
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
        sys.exit(part + " was closed")
    assert p2m.lookup(frames).tolist() == before
    p2m.audit()
p2m.close()
print("alive", end="")
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


@pytest.mark.parametrize(
    ("design", "geometry", "parts"),
    [
        ("pv-tree", "pv64", ("kept", "store", "way_back")),
        ("pv-linear", "pv32", ("kept", "store", "way_back", "list_tables")),
        ("pv-linear-nested", "pv64", ("kept", "store", "way_back", "list_tables")),
        ("arm-walk", "lpae", ("kept", "table")),
        ("arm-vlpt", "lpae", ("kept", "table", "domain")),
        ("hap-walk", "hap64", ("kept", "table")),
        ("hap-linear", "hap-nonpae", ("kept", "table", "windows")),
    ],
)
def test_what_is_only_of_the_design_cannot_be_closed_alone(
    design: str, geometry: str, parts: tuple[str, ...]
) -> None:
    child = run_started(_NOT_ALONE, design, geometry, *parts)
    assert (child.returncode, child.stdout) == (0, "alive"), child.stderr[-2000:]


@pytest.mark.parametrize(
    ("design", "geometry", "part"),
    [
        *((design, "pv64", "pool") for design in ("pv-tree", "pv-linear", "pv-linear-nested")),
        *((design, "pv64", "m2p") for design in ("pv-tree", "pv-linear", "pv-linear-nested")),
        ("pv-linear-nested", "pv32", "m2p"),
        ("pv-linear", "pv64", "window"),
        ("pv-linear", "pv32", "window"),
        ("pv-linear-nested", "pv64", "window"),
        *((design, "lpae", "pool") for design in ("arm-walk", "arm-walk-direct", "arm-vlpt")),
        ("arm-vlpt", "lpae", "window"),
        ("arm-vlpt", "lpae", "window.area"),
        *(("hap-walk", geometry, part) for geometry in ("hap64", "hap-nonpae") for part in ("pool", "m2p")),
        *(("hap-linear", "hap64", part) for part in ("pool", "m2p", "windows.area")),
    ],
)
def test_a_part_that_is_closed_alone(design: str, geometry: str, part: str) -> None:
    child = run_started(_CHILD, design, geometry, part)
    assert (child.returncode, child.stdout) == (0, "closed"), child.stderr[-2000:]
