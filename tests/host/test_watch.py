"""What else a machine is busy with: seen in saved texts, and told by the card, `info` and `doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from calm_machine import CALM

from p2mperf.cli import doctor, main
from p2mperf.host.card import card_key, caveats, machine_card
from p2mperf.host.watch import Snapshot, running_beside, snapshot, steal_share, unrest
from p2mperf.study.executors import local

DAMON = "sys/kernel/mm/damon/admin/kdamonds"
KHUGEPAGED = "sys/kernel/mm/transparent_hugepage/khugepaged"
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
BOOST = "sys/devices/system/cpu/cpufreq/boost"
NO_TURBO = "sys/devices/system/cpu/intel_pstate/no_turbo"
VMSTAT = "nr_free_pages 7\nnuma_hint_faults {}\nnuma_hint_faults_local 1\nnuma_pages_migrated {}\n"

QUIET = {
    "proc/loadavg": "0.10 0.20 0.30 1/200 4711\n",
    # user, nice, system, idle, iowait, irq, softirq, steal: 1000 ticks are busy and 2 stolen
    "proc/stat": "cpu  700 100 150 9000 5 20 30 2 600 0\ncpu0 1 0 0 0 0 0 0 0 0 0\n",
    "proc/vmstat": VMSTAT.format(0, 0),
    "proc/sys/kernel/numa_balancing": "0\n",
    "proc/1/comm": "init\n",
    "proc/2/comm": "kthreadd\n",
    f"{DAMON}/nr_kdamonds": "1\n",
    f"{DAMON}/0/state": "off\n",
    f"{KHUGEPAGED}/pages_collapsed": "40\n",
    f"{KHUGEPAGED}/full_scans": "9\n",
    GOVERNOR: "performance\n",
    BOOST: "0\n",
}
# What makes a machine unquiet by itself, the name that it goes by, and words that must be said of it.
UNQUIET = [
    ({"proc/loadavg": "0.50 0 0 2/2 3\n"}, "load", ("0.5 tasks", "interval", "wait")),
    ({f"{DAMON}/0/state": "on\n"}, "DAMON", ("accessed bits", "4 KiB", f"echo off > /{DAMON}")),
    ({"proc/76/comm": "kdamond.0\n"}, "DAMON", ("kdamond", "large guests", "sys/module/damon_")),
    ({"proc/sys/kernel/numa_balancing": "1\n"}, "NUMA balancing", ("moves pages", "kernel.numa_balancing=0")),
    ({GOVERNOR: "powersave\n"}, "clock", ("powersave", "ratios", "echo performance")),
    ({BOOST: "1\n"}, "clock", ("boost is on", f"echo 0 > /{BOOST}")),
    ({BOOST: None, NO_TURBO: "0\n"}, "clock", ("boost is on", f"echo 1 > /{NO_TURBO}")),
]

MakeRoot = Callable[..., Path]


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    def make(files: dict[str, str | None]) -> Path:
        for name, text in (QUIET | files).items():
            if text is not None:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text(text)
        return tmp_path

    return make


def names(start: Snapshot, end: Snapshot | None = None) -> list[str]:
    return [one.name for one in unrest(start, end)]


# What is seen.


def test_a_quiet_machine_is_read_and_called_quiet(make_root: MakeRoot) -> None:
    assert snapshot(make_root({})) == CALM
    assert names(CALM) == names(CALM, CALM) == []


@pytest.mark.parametrize(("files", "name", "words"), UNQUIET)
def test_each_unrest_is_told_with_what_it_spoils_and_what_to_do(
    make_root: MakeRoot, files: dict[str, str | None], name: str, words: tuple[str, ...]
) -> None:
    look = snapshot(make_root(files))
    (one,) = unrest(look)
    assert one.name == name
    assert all(word in str(one) for word in words), str(one)
    assert str(one)[0].isupper()
    assert str(one).endswith(".")
    assert "\n" not in str(one)
    # It is unrest too when it came while we measured; some of the load is ours then.
    if name != "load":
        assert names(CALM, look) == names(look, CALM) == [name]


@pytest.mark.parametrize("file", QUIET)
def test_a_missing_file_is_unknown_and_no_unrest(make_root: MakeRoot, file: str) -> None:
    look = snapshot(make_root({file: None}))
    assert names(look) == []
    changed = [each.name for each in fields(look) if getattr(look, each.name) != getattr(CALM, each.name)]
    assert all(getattr(look, name) is None for name in changed)
    # What says nothing by itself: another process, the number of kdamonds, a state beside visible threads.
    assert bool(changed) == (file not in ("proc/1/comm", f"{DAMON}/nr_kdamonds", f"{DAMON}/0/state"))


@pytest.mark.parametrize("text", ["", "\n", "cpu\n", "cpu  a b c d e f g h\n", "[off]\n", "\0\xff\n", "-1\n"])
def test_odd_files_are_unknown(make_root: MakeRoot, text: str) -> None:
    odd = dict.fromkeys((name for name in QUIET if name not in (GOVERNOR, "proc/1/comm")), text)
    look = replace(snapshot(make_root(odd)), governor=None)
    assert look == Snapshot()
    assert names(look) == []


def test_an_empty_tree_tells_nothing(tmp_path: Path) -> None:
    assert snapshot(tmp_path) == Snapshot()
    assert steal_share(Snapshot()) is None


def test_this_machine_can_be_looked_at() -> None:
    assert snapshot().n_busy_ticks


# What went on between two moments.


def test_load_of_our_own_is_no_unrest_at_the_end() -> None:
    assert names(CALM, replace(CALM, load_average=(1.49, 1.0, 1.0))) == []
    (one,) = unrest(CALM, replace(CALM, load_average=(1.5, 1.0, 1.0)))
    assert (one.name, "ours among them" in one.seen) == ("load", True)


def test_what_has_ended_is_no_unrest() -> None:
    # Load averages forget slowly: a sweep that begins when another has ended finds that one in them.
    ended = replace(CALM, load_average=(1.2, 0.6, 0.2), n_running=0.0)
    assert names(ended) == []
    assert names(replace(ended, n_running=0.4)) == []
    assert names(replace(ended, n_running=0.5)) == ["load"]
    # Results of earlier versions tell the average alone.
    assert names(replace(ended, n_running=None)) == ["load"]
    # A task that has run for a moment only is not yet work of others.
    assert names(replace(CALM, n_running=3.0)) == []


@pytest.mark.parametrize(
    ("loads", "beside"),
    # Two run, of whom one reads this; where the last minute was calm nobody is looked for.
    [("0.50 0 0 2/9 3\n", 1.0), ("0.50 0 0 1/9 3\n", 0.0), ("0.49 0 0 2/9 3\n", None), ("0.50 0 0\n", None)],
)
def test_who_runs_is_looked_for_where_the_last_minute_was_busy(
    make_root: MakeRoot, loads: str, beside: float | None
) -> None:
    root = make_root({"proc/loadavg": loads})
    assert running_beside(machine_card(root, llvm_cpu_name="any"), root) == beside


def test_an_executor_looks_once_and_not_when_units_of_its_own_run(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([0.25])
    monkeypatch.setattr(local, "running_beside", lambda card: next(looks))
    executor = local.LocalExecutor()
    assert [executor.place().card["n_running"] for _ in range(3)] == [0.25] * 3
    monkeypatch.setattr(executor, "_server", object())
    assert executor.place().card["n_running"] is None


def test_pages_that_khugepaged_made_meanwhile_count() -> None:
    assert names(CALM, replace(CALM, n_khugepaged_scans=99)) == []
    (one,) = unrest(CALM, replace(CALM, n_khugepaged_collapsed=43))
    assert (one.name, "(3 while this was measured)" in one.seen) == ("khugepaged", True)
    assert "khugepaged/scan_sleep_millisecs" in one.advice


def test_pages_that_numa_balancing_moved_meanwhile_are_told() -> None:
    start = replace(CALM, numa_balancing=1, n_numa_hint_faults=5, n_numa_pages_migrated=None)
    (one,) = unrest(start, replace(start, n_numa_hint_faults=12))
    assert "(7 faults and an unknown number of pages moved" in one.seen


def test_steal_is_that_of_the_time_between() -> None:
    # Since boot 500 of 1000 ticks were stolen, but none of the last 100.
    before = replace(CALM, n_steal_ticks=500, n_busy_ticks=500)
    assert (steal_share(before), names(before)) == (0.5, [])
    assert names(before, replace(before, n_busy_ticks=600)) == []
    # 1 of 100 is 1 %, and 1 of 101 is less.
    (one,) = unrest(CALM, replace(CALM, n_steal_ticks=3, n_busy_ticks=1099))
    assert (one.name, "gave 1.0% of the CPU time" in one.seen) == ("steal", True)
    assert names(CALM, replace(CALM, n_steal_ticks=3, n_busy_ticks=1100)) == []
    assert steal_share(CALM, CALM) is None
    # A CPU that got nothing at all.
    assert steal_share(CALM, replace(CALM, n_steal_ticks=9)) == 1


def test_counters_that_went_back_are_nothing() -> None:
    assert names(replace(CALM, n_khugepaged_collapsed=99, n_steal_ticks=99), CALM) == []


# As plain data.


def test_plain_data_and_back() -> None:
    assert Snapshot.from_json(json.loads(json.dumps(CALM.to_json()))) == CALM
    assert Snapshot().to_json() == {}


@pytest.mark.parametrize("data", [None, [], "text", 7, {}, {"unknown": 1}])
def test_what_is_no_snapshot_tells_nothing(data: object) -> None:
    assert Snapshot.from_json(data) == Snapshot()


UNKNOWN: tuple[object, ...] = (
    *(-1, [], [-1.0], ["a"], [True], {}),
    *(float("nan"), [float("inf")], "\x1b"),
)


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (True, {"damon": True, "boost": True}),
        ("on", {"governor": "on"}),
        ([0.5], {"load_average": (0.5,)}),
        (1.5, {"n_running": 1.5}),
        *((value, {}) for value in UNKNOWN),
    ],
)
def test_values_of_another_kind_are_unknown(value: object, known: dict[str, Any]) -> None:
    assert Snapshot.from_json({field.name: value for field in fields(Snapshot)}) == Snapshot(**known)


# Where it is told: the card, doctor and info.


def test_the_card_tells_it_and_its_key_does_not(make_root: MakeRoot) -> None:
    quiet = machine_card(make_root({}), llvm_cpu_name="any")
    assert Snapshot.from_json(quiet) == CALM
    busy = quiet | {"damon": True, "numa_balancing": 1, "load_average": [2.0, 2.0, 2.0], "boost": True}
    busy |= {"n_running": 2.0}
    told = [sentence for sentence in caveats(busy) if sentence not in caveats(quiet)]
    assert told == list(map(str, unrest(Snapshot.from_json(busy))))
    assert len(told) == 4
    assert card_key(busy) == card_key(quiet)


def test_a_card_of_an_earlier_version_is_read_as_before() -> None:
    old = {"load_average": [1.7, 0.1, 0.1], "n_steal_ticks": 10**6, "governor": None}
    assert names(Snapshot.from_json(old)) == ["load"]


@pytest.mark.parametrize(("files", "name", "words"), UNQUIET)
def test_doctor_warns_of_each_and_says_what_to_do(
    make_root: MakeRoot, files: dict[str, str | None], name: str, words: tuple[str, ...]
) -> None:
    look = snapshot(make_root(files))
    checks = {check.name: check for check in doctor.check_quiet(look)}
    assert set(checks) == {"DAMON", "khugepaged", "NUMA balancing", "steal", "clock"}
    warned = [check.name for check in checks.values() if check.status == "warn"]
    assert warned == ([name] if name != "load" else [])  # that is check_idle's
    for each in warned:
        assert all(word in f"{checks[each].finding} {checks[each].advice}" for word in words)


def test_doctor_warns_of_what_was_stolen_since_boot() -> None:
    # 10 / (990 + 10) is 1 %
    checks = doctor.check_quiet(replace(CALM, n_steal_ticks=10, n_busy_ticks=990))
    (check,) = (check for check in checks if check.status == "warn")
    assert check.name == "steal"
    assert "1.0% of the CPU time wanted here to others since boot" in check.finding
    assert "CPUs of your own" in check.advice


def test_doctor_says_what_it_found_where_all_is_well() -> None:
    found = {check.name: check.finding for check in doctor.check_quiet(CALM)}
    assert found == {
        "DAMON": "does not run",
        "khugepaged": "made 40 pages of 2 MiB in 9 passes since boot",
        "NUMA balancing": "off",
        "steal": "0.2% of the CPU time wanted since boot",
        "clock": "the cpufreq governor is performance, boost is off",
    }
    unknown = doctor.check_quiet(Snapshot())
    assert {(check.status, check.finding[:9]) for check in unknown} == {("ok", "not known")}


def test_doctor_as_json_has_every_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [doctor.Check("first", "ok", "well"), doctor.Check("second", "fail", "looked at", "do this")]
    monkeypatch.setattr(doctor, "diagnose", lambda: checks)
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {"name": "first", "status": "ok", "finding": "well", "advice": ""},
        {"name": "second", "status": "fail", "finding": "looked at", "advice": "do this"},
    ]
