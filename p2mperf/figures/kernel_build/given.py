"""What figures of a kernel build are drawn from: what is handed over, or what is shipped; and their words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from p2mperf.analysis.kernel_build.prediction import KernelBuild
from p2mperf.analysis.kernel_build.replay_file import read_replays
from p2mperf.analysis.kernel_build.words import entry_title
from p2mperf.errors import BadInputError, shown
from p2mperf.figures.spec import Source
from p2mperf.figures.style import plainly
from p2mperf.guests.guest import Guest
from p2mperf.shipped import RECORDINGS as SHIPPED, shipped
from p2mperf.study.kernel_builds import GUEST_MEMORY, kernel_build
from p2mperf.workload.locality import Locality, count_locality
from p2mperf.workload.recording import Recording
from p2mperf.workload.recording_file import read_recording
from p2mperf.workload.replays import Replays
from p2mperf.workload.stream import make_stream

Recordings = dict[str, Recording]


def class_title(name: str) -> str:
    """What a class of entries is called in figures.

    Parameters
    ----------
    name : str
        Name of an `Entered`; another stands for itself.
    """
    return plainly(entry_title(name))


def machine_note(card: Mapping[str, object]) -> str:
    """Say where something was measured, as far as a machine card tells."""
    where = f"measured on {card.get('cpu_model') or 'an unnamed processor'}"
    where += ", in a virtual machine" if card.get("hypervisor") else ""
    return plainly(f"{where}, Linux {card.get('kernel_release') or 'unknown'}")


def take_recordings(given: object) -> Recordings:
    """Name recordings: those that ship with p2mperf, or those that are given."""
    if given is None:
        return {name.removeprefix("shipped-"): _shipped_recording(name) for name in SHIPPED}
    several = list(given) if isinstance(given, list | tuple) else [given]
    recordings = [one for one in several if isinstance(one, Recording)]
    if strangers := [one for one in several if not isinstance(one, Recording)]:
        raise BadInputError(f"a recording is wanted, not {shown(strangers[0])}: read one by read_recording")
    if not recordings:
        raise BadInputError("no recording is given")
    tools = [plainly(one.about.tool) for one in recordings]
    names = [f"{tool}, {at}" if tools.count(tool) > 1 else tool for at, tool in enumerate(tools, start=1)]
    return dict(zip(names, recordings, strict=True))


@cache
def _shipped_recording(name: str) -> Recording:
    return read_recording(name)


def take_localities(given: object) -> dict[str, Locality]:
    """Count the locality of recordings: of those that ship with p2mperf, or of those that are given."""
    if given is None:
        return {name.removeprefix("shipped-"): _shipped_locality(name) for name in SHIPPED}
    return {name: _locality(one) for name, one in take_recordings(given).items()}


@cache
def _shipped_locality(name: str) -> Locality:
    return _locality(_shipped_recording(name))


def _locality(recording: Recording) -> Locality:
    return count_locality(make_stream(recording, Guest.plain(GUEST_MEMORY, geometry="pv64")))


def take_replays(given: object) -> Replays:
    """Take replays: those that ship with p2mperf, or those that are given."""
    if given is None:
        return _shipped_replays()
    if not isinstance(given, Replays):
        raise BadInputError(f"replays are wanted, not {shown(given)}: `p2mperf.replay` makes some")
    return given


@cache
def _shipped_replays() -> Replays:
    return read_replays(shipped("shipped-replays"))


def take_build(given: object) -> KernelBuild:
    """Take what a kernel build came to: by what ships with p2mperf, or as it is given."""
    if given is None:
        return _shipped_build()
    if not isinstance(given, KernelBuild):
        raise BadInputError(f"a kernel build is wanted, not {shown(given)}: `p2mperf.kernel_build` gives one")
    return given


@cache
def _shipped_build() -> KernelBuild:
    return kernel_build(replays=_shipped_replays(), quiet=True)


BUILD = Source("build", take_build)
LOCALITIES = Source("recordings", take_localities)
RECORDINGS = Source("recordings", take_recordings)
REPLAYS = Source("replays", take_replays)
