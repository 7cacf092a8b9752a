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
from threading import Timer
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parents[2]))

from outcomes import Channel, Fault, Report, Work, print_report, run_cases, where_of
from vectors import known_names, parser_of, places_in, vector

CODES = (0, 1, 2, 3, 4, 130)
SECONDS = 2.0
MOST_ECHOED = 200


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
    where = ""
    code: int | str | None = None
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
        places = places_in(Path(directory))
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
