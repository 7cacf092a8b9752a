"""Replaying a recorded build, as a user asks for it: from a recording, a file of one, or a stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.analysis.kernel_build.replay_file import write_replays
from p2mperf.errors import BadInputError, shown
from p2mperf.progress import Bar, Progress
from p2mperf.study.replay_plan import N_PROCESSES, PHASE_ENTRIES, ReplayPlan, plan_replay
from p2mperf.study.replaying import run_replays
from p2mperf.units import flag
from p2mperf.workload.recording import Recording
from p2mperf.workload.recording_file import digest, read_recording
from p2mperf.workload.replays import Replays
from p2mperf.workload.stream import make_stream
from p2mperf.workload.translation_stream import TranslationStream

if TYPE_CHECKING:
    from p2mperf.guests.guest import Guest


def replay(
    source: Recording | TranslationStream | str | Path,
    *,
    guests: Sequence[str] = (),
    conditions: Sequence[str] = (),
    designs: Sequence[str] = (),
    n_processes: int = N_PROCESSES,
    phase_entries: int = PHASE_ENTRIES,
    n_phases: int = 0,
    work: str | int = 0,
    thp: bool = True,
    alone: bool = False,
    backing: str = "kernel",
    interference: bool = False,
    seed: int = 1,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Replays:
    """Replay what a recorded build asks of a p2m through several designs, entry by entry into the kernel.

    Parameters
    ----------
    source : Recording, TranslationStream, str or Path
        What to replay: a recording, a file of one, the name of a shipped one, or a stream that was made of
        one.
    guests : sequence of str
        Memory of the guests, as ``8G``; default: 8G and 128G.
    conditions : sequence of str
        "tight", "flushed", "cold"; default: all. The cold one is the estimate.
    designs : sequence of str
        PV designs; the others are compared with the last. Default: pv-tree and pv-linear, both on 4 KiB
        pages, as a PV kernel has them.
    n_processes : int
        Fresh processes for each guest; six are the fewest for a verdict.
    phase_entries, n_phases : int
        Entries in a row before the next design's turn, and how many times each design has one in a process;
        0: one Latin square. Phases are shorter where the stream has no more entries.
    work : str or int
        Memory that other work goes round in, as ``8M``; 0: by this machine's caches.
    thp : bool
        Whether the kernel was built with CONFIG_TRANSPARENT_HUGEPAGE; a stream says so itself.
    alone : bool
        Give each design processes to itself.
    backing : str
        Page sizes of the designs, as `p2mperf.build` takes them; "kernel" is 4 KiB.
    interference : bool
        Also time work that comes after the lookups, to see what these do to it.
    seed : int
        Seed of the first process.
    out : str or Path, optional
        File that keeps what is whole, each time that a process has come to its end.
    quiet : bool
        No progress on stderr.

    Returns
    -------
    Replays
        `p2mperf.analysis.kernel_build.replays.deltas` says what it shows.

    Raises
    ------
    BadInputError
        For what cannot be replayed, or names and sizes that are none.
    NothingFitsError
        When no guest fits this machine.
    ResultsError
        When a file cannot be read or written, or another measurement is at work on this machine.
    """
    plan = plan_replay(
        guests,
        designs,
        conditions,
        n_processes=n_processes,
        phase_entries=phase_entries,
        n_phases=n_phases,
        work=work,
        thp=thp,
        alone=alone,
        backing=backing,
        interference=interference,
        seed=seed,
    )
    progress = Progress() if flag(quiet, "quiet") else Bar().progress
    return replay_source(source, plan, progress, out)


def replay_source(
    source: Recording | TranslationStream | str | Path,
    plan: ReplayPlan,
    progress: Progress,
    out: str | Path | None = None,
) -> Replays:
    """Replay by a plan.

    Parameters
    ----------
    source, out
        As `replay`.
    plan : ReplayPlan
        How.
    progress : Progress
        Who is told how far it is.

    Returns
    -------
    Replays

    Raises
    ------
    BadInputError, NothingFitsError, ResultsError
        As `replay`.
    """

    def keep(replays: Replays) -> None:
        if out is not None:
            write_replays(replays, out)

    if isinstance(source, TranslationStream):
        return run_replays(source, plan, progress, keep)
    recording, its_digest = recorded(source)

    def make(guest: Guest, seed: int) -> TranslationStream:
        return make_stream(recording, guest, thp=plan.thp, seed=seed)

    return run_replays(make, plan, progress, keep, recording=its_digest)


def recorded(source: Recording | str | Path) -> tuple[Recording, str]:
    """Take a recording, or read the file of one.

    Parameters
    ----------
    source : Recording, str or Path
        As `replay`.

    Returns
    -------
    recording : Recording
    digest : str
        Of its columns.

    Raises
    ------
    BadInputError, ResultsError
        When it is none.
    """
    if not isinstance(source, str | Path | Recording):
        raise BadInputError(f"a recording is replayed, or a stream made of one, and not {shown(source)}")
    recording = source if isinstance(source, Recording) else read_recording(source)
    return recording, digest(recording)
