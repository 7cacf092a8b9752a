"""Command lines to fuzz with: of each parser's own options, hostile mostly, harmless where they run."""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import raw_pages
import recording_files

MEGABYTE = "x" * 1_000_000

WORDS = (
    *(
        "",
        " ",
        "-",
        "--",
        "nope",
        "all",
        "-1",
        "0",
        "1",
        "1.5",
        "nan",
        "inf",
        "1e400",
        "0x10",
        "1_000",
        "\u0663",
    ),
    *(
        "\udcff",
        "a\0b",
        "a\nb",
        "\u00fc",
        "\U0001f600",
        "$x_{$",
        "%s",
        "{}",
        "@/etc/passwd",
        "=",
        "a=b",
        "--help",
    ),
    *(
        "x" * 255,
        "x" * 256,
        "x" * 5000,
        MEGABYTE,
        "9" * 5000,
        "-" + "9" * 400,
        "18446744073709551616",
        "1e30",
    ),
)
SIZES = (
    *(
        "4K",
        "16M",
        "64M",
        "512M",
        "0",
        "-1G",
        "10T",
        "4T",
        "1P",
        "9" * 20 + "T",
        "9" * 25,
        "4097",
        "1.5K",
        "0.3K",
    ),
    *("64 M", "64MiB", "64XB", "1G\n", "1,5G", "4096", "18446744073709551616", "1e9", "inf", "-0"),
)
NUMBERS = (
    "0",
    "1",
    "2",
    "-1",
    "32",
    "64",
    "33",
    "2147483648",
    "9" * 30,
    "-" + "9" * 30,
    "1.0",
    "abc",
    "0x1",
    "+1",
)
RATES = (
    "0",
    "1",
    "20000",
    "125M",
    "1e6",
    "-1",
    "0.0001",
    "9" * 400,
    "18446744073709551616",
    "1T",
    "nan",
    "1G",
)
SHARES = ("0", "0.3", "1", "1.5", "-0.1", "nan", "1e-9", "9" * 400, "1/2")


