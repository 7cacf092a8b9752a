"""Running a plan: one process a unit, every finished cell on disk, and the same command resumes."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from p2mperf.errors import CellsFailedError, NothingFitsError, P2mperfError, ResultsError
from p2mperf.host.cache import cache_directory
from p2mperf.host.card import card_key, machine_card
from p2mperf.host.lock import alone_on_this_machine
from p2mperf.host.maps import n_maps_available
from p2mperf.host.memory import available_memory_bytes
from p2mperf.progress import Progress
from p2mperf.provenance import SHOWING, source_hash, surroundings_hash
from p2mperf.results.fields import VERSION
from p2mperf.results.journal import Journal
from p2mperf.results.keys import CellSpec, UnitId, fingerprint
from p2mperf.results.runs import RunInfo, find_runs
from p2mperf.study.plans import Plan
from p2mperf.study.rehearsal import rehearsal_guest
from p2mperf.study.specs import WHOLE_TABLE, Unit, build_options
from p2mperf.units import MIB, format_size

Record = dict[str, Any]

# A unit's interpreter, numba and numpy, and the streams of the longest cell.
PROCESS_BYTES = 420 * MIB
# Mappings of such a process, libraries included.
PROCESS_MAPS = 1000


@dataclass
class Job:
    """A unit with the cells of it that are still to be measured."""

    unit: Unit
    key: str
    guest_pages: int
    entry_bits: int
    cells: list[Record]
    need_bytes: int
    need_maps: int

    def identity(self) -> Record:
        """The fields that all its records share."""
        return {
            "unit": self.key,
            "guest": self.unit.guest.name,
            "geometry": self.unit.guest.geometry,
            "entry_bits": self.entry_bits,
            "guest_pages": self.guest_pages,
            "backing": self.unit.backing,
            "replicate": self.unit.replicate,
            "seed": self.unit.seed,
            "limit_bytes": self.unit.limit_bytes,
        }


def jobs(plan: Plan) -> Iterator[Job]:
    """List a plan's units with all their cells and what they need, by arithmetic alone."""
    from p2mperf.designs import family_of, find
    from p2mperf.designs.backing import backing

    for unit in plan.units():
        guest = unit.guest.build(unit.seed)
        served = plan.cells(guest)
        family = family_of(unit.designs[0])
        pages = backing(unit.backing)
        small = rehearsal_guest(guest)
        footprints, rehearsed = (
            [
                kind.predict_footprint(whose, backing=pages, **build_options(kind, unit.limit_bytes))
                for kind in map(find, unit.designs)
            ]
            for whose in (guest, small)
        )
        # Whole tables are made beside those there are, one at a time; so they are when it is rehearsed.
        beside = max(max(f.n_vmas, 2 * r.n_vmas) for f, r in zip(footprints, rehearsed, strict=True))
        shape, n_pages = guest.geometry, guest.n_boot_pages
        key = UnitId(
            guest.name,
            shape.name,
            shape.entry_bits,
            n_pages,
            unit.backing,
            unit.replicate,
            unit.seed,
            unit.limit_bytes,
        ).key
        specs = [CellSpec(family, s.name, s.hole_fraction, s.identity_fraction, name) for s, name in served]
        cells = [{"cell": spec.key_in(key), **spec.to_json()} for spec in specs]
        again = [max(footprints, key=_bytes_of)] if any(s == WHOLE_TABLE for s, _ in served) else []
        list_bytes = n_pages * shape.entry_bytes if again else 0
        yield Job(
            unit,
            key,
            n_pages,
            shape.entry_bits,
            cells,
            sum(map(_bytes_of, footprints + again)) + list_bytes + PROCESS_BYTES,
            sum(f.n_vmas for f in footprints) + beside + PROCESS_MAPS,
        )


def _bytes_of(footprint: Any) -> int:
    return int(footprint.memory_bytes + footprint.page_table_bytes)


