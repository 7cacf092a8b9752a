"""`life`: what the 2014 commit let happen to its domUs, step by step."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import Parser, add_repeated, make_parser
from p2mperf.cli.waiting import Waiting

if TYPE_CHECKING:
    import pandas as pd

    from p2mperf.designs.pv.scenarios import Step

_EPILOG = """\
scenarios:
  balloon       half of the memory down and up again, then more than there was at boot, up to the limit
  save-restore  read by the tools, saved, restored on other machine frames
  passthrough   3 to 4 GiB becomes identity for a device, the memory there moves behind the map

Each step is one that a p2m must do, or one that it must refuse. Exit code 1 when one of them went otherwise,
or when an audit did not hold.

examples:
  python -m p2mperf life
  python -m p2mperf life --guest domu-64-5000m --scenario balloon --design pv-linear
  python -m p2mperf life --guest pv-64-400g --scenario passthrough --limit 512G --json
"""
_GUESTS = ("domu-64-8g", "domu-32-8g")
_HEADS = (
    *("guest", "scenario", "design", "step", "frames", "pages", "mappings", "leaves", "mids", "ms"),
    *("outcome", "audit"),
)
_NOTE = (
    "leaves, mids: shared ones made private; times are single runs of this machine, not results: "
    "compare designs by `sweep`"
)


def main(argv: list[str]) -> int:
    """Run scenarios; their steps go to stdout, all talk to stderr; 1 when one went otherwise than it must."""
    arguments = command_parser().parse_args(argv)
    import pandas as pd

    from p2mperf.designs.pv.scenarios import Step

    tables: list[pd.DataFrame] = []
    try:
        tables.extend(_lives(arguments))
    finally:  # what was done before something went wrong is worth to be seen
        if tables and not arguments.json:
            rows = (row for table in tables for row in table.itertuples(index=False, name=None))
            show.write(show.text_table(_HEADS, (_cells(row[:3], Step(*row[3:])) for row in rows)))
    steps = pd.concat(tables)
    if arguments.json:
        show.frame_as_json(steps)
    else:
        show.write(_NOTE)
    wrong = steps[steps["done"] != steps["wanted"]]
    for step in wrong.itertuples():
        show.say(f"{step.guest}, {step.design}: {step.what}: wrongly {_outcome(bool(step.done))}")
    return int(not wrong.empty)


def _lives(arguments: Namespace) -> Iterator[pd.DataFrame]:
    """The steps of each guest, scenario and design; what is asked for is looked at first."""
    from p2mperf.api import life
    from p2mperf.designs import able, find
    from p2mperf.designs.pv.scenarios import NEEDS, SCENARIOS, check, unfit
    from p2mperf.guests.guest import Guest
    from p2mperf.study.narrow import parse_limit

    limit = parse_limit(arguments.limit)
    guests = [Guest.named(name) for name in arguments.guest or _GUESTS]
    scenarios = SCENARIOS if arguments.scenario == "all" else [arguments.scenario]
    designs = arguments.design or able(NEEDS, ["limit"])
    for scenario, design in product(scenarios, designs):
        check(scenario, find(design))
    for guest, scenario in product(guests, scenarios):
        # Of all scenarios, those that can happen to a guest do.
        if arguments.scenario == "all" and (reason := unfit(scenario, guest)):
            show.say(f"{scenario} is left out: {reason}")
            continue
        for design in designs:
            if not arguments.quiet:
                show.say(f"{guest.name}, {scenario}, {design}")
            with Waiting(f"{scenario} of {guest.name}", arguments.quiet):
                steps = life(guest, scenario, design, limit)
            yield steps


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser(
        "life", "Let something happen to guests, and audit their p2m after each step.", _EPILOG
    )
    add_repeated(parser, "--guest", f"as results call it; may be repeated; default: {', '.join(_GUESTS)}")
    parser.add_argument("--scenario", default="all", metavar="NAME", help="one of them, or all; default: all")
    add_repeated(parser, "--design", "may be repeated; default: all that are able, as pv-tree, pv-linear")
    parser.add_argument("--limit", default="16G", metavar="SIZE", help="memory up to which there may be; 16G")
    parser.add_argument("--json", action="store_true", help="the steps as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only the table")
    return parser


def _cells(names: tuple[str, ...], step: Step) -> tuple[object, ...]:
    return (
        *names,
        step.what,
        step.n_frames,
        f"{step.pages_before} -> {step.pages_after}",
        f"{step.mappings_before} -> {step.mappings_after}",
        step.n_leaves_broken,
        step.n_mids_broken,
        f"{step.elapsed_ns / 1e6:.2f}",
        _outcome(step.done),
        "holds",
    )


def _outcome(is_done: bool) -> str:
    return "done" if is_done else "refused"
