"""The sizing arithmetic put to the kernel: a child process under RLIMIT_AS gets the area and no more.

The child's address space is limited to what it has anyway plus the area there is for the list. In that it
builds the guest's list in pool frames, shows them through a window as Linux shows its p2m list, reads the
last entry, and asks for one granule more than there is.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.errors import DoesNotFitError, P2mperfError
from p2mperf.host.memory import require_memory
from p2mperf.sizing.answer import Answer
from p2mperf.units import HUGE_SIZE, PAGE_SIZE, format_size, readable_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from p2mperf.memory.pool import PagePool
    from p2mperf.memory.window import Window

TIMEOUT_SECONDS = 300
RUN_FRAMES = 64  # the list's pages lie scattered in runs of this, so that only the window makes them linear
CHUNK_PAGES = 16
MFN_BITS = 0x155555  # mfn = pfn ^ this
ALIGNMENT_BYTES = HUGE_SIZE  # what aligning a reserved area takes for a moment
BOOKKEEPING_BYTES_PER_PAGE = 64  # what a window and its mapping note about a page, in Python's memory
_CHILD = "from p2mperf.sizing.proof import child; child()"


@dataclass(frozen=True)
class Task:
    """What the child is told; sizes in bytes.

    Attributes
    ----------
    entry_bytes : int
        Width of an entry.
    first_page, end_page : int
        Guest frames that have memory; entries before them read INVALID.
    area_bytes : int
        Virtual area for the list.
    budget_bytes : int
        Area there is, in whole granules.
    granule_bytes : int
        Step in which the area grows.
    """

    entry_bytes: int
    first_page: int
    end_page: int
    area_bytes: int
    budget_bytes: int
    granule_bytes: int


@dataclass(frozen=True)
class Proof:
    """What happened in the child; sizes in bytes.

    Attributes
    ----------
    guest_bytes, list_bytes, area_bytes, budget_bytes, granule_bytes : int
        What was to be shown.
    built : bool
        Whether the area was reserved, mapped and filled.
    build_error : str
        The kernel's name for what it said otherwise, "" if it did not refuse.
    n_entries, n_entries_read, n_mappings : int
        Entries of the list with its padding, how many of them read back right through window and direct map,
        and mappings the window is made of.
    last_entry, last_entry_expected : int
        The last entry read through the window, and what was to stand there; -1 when nothing was built.
    baseline_bytes, limit_bytes : int
        Address space of the child before the question, and RLIMIT_AS during it.
    budget_error : str
        The kernel's answer to the whole budget; "" if it gave it.
    refused_bytes : int
        Budget and one granule more.
    refusal : str
        The kernel's answer to that, such as ENOMEM; "" if it gave it.
    """

    guest_bytes: int
    list_bytes: int
    area_bytes: int
    budget_bytes: int
    granule_bytes: int
    built: bool
    build_error: str
    n_entries: int
    n_entries_read: int
    n_mappings: int
    last_entry: int
    last_entry_expected: int
    baseline_bytes: int
    limit_bytes: int
    budget_error: str
    refused_bytes: int
    refusal: str

    @property
    def holds(self) -> bool:
        """Whether the kernel did what the arithmetic says."""
        if self.built != (self.area_bytes <= self.budget_bytes):
            return False
        is_read = self.n_entries_read == self.n_entries and self.last_entry == self.last_entry_expected
        is_right = is_read if self.built else self.build_error == "ENOMEM"
        return is_right and not self.budget_error and self.refusal == "ENOMEM"

    @property
    def sentence(self) -> str:
        """What was shown, in words."""
        area, budget = readable_size(self.area_bytes), readable_size(self.budget_bytes)
        if self.built:
            done = (
                f"a list of {format_size(self.list_bytes)} built in an area of {area} out of {budget},"
                f" {self.n_entries_read} of {self.n_entries} entries read back right, the guest's last one"
                f" {self.last_entry:#x} as written"
            )
        else:
            done = f"an area of {area} out of {budget} refused by the kernel: {self.build_error}"
        answer = f"refused by the kernel: {self.refusal}" if self.refusal else "granted"
        return f"{done}; one granule more than {budget}, {self.refused_bytes} bytes, {answer}"

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return asdict(self) | {"holds": self.holds, "sentence": self.sentence}


def prove(answer: Answer) -> Proof:
    """Build the list of an answer's guest in a child whose address space is limited as the answer says.

    Parameters
    ----------
    answer : Answer
        From `limits`; without a guest size that is the largest guest that fits.

    Returns
    -------
    Proof
        What the kernel did; `Proof.holds` compares it with the arithmetic.

    Raises
    ------
    DoesNotFitError
        When this machine's memory does not hold the list.
    P2mperfError
        When the child could not do its work.
    """
    task = _task(answer)
    n_list_bytes = task.end_page * task.entry_bytes
    if task.area_bytes <= task.budget_bytes:
        require_memory(2 * n_list_bytes, "the proof", "prove a smaller guest")
    command = [sys.executable, "-c", _CHILD]
    done = subprocess.run(
        command,
        input=json.dumps(asdict(task)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env=_environment(),
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise P2mperfError(f"the proving child failed: {last[0]}")
    return Proof(guest_bytes=answer.guest_bytes, list_bytes=n_list_bytes, **json.loads(done.stdout))


def _task(answer: Answer) -> Task:
    granule = answer.granule_bytes
    base = answer.parameters.ram_base_bytes
    return Task(
        entry_bytes=answer.parameters.shape.entry_bytes,
        first_page=base // PAGE_SIZE,
        end_page=(base + answer.guest_bytes) // PAGE_SIZE,
        area_bytes=answer.area_bytes,
        budget_bytes=answer.available_bytes // granule * granule,
        granule_bytes=granule,
    )


def _environment() -> dict[str, str]:
    package_parent = str(Path(__file__).resolve().parents[2])
    paths = [package_parent, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}


def child() -> None:
    """Do the task given on standard input and write what happened to standard output."""
    # What is imported under the limit would be counted against it, and fail to load.
    import p2mperf.memory.vm  # noqa: F401

    task = Task(**json.load(sys.stdin))
    fits = task.area_bytes <= task.budget_bytes
    json.dump((_build(task) if fits else _fail_to_build(task)) | _ask_for_more(task), sys.stdout)


def _build(task: Task) -> dict[str, object]:
    from p2mperf.memory.pool import PagePool
    from p2mperf.memory.window import Window

    n_list_pages = -(-task.end_page * task.entry_bytes // PAGE_SIZE)
    n_filler_pages = task.granule_bytes // PAGE_SIZE
    n_area_pages = task.area_bytes // PAGE_SIZE
    with PagePool(n_list_pages + n_filler_pages, run_frames=RUN_FRAMES) as pool:
        frames = pool.allocate(n_list_pages, "leaf")
        filler = pool.allocate(n_filler_pages, "missing")
        pool.pages(_dtype(task))[filler] = _invalid(task)
        with (
            _address_space(task, n_area_pages * BOOKKEEPING_BYTES_PER_PAGE),
            Window(pool, n_area_pages) as window,
        ):
            _map(window, frames, filler)
            _fill(task, window, n_list_pages)
            return _read_back(task, pool, window, frames)


def _map(window: Window, frames: NDArray[np.int64], filler: NDArray[np.int64]) -> None:
    """Show the list, and beyond its end a shared page of INVALID entries, read-only."""
    import numpy as np

    rest = np.resize(filler, window.n_pages - frames.size)
    window.map(0, frames, np.ones(frames.size, np.bool_))
    if rest.size:
        window.map(frames.size, rest, np.zeros(rest.size, np.bool_))


def _fill(task: Task, window: Window, n_list_pages: int) -> None:
    for first_page in range(0, n_list_pages, CHUNK_PAGES):
        n_pages = min(CHUNK_PAGES, n_list_pages - first_page)
        _view(task, window, first_page, n_pages)[:] = _entries(task, first_page, n_pages)


def _read_back(task: Task, pool: PagePool, window: Window, frames: NDArray[np.int64]) -> dict[str, object]:
    """Compare every entry, read through window and direct map, with what was to be written."""
    direct = pool.pages(_dtype(task))
    n_right = 0
    for first_page in range(0, frames.size, CHUNK_PAGES):
        chunk = frames[first_page : first_page + CHUNK_PAGES]
        expected = _entries(task, first_page, chunk.size)
        seen = _view(task, window, first_page, chunk.size)
        n_right += int(((seen == expected) & (direct[chunk].ravel() == expected)).sum())
    n_entries = PAGE_SIZE // task.entry_bytes
    last_page, last_index = divmod(task.end_page - 1, n_entries)
    return {
        "built": True,
        "build_error": "",
        "n_entries_read": n_right,
        "n_entries": frames.size * n_entries,
        "n_mappings": window.n_vmas,
        "last_entry": int(_view(task, window, last_page, 1)[last_index]),
        "last_entry_expected": (task.end_page - 1) ^ MFN_BITS,
    }


def _entries(task: Task, first_page: int, n_pages: int) -> NDArray[np.uint32 | np.uint64]:
    """Entries of some list pages: no frame's mfn is its own number, none without memory reads 0."""
    import numpy as np

    n_entries = PAGE_SIZE // task.entry_bytes
    pfns = np.arange(first_page * n_entries, (first_page + n_pages) * n_entries)
    has_memory = (pfns >= task.first_page) & (pfns < task.end_page)
    return np.where(has_memory, (pfns ^ MFN_BITS).astype(_dtype(task)), _invalid(task))


