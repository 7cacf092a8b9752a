"""HAP guests of every format on the command line, and what cannot be asked of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import refused
from design_names import HAP_DESIGNS
from hap_guests import each_design, each_geometry

from p2mperf.cli import main
from p2mperf.guests.guest import Guest
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan


@each_design
@each_geometry
def test_frames_of_every_format_are_looked_up(
    design: str, geometry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = Guest.plain("8M", geometry=geometry)
    # 2048 is the first frame above its memory, and the last is beyond any format's reach.
    frames = [0, 1, 2047, 2048, 1 << 40]
    asked = ["--geometry", geometry, "--size", "8M", "--json", *map(str, frames)]
    assert main(["lookup", "--design", design, *asked]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["entry"] for one in found] == guest.entries(frames).tolist()
    assert [one["kind"] for one in found] == ["ram_rw"] * 3 + ["mmio_dm"] * 2
    assert [one["mfn"] for one in found[3:]] == [None, None]
    n_loads = [len(one["path"]) for one in found]
    assert n_loads == [one["n_loads"] for one in found]
    assert n_loads[3:] == [0, 0]


@each_geometry
def test_both_ways_dump_the_same_of_every_format(geometry: str, capsys: pytest.CaptureFixture[str]) -> None:
    dumps = []
    for design in (*HAP_DESIGNS, "hap-walk-4k", "hap-linear-2m"):
        assert main(["dump", "--design", design, "--geometry", geometry, "--size", "8M"]) == 0
        dumps.append(capsys.readouterr().out)
    assert dumps[0].startswith("[0x00000000->0x00000800] ram_rw\n[0x00000800->")
    assert len(set(dumps)) == 1


def test_a_size_is_of_one_format_unless_others_are_named() -> None:
    plan = make_plan("quick")
    for asked, names in (
        ({}, ["hap-1g"]),
        ({"entry_bits": 32}, ["hap-nonpae-1g"]),
        ({"geometries": ["hap-pae"]}, ["hap-pae-1g"]),
        ({"geometries": ["hap-nonpae", "hap64"]}, ["hap-nonpae-1g", "hap-1g"]),
    ):
        narrowed = narrow(plan, sizes=["1G"], designs=["hap-walk"], **asked)
        assert [guest.name for guest in narrowed.guests] == names
    # A guest that the 32-bit formats do not reach is one of 64 bits.
    narrowed = narrow(plan, sizes=["16G"], designs=["hap-walk"])
    assert [guest.name for guest in narrowed.guests] == ["hap-16g"]


def test_a_dry_run_has_all_formats(capsys: pytest.CaptureFixture[str]) -> None:
    formats = [word for name in ("hap64", "hap-pae", "hap-nonpae") for word in ("--geometry", name)]
    designs = [word for name in HAP_DESIGNS for word in ("--design", name)]
    assert main(["sweep", "--dry-run", "--json", "--size", "256M", *designs, *formats]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["guest"] for row in rows} == {"hap-256m", "hap-pae-256m", "hap-nonpae-256m"}
    assert all(row["fits"] and row["need_maps"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "lookup --design hap-walk --geometry pv64 --size 1G 5",
            "unknown geometry of these guests 'pv64'",
        ),
        (
            "lookup --design hap-walk --geometry hap-pea --size 1G 5",
            "unknown geometry of these guests",
        ),
        (
            "lookup --design hap-walk --geometry hap-pae --entry-bits 32 --size 1G 5",
            "geometry hap-pae with 32-bit entries contradicts itself: it has 64-bit ones",
        ),
        (
            "dump --design pv-tree --geometry pv64 --guest domu-64-8g",
            "--geometry is about --size: domu-64-8g has a geometry of its own",
        ),
        (
            "lookup --design hap-walk --guest domu-64-8g 5",
            "HAP translates guests of geometry hap64, hap-pae or hap-nonpae, and domu-64-8g is one of pv64: "
            "give a size",
        ),
        (
            "lookup --design hap-walk --geometry hap-pae --size 5G 5",
            "the map ends at gfn 0x140000, beyond the 4G",
        ),
        ("lookup --design hap-walk --size 200T 5", "the map ends at gfn 0xc80000000, beyond the 128T"),
        (
            "lookup --design hap-walk --geometry hap-nonpae --size 4G 5",
            "a machine of 4080M has no room for 4G of RAM: take a smaller guest",
        ),
        (
            "limits --table 1G --geometry pv32",
            "--table and --geometry contradict each other: ask for one size at a time",
        ),
        ("limits --design hap-walk", "unknown limits design 'hap-walk'"),
        ("limits --design hap-linear --geometry pv32", "unknown geometry of these guests 'pv32'"),
        (
            "limits --design hap-linear --geometry hap-nonpae --entry-bits 64",
            "geometry hap-nonpae with 64-bit entries contradicts itself: it has 32-bit ones",
        ),
        ("limits --design hap-linear --geometry hap-pae --guest-memory 5G", "guest memory 5G is beyond"),
        ("lookup --design hap-walk --size 1G --above invalid 5", "hap-walk has no option above"),
        (
            "sweep --dry-run --design hap-walk --geometry pv32",
            "unknown geometry of the chosen designs",
        ),
        (
            "sweep --dry-run --guest domu-64-8g --design pv-tree --geometry pv32",
            "no chosen guest is of geometry pv32: give it a size",
        ),
        (
            "sweep --dry-run --design hap-walk --size 5G --geometry hap-pae",
            "the map ends at gfn 0x140000, beyond the 4G that hap-pae translates",
        ),
        ("sweep --dry-run --design hap-walk --guest domu-64-8g", "nothing is left to measure"),
        (
            "sweep --dry-run --design hap-walk --size 64M --operation cow",
            "none of the chosen guests and streams",
        ),
        ("sweep --dry-run --design hap-walk-4k --size 64M --operation split", "none of the chosen guests"),
        ("life --design hap-walk -q", "hap-walk cannot be written as a PV p2m is: take pv-tree or pv-linear"),
        (
            "migrate --memory 64M --dirty-rate 1k --bandwidth 1M --tracer hap-walk",
            "hap-walk cannot be traced: take one of",
        ),
    ],
)
def test_what_hap_guests_cannot_be_asked_is_said(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *arguments.split()).startswith(message)


@pytest.mark.parametrize("command", ["lookup", "dump", "sweep"])
def test_help_has_an_example_of_a_hap_guest(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "hap-" in capsys.readouterr().out.split("examples:")[1]


def test_examples_of_help_and_documents_are_accepted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = Path(__file__).parents[2]
    documents = [(root / name).read_text("utf-8") for name in ("README.md", "docs/results.md", "docs/hap.md")]
    lines = {line.partition("  #")[0].strip() for text in documents for line in text.splitlines()}
    asked = sorted(line for line in lines if re.match(r"python -m p2mperf (?!plot).*hap-", line))
    assert len(asked) >= 5
    for line in asked:
        _, _, _, command, *arguments = line.split()
        if command == "sweep":
            arguments.append("--dry-run")
        assert main([command, *arguments]) == 0, line
        capsys.readouterr()
