"""What a kernel build is predicted from: as shipped, or of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from p2mperf.analysis.kernel_build.replay_file import read_replays
from p2mperf.results.files import as_path
from p2mperf.shipped import shipped
from p2mperf.workload.recording import Recording
from p2mperf.workload.recording_file import read_recording
from p2mperf.workload.replays import Replays

RECORDING = "shipped-defconfig"
# What a directory of one's own has.
REPLAYS_FILE, RECORDING_FILE = "kernel-build-replays.json", "kernel-build.parquet"


@dataclass(frozen=True)
class BuildInputs:
    """A recorded build, and what its entries cost.

    Attributes
    ----------
    recording : Recording
        A recorded build.
    replays : Replays
        What its entries cost.
    kept : str
        Where they are, a sentence.
    """

    recording: Recording
    replays: Replays
    kept: str

    @property
    def origin(self) -> str:
        """Whose numbers they are, and where they are kept: two sentences."""
        card = self.replays.machine
        processor = card.get("cpu_model") or "an unnamed processor"
        in_a_vm = ", in a virtual machine" if card.get("hypervisor") else ""
        return f"Replays were measured on {processor}{in_a_vm}. {self.kept}"


def build_inputs(data: str | Path = "shipped") -> BuildInputs:
    """Take a recorded build and its replays: as shipped, or of one's own.

    Parameters
    ----------
    data : str or Path
        "shipped", or a directory that has a file `REPLAYS_FILE`, as
        ``p2mperf.replay(recording, out=...)`` makes it, and maybe the recording that it is of,
        `RECORDING_FILE`: without one, replays are of the shipped recording.

    Returns
    -------
    BuildInputs

    Raises
    ------
    BadInputError
        For what is no directory's name.
    ResultsError
        When a file cannot be read.
    """
    if data == "shipped":
        replays = read_replays(shipped("shipped-replays"))
        return BuildInputs(read_recording(RECORDING), replays, "Recording and replays come with p2mperf.")
    replays_file, own = as_path(data) / REPLAYS_FILE, as_path(data) / RECORDING_FILE
    is_own = own.exists()
    of = f"of the recording `{own}`" if is_own else "of the recording that comes with p2mperf"
    return BuildInputs(
        read_recording(own if is_own else RECORDING),
        read_replays(replays_file),
        f"The replays are those of `{replays_file}`, {of}.",
    )