def _view(task: Task, window: Window, first_page: int, n_pages: int) -> NDArray[np.uint32 | np.uint64]:
    import numpy as np

    buffer = (ctypes.c_char * (n_pages * PAGE_SIZE)).from_address(window.base + first_page * PAGE_SIZE)
    return np.ndarray(n_pages * PAGE_SIZE // task.entry_bytes, _dtype(task), memoryview(buffer))


def _dtype(task: Task) -> type[np.uint32] | type[np.uint64]:
    import numpy as np

    return np.uint32 if task.entry_bytes == 4 else np.uint64


def _invalid(task: Task) -> np.uint32 | np.uint64:
    return _dtype(task)((1 << 8 * task.entry_bytes) - 1)


def _fail_to_build(task: Task) -> dict[str, object]:
    with _address_space(task):
        error = _reserve(task.area_bytes)
    return {
        "built": not error,
        "build_error": error,
        "n_entries_read": 0,
        "n_entries": 0,
        "n_mappings": 0,
        "last_entry": -1,
        "last_entry_expected": -1,
    }


def _ask_for_more(task: Task) -> dict[str, object]:
    more = task.budget_bytes + task.granule_bytes
    baseline = _address_space_bytes()
    with _address_space(task) as limit:
        return {
            "area_bytes": task.area_bytes,
            "budget_bytes": task.budget_bytes,
            "granule_bytes": task.granule_bytes,
            "baseline_bytes": baseline,
            "limit_bytes": limit,
            "budget_error": _reserve(task.budget_bytes) if task.budget_bytes else "",
            "refused_bytes": more,
            "refusal": _reserve(more),
        }


def _reserve(n_bytes: int) -> str:
    """Reserve an area as a window does and give it back; the kernel's name for its refusal, or ""."""
    from p2mperf.memory import vm

    try:
        vm.unmap(vm.reserve_aligned(n_bytes), n_bytes)
    except DoesNotFitError:
        return errno.errorcode[ctypes.get_errno()]
    return ""


@contextmanager
def _address_space(task: Task, bookkeeping_bytes: int = 0) -> Iterator[int]:
    """Give the process what it has, the budget, and less than a granule for what Python needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    slack = task.granule_bytes // 2
    limit = _address_space_bytes() + task.budget_bytes + ALIGNMENT_BYTES + slack + bookkeeping_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield limit
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * PAGE_SIZE
