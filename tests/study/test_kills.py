"""A sweep that is killed again and again loses nothing, doubles nothing and leaves nobody behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import p2mperf
from p2mperf.measure.settings import Settings
from p2mperf.results.runs import find_runs
from p2mperf.study.jobs import jobs
from p2mperf.study.narrow import narrow
from p2mperf.study.order import Order
from p2mperf.study.plans import make_plan
from p2mperf.study.specs import GuestSpec, Unit

ROOT = Path(__file__).resolve().parents[2]
STREAMS = ("sequential", "uniform", "zipf", "leaf-stride")
TORN = b'{"record":"cell","cell":"pv-64-16m/pv64/4096-pages/kern'


class Sweep:
    """One and the same command, as often as it takes."""

    def __init__(self, out: Path, n_replicates: int) -> None:
        self.out = out
        named: dict[str, Any] = {
            "sizes": ["16M"],
            "streams": STREAMS,
            "operations": ["latency"],
            "n_replicates": n_replicates,
        }
        plan = narrow(make_plan("quick"), **named)
        self.keys = [key for job in jobs(plan) for key in job.keys]
        options = [f"--{name}={value}" for name, value in self._options(named)]
        self.command = [sys.executable, "-m", "p2mperf", "sweep", "--plan=quick", f"--out={out}", *options]
        # The environment is inherited by the unit's process, which is found by this word.
        self.mark = f"P2MPERF_TEST_KILLS={out.parent.name}-{os.getpid()}"
        name, _, value = self.mark.partition("=")
        self.environment = os.environ | {"PYTHONPATH": str(ROOT), name: value}

    @staticmethod
    def _options(named: dict[str, Any]) -> Any:
        for name, values in named.items():
            for value in values if isinstance(values, list | tuple) else [values]:
                yield {"sizes": "size", "n_replicates": "replicates"}.get(name, name.rstrip("s")), value

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment
        )

    def finish(self) -> str:
        done = subprocess.run(self.command, text=True, capture_output=True, env=self.environment, check=True)
        return done.stderr

    def left_behind(self) -> list[int]:
        """Processes with our mark that are still running."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                environment = (directory / "environ").read_bytes()
                state = (directory / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if self.mark.encode() in environment.split(b"\0") and state not in "ZX":
                found.append(int(directory.name))
        return found

    def wait_for_nobody(self) -> None:
        end = time.monotonic() + 10
        while self.left_behind() and time.monotonic() < end:
            time.sleep(0.02)
        assert self.left_behind() == []

    def wait_for_a_unit(self, parent: int, at_work: bool) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for pid in self.left_behind():
                with contextlib.suppress(OSError):
                    maps = Path(f"/proc/{pid}/maps").read_text()
                    if pid != parent and (not at_work or "memfd:p2mperf" in maps):
                        return
            time.sleep(0.01)
        raise TimeoutError("no unit was started")

    def wait_for_more_than(self, n_cells: int) -> None:
        end = time.monotonic() + 60
        while len(self.finished()) <= n_cells and time.monotonic() < end:
            time.sleep(0.05)
        assert len(self.finished()) > n_cells

    def path(self) -> Path | None:
        infos = find_runs(self.out)
        assert len(infos) <= 1
        return infos[0].path if infos else None

    def is_ended(self) -> bool:
        path = self.path()
        return path is not None and b'\n{"record":"end"' in path.read_bytes()

    def exports(self) -> list[Path]:
        """Parquet and CSV, as far as they are there."""
        return sorted(
            (file for file in self.out.glob("[!.]*") if file.suffix in (".parquet", ".csv")), reverse=True
        )

    def finished(self) -> dict[str, str]:
        """Whole lines of finished cells by key; a key that stands twice is an error."""
        path = self.path()
        if path is None:
            return {}
        lines = path.read_bytes().decode(errors="replace").split("\n")[:-1]
        cells = [line for line in lines if '"record":"cell"' in line and '"status":"done"' in line]
        keys = Counter(json.loads(line)["cell"] for line in cells)
        assert [key for key, n in keys.items() if n > 1] == []
        return {json.loads(line)["cell"]: line for line in cells}


class Killer:
    """Kills one sweep again and again, and sees after each time that all is there that was there before.

    Parameters
    ----------
    sweep : Sweep
        Begun anew after each kill.
    seed : int
        Of the moments.
    """

    def __init__(self, sweep: Sweep, seed: int) -> None:
        self.sweep, self.choose = sweep, random.Random(seed)
        self.known: dict[str, str] = {}
        self.kills: Counter[str] = Counter()

    def kill(self, process: subprocess.Popen[str], what: str) -> str:
        """End a sweep; what it had said."""
        self.kills["with a unit at work"] += len(self.sweep.left_behind()) > 1
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL
        self.kills[what] += 1
        self.sweep.wait_for_nobody()
        self.look()
        return said

    def look(self) -> None:
        found = self.sweep.finished()
        # All that was on disk before is there unchanged.
        assert self.known.items() <= found.items()
        self.known = found

    def kill_sweep(self, longest_seconds: float | None) -> None:
        """At any moment, also before the first cell; with None, while cells are being finished."""
        process = self.sweep.start()
        if longest_seconds is None:
            self.sweep.wait_for_more_than(len(self.known))
            time.sleep(self.choose.uniform(0, 0.4))
        else:
            time.sleep(self.choose.uniform(0.1, longest_seconds))
        self.kill(process, "sweep")

    def kill_unit(self) -> None:
        """The unit alone, whose cells fail then; and, while it goes on with others, the sweep."""
        process = self.sweep.start()
        self.sweep.wait_for_a_unit(process.pid, self.choose.random() < 0.7)
        time.sleep(self.choose.uniform(0, 0.3))
        for pid in set(self.sweep.left_behind()) - {process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills["unit"] += 1
        time.sleep(self.choose.uniform(0, 1.5))
        self.kill(process, "sweep")

    def kill_before_export(self, longest_seconds: float, until_end: bool = False) -> str:
        """Between the end of the run and its export: whoever comes later measures nothing again."""
        process = self.sweep.start()
        if until_end:
            end = time.monotonic() + 300
            while not self.sweep.is_ended() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
        time.sleep(self.choose.uniform(0, longest_seconds))
        if process.poll() is None:
            said = self.kill(process, "before export" if len(self.sweep.exports()) < 2 else "too late")
        else:
            out, said = process.communicate()
            assert out
        # It was too quick, or just done: as if death had come between its two files.
        for file in self.sweep.exports()[-1:] if len(self.sweep.exports()) == 2 else ():
            file.unlink()
        return said


def tear(sweep: Sweep, killer: Killer) -> tuple[Path, dict[str, str]]:
    """Tear the last line of the journal, as a loss of power may."""
    # Some kills met a unit at work, and they left something finished and something to do.
    assert killer.kills["with a unit at work"]
    assert 0 < len(killer.known) < len(sweep.keys)
    path = sweep.path()
    assert path is not None
    with path.open("ab") as journal:
        journal.write(TORN)
    return path, killer.known


def kill_to_the_end(out: Path, n_replicates: int, n_kills: int, seed: int) -> Counter[str]:
    """So many kills of sweeps, of units, and between the end and the export; what was killed."""
    sweep = Sweep(out, n_replicates)
    killer = Killer(sweep, seed)
    while killer.kills["sweep"] + killer.kills["unit"] < n_kills * 7 // 10:
        number = killer.kills["sweep"]
        if number % 3 == 2:
            killer.kill_unit()
        else:
            killer.kill_sweep(None if number % 3 else 4)
    path, known = tear(sweep, killer)
    said = killer.kill_before_export(0.4, until_end=True)
    assert f"resuming {path.name}: {len(known)} of {len(sweep.keys)} cells are there" in said
    assert f"{path.name} ended in a torn line" in said
    assert sweep.is_ended()
    assert sorted(killer.known) == sorted(sweep.keys)
    content = path.read_bytes()
    while sum(killer.kills[what] for what in ("sweep", "unit", "before export")) < n_kills:
        killer.kill_before_export(3)
        assert sweep.path() == path
        # Nothing is measured again: not even a record is added.
        assert path.read_bytes() == content
    said = sweep.finish()
    assert f"{path.name} came to its end but was not exported" in said
    assert sweep.path() == path
    assert path.read_bytes() == content
    parquet, _ = sweep.exports()
    assert p2mperf.load(parquet).equals(p2mperf.load(path))
    return killer.kills


def test_kills_of_sweep_and_unit_and_before_the_export(tmp_path: Path) -> None:
    kills = kill_to_the_end(tmp_path / "out", n_replicates=4, n_kills=5, seed=3)
    assert kills["before export"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sixty_kills_in_three_sweeps(tmp_path: Path, seed: int, tell: Any) -> None:
    start = time.monotonic()
    kills = kill_to_the_end(tmp_path / "out", n_replicates=24, n_kills=20, seed=seed)
    assert min(kills["sweep"], kills["unit"]) > 0
    assert kills["before export"] >= 6
    tell(f"seed {seed}: {dict(kills)} in {time.monotonic() - start:.0f} s; nothing lost, doubled, or again")


UNIT = Unit(GuestSpec.plain("16M", "pv64"), "kernel", 0, 1, ("pv-linear",))
ORDER = {"task": "unit", **Order(UNIT, (), Settings(warm_up_ns=60_000_000_000), warm_up=True).to_json()}


@pytest.mark.parametrize("at_work", [False, True])
def test_a_unit_does_not_outlive_its_sweep(tmp_path: Path, at_work: bool) -> None:
    # This unit would compute for a minute. Its sweep is killed while the unit still imports, or when it has
    # built its tables.
    sweep = Sweep(tmp_path / "out", n_replicates=1)
    script = f"from p2mperf.study.executors.local import child; next(child({ORDER!r}))"
    with subprocess.Popen([sys.executable, "-c", script], env=sweep.environment) as process:
        sweep.wait_for_a_unit(process.pid, at_work)
        time.sleep(0.1)
        process.kill()
    sweep.wait_for_nobody()


def test_an_interrupted_sweep_says_that_it_goes_on(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "out", n_replicates=20)
    process = sweep.start()
    sweep.wait_for_more_than(0)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert said.endswith("p2mperf: interrupted; every finished cell is kept: the same command goes on\n")
    sweep.wait_for_nobody()
    assert sweep.finished()


def test_a_sweep_that_is_told_to_end_does(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "out", n_replicates=20)
    process = sweep.start()
    end = time.monotonic() + 30
    while not sweep.left_behind()[1:] and time.monotonic() < end:
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 130
    sweep.wait_for_nobody()
