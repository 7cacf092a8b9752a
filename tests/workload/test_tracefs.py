"""An instance of tracefs: set up in a directory like one, refused where it cannot be, and put back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trace_texts import ALLOC_6_1, HEADER_PAGE, STATS_6_18, needs_tracefs

from p2mperf.errors import BadInputError, DoesNotFitError
from p2mperf.workload import guardian, tracefs
from p2mperf.workload.events import EVENTS, Event
from p2mperf.workload.trace_instance import REQUIRED, Instance, NoTracingError, prepare
from p2mperf.workload.tracefs import (
    PLACES,
    find_tracefs,
    own_instance,
    own_name,
    remove_left_over,
    require_machine_pids,
)


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A tracefs of plain files, with an instance "mine" that its kernel has just made."""
    root = tmp_path / "tracing"
    instance = root / "instances" / "mine"
    for name, text in {
        "tracing_on": "1\n",
        "trace_clock": "[local] global mono x86-tsc\n",
        "buffer_size_kb": "7 (expanded: 1408)\n",
        "set_event_pid": "",
        "options/event-fork": "0\n",
        "options/record-cmd": "1\n",
        "options/overwrite": "1\n",
        "per_cpu/cpu0/stats": STATS_6_18,
        "per_cpu/cpu10/stats": STATS_6_18,
        "per_cpu/cpu2/stats": STATS_6_18,
    }.items():
        (instance / name).parent.mkdir(parents=True, exist_ok=True)
        (instance / name).write_text(text)
    for recorded in EVENTS.values():
        if not recorded.xen:
            event = instance / "events" / recorded.tracepoint
            event.mkdir(parents=True)
            (event / "format").write_text(ALLOC_6_1)
            (event / "enable").write_text("0\n")
    (root / "events").mkdir()
    (root / "events" / "header_page").write_text(HEADER_PAGE)
    (root / "events" / "header_event").write_text("# compressed entry header\n")
    return root


def without(fake: Path, name: str) -> None:
    path = fake / "instances" / "mine" / name
    if path.is_dir():
        for each in path.iterdir():
            each.unlink()
        path.rmdir()
    else:
        path.unlink()


def made(fake: Path) -> Instance:
    return prepare(fake / "instances" / "mine", fake, 4 << 20, REQUIRED)


# ---- an instance ----


def test_an_instance_is_set_up_and_does_not_record_yet(fake: Path) -> None:
    instance = made(fake)
    said = {
        name: (instance.path / name).read_text().split("\n")[0]
        for name in (
            "tracing_on",
            "trace_clock",
            "buffer_size_kb",
            "options/event-fork",
            "options/record-cmd",
        )
    }
    # Plain files keep what a shorter text leaves of the longer one before.
    assert said["tracing_on"] == "0"
    assert said["trace_clock"].startswith("mono")
    assert said["buffer_size_kb"].startswith("4096")  # 4 MiB
    assert (said["options/event-fork"], said["options/record-cmd"]) == ("1", "0")
    enabled = {
        path.parent.relative_to(instance.path / "events").as_posix()
        for path in instance.path.glob("events/*/*/enable")
    }
    assert enabled == set(instance.formats)
    assert all((instance.path / "events" / name / "enable").read_text()[0] == "1" for name in enabled)


def test_it_says_of_what_and_how_it_records(fake: Path) -> None:
    instance = made(fake)
    assert instance.formats["kmem/mm_page_alloc"] == ALLOC_6_1
    assert instance.header_page == HEADER_PAGE
    assert instance.cpus() == [0, 2, 10]
    assert instance.stats(2).n_read == 7
    instance.follow(1234)
    instance.switch(True)
    assert (instance.path / "set_event_pid").read_text() == "1234"
    assert (instance.path / "tracing_on").read_text()[0] == "1"


def test_an_event_that_the_kernel_lacks_is_named(fake: Path) -> None:
    without(fake, "events/mmap/exit_mmap")
    assert made(fake).missing == ("mmap/exit_mmap",)


def test_that_a_kernel_is_not_under_xen_is_not_said(fake: Path) -> None:
    assert made(fake).missing == ()


@pytest.mark.parametrize("event", REQUIRED)
def test_an_event_that_is_needed_is_insisted_on(fake: Path, event: Event) -> None:
    name = EVENTS[event].tracepoint
    without(fake, f"events/{name}")
    with pytest.raises(NoTracingError, match=f"this kernel has no event {name}"):
        made(fake)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("options/event-fork", "has no options/event-fork: p2mperf needs Linux 4.7"),
        ("set_event_pid", "has no set_event_pid: p2mperf needs Linux 4.7"),
    ],
)
def test_an_old_tracefs_is_refused(fake: Path, name: str, said: str) -> None:
    without(fake, name)
    with pytest.raises(NoTracingError, match=said):
        made(fake)


def test_a_clock_that_all_cpus_share_is_needed(fake: Path) -> None:
    (fake / "instances" / "mine" / "trace_clock").write_text("[local] global\n")
    with pytest.raises(NoTracingError, match="has no clock mono, only local, global"):
        made(fake)


# ---- where it is ----


