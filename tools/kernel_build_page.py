"""Blocks of docs/results.md and docs/kernel-build.md on kernel builds: `readme.py` writes them there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from measured_page import items, table  # beside this file

import p2mperf
from p2mperf.analysis.kernel_build import words
from p2mperf.analysis.kernel_build.prediction import KernelBuild
from p2mperf.analysis.kernel_build.replay_file import read_replays
from p2mperf.analysis.kernel_build.replays import interference
from p2mperf.analysis.words import sentence
from p2mperf.figures.kernel_build.given import class_title, machine_note
from p2mperf.shipped import RECORDINGS, shipped
from p2mperf.units import format_size
from p2mperf.workload.recording import Recording
from p2mperf.workload.recording_file import read_recording
from p2mperf.workload.steps import Step
from p2mperf.workload.translations import STEPS, Declared

FIGURES = ("build-translations", "build-locality", "build-cold", "build-seconds", "build-tornado")


def _recordings() -> dict[str, Recording]:
    return {name: read_recording(name) for name in RECORDINGS}


@cache
def builds() -> dict[str, KernelBuild]:
    """What each shipped recording comes to, with the shipped replays; the default one first."""
    return {name: p2mperf.kernel_build(name, "shipped-replays", quiet=True) for name in reversed(RECORDINGS)}


def kernel_builds() -> str:
    """The commit's table, as published and as predicted, and what the recordings come to."""
    first = next(iter(builds().values()))
    said = [f"{_short_recording(name)}: {words.sentence(one)}" for name, one in builds().items()]
    shown = table(words.TABLE_HEADS, words.table_rows(first))
    notes = dict.fromkeys(note for one in builds().values() for note in one.notes)
    return "\n".join([shown, "", items([*said, *(f"Note: {note}." for note in notes)])])


def _short_recording(name: str) -> str:
    return name.removeprefix("shipped-")


def recorded_builds() -> str:
    """What the shipped recordings are: a column each."""
    facts = {_short_recording(name): _facts(one) for name, one in _recordings().items()}
    names = dict.fromkeys(fact for column in facts.values() for fact in column)
    rows = [(name, *(column.get(name, "-") for column in facts.values())) for name in names]
    return table(["", *facts], rows)


def _facts(recording: Recording) -> dict[str, str]:
    about = recording.about
    whole = about.whole
    assert whole is not None, "what is shipped is a sample"
    n_faults = sum(whole.n_faults.values())
    return {
        "recorded on": f"Linux {about.kernel_release}, {about.architecture}",
        "events of the whole build": f"{sum(whole.n_events.values()):,}",
        "lost": f"{sum(cpu.n_overrun + cpu.n_dropped for cpu in about.cpus.values())}",
        "events that are kept": f"{recording.n_events:,}",
        "address spaces, kept": f"{whole.n_spaces:,}, {whole.n_kept_spaces:,}",
        "page faults": f"{n_faults:,}",
        **{class_title(name): f"{100 * n / n_faults:.2f} %" for name, n in whole.n_faults.items()},
        "user, system time, recording in them": f"{about.usage.user_s:.1f} s, {about.usage.system_s:.1f} s",
    }


_WALK = (Step.WALK_PUD, Step.WALK_PMD, Step.WALK_TEST, Step.WALK_PTE)
# Faults that find all pages of the page table, each from its first step to its last.
FAULTS = {
    "anonymous write, and read of the zero page": (*_WALK, Step.ANONYMOUS),
    "write to a private file page": (*_WALK, Step.PRIVATE_FILE),
    "read of a file, of which a window of one page is mapped": (*_WALK, Step.FILE_LOCK, Step.FILE_PAGE),
    "... each further page": (Step.FILE_PAGE,),
    "copy on write, and write to the zero page": (*_WALK, Step.COPY),
    "write to a page of its own": (*_WALK, Step.REUSE),
    "spurious": (*_WALK, Step.SPURIOUS),
}


def translations_by_fault() -> str:
    """What faults ask, put together from their steps: a row a kind of fault."""
    heads = ("fault", "p2m", "m2p", "steps")
    rows = []
    for name, steps in FAULTS.items():
        with_thp, without = (
            [sum(n) for n in zip(*(STEPS[step].counts(thp) for step in steps), strict=True)]
            for thp in (True, False)
        )
        rows.append((name, *_either(with_thp, without), ", ".join(_step_name(step) for step in steps)))
    return table(heads, rows)


def translations_by_step() -> str:
    """What each step of the kernel's work asks, as it is declared: a row a step."""
    heads = ("step", "p2m", "m2p", "asks", "why", "where")
    return table(heads, [_step(step, declared) for step, declared in STEPS.items()])


def _step_name(step: Step) -> str:
    return step.name.lower().replace("_", " ")


def _either(with_thp: Sequence[int], without: Sequence[int]) -> list[str]:
    return [f"{n}" + f" ({m})" * (n != m) for n, m in zip(with_thp, without, strict=True)]


def _step(step: Step, declared: Declared) -> tuple[str, ...]:
    numbers = _either(declared.counts(True), declared.counts(False))
    open_ends = (declared.low, declared.high) != (1.0, 1.0)
    why = declared.why + f"; {declared.low:.2g} to {declared.high:.2g} times as often" * open_ends
    return _step_name(step), *numbers, f"`{declared.asks}`", why, declared.source


def build_costs() -> str:
    """What a page fault costs more with the tree, by either road: a table a recording."""
    tables = [
        f"{_short_recording(name)}:\n\n{table(words.DELTA_HEADS, words.delta_rows(one))}"
        for name, one in builds().items()
    ]
    replays = read_replays(shipped("shipped-replays"))
    where = f"{machine_note(replays.machine)}. Intervals cover processes, not boots or machines."
    return "\n\n".join([*tables, sentence(where)])


def build_prediction() -> str:
    """The commit's table, what is open in it, and what would have to be true for what was published."""
    first = next(iter(builds().values()))
    return "\n\n".join(
        [
            table(words.TABLE_HEADS, words.table_rows(first)),
            table(words.BUDGET_HEADS, words.budget_rows(first)),
            table(words.NEEDED_HEADS, words.needed_rows(first)),
        ]
    )


def build_interference() -> str:
    """What other work takes longer after the tree's lookups, where the shipped replays have measured it."""
    found = interference(read_replays(shipped("shipped-replays")))
    if found.empty:
        return "The replays that are shipped have not measured it."
    heads = (
        "other work",
        "in",
        "touches",
        "guest",
        "longer after the tree's entries",
        "the tree against itself",
        "lines, pages more",
    )
    rows = [
        (
            str(row["victim"]),
            format_size(int(row["work_bytes"])),
            str(row["n_touches"]),
            str(row["guest"]),
            *(
                f"{row[f'{name}middle_ns']:.1f} ns [{row[f'{name}low_ns']:.1f}, {row[f'{name}high_ns']:.1f}]"
                for name in ("", "control_")
            ),
            f"{row['lines_per_entry']:.1f}, {row['pages_per_entry']:.1f}",
        )
        for row in found.to_dict("records")
    ]
    return table(heads, rows)


BLOCKS = {
    "interference": build_interference,
    "recordings": recorded_builds,
    "faults": translations_by_fault,
    "translations": translations_by_step,
    "costs": build_costs,
    "prediction": build_prediction,
}
