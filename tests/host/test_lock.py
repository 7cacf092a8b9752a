"""One sweep at a time on a machine, whoever runs it and wherever it keeps temporary files."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2mperf.errors import ResultsError
from p2mperf.host.lock import _address, alone_on_this_machine

HOLD = """
import os, sys, time
from p2mperf.host.lock import alone_on_this_machine
os.setuid(int(sys.argv[1]))
with alone_on_this_machine():
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def another_sweep(temporary: Path, user: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(user)],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def users() -> list[int]:
    return [os.getuid(), 54321] if os.geteuid() == 0 else [os.getuid()]


@pytest.mark.parametrize("user", users())
def test_another_sweep_is_seen_whatever_its_user_and_temporary_directory(tmp_path: Path, user: int) -> None:
    with another_sweep(tmp_path, user) as other:
        said = rf"^another sweep \(process {other.pid}\) is measuring on this machine"
        with pytest.raises(ResultsError, match=said), alone_on_this_machine():
            pass
        other.kill()  # the kernel frees the lock, however its holder dies
        other.wait()
        with alone_on_this_machine():
            pass


def test_it_is_free_again_after_a_sweep_that_failed() -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), alone_on_this_machine():
            raise ZeroDivisionError
    with alone_on_this_machine(), pytest.raises(ResultsError), alone_on_this_machine():
        pass


@pytest.mark.parametrize("plant", ["link", "directory", "fifo", "file"])
def test_nothing_that_stands_in_a_shared_directory_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    planted, victim = tmp_path / f"p2mperf-{os.geteuid()}.lock", tmp_path / "victim"
    if plant == "link":
        planted.symlink_to(victim)
    elif plant == "directory":
        planted.mkdir()
    elif plant == "fifo":
        os.mkfifo(planted)
    else:
        planted.write_text("kept")
    with alone_on_this_machine():
        assert not victim.exists()
    assert [path.name for path in tmp_path.iterdir()] == [planted.name]


def test_a_holder_that_answers_nobody_makes_nobody_wait() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as squatter:
        squatter.bind("\0" + os.environ["P2MPERF_LOCK"])
        with pytest.raises(ResultsError, match=r"^another sweep is measuring"), alone_on_this_machine():
            pass
        squatter.listen(0)
        for _ in range(5):  # as many as its queue takes, and more
            with pytest.raises(ResultsError, match="is measuring on this machine"), alone_on_this_machine():
                pass


def test_a_sweep_goes_on_where_no_lock_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2MPERF_LOCK", "x" * 200)  # more than the kernel takes
    with alone_on_this_machine():
        pass


def test_the_name_is_the_same_for_all_who_do_not_ask_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("P2MPERF_LOCK")
    addresses = []
    for user, temporary in ((0, "/one"), (54321, "/two")):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        monkeypatch.setenv("TMPDIR", temporary)
        addresses.append(_address())
    assert addresses == ["\0p2mperf.sweep"] * 2
