"""The command line: what each command writes, and one sentence for whatever cannot be."""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL, refused, run
from sweeping import Units

from p2mperf import Guest
from p2mperf.cli import COMMANDS, main
from p2mperf.errors import BadInputError
from p2mperf.results.claim import MARKER

pytestmark = pytest.mark.usefixtures("somewhere_else")


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
        ("plot cots", "unknown figure 'cots': did you mean 'cost'"),
        ("plot cost rato", "unknown figure 'rato': did you mean 'ratio'"),
        ("sweep --stream unifrom", "unknown stream 'unifrom': did you mean 'uniform' or"),
        ("sweep --stream uniform:hole=2", "stream 'uniform:hole=2': fractions lie in [0, 1]"),
        ("sweep --operation latancy", "unknown operation 'latancy': did you mean 'latency'?"),
        ("sweep --backing kernal", "unknown page backing 'kernal': did you mean 'kernel'?"),
        ("sweep --plan qick", "unknown plan 'qick': did you mean 'quick'?"),
        (
            "sweep --frsh",
            "sweep: unrecognized arguments: --frsh (did you mean --fresh?); see `python -m p2mperf",
        ),
        ("plot --formt svg", "plot: unrecognized arguments: --formt (did you mean --format?); see"),
        # What begins so, before what only looks like it (--question).
        (
            "limits --guest 5G",
            "limits: unrecognized arguments: --guest 5G (did you mean --guest-memory?); see",
        ),
        ("sweep --the", "sweep: unrecognized arguments: --the; see"),
        ("sweep --time", "sweep: unrecognized arguments: --time; see"),
        # What other commands call so is found by its help: "results directory (results)" is --out's alone.
        (
            "sweep --results x",
            "sweep: unrecognized arguments: --results x (did you mean --out, results directory?); see",
        ),
        ("sweep --qwertz", "sweep: unrecognized arguments: --qwertz; see"),
        ("sweep -x", "sweep: unrecognized arguments: -x; see"),
        ("sweep --replicates few", "sweep: argument --replicates: invalid int value: 'few'"),
        ("sweep --replicates 0", "0 replicates: at least one process must measure"),
        ("sweep --entry-bits 48", "sweep: argument --entry-bits: invalid choice: 48"),
        ("sweep --size 16M --stream uniform:hole=0.5", "no chosen guest has the holes or identity frames"),
        ("sweep --guest dom0-64-e820 --design arm-vlpt", "nothing is left to measure"),
        ("dump --guest dom0-64-e820", "dump: the following arguments are required: --design"),
        ("dump --design pv-tree", "name one guest: either --guest NAME or --size SIZE"),
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
    for command in (
        ["sweep", *SMALL, "--out"],
        ["sweep", *SMALL, "--dry-run", "--out"],
        ["plot", "cost", "--results"],
    ):
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


def test_help_lists_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
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
