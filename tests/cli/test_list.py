"""`list`: every name there is, what it is, and that commands take it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from command_line import refused

import p2mperf
from p2mperf import Guest
from p2mperf.cli import main
from p2mperf.cli.list import KINDS, PLANS_SAID, STREAMS_SAID
from p2mperf.figures import figures
from p2mperf.guests.presets import ALL_PRESETS
from p2mperf.measure.operations.registry import operations
from p2mperf.sizing import limit_names
from p2mperf.streams import STREAMS
from p2mperf.study.plans import PLANS


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["list", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


NAMES = {
    "guests": list(ALL_PRESETS),
    "designs": p2mperf.designs(),
    "streams": list(STREAMS),
    "operations": list(operations()),
    "plans": list(PLANS),
    "figures": list(figures()),
    "limits": limit_names(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_has_a_line(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    rows = listed(capsys, kind)
    assert [row["name"] for row in rows][: len(NAMES[kind])] == NAMES[kind]
    assert all(row["description"].strip() for row in rows)
    assert main(["list", kind]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split()[0] for line in out.splitlines()[1:]] == [row["name"] for row in rows]


def test_all_kinds_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    words = out.replace(",", " ").split()
    assert [name for names in NAMES.values() for name in names if name not in words] == []
    assert "`python -m p2mperf list KIND`" in err
    assert list(listed(capsys)) == list(KINDS)


def test_what_is_described_here_is_what_there_is() -> None:
    assert list(STREAMS_SAID) == list(STREAMS)
    assert list(PLANS_SAID) == list(PLANS)


def test_guests_are_described_by_their_maps(capsys: pytest.CaptureFixture[str]) -> None:
    said = {row["name"]: row["description"] for row in listed(capsys, "guests")}
    # The drawing in Linux' arch/x86/xen/p2m.c: RAM to 1029 MB and from 2001 MB on; 1 GB at boot, 3 at most.
    assert said["dom0-64-e820"] == "pv64: 1G at boot, up to 3G; no RAM from 1029M to 2001M"
    assert said["domu-32-8g"] == "pv32: 8G, nothing but RAM"
    assert said["hvm-16g-broken30"].endswith("on a host with 30% of its 2 MiB blocks broken")
    rows = {row["name"]: row for row in listed(capsys, "guests")}
    guest = Guest.preset("dom0-64-128g-pci")
    assert rows[guest.name]["memory_bytes"] == guest.memory_bytes


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "list", "guest")
    assert said.startswith("unknown kind 'guest': did you mean 'guests'")
    assert said.endswith(f"(known: {', '.join(KINDS)})")


# ---- names that results print ----


@pytest.mark.parametrize(
    ("name", "geometry", "memory_bytes"),
    [
        ("pv-64-64m", "pv64", 64 << 20),
        ("pv-32-2049m", "pv32", 2049 << 20),
        ("arm-1g", "lpae", 1 << 30),
        ("hap-1g", "hap64", 1 << 30),
        ("hap-pae-64m", "hap-pae", 64 << 20),
        ("hap-nonpae-64m", "hap-nonpae", 64 << 20),
        ("dom0-64-e820", "pv64", 1 << 30),
    ],
)
def test_a_guest_is_found_by_the_name_that_results_have(name: str, geometry: str, memory_bytes: int) -> None:
    guest = Guest.named(name)
    assert (guest.name, guest.geometry.name, guest.memory_bytes) == (name, geometry, memory_bytes)


def test_so_is_it_by_who_programs() -> None:
    with p2mperf.build("pv-tree", "pv-64-16m") as p2m:
        assert p2m.guest == Guest.plain("16M")


def test_commands_take_the_names_that_results_have(capsys: pytest.CaptureFixture[str]) -> None:
    entries = []
    for guest in (["--guest", "pv-64-16m"], ["--size", "16M"]):
        assert main(["lookup", "--design", "pv-linear", *guest, "5", "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)
        entries.append(found["entry"])
    assert entries[0] == entries[1]
    assert main(["dump", "--design", "hap-walk", "--guest", "hap-pae-16m"]) == 0
    assert (
        main(["life", "--guest", "pv-64-2g", "--scenario", "save-restore", "--design", "pv-tree", "-q"]) == 0
    )
    assert "\npv-64-2g" in capsys.readouterr().out
    sweep = [
        "sweep",
        "--guest",
        "pv-64-16m",
        "--guest",
        "dom0-32-e820",
        "--size",
        "32M",
        "--dry-run",
        "--json",
    ]
    assert main(sweep) == 0
    guests = dict.fromkeys(row["guest"] for row in json.loads(capsys.readouterr().out))
    assert list(guests) == ["pv-64-16m", "dom0-32-e820", "pv-64-32m"]


@pytest.mark.parametrize(
    "name", ["pv-64-8", "pv-48-8g", "pv-64-SIZE", "pv-64--8g", "pv-64-8g ", "pv-64-1.5g"]
)
def test_what_is_no_name_of_a_guest_is_refused_with_the_forms_there_are(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    said = refused(capsys, "dump", "--design", "pv-tree", "--guest", name)
    assert said.startswith(f"unknown guest {name!r}")
    assert "pv-64-SIZE" in said