def test_tracefs_is_found_where_it_is_mounted(fake: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert find_tracefs([str(tmp_path / "empty"), str(fake)]) == fake
    assert find_tracefs([str(tmp_path / "empty"), str(tmp_path / "nothing")]) is None


def test_a_tracefs_of_others_is_not_used(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(NoTracingError, match="is for root only: run this as root"):
        find_tracefs([str(fake)])


def test_a_kernel_without_tracing_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(NoTracingError, match="this kernel has no tracing"),
        own_instance(places=[str(tmp_path / "no")]),
    ):
        pytest.fail("there is nothing to record with")


def test_only_root_mounts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with (
        pytest.raises(NoTracingError, match=r"not mounted at .* only root can"),
        own_instance(places=[str(tmp_path)]),
    ):
        pytest.fail("there is nothing to record with")


def test_a_container_is_told_that_its_pids_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Namespace:
        st_ino = 4026532000

    monkeypatch.setattr(os, "stat", lambda path: Namespace())
    with pytest.raises(NoTracingError, match="pids of its own"):
        require_machine_pids()


def test_what_tracefs_refuses_is_a_sentence_and_nothing_is_left(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracefs, "require_machine_pids", lambda: None)
    # An instance made in plain files has none of the files that a kernel puts there.
    with pytest.raises(NoTracingError), own_instance(1 << 20, [str(fake)]):
        pytest.fail("it has no events")
    assert [path.name for path in (fake / "instances").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("program", "said"),
    [("/nothing/there", "does not start: No such file"), ("/bin/false", "does not start$")],
)
def test_nothing_is_changed_without_a_guardian(
    fake: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    monkeypatch.setattr(tracefs, "require_machine_pids", lambda: None)
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(NoTracingError, match=said), own_instance(1 << 20, [str(fake)]):
        pytest.fail("nobody would put it back")
    assert [path.name for path in (fake / "instances").iterdir()] == ["mine"]


def test_buffers_that_memory_does_not_hold_are_refused(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracefs, "require_machine_pids", lambda: None)
    monkeypatch.setattr("p2mperf.host.memory.available_memory_bytes", lambda: 1 << 20)
    said = r"a ring buffer of 2M on each of .* take a smaller --buffer"
    with pytest.raises(DoesNotFitError, match=said), own_instance(2 << 20, [str(fake)]):
        pytest.fail("there is no room")
    assert [path.name for path in (fake / "instances").iterdir()] == ["mine"]


# ---- what others have left ----


def test_instances_of_the_dead_are_removed_and_no_others(fake: Path) -> None:
    instances = fake / "instances"
    space = os.stat("/proc/self/ns/pid").st_ino
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        alive = [own_name(), own_name(child.pid)]
        ours, start, _ = alive[1].rsplit("-", 2)
        later = f"{ours}-{int(start) - 1}-0"  # the pid of a process that is no more is another's now
        dead = f"p2mperf-{space}-{1 << 22}-77-0"  # beyond all pids that there can be
        elsewhere = f"p2mperf-{space + 1}-{1 << 22}-77-0"
        kept = [*alive, elsewhere, f"p2mperf-{space}-x-1-0", "p2mperf", "mine"]
        for name in {*kept, later, dead} - {"mine"}:
            (instances / name).mkdir()
        assert sorted(remove_left_over(fake)) == sorted([later, dead])
        assert sorted(path.name for path in instances.iterdir()) == sorted(kept)
    finally:
        child.communicate(b"\n")


def guard(instance: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-ISE", guardian.__file__, str(instance), ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_the_guardian_removes_what_a_killed_recorder_leaves(tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir()
    process = guard(tmp_path / "instance")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # what ends its recorder does not end it
        process.send_signal(number)
    process.communicate()
    assert process.returncode == 0
    assert not (tmp_path / "instance").exists()


def test_the_guardian_leaves_alone_what_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir()
    process = guard(tmp_path / "instance")
    process.communicate(guardian.RELEASED)
    assert process.returncode == 0
    assert (tmp_path / "instance").exists()


def test_an_instance_that_is_in_use_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "instance"
    (path / "busy").mkdir(parents=True)
    start = time.monotonic()
    assert not guardian.remove_instance(str(path), 0.1)
    assert time.monotonic() - start >= 0.1
    (path / "busy").rmdir()
    assert guardian.remove_instance(str(path), 0.1)
    assert guardian.remove_instance(str(path), 0.1)  # it is gone


def test_what_is_gone_is_put_back(tmp_path: Path) -> None:
    assert guardian.put_back(str(tmp_path / "instance"), "", 0.1)
    # Who is not root may not even ask.
    assert guardian.put_back(str(tmp_path / "instance"), str(tmp_path), 0.1) is (os.geteuid() == 0)


# ---- a real one ----


@needs_tracefs
def test_a_real_instance_is_there_and_is_gone() -> None:
    with own_instance(256 << 10) as instance:
        assert instance.path.parent == Path(
            next(place for place in PLACES if Path(place, "instances").is_dir()), "instances"
        )
        assert (instance.path / "tracing_on").read_text() == "0\n"
        assert "[mono]" in (instance.path / "trace_clock").read_text()
        assert int((instance.path / "buffer_size_kb").read_text()) >= 256  # some kernels round up
        assert all(
            (instance.path / "events" / name / "enable").read_text() == "1\n" for name in instance.formats
        )
        assert all(instance.stats(cpu).n_read == 0 for cpu in instance.cpus())
    assert not instance.path.exists()


@needs_tracefs
def test_a_process_may_have_two() -> None:
    with own_instance(256 << 10) as one, own_instance(256 << 10) as other:
        assert one.path != other.path
        other.switch(True)
        assert (one.path / "tracing_on").read_text() == "0\n"
    assert not one.path.exists()
    assert not other.path.exists()


@needs_tracefs
def test_a_real_instance_is_gone_after_an_error() -> None:
    seen = []

    def fail(instance: Instance) -> None:
        seen.append(instance.path)
        assert seen[0].exists()
        raise BadInputError("mine")

    with pytest.raises(BadInputError, match="mine"), own_instance(256 << 10) as instance:
        fail(instance)
    assert not seen[0].exists()
