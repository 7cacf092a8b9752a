"""Probes on saved texts of machines that this one is not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2mperf.errors import P2mperfError
from p2mperf.host.card import (
    boot_key,
    caches,
    card_key,
    caveats,
    machine_card,
)
from p2mperf.host.maps import SPARE_MAPS, n_maps_available
from p2mperf.host.memory import available_memory_bytes
from p2mperf.host.probes import steal_ticks
from p2mperf.units import GIB, KIB, MIB

CPU0 = "sys/devices/system/cpu/cpu0"
CLOCKSOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"

XEON = {
    "proc/cpuinfo": """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz
stepping\t: 7
cpu MHz\t\t: 2100.000
flags\t\t: fpu vme de pse tsc
power management:

processor\t: 1
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz
stepping\t: 7
cpu MHz\t\t: 1000.000
flags\t\t: fpu vme de pse tsc
power management:
""",
    "proc/meminfo": """\
MemTotal:       32780480 kB
MemAvailable:   16777216 kB
SwapTotal:             0 kB
HugePages_Total:       0
""",
    "proc/loadavg": "0.05 0.10 0.20 1/200 4711\n",
    "proc/stat": "cpu  100 0 50 1000 5 0 3 42 0 0\ncpu0 100 0 50 1000 5 0 3 41 0 0\n",
    "proc/self/cgroup": "0::/user.slice/session\n",
    "proc/self/maps": "00400000-00401000 r-xp\n7f000000-7f001000 rw-p\n7ffff000-7ffff800 rw-p\n",
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "proc/sys/kernel/randomize_va_space": "2\n",
    "proc/sys/vm/max_map_count": "65530\n",
    "proc/sys/vm/overcommit_memory": "0\n",
    CLOCKSOURCE: "tsc\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/kernel/mm/transparent_hugepage/shmem_enabled": "always within_size advise [never] deny force\n",
    f"{CPU0}/cpufreq/scaling_governor": "performance\n",
    # Written out of order: the kernel does not promise one.
    f"{CPU0}/cache/index2/level": "2\n",
    f"{CPU0}/cache/index2/type": "Unified\n",
    f"{CPU0}/cache/index2/size": "1024K\n",
    f"{CPU0}/cache/index2/coherency_line_size": "64\n",
    f"{CPU0}/cache/index2/shared_cpu_list": "0,40\n",
    f"{CPU0}/cache/index0/level": "1\n",
    f"{CPU0}/cache/index0/type": "Data\n",
    f"{CPU0}/cache/index0/size": "32K\n",
    f"{CPU0}/cache/index0/coherency_line_size": "64\n",
    f"{CPU0}/cache/index0/shared_cpu_list": "0,40\n",
    f"{CPU0}/cache/index3/level": "3\n",
    f"{CPU0}/cache/index3/type": "Unified\n",
    f"{CPU0}/cache/index3/size": "28160K\n",
    f"{CPU0}/cache/index3/coherency_line_size": "64\n",
    f"{CPU0}/cache/index3/shared_cpu_list": "0-79\n",
}

# An Arm server under KVM: other names in cpuinfo, no frequency control, no cache description.
ARM = {
    "proc/cpuinfo": """\
