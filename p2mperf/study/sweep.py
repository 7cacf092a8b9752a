"""Running a plan: one process a unit, every finished cell on disk, and the same command resumes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from p2mperf.errors import CellsFailedError, NothingFitsError, P2mperfError, ResultsError
from p2mperf.host.watch import Snapshot, Unrest, unrest
from p2mperf.progress import Progress
from p2mperf.results.claim import prepare_directory
from p2mperf.results.export import is_exported
from p2mperf.results.fields import VERSION, Record
from p2mperf.results.files import as_path
from p2mperf.results.journal import Journal
from p2mperf.results.keys import fingerprint
from p2mperf.results.runs import RunInfo, find_runs
from p2mperf.study.executors.base import Executor, Knees, Place
from p2mperf.study.executors.local import LocalExecutor
from p2mperf.study.jobs import Job, Misfit, fit, jobs
from p2mperf.study.knees import measured_knees
from p2mperf.study.plans import Plan
from p2mperf.study.specs import left_out
from p2mperf.units import flag, format_size


def sweep(
    plan: Plan,
    out: str | Path = "results",
    fresh: bool = False,
    progress: Progress | None = None,
    knees: Knees | None = None,
    executor: Executor | None = None,
    will_export: bool = False,
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
    knees : Knees, optional
        From `measured_knees`, where the plan was made with them; measured when needed.
    executor : Executor, optional
        Where its units run; default: here, each in a process of its own.
    will_export : bool
        The caller exports the run. Where the newest one of this plan, code and machine came to its end but
        was not exported, as after a death between the two, it is taken and nothing is measured again.

    Returns
    -------
    Path
        The journal.

    Raises
    ------
    ResultsError
        When the directory is not ours, cannot be written, or is from a newer version.
    NothingFitsError
        When no cell of the plan fits the machine.
    CellsFailedError
        When cells failed; all others are kept, and the same command tries the failed ones again.
    """
    fresh, will_export = flag(fresh, "fresh"), flag(will_export, "will_export")
    progress = progress or Progress()
    for reason in left_out(plan.designs):
        progress.say(f"{reason}: left out")
    work = _Sweep(plan, tuple(jobs(plan)), LocalExecutor() if executor is None else executor, progress)
    if will_export and not fresh and (ended := work.ended_without_export(as_path(out))):
        return ended
    with work.executor.alone(), work.journal(as_path(out), fresh, knees) as journal:
        if journal.recovered_bytes:
            work.progress.say(
                f"{journal.path.name} ended in a torn line of {journal.recovered_bytes} bytes: cut off; "
                "its cell is measured again"
            )
        work.run(journal)
    return journal.path


