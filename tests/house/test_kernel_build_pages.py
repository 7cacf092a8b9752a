"""What the results and the page on kernel builds say of shipped recordings and replays, number by number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType

import pytest
from checkout import ROOT
from readme_tool import RESULTS, block, load_tool, rows

import p2mperf
from p2mperf.analysis.kernel_build import words
from p2mperf.analysis.kernel_build.prediction import KernelBuild
from p2mperf.workload.translations import STEPS


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool()


def test_every_block_of_the_page_on_kernel_builds_is_generated(tool: ModuleType) -> None:
    page = (ROOT / tool.KERNEL_BUILD_PAGE).read_text("utf-8")
    assert sorted(re.findall("<!-- begin (.*?) -->", page)) == sorted(tool.kernel_build_page.BLOCKS)
    assert tool.rewritten(page, tool.KERNEL_BUILD_PAGE) == page, "run python tools/readme.py"


def test_every_number_on_a_kernel_build_is_one_of_the_result(tool: ModuleType) -> None:
    builds = tool.kernel_build_page.builds()
    assert list(builds) == ["shipped-defconfig", "shipped-tinyconfig"]
    shown = block(RESULTS, "kernel-build")
    # What the page calls so is found by hand from the result's own numbers: faults x what one costs more.
    for found in builds.values():
        per_fault, faults = found.estimate.per_fault_ns, found.faults
        assert f"asks the p2m {found.counts.p2m_per_fault:.1f} times" in _flat(shown)
        assert f"costs {per_fault.estimate:.0f} ns more" in _flat(shown)
        seconds = -faults.middle * per_fault.estimate * 1e-9
        assert f"would change by {seconds:.1f} s of system time" in _flat(shown)
        computed = -faults.middle * found.modelled[0].middle * 1e-9
        assert f"latencies say {computed:.1f} s" in _flat(shown)
    # And no number stands there that is none of the result's, or of what was published.
    allowed = {number for found in builds.values() for number in _numbers_of(found)}
    told = set(re.findall(r"(?<![\w.:])\d+(?:\.\d+)?(?![\w:])", _flat(shown)))
    assert told - allowed == set()


def _flat(text: str) -> str:
    return " ".join(text.split())


def _numbers_of(found: KernelBuild) -> set[str]:
    """How each number of a result may be written: whole or with one place, seconds, ns, or millions."""

    def walk(value: object) -> Iterator[float]:
        if isinstance(value, dict):
            for each in value.values():
                yield from walk(each)
        elif isinstance(value, list):
            for each in value:
                yield from walk(each)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield abs(float(value))

    numbers = list(walk(found.to_dict()))
    return {f"{number / unit:.{places}f}" for number in numbers for unit in (1, 1e6) for places in (0, 1)}


def test_swapped_designs_change_every_derived_number(tool: ModuleType) -> None:
    found = next(iter(tool.kernel_build_page.builds().values()))
    swapped = p2mperf.kernel_build(
        "shipped-defconfig", "shipped-replays", before="pv-linear", after="pv-tree", quiet=True
    )
    assert swapped.counts == found.counts
    assert found.system.here is not None
    assert swapped.system.here is not None
    assert swapped.system.here.middle == pytest.approx(-found.system.here.middle)
    assert swapped.modelled[0].middle == pytest.approx(-found.modelled[0].middle)
    told, turned = (set(words.sentence(one).split()) for one in (found, swapped))
    assert f"{found.system.here.middle:.1f}" in told - turned


def test_faults_ask_what_arithmetic_says(tool: ModuleType) -> None:
    # The way down: pgd_val, pud_val, two pmd_trans_huge, pte_offset_map: 5, without huge pages 3, all by
    # the m2p. An anonymous write: lock and table, 2 of the m2p; made and set, 2 of the p2m: 9 and 7.
    told = {line[0]: (line[1], line[2]) for line in rows(tool.kernel_build_page.translations_by_fault())}
    assert told["anonymous write, and read of the zero page"] == ("9 (7)", "7 (5)")
    assert told["read of a file, of which a window of one page is mapped"] == ("9 (7)", "7 (5)")
    assert told["... each further page"] == ("2", "0")
    # A copy: lock, twice the old entry, lock and table again, 5 of the m2p; made and set: 12 and 10.
    assert told["copy on write, and write to the zero page"] == ("12 (10)", "10 (8)")
    assert told["write to a page of its own"] == ("7 (5)", "7 (5)")
    assert told["spurious"] == ("6 (4)", "6 (4)")


def test_the_page_tells_of_every_step_that_is_counted(tool: ModuleType) -> None:
    lines = rows(tool.kernel_build_page.translations_by_step())
    assert len(lines) == len(STEPS)
    for line, declared in zip(lines, STEPS.values(), strict=True):
        asked = declared.asks.split()
        # A word is a lookup of the p2m; of the m2p too with a question mark; with a star not of all kernels.
        with_thp = (len(asked), sum(word[0] == "?" for word in asked))
        without = [word for word in asked if not word.endswith("*")]
        told = (len(without), sum(word[0] == "?" for word in without))
        assert line[1:3] == [f"{n}" + f" ({m})" * (n != m) for n, m in zip(with_thp, told, strict=True)]
        assert line[3] == f"`{declared.asks}`"