def places_in(directory: Path) -> tuple[str, ...]:
    """Paths of every kind; the FIFO has no writer, and the device no end."""
    (directory / "file").write_text("no results\n")
    (directory / "empty").mkdir()
    (directory / "foreign").mkdir()
    (directory / "foreign" / "file").write_text("\n")
    for name in ("fifo", "fifo.jsonl", "fifo.parquet"):
        os.mkfifo(directory / name)
    for name in ("zero.jsonl", "zero.parquet"):
        (directory / name).symlink_to("/dev/zero")
    (directory / "loop").symlink_to(directory / "loop")
    (directory / "dangling.jsonl").symlink_to(directory / "nothing")
    (directory / "directory.jsonl").mkdir()
    (directory / "damaged.jsonl").write_bytes(b"[" * 100_000)
    (directory / "damaged.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    # A recording, and what a recorder left that was killed.
    (directory / "recording.parquet").write_bytes(recording_files.original(directory)[1])
    (directory / "original.parquet").unlink()
    pages = [raw_pages.page(1000, *[raw_pages.event("mmap/exit_mmap", 10, 10)] * 5)]
    raw_pages.write_trace(directory / "raw", {0: pages}, {}, finished=False, until_ns=1035)
    names = sorted(path.name for path in directory.iterdir())
    odd = (
        "/dev/null",
        "/dev/full",
        "/dev/zero",
        "/proc/self/mem",
        "/",
        ".",
        "..",
        "nothing",
        "a/b/c",
        "\udcff",
    )
    return (*names, *odd, "x" * 300, "x/" * 3000, "a\0b", "file/x", "", MEGABYTE)


class _Caught(Exception):
    """Carries a parser out of a command that was about to use it."""


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command, taken from it as it begins to parse."""
    base = import_module("p2mperf.cli.options").Parser
    kept = base.parse_args
    caught: list[argparse.ArgumentParser] = []

    def take(self: Any, *_: Any, **__: Any) -> Any:
        caught.append(self)
        raise _Caught

    base.parse_args = take
    try:
        import_module(f"p2mperf.cli.{command.replace('-', '_')}").main([])
    except _Caught:
        pass
    finally:
        base.parse_args = kept
    return caught[0]


def known_names() -> dict[str, tuple[str, ...]]:
    """Good names for the options that take one."""
    designs = import_module("p2mperf.designs").registry()
    presets = import_module("p2mperf.guests.presets").PRESETS
    policies = import_module("p2mperf.populating.policies").POLICIES
    return {
        "design": tuple(designs),
        "guest": (*(name for name in presets if "32" in name), "pv-64-64m", "hap-pae-16m", "arm-0k"),
        "geometry": tuple(import_module("p2mperf.guests.geometries").geometries()),
        "plan": ("quick", "default", "life"),
        "stream": ("uniform", "zipf", "uniform:hole=0.5", "uniform:hole=nan", "uniform:", "zipf:identity=2"),
        "operation": ("latency", "set", "cow", "rebuild", "split", "populate"),
        "backing": ("kernel", "mixed", "small", "huge"),
        "kind": ("guests", "designs", "streams", "operations", "plans", "figures", "limits"),
        "shell": ("bash", "zsh", "tcsh"),
        "scenario": ("balloon", "save-restore", "passthrough", "all"),
        "what": ("info", "sample", "recover"),
        "file": ("recording.parquet", "raw"),
        "every": ("1", "2", "5"),
        "first": ("0", "1", "best"),
        "tracer": ("vlpt", "walk", "walk-direct"),
        "writer": ("sequential", "uniform", "hot"),
        "rule": ("legacy", "legacy-sent", "later"),
        "figure": ("cost", "limit-area", "arm-shift", "hap-survival"),
        "policy": tuple(policies),
        "condition": ("tight", "flushed", "cold"),
        "claim": ("leaf-reach", "example-frames", "fast-here"),
        "document": ("thread", "vlpt"),
        "verdict": ("reproduced", "not resolved"),
    }


def value(
    random: Random, action: argparse.Action, names: dict[str, tuple[str, ...]], places: tuple[str, ...]
) -> str:
    """A value for one option or argument: of its kind mostly, hostile mostly."""
    meaning = f"{action.dest} {action.metavar or ''}"
    if random.random() < 0.25:
        return random.choice(WORDS)
    if action.choices and random.random() < 0.7:
        return str(random.choice(list(action.choices)))
    if action.dest in names and random.random() < 0.7:
        return random.choice(names[action.dest])
    if "RATE" in meaning or "RATIO" in meaning:
        return random.choice(RATES)
    if "SHARE" in meaning:
        return random.choice(SHARES)
    if any(word in meaning for word in ("SIZE", "memory", "BYTES", "vmalloc", "limit")):
        return random.choice(SIZES)
    if any(word in meaning for word in ("DIR", "FILE", "results", "out")) or action.dest in ("a", "b"):
        return random.choice(places)
    return random.choice(random.choice((NUMBERS, WORDS, SIZES, places)))


def vector(seed: int, case: int, command: str, known: Any, places: tuple[str, ...]) -> list[str]:
    """The arguments of one case."""
    random = Random(f"{seed}/{command}/{case}")
    parser, names = known
    made: list[str] = []
    for action in parser._actions:
        wanted = action.required or random.random() < (0.25 if action.option_strings else 0.9)
        if isinstance(action, argparse._HelpAction):
            wanted = random.random() < 0.005
        if not wanted or (action.required and random.random() < 0.03):
            continue
        n_values = (
            0 if action.nargs == 0 else random.choice((1, 1, 1, 2)) if action.nargs in ("+", "*") else 1
        )
        values = [value(random, action, names, places) for _ in range(n_values)]
        if action.option_strings:
            option = random.choice(action.option_strings)
            made += [f"{option}={values[0]}"] if values and random.random() < 0.3 else [option, *values]
        else:
            made = made + values if random.random() < 0.5 else values + made
    if random.random() < 0.1:
        made.insert(random.randint(0, len(made)), random.choice(WORDS))
    return _harmless(random, command, made)


def _harmless(random: Random, command: str, made: list[str]) -> list[str]:
    """No sweep and no notebook that really begins, no proof that takes the machine, no command but these."""
    if command == "record":
        words = [word for word in made if word != "--"]
        chosen = random.choice(
            (("true",), ("false",), ("sh", "-c", ":"), ("sh", "-c", "kill -9 $$"), ("nope",), ())
        )
        return [*words, *(["--"] if random.random() < 0.95 else []), *chosen]
    if command == "sweep":
        made += (
            ["--dry-run"]
            if random.random() < 0.7
            else ["--out", random.choice(("file", "foreign", "/dev/null"))]
        )
        made = [word for word in made if word != "full"]
    if command == "report":
        made += [
            "--results",
            random.choice(("nothing", "file", "damaged.jsonl", "fifo.jsonl", "directory.jsonl")),
        ]
    if command == "kernel-build":
        is_dry = random.random() < 0.5 or any(word.startswith("--real-ab") for word in made)
        hostile = ["--replays", random.choice(("nothing", "file", "fifo", "damaged.jsonl", "/dev/null"))]
        made = [*(["--dry-run"] if is_dry else hostile), *made]
    if command == "replay":
        short = ["--processes", "1", "--phase", "10", "--guest-memory", "512M"]
        made += ["--dry-run"] if random.random() < 0.8 else short
    return [word for word in made if word != "--prove"]
