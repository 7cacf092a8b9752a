"""``python -m benchmarks [NAME ..|all] [--quick|--smoke] [--json]``: measure, and say what is kept."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from time import perf_counter

from benchmarks.effort import Effort
from benchmarks.report import Report
from benchmarks.twin_library import NoCompilerError

NAMES = (
    "twins",
    "entries",
    "replays",
    "take",
    "build",
    "memory",
    "startup",
    "life",
    "arm",
    "hap",
    "recording",
)


def main(argv: list[str]) -> int:
    """Run benchmarks; the last line says how many criteria hold.

    Parameters
    ----------
    argv : list of str
        Arguments after the program's name.

    Returns
    -------
    int
        0 when all criteria hold, else 1; 0 for what ran at all, of `--smoke`; 2 for bad arguments.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Keep the promises of speed.")
    choices = [*NAMES, "all", []]  # argparse checks the empty list of no names too
    parser.add_argument("names", nargs="*", choices=choices, metavar="NAME", help=", ".join(NAMES))
    less = parser.add_mutually_exclusive_group()
    less.add_argument("--quick", action="store_true", help="fewer rounds; the criteria stay the same")
    less.add_argument(
        "--smoke", action="store_true", help="a few seconds each, to see it run; judges nothing"
    )
    parser.add_argument("--json", action="store_true", help="reports as JSON")
    arguments = parser.parse_args(argv)
    wanted = [name for name in NAMES if not {"all", name}.isdisjoint(arguments.names or ["all"])]
    if arguments.smoke:
        return _smoke(wanted)
    effort = Effort.QUICK if arguments.quick else Effort.FULL
    reports = [_show(name, effort, arguments.json) for name in wanted]
    if arguments.json:
        print(json.dumps({name: r.plain() for name, r in zip(wanted, reports, strict=True)}, indent=2))
    criteria = [criterion for report in reports for criterion in report.criteria]
    n_kept = sum(criterion.holds for criterion in criteria)
    print(f"{n_kept} of {len(criteria)} criteria hold", file=sys.stderr if arguments.json else sys.stdout)
    return 0 if n_kept == len(criteria) else 1


def _smoke(names: list[str]) -> int:
    """Run each in its shortest form; whatever figures come out."""
    for name in names:
        start = perf_counter()
        try:
            import_module(f"benchmarks.{name}").run(Effort.SMOKE)
        except NoCompilerError as error:
            print(f"{name}: skipped, {error}", flush=True)
        else:
            print(f"{name}: ran in {perf_counter() - start:.1f} s; its figures are not judged", flush=True)
    return 0


def _show(name: str, effort: Effort, as_json: bool) -> Report:
    report: Report = import_module(f"benchmarks.{name}").run(effort)
    if not as_json:
        print(report.text(), flush=True)
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