@dataclass(frozen=True)
class _Sweep:
    """A plan with its jobs, where they run, and who is told."""

    plan: Plan
    jobs: tuple[Job, ...]
    executor: Executor
    progress: Progress

    @property
    def n_cells(self) -> int:
        return sum(len(job.cells) for job in self.jobs)

    def ended_without_export(self, out: Path) -> Path | None:
        """Find the journal of the newest run that would be this one, if it only lacks its export."""
        place, plan_key = self.executor.place(), fingerprint(self.plan.as_dict())
        same = (
            info
            for info in reversed(find_runs(out))
            if (info.plan_key, info.code, info.machine_key) == (plan_key, place.code, place.card_key)
            and info.schema == VERSION
        )
        info = next(same, None)
        if info is None or not info.ended or not info.n_done or is_exported(info):
            return None
        self.progress.say(
            f"{info.path.name} came to its end but was not exported: that is done now, and nothing is "
            "measured again; --fresh measures"
        )
        return info.path

    def journal(self, out: Path, fresh: bool, knees: Knees | None) -> Journal:
        """Continue a run of this plan, or begin one."""
        prepare_directory(out)
        place, plan_key = self.executor.place(), fingerprint(self.plan.as_dict())
        if not fresh:
            for info in reversed(find_runs(out)):
                if info.plan_key == plan_key and not info.ended:
                    journal = self._continued(info, place)
                    if journal:
                        return journal
        knees = knees or self._knees(out)
        run = {
            "record": "run",
            "schema": VERSION,
            "run": secrets.token_hex(4),
            "host": place.host,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "plan": self.plan.as_dict(),
            "plan_key": plan_key,
            "code": place.code,
            "machine": {**place.card, "key": place.card_key, **(knees.to_json() if knees else {})},
            "machine_key": place.card_key,
            "n_units": len(self.jobs),
            "n_cells": self.n_cells,
            **({"left_out": reasons} if (reasons := left_out(self.plan.designs)) else {}),
        }
        return Journal.create(out, run)

    def _knees(self, out: Path) -> Knees | None:
        if not self.plan.has_ladder:
            return None
        try:
            return measured_knees(out, self.executor)
        except ResultsError:
            raise
        except P2mperfError as error:  # the ladder explains results, it is none of them
            self.progress.say(f"{error}; going on without it")
            return None

    def _continued(self, info: RunInfo, place: Place) -> Journal | None:
        """Open an unfinished run of the same plan, unless other code or another machine made it."""
        name = info.path.name
        if info.machine_key != place.card_key:
            self.progress.say(f"{name} is unfinished, but was made on another machine: left as it is")
            return None
        if info.schema != VERSION:
            self.progress.say(f"{name} is unfinished, but of an earlier version of results: left as it is")
            return None
        if info.code != place.code:
            self.progress.say(f"{name} is unfinished, but was made by other code: left as it is")
            return None
        self.progress.say(f"resuming {name}: {info.n_finished} of {info.n_cells} cells are there")
        return Journal.open(info.path)

    def run(self, journal: Journal) -> None:
        """Do all that the journal lacks, and end it when nothing failed."""
        finished = frozenset(journal.finished_cells())
        start = self._look()
        told = self._tell_unrest(unrest(start))
        cold = True
        for job in self.jobs:
            self._advance(journal, job.unit.guest.name)
            left = job.without(finished)
            if not left.cells:
                continue
            if misfit := fit(left, self.executor.capacity()):
                self._skip(journal, left, misfit)
            else:
                self._run_unit(journal, left, warm_up=cold)
                cold = False
        self._advance(journal, "")
        if n_failed := self.n_cells - journal.n_finished:  # the run stays open: they are tried again
            what = f"{n_failed} of {self.n_cells} cells failed: {_first_failure(journal)}"
            raise CellsFailedError(what, journal.path)
        finish = datetime.now(UTC).isoformat(timespec="seconds")
        end = self._look()
        self._tell_unrest(one for one in unrest(start, end) if one.name not in told)
        watched = {"start": start.to_json(), "end": end.to_json()}
        journal.append(
            {
                "record": "end",
                "finished": finish,
                "n_done": journal.n_done,
                **({"watched": watched} if any(watched.values()) else {}),
            }
        )
        if not journal.n_done:
            need = min(job.need_bytes for job in self.jobs)
            have = self.executor.capacity().memory_bytes
            raise NothingFitsError(
                f"nothing of plan {self.plan.name} fits this machine: the smallest unit needs "
                f"{format_size(need)} and {format_size(have)} are available; take smaller guests with --size"
            )

    def _look(self) -> Snapshot:
        """See what the machine where units run is busy with."""
        return Snapshot.from_json(self.executor.place().card)

    def _tell_unrest(self, found: Iterable[Unrest]) -> set[str]:
        """Say what spoils timings, each in one line; returns their names."""
        told = set()
        for one in found:
            self.progress.say(str(one))
            told.add(one.name)
        return told

    def _advance(self, journal: Journal, what: str) -> None:
        self.progress.advance(journal.n_finished, self.n_cells, what)

    def _skip(self, journal: Journal, job: Job, misfit: Misfit) -> None:
        for cell in job.cells:
            record = {"record": "cell", **job.to_json(), **job.cell_json(cell)}
            journal.append({**record, **misfit.to_json()})
        if job.unit.replicate == 0:
            self.progress.say(
                f"{job.unit.guest.name} with {job.unit.backing} pages is skipped: {misfit.said}"
            )

    def _run_unit(self, journal: Journal, job: Job, warm_up: bool) -> None:
        left = dict(zip(job.keys, job.cells, strict=True))
        error = "the unit's process ended early"
        try:
            for record in self.executor.run(job.order(self.plan.settings, warm_up)):
                journal.append(record)
                if record["record"] == "unit" and job.unit.replicate == 0:
                    for reason in record.get("left_out", ()):
                        self.progress.say(f"{reason}: left out of {job.unit.guest.name}")
                    self._tell_backing(record)
                left.pop(record.get("cell", ""), None)
                self._advance(journal, job.unit.guest.name)
        except ResultsError:
            raise
        except P2mperfError as reason:
            error = str(reason)
        for cell in left.values():
            told = {"status": "failed", "error": error}
            journal.append({"record": "cell", **job.to_json(), **job.cell_json(cell), **told})

    def _tell_backing(self, unit: Record) -> None:
        """Say where a view is not on the pages that its backing promises."""
        from p2mperf.designs import find

        for name, design in unit["designs"].items():
            pages = find(name).backing_of(unit["backing"])
            wanted = pages.window_bytes if design["n_vmas"] else pages.direct_bytes
            if (got := design["view_page_bytes"]) != wanted:
                what = f"{format_size(got)} pages" if got else "pages of both sizes"
                self.progress.say(
                    f"{name} of {unit['guest']} is on {what} where backing {pages.name} asks for "
                    f"{format_size(wanted)}"
                )


def _first_failure(journal: Journal) -> str:
    failures = (cell for cell, _ in journal.cells_with_units() if cell["status"] == "failed")
    return next((f"{cell['cell']}: {cell['error']}" for cell in failures), "no reason recorded")
