"""The commit's kernel build, as a user asks for it: from recordings and replays, measured now or in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from p2mperf.analysis.kernel_build.parts import faults_of_commit
from p2mperf.analysis.kernel_build.prediction import KernelBuild, kernel_build as build_of
from p2mperf.analysis.kernel_build.replay_file import read_replays
from p2mperf.errors import BadInputError, shown
from p2mperf.progress import Bar, Progress
from p2mperf.shipped import RECORDINGS, REPLAYS, shipped
from p2mperf.study.replay import recorded, replay_source
from p2mperf.study.replay_plan import plan_replay
from p2mperf.study.specs import GuestSpec
from p2mperf.units import flag
from p2mperf.workload.recording import Recording
from p2mperf.workload.replays import Replays

(SHIPPED_REPLAYS,) = REPLAYS
DEFAULT_RECORDING = "shipped-defconfig"
GUEST_MEMORY = "8G"
_GEOMETRY = "pv64"


@dataclass(frozen=True)
class Options:
    """What is asked, checked.

    Attributes
    ----------
    guest_memory : str
        Of the guest that the estimate is of, as it was written.
    guest : str or None
        Its name; None where none was asked for: the first that was replayed.
    thp : bool or None
        Whether the kernel has CONFIG_TRANSPARENT_HUGEPAGE; None for what the replays are of.
    n_faults : float or None
        Page faults of the commit's build; None for the published anchor.
    """

    guest_memory: str
    guest: str | None
    thp: bool | None
    n_faults: float | None


def require_options(guest_memory: str | None, thp: bool | None, n_faults: float | None) -> Options:
    """Check what a user wishes for.

    Parameters
    ----------
    guest_memory, thp, n_faults
        As in `Options`; None for the default.

    Raises
    ------
    BadInputError
        For sizes and numbers that are none.
    """
    faults_of_commit(n_faults)
    guest = None if guest_memory is None else GuestSpec.plain(guest_memory, _GEOMETRY).name
    thp = None if thp is None else flag(thp, "thp")
    return Options(GUEST_MEMORY if guest_memory is None else guest_memory, guest, thp, n_faults)


def read_given(replays: Replays | str | Path | None) -> Replays | None:
    """Take replays as they are given: read from a file, or from what comes with p2mperf.

    Parameters
    ----------
    replays : Replays, str or Path; or None
        Replays, a file of them, or "shipped-replays"; None for those that are to be measured.

    Raises
    ------
    ResultsError
        When the file cannot be read.
    BadInputError
        For what is neither.
    """
    if replays is None or isinstance(replays, Replays):
        return replays
    if not isinstance(replays, str | Path):
        raise BadInputError(f"replays are given as Replays or as their file, not as {shown(replays)}")
    return read_replays(shipped(SHIPPED_REPLAYS) if replays == SHIPPED_REPLAYS else replays)


def kernel_build_of(
    source: Recording | str | Path,
    replays: Replays | None,
    options: Options,
    progress: Progress,
    *,
    before: str = "pv-tree",
    after: str = "pv-linear",
    interference: bool = False,
) -> KernelBuild:
    """Predict the commit's build from one recording.

    Parameters
    ----------
    source : Recording, str or Path
        A recording, its file, or the name of one that comes with p2mperf.
    replays : Replays or None
        What its entries cost; None: they are measured here and now, at one guest size.
    options : Options
        As `require_options` gives them.
    progress : Progress
        Who is told how far measuring is.
    before, after : str
        Designs.
    interference : bool
        Whether what entries do to other work is measured as well.

    Returns
    -------
    KernelBuild

    Raises
    ------
    BadInputError
        When replays are of another kernel than what is asked for, or have no cold one of that guest.
    ResultsError
        When a file cannot be read, or another measurement is at work on this machine.
    NothingFitsError
        When the guest does not fit this machine.
    """
    interference = flag(interference, "interference")
    recording, digest = recorded(source)
    if replays is None:
        thp = options.thp is not False
        plan = plan_replay((options.guest_memory,), (before, after), thp=thp, interference=interference)
        replays = replay_source(recording, plan, progress)
    elif options.thp is not None and replays.thp != options.thp:
        there = "with" if replays.thp else "without"
        raise BadInputError(f"these replays are of a kernel {there} CONFIG_TRANSPARENT_HUGEPAGE: replay anew")
    return build_of(
        recording,
        replays,
        name=source if isinstance(source, str) and source in RECORDINGS else recording.about.tool,
        digest=digest,
        before=before,
        after=after,
        guest=options.guest,
        n_faults=options.n_faults,
    )


def kernel_build(
    recording: Recording | str | Path = DEFAULT_RECORDING,
    replays: Replays | str | Path | None = None,
    *,
    guest_memory: str | None = None,
    thp: bool | None = None,
    n_faults: float | None = None,
    before: str = "pv-tree",
    after: str = "pv-linear",
    interference: bool = False,
    quiet: bool = False,
) -> KernelBuild:
    """Predict the kernel build of the 2014 commit, tree -> list, from what a recorded build asks of a p2m.

    Parameters
    ----------
    recording : Recording, str or Path
        A recorded build, its file, or "shipped-defconfig" or "shipped-tinyconfig".
    replays : Replays, str or Path, optional
        What its entries cost, as `p2mperf.replay` measures it; a file of that; or "shipped-replays". Default:
        measured here and now, which takes about a minute.
    guest_memory : str, optional
        Of the guest whose cold replay is the estimate; default: 8G, or the first that was replayed.
    thp : bool, optional
        Whether the kernel has CONFIG_TRANSPARENT_HUGEPAGE; default: as the replays have it, or that it has.
    n_faults : float, optional
        Page faults of the commit's build; default: by a published build.
    before, after : str
        PV designs, in the order of the commit.
    interference : bool
        Whether what entries do to user code is measured as well.
    quiet : bool
        No progress on stderr.

    Returns
    -------
    p2mperf.analysis.kernel_build.prediction.KernelBuild
        With `to_dict`; `p2mperf.analysis.kernel_build.words` puts it in words.

    Raises
    ------
    BadInputError
        For what is no recording, no replays, or no number; or when they do not belong together.
    ResultsError
        When a file cannot be read, or another measurement is at work on this machine.
    NothingFitsError
        When the guest does not fit this machine.
    """
    interference, quiet = flag(interference, "interference"), flag(quiet, "quiet")
    options = require_options(guest_memory, thp, n_faults)
    progress = Progress() if quiet else Bar().progress
    return kernel_build_of(
        recording,
        read_given(replays),
        options,
        progress,
        before=before,
        after=after,
        interference=interference,
    )
