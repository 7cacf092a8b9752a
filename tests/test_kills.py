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

from p2mperf.measure.settings import Settings
from p2mperf.results.runs import find_runs
from p2mperf.study.jobs import jobs
from p2mperf.study.narrow import narrow
from p2mperf.study.order import Order
from p2mperf.study.plans import make_plan
from p2mperf.study.specs import GuestSpec, Unit

ROOT = Path(__file__).resolve().parent.parent
STREAMS = ("sequential", "uniform", "zipf", "leaf-stride")
TORN = b'{"record":"cell","cell":"pv-64-16m/pv64/4096-pages/kern'


class Sweep:
    """One and the same command, as often as it takes."""

    def __init__(self, out: Path, n_replicates: int) -> None:
        self.out = out
        named = {
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


# Every other kill comes at any moment, also before the first cell; the others while cells are being finished.
def kill_and_go_on(out: Path, n_replicates: int, n_kills: int, longest_seconds: float, seed: int) -> None:
    sweep = Sweep(out, n_replicates)
    choose = random.Random(seed)
    known: dict[str, str] = {}
    n_kills_at_work = 0
    for number in range(n_kills):
        process = sweep.start()
        if number % 2:
            sweep.wait_for_more_than(len(known))
            time.sleep(choose.uniform(0, 0.4))
        else:
            time.sleep(choose.uniform(0.1, longest_seconds))
        n_kills_at_work += len(sweep.left_behind()) > 1
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        sweep.wait_for_nobody()
        found = sweep.finished()
        # All that was on disk before is there unchanged.
        assert known.items() <= found.items()
        known = found
    # Some kills met a unit at work, and they left something finished and something to do.
    assert n_kills_at_work
    assert 0 < len(known) < len(sweep.keys)
    path = sweep.path()
    assert path is not None
    with path.open("ab") as journal:
        journal.write(TORN)
    said = sweep.finish()
    assert f"resuming {path.name}: {len(known)} of {len(sweep.keys)} cells are there" in said
    assert f"{path.name} ended in a torn line" in said
    assert path == sweep.path()
    assert known.items() <= sweep.finished().items()
    assert sorted(sweep.finished()) == sorted(sweep.keys)
    sweep.wait_for_nobody()


def test_three_kills_and_a_torn_line(tmp_path: Path) -> None:
    kill_and_go_on(tmp_path / "out", n_replicates=3, n_kills=3, longest_seconds=2.5, seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_kills_and_a_torn_line(tmp_path: Path, seed: int) -> None:
    kill_and_go_on(tmp_path / "out", n_replicates=24, n_kills=20, longest_seconds=4, seed=seed)


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
