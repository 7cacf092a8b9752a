"""`info` and `doctor` through main([...]), on this machine and on saved texts of worse ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2mperf.cli import doctor, info, main
from p2mperf.errors import DoesNotFitError
from p2mperf.host.card import card_key, machine_card
from p2mperf.units import GIB, HUGE_SIZE, KIB, MIB, PAGE_SIZE

real_pool_page_bytes = doctor.pool_page_bytes

SOUND = {
    "proc/meminfo": "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\nSwapTotal: 0 kB\n",
    "proc/loadavg": "0.10 0.10 0.20 1/200 4711\n",
    "proc/sys/vm/max_map_count": "65530\n",
    "proc/self/maps": "one\ntwo\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/kernel/mm/transparent_hugepage/shmem_enabled": "always within_size advise [never] deny force\n",
}


def write(root: Path, *layers: dict[str, str]) -> Path:
    for name, text in {name: text for layer in layers for name, text in layer.items()}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(autouse=True)
def huge_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "pool_page_bytes", lambda: HUGE_SIZE)


# info


def test_info_shows_the_card_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out, err = capsys.readouterr()
    rows = dict(line.split("  ", 1) for line in out.split("\n\n")[0].splitlines())
    card = machine_card()
    assert rows["key"].strip() == card_key(card)
    assert {name for name in rows if name in card} >= {
        "cpu_model",
        "kernel_release",
        "clocksource",
        "thp_enabled",
    }
    assert err == ""


def test_info_as_json_is_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    card = machine_card()
    assert shown["key"] == card_key(card)
    assert shown["caches"] == card["caches"]
    assert set(shown) == {*card, "key", "caveats"}


def test_the_table_is_readable() -> None:
    cache = {"level": 1, "type": "Data", "size_bytes": 48 * KIB, "shared_cpu_list": "0-1"}
    card = machine_card() | {
        "caches": [
            cache,
            cache | {"level": 2, "type": "Unified", "size_bytes": 2 * MIB, "shared_cpu_list": None},
        ],
        "memory_total_bytes": 8 * GIB + 4 * KIB,
        "governor": None,
        "load_average": [0.5, 1.25, 2.0],
        "n_running": 0.5,
        "versions": {"numba": "1.2.3"},
    }
    lines = info.as_text(card).splitlines()
    rows = dict(line.split(None, 1) for line in lines if line and not line.startswith(("cache", "note")))
    assert (rows["memory_total"], rows["governor"], rows["load_average"]) == ("8.0G", "-", "0.5 1.25 2.0")
    assert rows["versions.numba"] == "1.2.3"
    assert [line.split("  ")[0] for line in lines if line.startswith("cache")] == ["cache L1d", "cache L2"]
    assert any(line.endswith("48K, shared by CPU 0-1") for line in lines)
    assert any(line.endswith("2M, shared by CPU ?") for line in lines)
    assert any(line.startswith("note: The machine was not idle") for line in lines)


# doctor


def found(root: Path) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.diagnose(root)}


def test_a_sound_machine_is_all_ok(tmp_path: Path) -> None:
    checks = found(write(tmp_path, SOUND))
    assert {check.status for check in checks.values()} == {"ok"}
    assert {check.advice for check in checks.values()} == {""}
    repaired = {"packages", "memfd", "huge pages", "mappings", "memory", "idle"}
    assert set(checks) == repaired | {"DAMON", "khugepaged", "NUMA balancing", "steal", "clock"}


@pytest.mark.parametrize(
    ("files", "name", "status", "advice"),
    [
        (
            {"sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n"},
            "huge pages",
            "warn",
            "echo madvise",
        ),
        # 30000 less the two lines of maps: fewer than usual, more than the reserve of 4000.
        ({"proc/sys/vm/max_map_count": "30000\n"}, "mappings", "warn", "sysctl vm.max_map_count"),
        ({"proc/sys/vm/max_map_count": "4002\n"}, "mappings", "fail", "sysctl vm.max_map_count"),
        ({"proc/meminfo": "MemAvailable: 1048576 kB\n"}, "memory", "warn", "2G"),
        ({"proc/meminfo": "MemAvailable: 131072 kB\n"}, "memory", "fail", "2G"),
        ({"proc/meminfo": "MemFree: 131072 kB\n"}, "memory", "fail", "/proc"),
        ({"proc/loadavg": "1.70 0.1 0.1 3/4 3\n"}, "idle", "warn", "other work"),
        ({"proc/loadavg": ""}, "idle", "warn", "nothing else runs"),
    ],
)
def test_each_lack_is_named_with_what_to_do(
    tmp_path: Path, files: dict[str, str], name: str, status: str, advice: str
) -> None:
    checks = found(write(tmp_path, SOUND, files))
    assert checks[name].status == status
    assert advice in checks[name].advice
    assert {check.status for other, check in checks.items() if other != name} == {"ok"}


def test_unknown_mappings_are_a_warning(tmp_path: Path) -> None:
    files = {name: text for name, text in SOUND.items() if "max_map_count" not in name}
    assert found(write(tmp_path, files))["mappings"].status == "warn"


def test_a_pool_without_huge_pages_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "pool_page_bytes", lambda: PAGE_SIZE)
    check = found(write(tmp_path, SOUND))["memfd"]
    assert (check.status, "shmem_enabled" in check.advice) == ("warn", True)


@pytest.mark.parametrize("error", [OSError("no memfd"), DoesNotFitError("no memfd")])
def test_no_pool_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse() -> int:
        raise error

    monkeypatch.setattr(doctor, "pool_page_bytes", refuse)
    check = found(write(tmp_path, SOUND))["memfd"]
    assert (check.status, "no memfd" in check.finding) == ("fail", True)


def test_missing_packages_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("numpy", "no-such-package"))
    check = doctor.check_packages()
    assert (check.status, check.finding) == ("fail", "no-such-package not installed")


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_exit_code_and_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: doctor.Status, code: int
) -> None:
    advice = "" if status == "ok" else "do this"
    checks = [doctor.Check("first", "ok", "well"), doctor.Check("second", status, "looked at", advice)]
    monkeypatch.setattr(doctor, "diagnose", lambda: checks)
    assert main(["doctor"]) == code
    lines = ["ok    first: well", f"{status:4}  second: looked at"] + ["      -> do this"] * bool(advice)
    assert capsys.readouterr().out.splitlines() == lines


def test_doctor_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) in (0, 1)
    out, err = capsys.readouterr()
    assert sum(line.startswith(("ok ", "warn ", "fail ")) for line in out.splitlines()) == 11
    assert err == ""


def test_this_machines_pool_is_really_tried() -> None:
    assert real_pool_page_bytes() in (PAGE_SIZE, HUGE_SIZE)


@pytest.mark.parametrize("command", ["info", "doctor"])
def test_unknown_options_exit_with_two(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--nonsense"]) == 2
    said = capsys.readouterr().err
    assert "--nonsense" in said
    assert said.count("\n") == 1
