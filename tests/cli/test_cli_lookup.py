"""`dump` and `lookup` from the command line: text, JSON, and the path of a lookup."""

from __future__ import annotations

import json

import pytest

from p2mperf.cli import main

pytestmark = pytest.mark.usefixtures("somewhere_else")


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
