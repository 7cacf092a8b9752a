"""The command line: what each command writes, and one sentence for whatever cannot be."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweeping import Units

from p2mperf import Guest
from p2mperf.cli import COMMANDS, main
from p2mperf.errors import BadInputError, P2mperfError
from p2mperf.host import card
from p2mperf.host.watch import Snapshot
from p2mperf.results.claim import MARKER
from p2mperf.results.runs import find_runs
from p2mperf.study.executors import local
from p2mperf.units import MIB

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--plan", "quick", "--size", "16M", "--replicates", "1")


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is written to the checkout, and a sweep's signal handler ends with its test."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    assert not [name for name in os.listdir() if name.startswith(".")]


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Units:
    found = Units()
    monkeypatch.setattr(local, "child", found)
    # Whatever this machine is busy with: what a sweep says of that is tried elsewhere.
    monkeypatch.setattr(card, "snapshot", lambda root: Snapshot())
    return found


def run(*arguments: str, stdout: int = subprocess.PIPE, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "p2mperf", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that ends with 2: one line on stderr, and nothing else."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("p2mperf: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err.removeprefix("p2mperf: ").rstrip()


# ---- what is refused ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("swep", "unknown command 'swep': did you mean 'sweep'?"),
        ("sweep --guest domu-64-8", "unknown guest 'domu-64-8': did you mean 'domu-64-8g'"),
        (
            "dump --design pv-tree --guest dom0-46-e820",
            "unknown guest 'dom0-46-e820': did you mean 'dom0-64-e820'",
        ),
        ("lookup --design pv-lineal --size 1G 5", "unknown design 'pv-lineal': did you mean 'pv-linear'"),
        ("sweep --design pv-three", "unknown design 'pv-three': did you mean 'pv-tree'"),
        ("plot cots", "unknown figure 'cots': did you mean 'cost'?"),
        ("plot cost rato", "unknown figure 'rato': did you mean 'ratio'?"),
        ("sweep --stream unifrom", "unknown stream 'unifrom': did you mean 'uniform' or"),
        ("sweep --stream uniform:hole=2", "stream 'uniform:hole=2': fractions lie in [0, 1]"),
        ("sweep --operation latancy", "unknown operation 'latancy': did you mean 'latency'?"),
        ("sweep --backing kernal", "unknown page backing 'kernal': did you mean 'kernel'?"),
        ("sweep --plan qick", "unknown plan 'qick': did you mean 'quick'?"),
        ("sweep --frsh", "sweep: unrecognized arguments: --frsh; see `python -m p2mperf sweep --help`"),
        ("sweep --replicates few", "sweep: argument --replicates: invalid int value: 'few'"),
        ("sweep --replicates 0", "0 replicates: at least one process must measure"),
        ("sweep --entry-bits 48", "sweep: argument --entry-bits: invalid choice: 48"),
        ("sweep --size 16M --stream uniform:hole=0.5", "no chosen guest has the holes or identity frames"),
        ("sweep --guest dom0-64-e820 --design arm-vlpt", "nothing is left to measure"),
        ("dump --guest dom0-64-e820", "dump: the following arguments are required: --design"),
        ("dump --design pv-tree", "name one guest: either --guest PRESET or --size SIZE"),
        ("dump --design pv-tree --guest dom0-64-e820 --size 1G", "name one guest: either"),
        ("dump --design arm-vlpt --size 64M", "arm-vlpt has no dump: take pv-tree or pv-linear"),
        ("lookup --design pv-tree --size 16M", "lookup: the following arguments are required: PFN"),
        (
            "lookup --design pv-tree --size 16M 1f",
            "'1f' is not a frame number: write it in decimal or as 0x...",
        ),
        ("life --guest domu-64-8", "unknown guest 'domu-64-8': did you mean 'domu-64-8g'"),
        ("life --scenario restore", "unknown scenario 'restore': did you mean 'save-restore'?"),
        ("life --design pv-tre", "unknown design 'pv-tre': did you mean 'pv-tree'"),
        (
            "life --design pv-tree --design arm-vlpt",
            "arm-vlpt cannot be written as a PV p2m is: take pv-tree or pv-linear",
        ),
        ("life --limit 12Q", "'12Q' is not a size: write a positive number with K, M, G or T"),
        ("life --limit 8G -q", "domu-64-8g has no room above its map: set a limit of 9G or more"),
        (
            "life --guest domu-32-512m --scenario passthrough -q",
            "passthrough needs memory from 3 to 4 GiB, which domu-32-512m has not",
        ),
        ("lookup --design pv-tree --size 16M -5", "frame -5 does not fit 64 bits"),
        (
            "lookup --design pv-tree --size 16M 0x10000000000000000",
            "frame 0x10000000000000000 does not fit 64",
        ),
        ("plot cost --results nowhere", "no results in nowhere"),
        ("plot cost --format gif", "plot: argument --format: invalid choice: 'gif'"),
    ],
)
def test_bad_input_gets_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert refused(capsys, *arguments.split()).startswith(message)


def test_a_size_below_zero_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "limits", "--guest-memory", "-1G").startswith("'-1G' is not a size")


@pytest.mark.parametrize("command", ["dump --design pv-tree", "lookup --design pv-linear 1", "sweep"])
@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("0", "'0' is not a size: it must be a positive, whole number of bytes"),
        ("-1G", "'-1G' is not a size: write a positive number with K, M, G or T"),
        ("12Q", "'12Q' is not a size: write a positive number with K, M, G or T"),
        ("6K", "'6K' is 1.5 pages: guest memory is a whole number of 4 KiB pages"),
        ("much", "'much' is not a size"),
        ("65G --entry-bits 32", "a 32-bit guest has at most 64G, not 65G: use 64-bit entries"),
        ("5T", "a 64-bit guest has at most 4T, not 5T"),
    ],
)
def test_what_is_no_size_is_said(
    capsys: pytest.CaptureFixture[str], command: str, size: str, message: str
) -> None:
    assert refused(capsys, *command.split(), "--size", *size.split()).startswith(message)


@pytest.mark.parametrize(
    ("rows", "boot", "maximum", "message"),
    [
        ([(0, "2G", "ram"), ("1G", "3G", "reserved")], "1G", None, "overlap or are out of order"),
        ([("1G", "2G", "ram"), (0, "1G", "ram")], "1G", None, "overlap or are out of order"),
        ([(0, "1G", "ram"), ("3G", "2G", "acpi")], "1G", None, "ends before it starts"),
        ([(0, "1G", "reserved")], "1G", None, "no RAM row"),
        ([], "1G", None, "no RAM row"),
        ([(0, "1G", "ram")], "2G", None, "cannot hold the 524288 pages at boot"),
        ([(0, "1G", "ram")], "1G", "512M", r"maximum memory \(131072 pages\) is below boot memory"),
    ],
)
def test_maps_that_contradict_themselves_are_refused(
    rows: Any, boot: str, maximum: str | None, message: str
) -> None:
    with pytest.raises(BadInputError, match=message) as raised:
        Guest.from_e820(rows, boot, maximum)
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_a_directory_that_is_not_ours_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    for command in (["sweep", *SMALL, "--out"], ["plot", "cost", "--results"]):
        said = refused(capsys, *command, str(tmp_path / "mine"))
        assert said.startswith(f"{tmp_path / 'mine'} is not a p2mperf results directory")
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]


def test_a_directory_of_a_newer_schema_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text('{"p2mperf_results": 99}')
    for command in (["sweep", *SMALL, "--out"], ["plot", "cost", "--results"]):
        said = refused(capsys, *command, str(tmp_path))
        assert "99" in said
        assert "newer" in said


@pytest.mark.parametrize("command", [["sweep", *SMALL, "--out"], ["plot", "limit-map", "--out"]])
def test_an_out_that_cannot_be_made_is_refused(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert "cannot write" in refused(capsys, *command, "/proc/results")
    Path("file").write_text("")
    said = refused(capsys, *command, "file")
    assert said.startswith(("file is a file: results need a directory", "cannot read", "cannot write"))


@contextlib.contextmanager
def rights_of_nobody() -> Iterator[None]:
    """Files are opened with nobody's rights, where the tests run as root, who may write anywhere."""
    libc = ctypes.CDLL(None)
    if os.getuid() == 0:
        libc.setfsuid(65534)
    try:
        yield
    finally:
        if os.getuid() == 0:
            libc.setfsuid(0)


