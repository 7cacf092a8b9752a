"""What is built and closed, or forgotten, leaves nothing behind: the designs of a family, in one process.

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
KIB = 1024
each_family = pytest.mark.parametrize("family", families())


def counts_of(family: str, n_cycles: int) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What the process held after two fifths of the cycles of each design, and after all."""
    designs = [spec.name for spec in families()[family].designs]
    child = run_started(PROGRAM.read_text("utf-8"), str(n_cycles), *designs, timeout_s=3600)
    assert child.returncode == 0, child.stderr[-2000:]
    told = list(map(json.loads, child.stdout.splitlines()))
    return dict(zip(designs, zip(told[::2], told[1::2], strict=True), strict=True))


def check_flat(design: str, early: dict[str, Any], late: dict[str, Any], grown_bytes: int) -> None:
    same = ("shared_bytes", "held_mappings", "descriptors", "threads")
    assert {name: late[name] for name in same} == {name: early[name] for name in same}
    assert not [target for target in late["descriptors"] if "memfd" in target]
    # The allocators of libc and Python come and go by a few areas, and by what maps those.
    assert late["mappings"] - early["mappings"] <= 8
    assert late["page_table_bytes"] - early["page_table_bytes"] <= 256 * KIB
    assert late["anonymous_bytes"] - early["anonymous_bytes"] <= grown_bytes, design


@each_family
def test_twenty_cycles_of_building_and_closing_keep_nothing(family: str) -> None:
    for design, (early, late) in counts_of(family, 20).items():
        # So few still meet what is compiled, or imported, for the first time.
        check_flat(design, early, late, grown_bytes=16 * KIB * KIB)


@pytest.mark.slow
@each_family
def test_500_cycles_of_building_and_closing_keep_nothing(family: str, tell: Any) -> None:
    for design, (early, late) in counts_of(family, 500).items():
        # Between the two are 300 cycles: were one page of each kept, 1200 KiB would show.
        check_flat(design, early, late, grown_bytes=600 * KIB)
        names = [name for name in late if name != "descriptors"]
        grown = ", ".join(f"{name} {early[name]} -> {late[name]}" for name in names)
        tell(f"{design}, after 200 and 500 cycles: {grown}, descriptors {len(late['descriptors'])}")
