"""Fuzz of the command line: vectors made from each parser's own options, run as a user would run them.

    python tests/fuzz/cli.py [--seed 1] [--vectors 2000] [--seconds 20] [--command NAME] [--case N]

Each vector runs `p2mperf.cli.entry` in a child, as ``python -m p2mperf`` does, with a stdout and stderr that
are strict about what they can encode. Work that goes on after two seconds is interrupted, as Ctrl-C would.
Sizes are tiny or refused, and no sweep begins: it is shown dry, or its results directory is none.

What counts as a fault: a traceback; an exit code other than 0, 1, 2, 3, 4 and 130; codes 1, 2 and 4 without
one sentence as the last line on stderr, or with a sentence of several lines; an argument echoed beyond 200
characters; no end within 8 seconds; a signal.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from random import Random
from threading import Timer
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

from outcomes import Channel, Fault, Report, Work, print_report, run_cases, where_of

CODES = (0, 1, 2, 3, 4, 130)
SECONDS = 2.0
MOST_ECHOED = 200
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


def _places(directory: Path) -> tuple[str, ...]:
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
    kept, caught = base.parse_args, []

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
        "guest": tuple(name for name in presets if "32" in name),
        "geometry": tuple(import_module("p2mperf.guests.geometries").geometries()),
        "plan": ("quick", "default", "life"),
        "stream": ("uniform", "zipf", "uniform:hole=0.5", "uniform:hole=nan", "uniform:", "zipf:identity=2"),
        "operation": ("latency", "set", "cow", "rebuild", "split", "populate"),
        "backing": ("kernel", "mixed", "small", "huge"),
        "scenario": ("balloon", "save-restore", "passthrough", "all"),
        "tracer": ("vlpt", "walk", "walk-direct"),
        "writer": ("sequential", "uniform", "hot"),
        "rule": ("legacy", "legacy-sent", "later"),
        "figure": ("cost", "limit-area", "arm-shift", "hap-survival"),
        "policy": tuple(policies),
        "condition": ("tight", "flushed", "cold"),
    }


def value(random: Random, action: argparse.Action, names: dict[str, tuple[str, ...]], places: Any) -> str:
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
    return [word for word in made if word != "--prove"]


@contextmanager
def streams() -> Any:
    """Standard streams as a user has them, kept."""
    kept = sys.stdout, sys.stderr
    sys.stdout = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict", write_through=True)
    sys.stderr = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    try:
        yield sys.stdout, sys.stderr
    finally:
        sys.stdout, sys.stderr = kept


def judge(code: Any, said: str, argv: list[str]) -> str:
    """What is wrong with a code and what was said on stderr; "" if nothing is."""
    if code not in CODES:
        return f"exit code {code!r}"
    if "Traceback (most recent" in said:
        return "a traceback"
    for word in argv:
        text = word.rpartition("=")[2] if word.startswith("--") else word
        if len(text) > MOST_ECHOED and text[: MOST_ECHOED + 1] in said:
            return "an argument echoed whole"
    # `doctor` says what failed on stdout.
    if code in (1, 2, 4) and argv[0] != "doctor":
        last = said.rstrip("\n").rpartition("\n")[2]
        if not last.startswith("p2mperf: ") or len(last) < 15:
            return f"code {code} without a sentence in the last line: {last[:80]!r}"
        if len(said) > 2000:
            return f"{len(said)} characters on stderr"
    return ""


def run(argv: list[str], case: int, channel: Channel) -> None:
    """One vector."""
    text = "p2mperf " + " ".join(
        repr(word) if len(word) < 100 else f"{word[:3]!r}*{len(word)}" for word in argv
    )
    channel.doing(case, text)

    def end(_: Any) -> None:
        """What `Waiting` does when compiled code does not hear of Ctrl-C: the child ends, and says so."""
        channel.count("code 130")
        channel.end_of_case()
        os._exit(0)

    import_module("p2mperf.cli.waiting").Waiting._end = end
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As a terminal sends it: compiled code, which runs no handler of Python, may be at work.
    press = Timer(SECONDS, os.kill, (os.getpid(), signal.SIGINT))
    press.start()
    where, code = "", None
    with streams() as (_, stderr):
        sys.argv = ["p2mperf", *argv]
        try:
            import_module("p2mperf.cli").entry()
            code = 0
        except SystemExit as error:
            code = 0 if error.code is None else error.code
        except BaseException as error:
            where = where_of(error)
            code = type(error).__name__
            stderr.write("".join(traceback.format_exception(error)[-1:]))
        press.cancel()
        said = stderr.buffer.getvalue().decode(errors="replace")
    if where:
        channel.fault(Fault(str(code), where, said[-200:], case, text))
    elif wrong := judge(code, said, argv):
        channel.fault(Fault("message", argv[0], wrong, case, f"{text}: {said[-150:]!r}"))
    else:
        channel.count(f"code {code}")


def row(command: str, n_vectors: int | None = None, outcomes: Counter[str] | None = None) -> str:
    """A line of the table of vectors and exit codes; without numbers, its head."""
    if outcomes is None:
        return f"{command:14}{'vectors':>8}" + "".join(f"{f'code {code}':>9}" for code in CODES) + "   faults"
    codes = [outcomes[f"code {code}"] for code in CODES]
    n_faults = outcomes.total() - sum(codes)
    return f"{command:14}{n_vectors:8}" + "".join(f"{n:9}" for n in codes) + f"{n_faults:9}"


def main() -> int:
    """Fuzz, report, and fail when anything was found."""
    commands = list(import_module("p2mperf.cli").COMMANDS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vectors", type=int, default=2000, help="for each command")
    parser.add_argument("--seconds", type=float, default=1e6, help="for all commands together")
    parser.add_argument("--command", choices=commands, action="append")
    parser.add_argument("--case", type=int, help="only this vector")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in (
        "api",
        "designs.pv.tree",
        "designs.arm.vlpt",
        "designs.hap.linear",
        "figures",
        "figures.lookups.cost",
        "results.export",
        "analysis.compare",
    ):
        import_module(f"p2mperf.{name}")
    # A child runs many vectors: an import that one interrupts would fail in the next, as in no real process.
    for name in ("matplotlib.pyplot", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg"):
        import_module(name)
    chosen, report, rows = arguments.command or commands, Report(), [row("command")]
    names = known_names()
    with tempfile.TemporaryDirectory() as directory:
        places = _places(Path(directory))
        os.chdir(directory)
        for command in chosen:
            known = parser_of(command), names

            def one(case: int, channel: Channel, command: str = command, known: Any = known) -> None:
                run([command, *vector(arguments.seed, case, command, known, places)], case, channel)

            first = arguments.case or 0
            n_cases = 1 if arguments.case is not None else arguments.vectors
            n_before, before = report.n_cases, report.outcomes.copy()
            run_cases(Work(one, SECONDS + 6), first, n_cases, report, arguments.seconds / len(chosen))
            rows.append(row(command, report.n_cases - n_before, report.outcomes - before))
        os.chdir("/")
    sys.stdout.write("\n".join(rows) + "\n")
    print_report(report, "python tests/fuzz/cli.py --command NAME", arguments.seed)
    return int(bool(report.faults))


if __name__ == "__main__":
    sys.exit(main())