def sweep(
    plan: Plan,
    out: str | Path = "results",
    fresh: bool = False,
    progress: Progress | None = None,
    knees: Record | None = None,
) -> Path:
    """Run a plan, or what is left of it.

    Parameters
    ----------
    plan : Plan
        What to measure.
    out : str or Path
        Results directory; made when missing.
    fresh : bool
        Begin a new run even where an unfinished one could be continued.
    progress : Progress, optional
        Who is told how far it is.
    knees : dict, optional
        From `measured_knees`, where the plan was made with them; measured when needed.

    Returns
    -------
    Path
        The journal.

    Raises
    ------
    ResultsError
        When the directory is not ours, cannot be written, or is from a newer version.
    NothingFitsError
        When no cell of the plan fits this machine.
    CellsFailedError
        When cells failed; all others are kept, and the same command tries the failed ones again.
    """
    progress = progress or Progress()
    card = machine_card()
    card |= {"key": card_key(card), **(knees or {})}
    work = list(jobs(plan))
    with alone_on_this_machine(), _journal(plan, Path(out), fresh, card, work, progress) as journal:
        if journal.recovered_bytes:
            progress.say(
                f"{journal.path.name} ended in a torn line of {journal.recovered_bytes} bytes: cut off; "
                "its cell is measured again"
            )
        _run(journal, plan, work, progress)
    return journal.path


def _journal(
    plan: Plan, out: Path, fresh: bool, card: Record, work: list[Job], progress: Progress
) -> Journal:
    plan_key, code = fingerprint(plan.as_dict()), f"{source_hash(SHOWING)}-{surroundings_hash()}"
    if not fresh:
        for info in reversed(find_runs(out)):
            if info.plan_key == plan_key and not info.ended:
                journal = _continued(info, code, card, progress)
                if journal:
                    return journal
    n_cells = sum(len(job.cells) for job in work)
    if plan.name != "quick" and "knees" not in card:
        try:
            card.update(measured_knees(out))
        except ResultsError:
            raise
        except P2mperfError as error:  # the ladder explains results, it is none of them
            progress.say(f"{error}; going on without it")
    run = {
        "record": "run",
        "schema": VERSION,
        "run": secrets.token_hex(4),
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "plan": plan.as_dict(),
        "plan_key": plan_key,
        "code": code,
        "machine": card,
        "machine_key": card["key"],
        "n_units": len(work),
        "n_cells": n_cells,
    }
    return Journal.create(out, run)


def _continued(info: RunInfo, code: str, card: Record, progress: Progress) -> Journal | None:
    """Open an unfinished run of the same plan, unless other code or another machine made it."""
    if info.machine_key != card["key"]:
        progress.say(f"{info.path.name} is unfinished, but was made on another machine: left as it is")
        return None
    if info.code != code:
        progress.say(f"{info.path.name} is unfinished, but was made by other code: left as it is")
        return None
    progress.say(f"resuming {info.path.name}: {info.n_finished} of {info.n_cells} cells are there")
    return Journal.open(info.path)


def _run(journal: Journal, plan: Plan, work: list[Job], progress: Progress) -> None:
    done = journal.finished_cells()
    n_cells = sum(len(job.cells) for job in work)

    def advance(what: str) -> None:
        progress.advance(len(journal.finished_cells()), n_cells, what)

    cold = True
    for job in work:
        advance(job.unit.guest.name)
        job.cells = [cell for cell in job.cells if cell["cell"] not in done]
        if job.cells and (reason := _does_not_fit(job)):
            _skip(journal, job, *reason)
            if job.unit.replicate == 0:
                progress.say(_skipped(job, reason[1]))
        elif job.cells:
            _run_unit(journal, job, plan, cold, progress, partial(advance, job.unit.guest.name))
            cold = False
    advance("")
    n_done = sum(cell["status"] == "done" for cell in journal.finished_cells().values())
    n_failed = n_cells - len(journal.finished_cells())
    if n_failed:  # the run stays open: the same command tries them again
        what = f"{n_failed} of {n_cells} cells failed: {_first_failure(journal)}"
        raise CellsFailedError(what, journal.path)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    journal.append({"record": "end", "finished": finished, "n_done": n_done})
    if not n_done:
        need = min(job.need_bytes for job in work)
        raise NothingFitsError(
            f"nothing of plan {plan.name} fits this machine: the smallest unit needs {format_size(need)} and "
            f"{format_size(available_memory_bytes())} are available; take smaller guests with --size"
        )


def _first_failure(journal: Journal) -> str:
    failures = (cell for cell, _ in journal.cells_with_units() if cell["status"] == "failed")
    return next((f"{cell['cell']}: {cell['error']}" for cell in failures), "no reason recorded")


def _does_not_fit(job: Job) -> tuple[str, Record] | None:
    have = available_memory_bytes()
    if job.need_bytes > have:
        return "skipped_memory", {"need_bytes": job.need_bytes, "have_bytes": have}
    maps = n_maps_available(n_used=0)  # of a fresh process: what it needs for itself is in need_maps
    if job.need_maps > maps:
        error = f"needs {job.need_maps} mappings, {maps} are left: raise vm.max_map_count"
        return "skipped_maps", {"error": error}
    return None


