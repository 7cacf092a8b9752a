"""The journal: one append-only JSON Lines file per run and host, which a crash cannot spoil.

Every record is one line, written by one call and flushed to disk before `append` returns. A process that dies
leaves at most one torn line, at the end, which the next `open` cuts off. Reading needs no write permission,
takes no lock and works beside a running sweep.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from p2mperf.control import CONTROL
from p2mperf.errors import ResultsError, ResultsLostError, cut, shown
from p2mperf.results.claim import claim_directory
from p2mperf.results.earlier import record_as_today
from p2mperf.results.fields import VERSION, Record
from p2mperf.results.files import as_path, flush_directory, open_locked, read_regular, told
from p2mperf.results.grid import refuse_stranger
from p2mperf.results.plain import decoded, encoded
from p2mperf.results.records import validate

SUFFIX = ".jsonl"


class Journal:
    """The records of one run on one host; made by `create`, `open` or `read`.

    Attributes
    ----------
    path : Path
        The file.
    run : dict
        The run record.
    recovered_bytes : int
        Length of the torn end, commonly a part of one line, that was cut off (`open`) or passed over (`read`)
        [bytes]; 0 if there was none.
    """

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        self.run: Record = {}
        self.recovered_bytes = 0
        self._descriptor = descriptor
        self._units: dict[str, Record] = {}
        self._cells: dict[str, tuple[Record, Record | None]] = {}
        self._statuses: Counter[str] = Counter()
        self._end: Record = {}

    @classmethod
    def create(cls, directory: str | Path, run_record: Record) -> Journal:
        """Begin a run: make the directory ours if it is new or empty, and write the first record.

        Parameters
        ----------
        directory : str or Path
            Results directory; it may hold journals of other runs and hosts.
        run_record : dict
            The run record of `fields.RECORDS`.

        Returns
        -------
        Journal
            Open for appending and locked.

        Raises
        ------
        ResultsError
            When the directory is not ours, of a newer schema, or cannot be written to.
        """
        validate(run_record)
        directory = claim_directory(directory)
        path = directory / _file_name(run_record)
        journal = cls(path, open_locked(path, os.O_CREAT | os.O_EXCL))
        try:
            journal.append(run_record)
            flush_directory(directory)
        except ResultsError:
            journal.close()
            path.unlink(missing_ok=True)
            raise
        return journal

    @classmethod
    def open(cls, path: str | Path) -> Journal:
        """Open a journal to continue its run; what a crash left torn at its end is cut off.

        Parameters
        ----------
        path : str or Path
            The journal.

        Returns
        -------
        Journal
            Open for appending and locked; `recovered_bytes` says how much was cut off.

        Raises
        ------
        ResultsError
            When another process has it open, when it cannot be written to, when it is of an earlier version,
            or when it is damaged elsewhere than at its end.
        """
        path = as_path(path)
        journal = cls(path, open_locked(path))
        try:
            n_whole_bytes = journal._read()
            if journal.run["schema"] < VERSION:
                raise ResultsError(
                    f"{told(path)} is a run of results schema {journal.run['schema']}, and samples of schema "
                    f"{VERSION} are others: leave it as it is and begin a new run"
                )
            if journal.recovered_bytes:
                journal._truncate(n_whole_bytes)
        except BaseException:
            journal.close()
            raise
        return journal

    @classmethod
    def read(cls, path: str | Path) -> Journal:
        """Read a journal as it stands, without touching it; a torn end is passed over.

        Parameters
        ----------
        path : str or Path
            The journal.

        Returns
        -------
        Journal
            Not open for appending.

        Raises
        ------
        ResultsError
            When it cannot be read or is damaged elsewhere than at its end.
        """
        journal = cls(as_path(path))
        journal._read()
        return journal

    def append(self, record: Record) -> None:
        """Add one record; when this returns it is on disk.

        Parameters
        ----------
        record : dict
            One of `fields.LINES`.

        Raises
        ------
        ResultsError
            When the record is malformed, its cell is already finished, or the file cannot take all of it. The
            file then ends where it ended before.
        ResultsLostError
            When the file is no longer where it was.
        """
        if self._descriptor is None:
            raise ResultsError(f"{told(self.path)} is not open for appending: use Journal.open")
        validate(record)
        self._refuse_doubles(record)
        self._refuse_strangers(record)
        line = _encoded(record)
        n_bytes_before = self._require_there(self._descriptor)
        try:
            if os.write(self._descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._truncate(n_bytes_before)
            raise ResultsError(
                f"cannot write to {told(self.path)}: {error.strerror}; all records before this one are kept: "
                "make room, then give the same command again to go on from there"
            ) from error
        self._remember(record)

    def finished_cells(self) -> dict[str, Record]:
        """Cells that need no further work.

        Returns
        -------
        dict of str to dict
            Cell records by key, in the order of the file. A failed cell is not finished: it may be
            tried again.
        """
        return {key: cell for key, (cell, _) in self._cells.items() if cell["status"] != "failed"}

    @property
    def n_finished(self) -> int:
        """Number of cells that need no further work; kept, for it is asked for after every cell."""
        return self._statuses.total() - self._statuses["failed"]

    @property
    def n_done(self) -> int:
        """Number of cells that were measured."""
        return self._statuses["done"]

    def units(self) -> dict[str, Record]:
        """Latest unit record by key: a unit that was interrupted and built again stands as built last."""
        return dict(self._units)

    def cells_with_units(self) -> Iterator[tuple[Record, Record | None]]:
        """Every cell, each with the unit record it was measured under, or None if nothing was built.

        A cell that failed and was tried again comes once, as it ended last.
        """
        yield from self._cells.values()

    @property
    def is_ended(self) -> bool:
        """Whether the run came to its end: its last record is an end record."""
        return bool(self._end)

    @property
    def run_with_end(self) -> Record:
        """The run record, with what its end record says of what the machine was busy with meanwhile."""
        watched = self._end.get("watched")
        return self.run if watched is None else {**self.run, "watched": watched}

    def close(self) -> None:
        """Give back the file and its lock; harmless when done twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> int:
        """Take in the file; returns the length of it that holds records [bytes]."""
        content = read_regular(self.path)
        *lines, torn = content.split(b"\n")
        n_torn_bytes = len(torn)
        while lines and _is_torn(lines[-1]):
            n_torn_bytes += len(lines.pop()) + 1
        self.recovered_bytes = n_torn_bytes
        for number, line in enumerate(lines, start=1):
            self._take(line, number)
        if not self.run:
            raise ResultsError(
                f"{told(self.path)} holds no run record: its run died at birth; delete the file"
            )
        return len(content) - n_torn_bytes

    def _take(self, line: bytes, number: int) -> None:
        where = f"{told(self.path)}, line {number}"
        try:
            record = validate(decoded(line))
            record = record_as_today(record, (self.run or record).get("schema", VERSION))
            self._refuse_doubles(record)
            self._refuse_strangers(record)
        except ValueError as error:
            raise ResultsError(
                f"{where}: not a JSON record, but records follow, so no torn write: "
                "remove or repair the line, or move the file away"
            ) from error
        except ResultsError as error:
            raise ResultsError(f"{where}: {error}") from error
        self._remember(record)

    def _refuse_doubles(self, record: Record) -> None:
        """Hold the order of records: the run once and first, no finished cell twice."""
        name = record["record"]
        if (name == "run") == bool(self.run):
            raise ResultsError("the run record must be the first record, and the only one of its kind")
        known = self._cells.get(record["cell"]) if name == "cell" else None
        if known is not None and known[0]["status"] != "failed":
            raise ResultsError(
                f"cell {cut(record['cell'], 200)} is finished already and must not be recorded twice"
            )

    def _refuse_strangers(self, record: Record) -> None:
        """Hold a unit to its plan, and a cell to its unit: what was not built cannot have been timed."""
        if record["record"] not in ("unit", "cell"):
            return
        refuse_stranger(self.run["plan"], record)
        if record["record"] == "unit":
            return
        unit, cell = self._units.get(record["unit"]), cut(record["cell"], 200)
        if unit is None and record["status"] == "done":
            raise ResultsError(f"cell {cell} is 'done', but no record before it says what its unit built")
        if unit is None:
            return
        for round_ in record.get("rounds") or ():
            for name in round_["order"]:
                if name.removeprefix(CONTROL) not in unit["designs"]:
                    raise ResultsError(f"cell {cell} names {shown(name)}, which its unit has not built")

    def _remember(self, record: Record) -> None:
        name = record["record"]
        self._end = record if name == "end" else {}
        if name == "run":
            self.run = record
        elif name == "unit":
            self._units[record["unit"]] = record
        elif name == "cell":
            key = record["cell"]
            if key in self._cells:  # it failed, and was tried again
                self._statuses[self._cells[key][0]["status"]] -= 1
            self._statuses[record["status"]] += 1
            self._cells[key] = (record, self._units.get(record["unit"]))

    def _require_there(self, descriptor: int) -> int:
        """See that the file still has its name, or what follows would be lost; returns its size [bytes]."""
        status = os.fstat(descriptor)
        try:
            is_there = os.path.samestat(status, self.path.stat())
        except OSError:
            is_there = False
        if not is_there:
            raise ResultsLostError(
                f"{told(self.path)} is no longer there: it was removed, moved or replaced while the "
                "sweep wrote to it, so the sweep ends here"
            )
        return status.st_size

    def _truncate(self, n_bytes: int) -> None:
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, n_bytes)
        os.fdatasync(self._descriptor)


def _file_name(run_record: Record) -> str:
    host = re.sub(r"[^A-Za-z0-9._-]", "_", run_record["host"])
    return f"{host}-{started(run_record):%Y%m%dT%H%M%S}-{run_record['run']}{SUFFIX}"


def started(run_record: Record) -> datetime:
    """Start of a run, in UTC."""
    return datetime.fromisoformat(run_record["started"]).astimezone(UTC)


def _encoded(record: Record) -> bytes:
    try:
        return encoded(record) + b"\n"
    except (TypeError, ValueError, ResultsError) as error:
        raise ResultsError(f"{record['record']} record cannot be written as JSON: {error}") from error


def _is_torn(line: bytes) -> bool:
    """Whether a line holds no table, as the end of a file after a crash; a table that is wrong is none."""
    try:
        return not isinstance(decoded(line), dict)
    except ValueError:
        return True
    except ResultsError:
        return False
