"""Ctrl-C at any moment: 130, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba.core.event
import pytest

from p2mperf.jit import njit

ROOT = Path(__file__).resolve().parents[2]


class Interrupt(numba.core.event.Listener):  # type: ignore[misc]
    """Presses Ctrl-C once, when numba begins with something."""

    done = False

    def on_start(self, event: Any) -> None:
        if not self.done:
            self.done = True
            os.kill(os.getpid(), signal.SIGINT)

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def pressed_at(kind: str) -> Iterator[Interrupt]:
    listener = Interrupt()
    numba.core.event.register(kind, listener)
    yield listener
    numba.core.event.unregister(kind, listener)


@pytest.mark.parametrize("kind", ["numba:compile", "numba:run_pass", "numba:llvm_lock"])
def test_ctrl_c_waits_until_numba_is_done(kind: str) -> None:
    @njit(cache=False)
    def twice(x: int) -> int:
        return 2 * x

    handler = signal.getsignal(signal.SIGINT)
    with pressed_at(kind) as press:
        with pytest.raises(KeyboardInterrupt):
            twice(21)
        assert press.done
    # What was begun was brought to its end, and nothing is left of the waiting.
    assert len(twice.signatures) == 1
    assert signal.getsignal(signal.SIGINT) is handler
    assert twice(21) == 42


IMPORTS_PANDAS = """
import os, signal, sys
from p2mperf.workload.recording_file import read_recording

class Press:
    done = False

    def find_spec(self, name, path=None, target=None):
        if name == "pandas.core.config_init" and not self.done:
            self.done = True
            os.kill(os.getpid(), signal.SIGINT)

press = Press()
sys.meta_path.insert(0, press)
assert "pandas" not in sys.modules
try:
    read_recording("shipped-tinyconfig")
except KeyboardInterrupt:
    import pandas
    print("interrupted", press.done, pandas.Series([1, 2]).sum())
"""


def test_ctrl_c_waits_until_pyarrow_has_pandas() -> None:
    # pyarrow takes an interrupted import for a missing library, and half of it is left: the next one fails.
    answer = subprocess.run(
        [sys.executable, "-c", IMPORTS_PANDAS], capture_output=True, text=True, timeout=120, check=False
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "interrupted True 3\n", "")


SLEEPS = """
import hashlib, sys, time
from p2mperf.cli import process, waiting
from p2mperf.cli.waiting import Waiting

waiting._LOG_SECONDS = 1.0

def main(argv):
    seconds, n_rounds = float(argv[0]), int(argv[1])
    with Waiting("sleeping"):
        print("asleep", flush=True)
        time.sleep(seconds)
        # As compiled code does, it lets other threads run, and no handler of Python before its end.
        hashlib.pbkdf2_hmac("sha256", b"", b"", n_rounds)
    return 0

sys.exit(process.run(main, sys.argv[1:]))
"""


def asleep(seconds: float, n_rounds: int = 1) -> subprocess.Popen[str]:
    """Start what sleeps, and then is busy in compiled code; wait until it has begun."""
    child = subprocess.Popen(
        [sys.executable, "-c", SLEEPS, str(seconds), str(n_rounds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert child.stdout
    assert child.stdout.readline() == "asleep\n"
    return child


def test_long_silent_work_is_told_of() -> None:
    _, said = asleep(1.5).communicate()
    assert said == "p2mperf: sleeping: 1 s\n"


def test_work_that_does_not_last_is_not_told_of() -> None:
    child = asleep(0.001)
    assert child.communicate() == ("", "")
    assert child.returncode == 0


def test_ctrl_c_ends_work_that_does_not_hear_of_it() -> None:
    child = asleep(0, 2**31 - 1)  # a quarter of an hour
    time.sleep(0.2)
    start = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate()
    assert child.returncode == 130
    assert said.splitlines()[-1] == "p2mperf: interrupted"
    assert time.monotonic() - start < 10


SWALLOWS = """
import signal, sys, time
from p2mperf.cli import process

class Last:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)  # a destructor can raise nothing

def main(argv):
    last = Last()
    del last
    time.sleep(20)
    return 0

sys.exit(process.run(main, []))
"""


def test_ctrl_c_that_was_lost_in_a_destructor_comes_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS],
        capture_output=True,
        text=True,
        timeout=15,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_other_errors_of_destructors_are_told() -> None:
    script = SWALLOWS.replace("signal.raise_signal(signal.SIGINT)", "1 / 0").replace("sleep(20)", "sleep(0)")
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=15,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0
    assert "ZeroDivisionError" in done.stderr


def test_ctrl_c_waits_until_a_figure_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import p2mperf
    from p2mperf.figures import save

    drawn: list[str] = []

    def while_drawing(kind: str, drawing: Any) -> Any:
        def pressed(*arguments: Any, **options: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            drawn.append(kind)
            return drawing(*arguments, **options)

        return pressed

    fig = p2mperf.figure("limit-area")
    monkeypatch.setattr(type(fig), "savefig", while_drawing("saved", type(fig).savefig))
    with pytest.raises(KeyboardInterrupt):
        save(fig, tmp_path, "limit-area", ("svg", "png"))
    # The first is whole, and the second was not begun.
    assert drawn == ["saved"]
    assert [path.name for path in tmp_path.iterdir()] == ["limit-area.svg"]
    assert (tmp_path / "limit-area.svg").read_text().rstrip().endswith("</svg>")
    monkeypatch.setattr(type(fig), "suptitle", while_drawing("titled", type(fig).suptitle))
    with pytest.raises(KeyboardInterrupt):
        p2mperf.figure("limit-area")
    assert drawn == ["saved", "titled"]