def _skipped(job: Job, why: Record) -> str:
    reason = why.get("error") or (
        f"needs {format_size(why['need_bytes'])}, {format_size(why['have_bytes'])} are available"
    )
    return f"{job.unit.guest.name} with {job.unit.backing} pages is skipped: {reason}"


def _skip(journal: Journal, job: Job, status: str, why: Record) -> None:
    for cell in job.cells:
        journal.append({"record": "cell", **job.identity(), **cell, "status": status, **why})


def _run_unit(
    journal: Journal,
    job: Job,
    plan: Plan,
    warm_up: bool,
    progress: Progress,
    advance: Callable[[], None],
) -> None:
    order = {
        "task": "unit",
        "guest": asdict(job.unit.guest),
        "backing": job.unit.backing,
        "replicate": job.unit.replicate,
        "seed": job.unit.seed,
        "designs": job.unit.designs,
        "limit_bytes": job.unit.limit_bytes,
        "cells": [{k: v for k, v in cell.items() if k not in ("cell", "family")} for cell in job.cells],
        "settings": plan.settings,
        "warm_up": warm_up,
    }
    left = {cell["cell"]: cell for cell in job.cells}
    error = "the unit's process ended early"
    try:
        for record in child(order, job.unit.seed):
            if record["record"] == "error":
                raise P2mperfError(record["error"])
            journal.append(record)
            if record["record"] == "unit" and job.unit.replicate == 0:
                _tell_backing(record, progress)
            left.pop(record.get("cell"), None)
            advance()
    except ResultsError:
        raise
    except P2mperfError as reason:
        error = str(reason)
    for cell in left.values():
        journal.append({"record": "cell", **job.identity(), **cell, "status": "failed", "error": error})


def _tell_backing(unit: Record, progress: Progress) -> None:
    """Say where a view is not on the pages that its backing promises."""
    from p2mperf.designs.backing import backing

    pages = backing(unit["backing"])
    for name, design in unit["designs"].items():
        wanted = pages.window_bytes if design["n_vmas"] else pages.direct_bytes
        if (got := design["view_page_bytes"]) != wanted:
            what = f"{format_size(got)} pages" if got else "pages of both sizes"
            progress.say(
                f"{name} of {unit['guest']} is on {what} where backing {pages.name} asks for "
                f"{format_size(wanted)}"
            )


def child(order: Record, seed: int = 0) -> Iterator[Record]:
    """Run one order in a fresh process and yield the records it writes.

    Parameters
    ----------
    order : dict
        For `p2mperf.study.unit`.
    seed : int
        Seed of the padding of its environment, which moves its stack (Mytkowicz et al., ASPLOS 2009).

    Yields
    ------
    dict
        Records in the order written; a torn last line of a child that died is passed over.
    """
    cache_directory()  # where we may have to make one, our children take the same
    environment = {**os.environ, "P2MPERF_PADDING": "x" * random.Random(seed).randrange(4096)}
    process = subprocess.Popen(
        [sys.executable, "-m", "p2mperf.study.unit"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches the sweep alone, which then ends its child
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        # A child that dies before it has read its order is found dead below.
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps({**order, "parent": os.getpid()}))
        for line in process.stdout:
            if line.endswith("\n"):
                yield json.loads(line)
        if process.wait() < 0:
            raise P2mperfError(f"the unit's process was killed by signal {-process.returncode}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def knee_bytes(measured: Record) -> list[int]:
    """List bytes at which a cache or translation buffer is full, ascending, of what `measured_knees` gave."""
    return sorted(int(knee["bytes"]) for knee in measured["knees"])


def measured_knees(out: str | Path) -> Record:
    """Find the ladder and knees of this machine: in an earlier run in `out`, or measured now.

    A plan that depends on the knees stays the same when it is resumed.

    Parameters
    ----------
    out : str or Path
        Results directory.

    Returns
    -------
    dict
        ``ladder`` and ``knees``, as the machine card of a run has them.

    Raises
    ------
    P2mperfError
        When they could not be measured.
    """
    machine_key = card_key(machine_card())
    for info in reversed(find_runs(out)):
        card = Journal.read(info.path).run["machine"]
        if info.machine_key == machine_key and card.get("knees"):
            return {"ladder": card["ladder"], "knees": card["knees"]}
    found = next(child({"task": "ladder"}), {"error": "its process ended early"})
    if "error" in found:
        raise P2mperfError(f"the latency ladder of this machine could not be measured: {found['error']}")
    return found
