"""Fuzz of what is read: changed journals, Parquet files, recordings and raw traces that p2mperf itself made.

    python tests/fuzz/files.py [--seed 1] [--cases 2000] [--use-one-in 1] [--case N]

A quarter of the cases each change the journal, the Parquet file, the recording, the raw trace: single bits,
missing ends, lines and stretches left out or doubled, values of other types, deep nesting, lone surrogates,
numbers beyond 64 bits, impossible dates, mathematical text in names. `p2mperf.load` and
`p2mperf.read_recording` must refuse what they are given with one sentence (a ResultsError), or give the same
data as before. A journal's line has no checksum: where a changed number makes another valid record, what was
read must be what another reader of the file reads. A Parquet file that was written anew with other columns or
metadata may give other data, but none that no sweep can have written; the same goes for a recording, and what
no kernel can have recorded, and for a raw trace, whose pages have no checksums. What was accepted must then
be fit for summary and figures, which may refuse it in a sentence, too. That takes most of the time:
`--use-one-in` leaves it to one case in so many.

`--case` keeps the file that it made, and names it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parents[2]))

import record_samples
import recording_files
from mutations import JOURNAL, PARQUET
from outcomes import Channel, Fault, Report, Work, Wrong, bad_sentence, print_report, run_cases, where_of

import p2mperf
from p2mperf.errors import BadInputError, P2mperfError, ResultsError
from p2mperf.results.export import export
from p2mperf.results.journal import Journal


class Originals:
    """A journal and its export, what they give, and how to write changed ones."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        made = record_samples
        with Journal.create(directory / "original", made.run()) as journal:
            journal.append(made.unit())
            journal.append(made.cell())
            journal.append(made.cell(operation="throughput"))
            journal.append(made.skipped(stream="zipf"))
            journal.append(made.failed(stream="leaf-stride"))
            journal.append(made.end())
        self.journal = journal.path.read_bytes()
        self.name = journal.path.name
        self.marker = next(path for path in journal.path.parent.iterdir() if path.suffix == ".json")
        self.parquet = export(journal.path, directory)[0].read_bytes()
        self.frame = p2mperf.load(journal.path)
        self.recording, self.recorded = recording_files.original(directory)
        self.raw = recording_files.RawOriginal(directory)

    def changed_journal(self, content: bytes) -> Path:
        """A results directory with only this journal."""
        place = self.directory / "changed"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        shutil.copy(self.marker, place)
        (place / self.name).write_bytes(content)
        return place

    def changed_parquet(self, content: bytes) -> Path:
        """The Parquet file of this content."""
        place = self.directory / "changed.parquet"
        place.write_bytes(content)
        return place


def mutation(seed: int, case: int, originals: Originals) -> tuple[str, Path]:
    """The changed file of one case, and how it was changed."""
    random = Random(f"{seed}/{case}")
    if case % 4 == 3:
        return originals.raw.changed(random)
    if case % 4 == 2:
        change = random.choice(recording_files.RECORDING)
        content = change(random, originals.recorded)
        return f"recording {change.__name__}", originals.changed_parquet(content)
    if case % 4 == 1:
        change = random.choice(PARQUET)
        return f"Parquet file {change.__name__}", originals.changed_parquet(change(random, originals.parquet))
    change = random.choice(JOURNAL)
    content = change(random, originals.journal)
    return f"journal {change.__name__}", originals.changed_journal(content)


def judge(path: Path, originals: Originals, is_written_anew: bool, is_used: bool) -> str:
    """Outcome of loading a changed file.

    Raises
    ------
    Wrong
        When other data came out than stands in it.
    """
    frame = p2mperf.load(path)
    if frame.equals(originals.frame) and frame.attrs["runs"] == originals.frame.attrs["runs"]:
        return "the same data"
    if path.is_dir():
        _compare_with_text(frame, path / originals.name)
    elif not is_written_anew:
        raise Wrong("other data from a damaged Parquet file")
    else:
        refuse_impossible(frame)
    if is_used:
        _use(frame, originals.directory)
    return "other data, as it stands in the file"


