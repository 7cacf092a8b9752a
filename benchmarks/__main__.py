"""``python -m benchmarks [NAME ..|all] [--quick] [--json]``: measure, and say what promises are kept."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module

from benchmarks.report import Report

NAMES = ("twins", "take", "build", "memory", "startup", "life", "arm")


def main(argv: list[str]) -> int:
    """Run benchmarks; the last line says how many criteria hold.

    Parameters
    ----------
    argv : list of str
        Arguments after the program's name.

    Returns
    -------
    int
        0 when all criteria hold, else 1; 2 for bad arguments.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Keep the promises of speed.")
    choices = [*NAMES, "all", []]  # argparse checks the empty list of no names too
    parser.add_argument("names", nargs="*", choices=choices, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="fewer rounds; the criteria stay the same")
    parser.add_argument("--json", action="store_true", help="reports as JSON")
    arguments = parser.parse_args(argv)
    wanted = [name for name in NAMES if not {"all", name}.isdisjoint(arguments.names or ["all"])]
    reports = [_show(name, arguments.quick, arguments.json) for name in wanted]
    if arguments.json:
        print(json.dumps({name: r.plain() for name, r in zip(wanted, reports, strict=True)}, indent=2))
    criteria = [criterion for report in reports for criterion in report.criteria]
    n_kept = sum(criterion.holds for criterion in criteria)
    print(f"{n_kept} of {len(criteria)} criteria hold", file=sys.stderr if arguments.json else sys.stdout)
    return 0 if n_kept == len(criteria) else 1


def _show(name: str, quick: bool, as_json: bool) -> Report:
    report: Report = import_module(f"benchmarks.{name}").run(quick)
    if not as_json:
        print(report.text(), flush=True)
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
