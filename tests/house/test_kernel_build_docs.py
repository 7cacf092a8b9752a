"""The page on kernel builds: what it says of numbers, commands and files is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from p2mperf.cli import main
from p2mperf.figures import figures, table
from p2mperf.figures.kernel_build import locality
from p2mperf.measure.replay import CONDITIONS
from p2mperf.model.e6440 import E6440, Asked, difference_ns, from_memory
from p2mperf.model.published_build import ANCHOR, N_BUSY_THREADS, PUBLISHED_TIMES, USER, as_clock
from p2mperf.workload.trace_instance import BUFFER_BYTES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kernel-build.md").read_text("utf-8")
FLAT = " ".join(PAGE.split())


def test_what_was_published_is_as_the_model_has_it() -> None:
    for time in PUBLISHED_TIMES:
        before, after = as_clock(time.before_s), as_clock(time.after_s)
        row = rf"\| {before} \| {after} \| {time.change_s:.0f} s \| \+- {time.noise_s:.0f} s \|"
        assert re.search(row, PAGE), time.name
    whole = sum(time.change_s for time in PUBLISHED_TIMES if time.name != "Elapsed time")
    assert f"{-whole:.0f} s of CPU time over {N_BUSY_THREADS:.2f} busy threads are 13 s" in FLAT
    assert round(-whole / N_BUSY_THREADS) == 13


def test_the_faults_are_those_of_the_published_anchor() -> None:
    low, middle, high = ANCHOR.faults_of(USER.before_s)
    assert f"{ANCHOR.n_faults / 1e6:.2f} million in {ANCHOR.user_s:.0f} s of user time" in FLAT
    assert f"{USER.before_s:.0f} s of user time are {middle / 1e6:.0f} million" in FLAT
    assert f"a factor of {ANCHOR.factor:g} either way" in FLAT
    rates = (low / USER.before_s / 1e3, high / USER.before_s / 1e3)
    assert f"{rates[0]:.0f} to {rates[1]:.0f} thousand a second" in FLAT


def test_the_arithmetic_is_that_of_the_laptop() -> None:
    spans = (E6440.page_walk, E6440.line, E6440.call, E6440.area_walk)
    table = [tuple(map(float, row)) for row in re.findall(r"\| (\d+) \| (\d+) \| (\d+) \|\n", PAGE)]
    assert table == [(span.low, span.middle, span.high) for span in spans]
    assert 1 - E6440.exposed == pytest.approx(1 / 5)  # "of which a fifth is hidden"
    # 17 * (1 + 2.8) + 12 * (1 + 3.75) * 0.8 + 3 * 9 - 60 = 77.2 cycles, at 3.3 GHz 23 ns
    found = difference_ns("pv-tree", "pv-linear", asked := Asked(9, 1, 2.8, 1, 3.75))
    assert f"{found.low * E6440.clock_ghz:.0f} cycles, {found.low:.0f} ns" in FLAT
    assert f"The middle is {found.middle:.0f} ns and the high end {found.high:.0f} ns" in FLAT
    outer = difference_ns("pv-tree", "pv-linear", asked, from_memory(E6440))
    assert f"it would be {outer.middle:.0f} ns" in FLAT


def test_what_it_says_of_locality_holds_for_both_recordings() -> None:
    rows = table("build-locality")
    for recording in ("defconfig", "tinyconfig"):
        found = rows[rows["recording"] == recording]
        lines = found[(found["panel"] == locality.REUSE) & (found["unit"] == "entry lines")].set_index("x")[
            "y"
        ]
        assert "More than half of the lines" in FLAT
        assert 0.5 < lines.loc[2] < 0.75  # touched less than two entries ago
        slots = found[(found["panel"] == locality.TOUCHED) & (found["unit"] == "GiB slots")].set_index("x")[
            "y"
        ]
        assert "in two to four different GiB" in FLAT
        assert slots.loc[2:4].sum() > 0.95


def test_the_page_shows_every_figure_of_a_kernel_build() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(figures/([a-z-]+)\.png\)", PAGE)
    assert sorted(shown) == sorted(name for name in figures() if name.startswith("build-"))
    assert all((ROOT / "docs" / "figures" / f"{name}.png").exists() for name in shown)


def test_conditions_and_buffers_are_called_as_they_are() -> None:
    assert all(f"- **{name}**" in PAGE for name in CONDITIONS)
    assert f"{BUFFER_BYTES >> 20} MiB for each CPU" in FLAT


COMMANDS = sorted(set(re.findall(r"python -m p2mperf ([a-z-]+)", PAGE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_have_the_options_that_it_names(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = re.findall(rf"python -m p2mperf {command} (.*)", PAGE)
    # What stands after -- is the command that is recorded.
    asked = {word for line in lines for word in re.findall(r"--[a-z-]+", line.split(" -- ")[0])}
    words = [command, "sample"] if "sample" in " ".join(lines) else [command]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert {name for name in asked if name not in told} == set()


def test_nothing_is_promised_of_what_was_not_stated() -> None:
    said = PAGE.partition("## What the numbers can and cannot say")[2]
    assert "cannot" in said
    for unknown in ("configuration", "compiler", "`-j`", "dom0", "version of Xen"):
        assert unknown in PAGE.partition("## Limits")[2]
