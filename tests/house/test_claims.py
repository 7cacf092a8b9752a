"""What the documents said of the kernels, and the kernels' source says otherwise, is not said again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Each with what Linux 3.18, 3.19.8 and 4.4 say instead.
CONTRADICTED = {
    # Beyond the map all is shared identity in 3.18's tree, and INVALID takes nothing there.
    "as hotplug does; the tools' tree follows | alloc_p2m |": "what is timed is a mended tree",
    # The list's function is for boot and writes to the flat list; a read-only shared page would fault.
    "identity, as set_phys_range_identity does": "the list's is not for an area",
    # P2M_LIMIT is in 3.19.8; Kconfig has 4 as the default of 32-bit kernels, in a range up to 64.
    "kernels have had it since 4.0": "since 3.19.8, and 4 GiB at 32 bits",
    "512G in kernels since 4.0": "since 3.19.8",
    "the tree forgot that the neighbours": "not without a race",
    # Lookups do not read the shared identity page; tools do.
    "is never read": "tools read it",
    # The loop of 4.4 ends at a slot that fails.
    "set_foreign_p2m_mapping of Linux 4.4, and": "4.4 leaves the loop",
    # A kernel keeps the page-table page that it has linked already.
    "refused (False) and everything is as it": "a page of the page table stays",
}


def texts() -> dict[str, str]:
    """Every document, docstring and cell of prose, with lines joined."""
    found = {}
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("p2mperf/designs/pv/*.py")):
        found[path.relative_to(ROOT).as_posix()] = path.read_text("utf-8")
    for path in (*ROOT.glob("p2mperf/study/*.py"), *ROOT.glob("p2mperf/measure/operations/*.py")):
        found[path.name] = path.read_text("utf-8")
    for path in ROOT.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        found[path.name] = "\n".join(prose)
    return {name: " ".join(text.replace("\n    # ", " ").split()) for name, text in found.items()}


@pytest.mark.parametrize("claim", CONTRADICTED)
def test_a_contradicted_claim_is_not_made(claim: str) -> None:
    assert [name for name, text in texts().items() if claim in text] == []


def test_what_differs_from_the_kernels_stands_among_the_decisions() -> None:
    decisions = (ROOT / "docs" / "adr" / "README.md").read_text("utf-8")
    for about in (
        "Displaced RAM",
        "beyond the map and its limit",
        "refused write",
        "the pages that 3.18 has",
        "Tools see the whole map",
        "A page that RAM shares",
        "slot of a foreign mapping",
    ):
        assert about in decisions
