"""A raw trace's own file: written whole, read strictly, and how far a killed recorder came."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2mperf.errors import BadInputError
from p2mperf.workload.raw_trace import (
    ABOUT_FILE,
    PROGRESS_FILE,
    RawCpu,
    RawTrace,
    read_progress,
    read_raw_trace,
    write_progress,
    write_raw_trace,
)
from p2mperf.workload.recording import Usage

USAGE = Usage(1.5, 1.0, 0.25, 1000, 2, 0)


def raw_trace(directory: Path) -> RawTrace:
    """A finished one of two CPUs, of two and one sub-buffers of 4 KiB."""
    (directory / "cpu0.raw").write_bytes(bytes(8192))
    (directory / "cpu3.raw").write_bytes(bytes(4096))
    raw = RawTrace(
        directory=directory,
        tool="make",
        kernel_release="6.1.0",
        architecture="x86_64",
        page_bytes=4096,
        clock="mono",
        header_page="page",
        header_event="event",
        formats={"kmem/mm_page_alloc": "text"},
        missing=("mmap/exit_mmap",),
        cpu_numbers=(0, 3),
        root_pid=4711,
        finished=True,
        cpus={0: RawCpu(10, 0, 0, 0), 3: RawCpu(5, 1, 2, 3)},
        usage=USAGE,
        machine={"n_cpus": 2},
    )
    write_raw_trace(raw)
    return raw


def note(directory: Path, **progress: tuple[int, int]) -> None:
    descriptor = os.open(directory / PROGRESS_FILE, os.O_WRONLY | os.O_CREAT)
    for cpu, (n_bytes, until_ns) in progress.items():
        write_progress(descriptor, int(cpu.removeprefix("cpu")), n_bytes, until_ns)
    os.close(descriptor)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    raw = raw_trace(tmp_path)
    assert read_raw_trace(tmp_path) == raw
    assert (raw.n_read, raw.n_lost) == (10 + 5, 1 + 2 + 3)
    assert [raw.whole_bytes(cpu) for cpu in raw.cpu_numbers] == [8192, 4096]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cpu0.raw", "cpu3.raw", ABOUT_FILE]


def test_a_killed_recorder_is_complete_until_the_first_cpu_was_last_emptied(tmp_path: Path) -> None:
    write_raw_trace(replace(raw_trace(tmp_path), finished=False, cpus={}, usage=None))
    note(tmp_path, cpu0=(4096, 700), cpu3=(4096, 500))
    found = read_raw_trace(tmp_path)
    assert found.complete_until_ns == 500  # of CPU 3, nothing later is sure
    assert [found.whole_bytes(cpu) for cpu in found.cpu_numbers] == [4096, 4096]  # of CPU 0 a page is unsure


def test_a_recorder_that_was_killed_at_once_left_nothing(tmp_path: Path) -> None:
    write_raw_trace(replace(raw_trace(tmp_path), finished=False, cpus={}, usage=None))
    for noted in ({}, {"cpu0": (4096, 700)}):
        note(tmp_path, **noted)
        with pytest.raises(BadInputError, match="nothing to recover"):
            read_raw_trace(tmp_path)


def test_a_file_that_was_cut_is_shorter_than_was_noted(tmp_path: Path) -> None:
    write_raw_trace(replace(raw_trace(tmp_path), finished=False, cpus={}, usage=None))
    note(tmp_path, cpu0=(8192, 700), cpu3=(8192, 500))
    assert read_raw_trace(tmp_path).whole_bytes(3) == 4096


def test_where_recording_had_to_stop_the_rest_is_not_sure(tmp_path: Path) -> None:
    raw = replace(raw_trace(tmp_path), complete_until_ns=650)
    write_raw_trace(raw)
    note(tmp_path, cpu0=(4096, 700), cpu3=(4096, 650))
    assert read_raw_trace(tmp_path) == raw
    assert raw.whole_bytes(0) == 4096


def test_progress_that_was_never_noted_is_none(tmp_path: Path) -> None:
    assert read_progress(tmp_path, 0) == (0, 0)
    (tmp_path / PROGRESS_FILE).write_bytes(bytes(20))
    assert read_progress(tmp_path, 1) == (0, 0)
    (tmp_path / PROGRESS_FILE).write_bytes(b"\xff" * 16)  # -1, -1
    assert read_progress(tmp_path, 0) == (0, 0)


def test_a_file_that_is_gone_is_a_sentence(tmp_path: Path) -> None:
    raw = raw_trace(tmp_path)
    raw.path_of(3).unlink()
    with pytest.raises(BadInputError, match=r"cannot read .*cpu3.*: No such file"):
        raw.whole_bytes(3)


def damage(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda plain: {**plain, **changes}


NEGATIVE = {"read": -1, "overrun": 0, "dropped": 0, "commit_overrun": 0}
WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "list": (lambda plain: [], "it has no format"),
    "nothing": (lambda plain: None, "it has no format"),
    "foreign": (damage(format="p2mperf"), "it has no format"),
    "later": (damage(version=2), "has version 2, and this p2mperf reads 1"),
    "short": (lambda plain: {name: plain[name] for name in plain if name != "formats"}, "lacks formats"),
    "tool": (damage(tool=7), "tool of .* must be text"),
    "page": (damage(page_bytes="4096"), "page_bytes of .* must be a whole number"),
    "format": (damage(formats={"a": 1}), "formats of .* must be text"),
    "formats": (damage(formats=["a"]), "formats of .* must be a table"),
    "missing": (damage(missing="all"), "missing of .* must be a list"),
    "no-cpu": (damage(cpu_numbers=[]), "no set of CPUs"),
    "twice": (damage(cpu_numbers=[0, 0]), "no set of CPUs"),
    "negative-cpu": (damage(cpu_numbers=[-1, 3]), "no set of CPUs"),
    "huge-cpu": (damage(cpu_numbers=[0, 1 << 40]), "no set of CPUs"),
    "other-cpus": (damage(cpu_numbers=[0]), "does not tell what each CPU counted"),
    "uncounted": (damage(cpus={}), "does not tell what each CPU counted"),
    "unused": (damage(usage=None), "does not tell what each CPU counted"),
    "half-counted": (damage(cpus={"0": {"read": 1}}), "lacks overrun"),
    "named-cpu": (damage(cpus={"x": NEGATIVE}), "a key of cpus of"),
    "negative": (damage(cpus={"0": NEGATIVE, "3": NEGATIVE}), "below 0"),
    "long": (damage(usage={"elapsed_s": "long"}), "elapsed_s must be a number"),
    "finished": (damage(finished=1), "finished of .* must be True or False"),
    "machine": (damage(machine=[]), "machine of .* must be a table"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, name: str) -> None:
    raw_trace(tmp_path)
    change, said = WRONG[name]
    path = tmp_path / ABOUT_FILE
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(BadInputError, match=said) as refused:
        read_raw_trace(tmp_path)
    assert "\n" not in str(refused.value)


NO_JSON = {
    "empty": (b"", "it is no JSON"),
    "cut": (b"{", "it is no JSON"),
    "no-text": (b"\xff\xfe", "it is no JSON"),
    "deep": (b"[" * 100_000, "it is no JSON"),
    "large": (b" " * ((16 << 20) + 1), "it has no format"),
}


@pytest.mark.parametrize("name", NO_JSON)
def test_what_is_no_json_is_refused(tmp_path: Path, name: str) -> None:
    content, said = NO_JSON[name]
    (tmp_path / ABOUT_FILE).write_bytes(content)
    with pytest.raises(BadInputError, match=said):
        read_raw_trace(tmp_path)


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "no", "No such file"), (tmp_path, "No such file")):
        with pytest.raises(BadInputError, match=f"is no raw trace: {ABOUT_FILE} cannot be read: {said}"):
            read_raw_trace(path)
    (tmp_path / ABOUT_FILE).mkdir()
    with pytest.raises(BadInputError, match="Is a directory"):
        read_raw_trace(tmp_path)