def refuse_impossible(frame: Any) -> None:
    """See that samples could be what a sweep has written, whatever they are.

    Raises
    ------
    Wrong
        Naming the first column that holds what cannot be.
    """
    done = frame[(frame["status"] == "done").fillna(False).astype(bool)]
    known = {"done", "failed", "skipped_memory", "skipped_maps"}
    named = (
        "run",
        "host",
        "machine",
        "code",
        "plan",
        "guest",
        "geometry",
        "backing",
        "family",
        "stream",
        "operation",
    )
    whole = ("entry_bits", "guest_pages", "guest_bytes", "replicate", "seed")
    timed = ("design", "round", "position", "n_lookups", "elapsed_ns", "cost_ns")
    checks = {
        "status": set(frame["status"].astype(object)) <= known,
        **{name: frame[name].notna().all() for name in (*named, *whole)},
        **{name: name in frame and done[name].notna().all() for name in timed},
        "guest_bytes": (frame["guest_bytes"] == frame["guest_pages"] * 4096).fillna(False).all(),
        "elapsed_ns": (done["elapsed_ns"] > 0).fillna(False).all(),
        "n_lookups": (done["n_lookups"] > 0).fillna(False).all(),
        "hole_fraction": frame["hole_fraction"].between(0, 1).all(),
        "identity_fraction": frame["identity_fraction"].between(0, 1).all(),
    }
    wrong = [name for name, holds in checks.items() if not holds]
    if not wrong:
        costs = (done["elapsed_ns"] - done["call_ns"]).astype(float) / done["n_lookups"].astype(float)
        wrong = [] if ((costs - done["cost_ns"]).abs() <= 1e-9 * costs).all() else ["cost_ns"]
    runs = {run["run"] for run in frame.attrs["runs"] if isinstance(run, dict) and "run" in run}
    if not wrong and runs != set(frame["run"]):
        wrong = ["the runs of its metadata"]
    if wrong:
        raise Wrong(f"a Parquet file with impossible {wrong[0]} was accepted")


def _compare_with_text(frame: Any, path: Path) -> None:
    """See that the samples are those of the lines, read without the package."""
    cells: dict[str, list[Any]] = {}
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a torn end
        if isinstance(record, dict) and record.get("record") == "cell":
            rounds = record["rounds"] or [] if record["status"] == "done" else []
            times = [block["elapsed_ns"][design] for block in rounds for design in block["order"]]
            cells[record["cell"]] = times or [None]
    wanted = [time for times in cells.values() for time in times]
    found = [None if is_missing else int(value) for value, is_missing in zip(*_column(frame), strict=True)]
    if sorted(map(str, found)) != sorted(map(str, wanted)):
        raise Wrong("other times than the lines of the journal have")


def _column(frame: Any) -> tuple[list[Any], list[bool]]:
    return frame["elapsed_ns"].tolist(), frame["elapsed_ns"].isna().tolist()


def _use(frame: Any, directory: Path) -> None:
    """What is done with samples: each may be refused in a sentence."""
    from p2mperf.figures import save

    p2mperf.summary(frame)
    for name in ("cost", "footprint"):
        try:
            save(p2mperf.figure(name, frame), directory, "drawn", ("svg",))
        except P2mperfError as error:
            if bad := bad_sentence(str(error)):
                raise Wrong(f"{name}: {bad}") from error


def run(seed: int, case: int, originals: Originals, channel: Channel, is_used: bool = True) -> str:
    """One case."""
    text, path = mutation(seed, case, originals)
    channel.doing(case, text)
    found: Fault | None = None
    try:
        kind, _, how = text.partition(" ")
        if kind == "raw":
            outcome = recording_files.judge_raw(path)
        elif kind == "recording":
            outcome = recording_files.judge(path, originals.recording, how)
        else:
            outcome = judge(path, originals, "retabled" in text, is_used)
    except (ResultsError, BadInputError) as error:
        outcome = "refused"
        if bad := bad_sentence(str(error)):
            found = Fault("message", where_of(error), bad, case, text)
    except Wrong as error:
        found = Fault("wrong", where_of(error), str(error), case, text)
    except P2mperfError as error:
        outcome = f"loaded, then {type(error).__name__}"
    except BaseException as error:
        found = Fault(type(error).__name__, where_of(error), str(error)[:200], case, text)
    if found is None:
        channel.count(f"{text.partition(' ')[0]}: {outcome}")
    else:
        channel.fault(found)
    return str(path)


def main() -> int:
    """Fuzz, report, and fail when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--use-one-in", type=int, default=1, metavar="N")
    parser.add_argument("--case", type=int, help="only this one; keeps the file")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    report, lone = Report(), arguments.case is not None
    directory = Path(tempfile.mkdtemp(prefix="p2mperf-fuzz-"))
    originals = Originals(directory)
    _use(originals.frame, directory)

    def one(case: int, channel: Channel) -> None:
        # By fours: a case of each kind.
        is_used = lone or case // 4 % arguments.use_one_in == 0
        path = run(arguments.seed, case, originals, channel, is_used)
        if lone:
            sys.stdout.write(f"{path}\n")
            sys.stdout.flush()

    run_cases(Work(one), arguments.case or 0, 1 if lone else arguments.cases, report)
    print_report(report, "python tests/fuzz/files.py", arguments.seed)
    if not lone:
        shutil.rmtree(directory)
    return int(bool(report.faults))


if __name__ == "__main__":
    sys.exit(main())