processor\t: 0
BogoMIPS\t: 243.75
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
""",
    "proc/meminfo": "MemTotal:        8000000 kB\nMemAvailable:    4194304 kB\nSwapTotal:  1048576 kB\n",
    "proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/docker/4f2a\n1:name=systemd:/docker/4f2a\n",
    "proc/device-tree/hypervisor/compatible": "linux,kvm\0",
    "proc/loadavg": "1.50 0.10 0.20 1/200 4711\n",
}

MakeRoot = Callable[..., Path]


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    def make(*layers: dict[str, str]) -> Path:
        for name, text in {name: text for layer in layers for name, text in layer.items()}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_card_of_a_server(make_root: MakeRoot) -> None:
    card = machine_card(make_root(XEON), llvm_cpu_name="cascadelake")
    expected = {
        "cpu_model": "Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz",
        "cpu_vendor": "GenuineIntel",
        "cpu_family": "6",
        "cpu_model_number": "85",
        "cpu_stepping": "7",
        "llvm_cpu_name": "cascadelake",
        "n_cpus": 2,
        "governor": "performance",
        "hypervisor": None,
        "kernel_release": "6.1.0-18-amd64",
        "clocksource": "tsc",
        "thp_enabled": "madvise",
        "shmem_enabled": "never",
        "max_map_count": 65530,
        "overcommit_memory": 0,
        "randomize_va_space": 2,
        "memory_total_bytes": 32780480 * KIB,
        "memory_limit_bytes": None,
        "swap_total_bytes": 0,
        "load_average": [0.05, 0.10, 0.20],
        "n_steal_ticks": 42,
    }
    assert {name: card[name] for name in expected} == expected
    assert set(card["versions"]) == {"python", "numba", "llvmlite", "numpy"}


def test_caches_are_listed_nearest_first(make_root: MakeRoot) -> None:
    found = caches(make_root(XEON))
    assert [(cache["level"], cache["type"], cache["size_bytes"]) for cache in found] == [
        (1, "Data", 32 * KIB),
        (2, "Unified", 1 * MIB),
        (3, "Unified", 28160 * KIB),
    ]
    assert {cache["line_bytes"] for cache in found} == {64}
    assert found[2]["shared_cpu_list"] == "0-79"


def test_card_of_an_arm_guest_knows_what_it_does_not_know(make_root: MakeRoot) -> None:
    card = machine_card(make_root(ARM))
    known = {
        name: card[name] for name in ("cpu_vendor", "cpu_model", "cpu_family", "cpu_stepping", "hypervisor")
    }
    assert known == {
        "cpu_vendor": "0x41",
        "cpu_model": "0xd0c",
        "cpu_family": "8",
        "cpu_stepping": "1",
        "hypervisor": "linux,kvm",
    }
    assert card["caches"] == []
    unknown = ("governor", "kernel_release", "thp_enabled", "max_map_count", "n_steal_ticks", "clocksource")
    assert {card[name] for name in unknown} == {None}


def test_an_empty_tree_gives_a_card_all_the_same(make_root: MakeRoot) -> None:
    card = machine_card(make_root({}))
    assert card["cpu_model"] is None
    assert card["n_cpus"] >= 1
    assert steal_ticks(make_root({})) is None
    assert len(card_key(card)) == 12
    assert caveats(card)


@pytest.mark.parametrize(
    ("files", "hypervisor"),
    [
        ({"sys/hypervisor/type": "xen\n"}, "xen"),
        ({"proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu hypervisor lahf_lm\n"}, "unnamed hypervisor"),
        (
            {
                "proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu hypervisor\n",
                "sys/class/dmi/id/sys_vendor": "QEMU\n",
            },
            "QEMU",
        ),
        # The word in another line, or as part of another flag, is not the flag.
        ({"proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu\nbugs\t\t: hypervisor\n"}, None),
        ({"proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu hypervisor_guest\n"}, None),
    ],
)
def test_hypervisors(make_root: MakeRoot, files: dict[str, str], hypervisor: str | None) -> None:
    assert machine_card(make_root(files))["hypervisor"] == hypervisor


def test_card_is_plain_data(make_root: MakeRoot) -> None:
    for card in (machine_card(make_root(XEON)), machine_card()):
        assert json.loads(json.dumps(card)) == card


def test_environment_has_the_settings_but_no_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NUMBA_OPT", "MALLOC_ARENA_MAX", "NUMBA_CACHE_DIR", "HOME"):
        monkeypatch.setenv(name, "1")
    environment = machine_card()["environment"]
    assert {"NUMBA_OPT", "MALLOC_ARENA_MAX"} <= set(environment)
    assert not {"NUMBA_CACHE_DIR", "HOME"} & set(environment)


# What may be compared.


def test_key_ignores_what_changes_by_the_hour(make_root: MakeRoot) -> None:
    card = machine_card(make_root(XEON), llvm_cpu_name="cascadelake")
    later = {
        "load_average": [9.0, 9.0, 9.0],
        "n_steal_ticks": 10**6,
        "affinity": [1],
        # A few pages fewer after a reboot: still 31 GiB.
        "memory_total_bytes": card["memory_total_bytes"] - 16 * KIB,
        "environment": {"MALLOC_ARENA_MAX": "1"},
    }
    assert card_key(card | later) == card_key(card)


@pytest.mark.parametrize(
    "change",
    [
        {"cpu_model": "another"},
        {"llvm_cpu_name": "skylake"},
        {"n_cpus": 4},
        {"caches": []},
        {"kernel_release": "6.2"},
        {"thp_enabled": "never"},
        {"versions": {"numba": "0.1"}},
        {"memory_total_bytes": 64 * GIB},
    ],
)
def test_key_sees_what_makes_timings_incomparable(make_root: MakeRoot, change: dict[str, Any]) -> None:
    card = machine_card(make_root(XEON), llvm_cpu_name="cascadelake")
    assert card_key(card | change) != card_key(card)


# What there is.


def test_memory_without_a_limit_is_what_the_kernel_says(make_root: MakeRoot) -> None:
    assert available_memory_bytes(make_root(XEON)) == 16 * GIB


def test_the_tightest_control_group_counts(make_root: MakeRoot) -> None:
    session, parent = "sys/fs/cgroup/user.slice/session", "sys/fs/cgroup/user.slice"
    limits = {
        f"{session}/memory.max": "max\n",
        f"{session}/memory.current": f"{1 * GIB}\n",
        # The parent leaves 4 - 3 GiB, and half a GiB of its files can go: 1.5 GiB.
        f"{parent}/memory.max": f"{4 * GIB}\n",
        f"{parent}/memory.current": f"{3 * GIB}\n",
        f"{parent}/memory.stat": f"anon 5\nactive_file 7\ninactive_file {GIB // 2}\n",
    }
    root = make_root(XEON, limits)
    assert available_memory_bytes(root) == 3 * GIB // 2
    assert machine_card(root)["memory_limit_bytes"] == 4 * GIB


def test_version_one_groups_whose_path_is_the_hosts(make_root: MakeRoot) -> None:
    memory = "sys/fs/cgroup/memory"
    unlimited = {
        f"{memory}/memory.limit_in_bytes": f"{2**63 - 4096}\n",
        f"{memory}/memory.usage_in_bytes": "0\n",
    }
    assert available_memory_bytes(make_root(ARM, unlimited)) == 4 * GIB
    limited = {
        f"{memory}/memory.limit_in_bytes": f"{2 * GIB}\n",
        f"{memory}/memory.usage_in_bytes": f"{2 * GIB}\n",
        f"{memory}/memory.stat": f"inactive_file 1\ntotal_inactive_file {300 * MIB}\n",
    }
    assert available_memory_bytes(make_root(ARM, limited)) == 300 * MIB


def test_an_exceeded_limit_leaves_nothing(make_root: MakeRoot) -> None:
    files = {"sys/fs/cgroup/memory.max": "4096\n", "sys/fs/cgroup/memory.current": "8192\n"}
    assert available_memory_bytes(make_root(XEON, files)) == 0


def test_no_meminfo_is_one_sentence(make_root: MakeRoot) -> None:
    with pytest.raises(P2mperfError, match="no MemAvailable"):
        available_memory_bytes(make_root({}))


def test_mappings_left(make_root: MakeRoot) -> None:
    # Three lines of maps are in use, and 4 000 are left to all else.
    assert SPARE_MAPS == 4000
    assert n_maps_available(make_root(XEON)) == 65530 - 3 - 4000
    assert n_maps_available(make_root(XEON), n_used=1000) == 65530 - 1000 - 4000
    assert n_maps_available(make_root(XEON, {"proc/sys/vm/max_map_count": "2\n"})) == 0


def test_mappings_unknown(make_root: MakeRoot) -> None:
    with pytest.raises(P2mperfError, match="max_map_count"):
        n_maps_available(make_root({}))


def test_this_machine_has_memory_and_mappings() -> None:
    assert available_memory_bytes() > 0
    assert n_maps_available() > 0


# What to warn of.


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"sys/hypervisor/type": "xen\n"}, "virtual machine (xen)"),
        ({f"{CPU0}/cpufreq/scaling_governor": "powersave\n"}, "powersave"),
        ({"sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n"}, "huge pages are off"),
        ({"proc/meminfo": "MemTotal: 9 kB\nSwapTotal: 1024 kB\n"}, "Swap is on"),
        ({"proc/sys/kernel/randomize_va_space": "0\n"}, "randomisation is off"),
        ({"proc/loadavg": "0.50 0.1 0.1 2/2 3\n"}, "0.5 tasks"),
    ],
)
def test_each_flaw_is_one_sentence(make_root: MakeRoot, files: dict[str, str], word: str) -> None:
    sound = machine_card(make_root(XEON)) | {"architecture": "x86_64", "environment": {}}
    assert caveats(sound) == []
    flawed = machine_card(make_root(XEON, files)) | {"architecture": "x86_64", "environment": {}}
    (sentence,) = caveats(flawed)
    assert word in sentence
    assert sentence.endswith(".")


def test_a_boot_has_a_key_where_the_kernel_numbers_it(make_root: MakeRoot) -> None:
    boot_id = "proc/sys/kernel/random/boot_id"
    root = make_root(XEON)
    assert boot_key(root) == ""
    before = card_key(machine_card(root))
    first, again, other = (boot_key(make_root({boot_id: f"{text}\n"})) for text in ("a-1", "a-1", "b-2"))
    assert first == again != other
    assert re.fullmatch("[0-9a-f]{12}", first)
    # A machine is the same after another boot.
    assert card_key(machine_card(make_root(XEON | {boot_id: "c-3"}))) == before


def test_slow_clock_and_checked_loops_are_flaws(make_root: MakeRoot) -> None:
    card = machine_card(make_root(XEON)) | {"architecture": "x86_64", "environment": {}}
    assert "hpet" in caveats(card | {"clocksource": "hpet"})[0]
    assert caveats(card | {"clocksource": "arch_sys_counter", "architecture": "aarch64"}) == []
    assert "NUMBA_BOUNDSCHECK is set" in caveats(card | {"environment": {"NUMBA_BOUNDSCHECK": "1"}})[0]
    assert caveats(card | {"environment": {"NUMBA_BOUNDSCHECK": "0"}}) == []
    assert "no cpufreq governor" in caveats(card | {"governor": None})[0]
