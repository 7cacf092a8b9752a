"""What is built and closed, or forgotten, leaves nothing behind: each design in a process of its own.

Twenty cycles in the suite, 500 with `-m slow`; what a cycle is says tests/support/build_close_cycles.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from started import run_started

from p2mperf.families import families

PROGRAM = Path(__file__).parents[1] / "support" / "build_close_cycles.py"
ALL = [spec.name for family in families().values() for spec in family.designs]
KIB = 1024


def counts_of(design: str, n_cycles: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the process held after two fifths of the cycles, and after all."""
    child = run_started(PROGRAM.read_text("utf-8"), design, str(n_cycles), timeout_s=3600)
    assert child.returncode == 0, child.stderr[-2000:]
    early, late = map(json.loads, child.stdout.splitlines())
    return early, late


def check_flat(early: dict[str, Any], late: dict[str, Any], grown_bytes: int) -> None:
    same = ("shared_bytes", "held_mappings", "descriptors", "threads")
    assert {name: late[name] for name in same} == {name: early[name] for name in same}
    assert not [target for target in late["descriptors"] if "memfd" in target]
    # The allocators of libc and Python come and go by a few areas, and by what maps those.
    assert late["mappings"] - early["mappings"] <= 8
    assert late["page_table_bytes"] - early["page_table_bytes"] <= 256 * KIB
    assert late["anonymous_bytes"] - early["anonymous_bytes"] <= grown_bytes


@pytest.mark.parametrize("design", ALL)
def test_twenty_cycles_of_building_and_closing_keep_nothing(design: str) -> None:
    # So few still meet what is compiled, or imported, for the first time.
    check_flat(*counts_of(design, 20), grown_bytes=16 * KIB * KIB)


@pytest.mark.slow
@pytest.mark.parametrize("design", ALL)
def test_500_cycles_of_building_and_closing_keep_nothing(design: str, tell: Any) -> None:
    early, late = counts_of(design, 500)
    # Between the two are 300 cycles: were one page of each kept, 1200 KiB would show.
    check_flat(early, late, grown_bytes=600 * KIB)
    names = [name for name in late if name != "descriptors"]
    grown = ", ".join(f"{name} {early[name]} -> {late[name]}" for name in names)
    tell(f"{design}, after 200 and 500 cycles: {grown}, descriptors {len(late['descriptors'])}")