@pytest.mark.parametrize("command", [["sweep", *SMALL, "-q", "--out"], ["plot", "limit-map", "--out"]])
def test_a_read_only_directory_is_refused(
    capsys: pytest.CaptureFixture[str], units: Units, command: list[str]
) -> None:
    # Once for real, so that nothing is left to be imported with rights that do not suffice.
    assert main([*command, "warm"]) == 0
    capsys.readouterr()
    with tempfile.TemporaryDirectory() as name:
        Path(name, MARKER).write_text('{"p2mperf_results": 1}')
        Path(name).chmod(0o555)
        with rights_of_nobody():
            said = refused(capsys, *command, name)
        Path(name).chmod(0o755)
        assert os.listdir(name) == [MARKER]
    assert said.startswith("cannot write")
    assert "Permission denied" in said


def test_no_traceback_reaches_a_user() -> None:
    done = run("dump", "--design", "pv-tree", "--size", "12Q")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("p2mperf: '12Q' is not a size")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_what_it_does_not_know(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    said = refused(capsys, command, "--nonsense")
    assert said.startswith(f"{command}: ")
    assert f"see `python -m p2mperf {command} --help`" in said


# ---- help ----


# What doctor does needs no example to be tried, but one is promised for every command.
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with contextlib.suppress(SystemExit):
        assert main([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("usage: ")
    assert f"python -m p2mperf {command}" in out.partition("example")[2]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main(["help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out and what in out for name, what in COMMANDS.items())
    assert main([]) == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("p2mperf 0.")


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [["--help"], ["sweep", "--help"], ["dump", "--design=pv-tree", "--size=16M"]]
)
def test_a_reader_that_has_seen_enough_is_no_error(arguments: list[str], buffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = run(*arguments, stdout=write, PYTHONUNBUFFERED=buffered)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("p2mperf.cli.dump.main", interrupt)
    assert main(["dump"]) == 130
    assert capsys.readouterr().err == "\np2mperf: interrupted\n"


# ---- dump and lookup ----

# 262144 pages at boot; RAM without memory up to 1029M = 263424; identity up to 2001M = 512256; then RAM
# without memory to the end of the map at 4G = 1048576, which is whole mids at both widths.
DUMP = """\
[0x00000000->0x00040000] pfn
[0x00040000->0x00040500] missing
[0x00040500->0x0007d100] identity
[0x0007d100->0x00100000] missing
"""


@pytest.mark.parametrize("bits", [64, 32])
def test_both_designs_have_one_dump(capsys: pytest.CaptureFixture[str], bits: int) -> None:
    assert 0x40500 == 263424
    assert 0x7D100 == 512256
    for design in ("pv-tree", "pv-linear", "pv-linear-nested"):
        assert main(["dump", "--design", design, "--guest", f"dom0-{bits}-e820"]) == 0
        assert capsys.readouterr() == (DUMP, "")


def test_a_dump_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", "--design", "pv-linear", "--guest", "dom0-64-e820", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    text = "".join(f"[{r['first_pfn']:#010x}->{r['end_pfn']:#010x}] {r['kind']}\n" for r in rows)
    assert text == DUMP


def test_what_is_above_a_map_depends_on_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    # 2049M are 524544 pages, padded to 524800 = 0x80200; the mid ends at 3 GiB = 786432 = 0xc0000.
    for above, end in (("identity", "[0x00080200->0x000c0000] identity\n"), ("invalid", "")):
        assert main(["dump", "--design", "pv-tree", "--size", "2049M", "--above", above]) == 0
        out = capsys.readouterr().out
        last = "0x00080200" if end else "0x000c0000"
        assert out == f"[0x00000000->0x00080100] pfn\n[0x00080100->{last}] missing\n{end}"


def test_a_lookup_shows_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    frames = ["263424", "0x61a80", "1000", "0"]
    assert main(["lookup", "--design", "pv-tree", "--guest", "dom0-64-e820", "--json", *frames]) == 0
    marked, shared, ram, first = json.loads(capsys.readouterr().out)
    # 263424 = 262144 + 2 * 512 + 256; 0x61a80 = 400000 = 262144 + 269 * 512 + 128, in the shared leaf.
    assert (marked["pfn"], marked["entry"], marked["kind"]) == (263424, 263424 | 1 << 62, "identity")
    assert [(step["level"], step["index"]) for step in marked["path"]] == [
        ("top", 1),
        ("mid", 2),
        ("leaf", 256),
    ]
    assert (marked["mfn"], marked["n_loads"]) == (263424, 3)
    assert (shared["mfn"], shared["n_loads"], shared["kind"]) == (400000, 2, "identity")
    assert [(step["level"], step["index"]) for step in shared["path"]] == [("top", 1), ("mid", 269)]
    assert (ram["kind"], ram["entry"]) == ("pfn", ram["mfn"])
    assert set(ram["path"][0]) == {"level", "view", "frame", "index", "address"}
    assert first["pfn"] == 0


def test_a_lookup_through_the_window(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["lookup", "--design", "pv-linear", "--guest", "dom0-64-e820", "--json", "1000", "263423"]) == 0
    )
    ram, missing = json.loads(capsys.readouterr().out)
    assert [(s["level"], s["view"], s["index"]) for s in ram["path"]] == [("leaf", "window", 1000 - 512)]
    assert (missing["kind"], missing["mfn"], missing["n_loads"]) == ("missing", None, 6)
    assert missing["entry"] == 2**64 - 1


def test_a_lookup_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lookup", "--design", "pv-tree", "--guest", "dom0-32-e820", "400000", "263423"]) == 0
    lines = capsys.readouterr().out.splitlines()
    # 32 bit: 400000 = 390 * 1024 + 640, and one mid covers it all.
    assert lines[0] == "pfn 0x61a80: entry 0x40061a80, identity, mfn 0x61a80, 2 loads"
    assert [line.split()[0] for line in lines[1:3]] == ["top", "mid"]
    assert lines[2].endswith("index  390")
    assert lines[3] == "pfn 0x404ff: entry 0xffffffff, missing, 3 loads"


def test_arm_guests_are_looked_up_too(capsys: pytest.CaptureFixture[str]) -> None:
    # RAM of an ARM guest begins at 2 GiB = frame 524288.
    assert main(["lookup", "--design", "arm-vlpt", "--size", "64M", "--json", "524288", "1"]) == 0
    ram, nothing = json.loads(capsys.readouterr().out)
    assert ram["entry"] & 1
    assert (nothing["entry"], nothing["n_loads"]) == (0, 0)


# ---- sweep ----


def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SMALL, "--backing", "small", "--dry-run", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    # A PV kernel has its tables on small pages: that is one measurement, of one name.
    assert (row["guest"], row["backing"], row["guest_pages"]) == ("pv-64-16m", "kernel", 4096)
    assert row["designs"] == ["pv-tree", "pv-linear"]
    assert [(c["stream"], c["operation"]) for c in row["cells"]] == [
        (stream, operation) for stream in ("sequential", "uniform") for operation in ("latency", "throughput")
    ]
    assert row["need_bytes"] > 4 * MIB
    assert row["need_maps"] > 0
    assert row["fits"] is True
    assert 1e9 < row["estimated_ns"] < 60e9
    assert os.listdir() == []


def test_a_dry_run_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--size", "16M", "--size", "400G", "--stream", "zipf", "--dry-run"]) == 0
    head, small, large, time = capsys.readouterr().out.splitlines()
    # 9 replicates of 2 guests, with both kinds of lookups and entries after two preambles: 2 * 9 * 4.
    assert head == "plan default: 72 cells in 18 units, 9 replicates of each of"
    assert small.split()[:4] == ["pv-64-16m", "kernel", "4", "cells"]
    assert large.split()[0] == "pv-64-400g"
    about = r"\d+ (s|min)"
    parts = rf"\d+ processes {about}, building {about}, cells {about}, the machine's ladder {about}"
    assert re.fullmatch(rf"about {about}: {parts}", time)


def test_a_sweep_shows_its_table_and_files(capsys: pytest.CaptureFixture[str], units: Units) -> None:
    arguments = ["--stream", "uniform", "--operation", "latency", "--out", "results"]
    assert main(["sweep", *SMALL, *arguments]) == 0
    out, err = capsys.readouterr()
    # The cell of cardboard: 1000 lookups took the list 2000 and 2200 ns, and the tree 3000 and 3300 ns.
    head, row, _, *notes = out.splitlines()
    assert notes[:2] == [
        "ratios are of paired rounds, not quotients of the costs",
        "intervals cover processes, not boots or machines",
    ]
    assert head.split()[:6] == ["guest", "backing", "stream", "operation", "linear", "tree"]
    assert row.split()[:9] == [
        *("pv-64-16m", "kernel", "uniform", "latency"),
        *("2.100", "ns", "3.150", "ns", "1.500"),
    ]
    (info,) = find_runs("results")
    files = {info.path.name, *(path.name for path in Path("results").glob("*.parquet"))}
    assert len(files) == 2
    assert all(name in err for name in files)
    assert "python -m p2mperf plot --results results" in err


def test_a_quiet_sweep_gives_only_its_table(capsys: pytest.CaptureFixture[str], units: Units) -> None:
    assert main(["sweep", *SMALL, "--stream", "uniform", "--operation", "latency", "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (row,) = json.loads(out)
    assert (row["design"], row["reference"], row["ratio"]) == ("pv-tree", "pv-linear", pytest.approx(1.5))
    assert (row["cost_ns"], row["reference_ns"]) == (pytest.approx(3.15), pytest.approx(2.1))


def test_a_sweep_says_that_it_goes_on(capsys: pytest.CaptureFixture[str], units: Units) -> None:
    def spoil(number: int, record: Any) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return record

    units.spoil = spoil
    assert main(["sweep", *SMALL]) == 130
    assert capsys.readouterr().err.endswith(
        "p2mperf: interrupted; every finished cell is kept: the same command goes on\n"
    )
    units.spoil = lambda number, record: record
    assert main(["sweep", *SMALL]) == 0
    (info,) = find_runs("results")
    assert f"p2mperf: resuming {info.path.name}: 1 of 4 cells are there" in capsys.readouterr().err


def test_a_sweep_of_which_nothing_fits_ends_with_4(
    capsys: pytest.CaptureFixture[str], units: Units, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "available_memory_bytes", lambda: 1 * MIB)
    assert main(["sweep", *SMALL, "-q"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("p2mperf: nothing of plan quick fits this machine")


def test_a_sweep_with_failed_cells_ends_with_1(capsys: pytest.CaptureFixture[str], units: Units) -> None:
    def spoil(number: int, record: Any) -> Any:
        raise P2mperfError("the unit's process was killed by signal 11")

    units.spoil = spoil
    assert main(["sweep", *SMALL, "-q"]) == 1
    assert "4 of 4 cells failed" in capsys.readouterr().err


def test_options_reach_the_process_that_measures(units: Units) -> None:
    options = ["--design", "pv-tree", "--backing", "huge", "--stream", "uniform:identity=0.5", "--control"]
    assert (
        main(["sweep", "--plan", "quick", "--guest", "dom0-64-e820", "--replicates", "2", "-q", *options])
        == 0
    )
    for order, replicate in zip(units.orders, (0, 1), strict=True):
        assert order["guest"]["name"] == "dom0-64-e820"
        assert (order["designs"], order["backing"], order["replicate"]) == (("pv-tree",), "huge", replicate)
        assert {cell["identity_fraction"] for cell in order["cells"]} == {0.5}
        assert order["settings"]["control"] is True


# ---- plot ----


@pytest.fixture
def results(units: Units, capsys: pytest.CaptureFixture[str]) -> Path:
    assert (
        main(["sweep", "--plan", "quick", "--size", "16M", "--size", "64M", "--replicates", "2", "-q"]) == 0
    )
    capsys.readouterr()
    return Path("results")


def test_figures_are_written_and_named(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    names = ["cost", "ratio", "footprint"]
    assert main(["plot", *names, "--results", "results", "--out", "a/b", "--format", "svg", "png"]) == 0
    out, err = capsys.readouterr()
    expected = [f"a/b/{name}.{kind}" for name in names for kind in ("svg", "png")]
    assert out.splitlines() == expected
    assert all(Path(name).stat().st_size > 1000 for name in expected)
    assert err == "p2mperf: figures are drawn from results\n"


def test_equal_results_give_equal_files(results: Path) -> None:
    for out in ("one", "two"):
        assert main(["plot", "ratio", "--out", out, "--format", "svg"]) == 0
    assert Path("one/ratio.svg").read_bytes() == Path("two/ratio.svg").read_bytes()


def test_figures_of_arithmetic_need_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "limit-map", "--format", "svg"]) == 0
    assert capsys.readouterr() == ("figures/limit-map.svg\n", "")


def test_a_single_journal_can_be_plotted(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    (info,) = find_runs(results)
    assert main(["plot", "footprint", "--results", str(info.path), "--format", "png"]) == 0
    assert capsys.readouterr().out == "figures/footprint.png\n"
