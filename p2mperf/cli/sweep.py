"""`sweep`: measure every design over a grid of guests, streams and operations."""

from __future__ import annotations

import signal
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.list import PLANS_SAID
from p2mperf.cli.next_steps import next_steps
from p2mperf.cli.options import Parser, add_repeated, make_parser
from p2mperf.units import format_ns, format_size, readable_size

if TYPE_CHECKING:
    import pandas as pd

    from p2mperf.analysis.summary import Pair
    from p2mperf.study.executors.base import Capacity
    from p2mperf.study.jobs import Job, Misfit
    from p2mperf.study.plans import Plan

_EPILOG = """\
plans:
{plans}

{operations}

backings: on which pages tables and windows stand. kernel is what each family's system has: 4 KiB pages
throughout for PV, 2 MiB pages for tables and 4 KiB pages for windows on ARM and HAP. mixed is tables on 2
MiB and windows on 4 KiB pages, small all on 4 KiB, huge all on 2 MiB, swapped tables on 4 KiB and windows on
2 MiB. What equals a family's kernel (small of PV, mixed of ARM and HAP) is measured once, and called kernel.

Names of guests, designs, streams and operations are listed by `python -m p2mperf list`. How long a plan
takes here is told by --dry-run. Every finished cell is on disk at once. After Ctrl-C, or worse, the
same command goes on where it was.

examples:
  python -m p2mperf sweep --plan quick
  python -m p2mperf sweep --size 512M --size 43G --entry-bits 32 --stream uniform --operation latency
  python -m p2mperf sweep --guest dom0-64-e820 --stream uniform:hole=0.5,pattern=runs --backing huge
  python -m p2mperf sweep --size 8G --operation entry --preamble flush+8M --preamble tight
  python -m p2mperf sweep --plan full --dry-run
  python -m p2mperf sweep --plan life --size 8G
  python -m p2mperf sweep --size 8G --stream uniform --operation set --operation cow --limit 512G
  python -m p2mperf sweep --size 1G --design hap-walk --design hap-linear --geometry hap64 --geometry hap-pae
"""

_ONE_OF_THEM = {
    "lookup": "a lookup; all plans measure these",
    "entry": "the lookups of a kernel entry, after --preamble",
    "frame": "a frame",
    "leaf": "a shared leaf made private, or a superpage's memory",
    "table": "a whole table",
}


def main(argv: list[str]) -> int:
    """Run a plan; the table goes to stdout, all talk to stderr; 130 when interrupted."""
    arguments = command_parser().parse_args(argv)
    from p2mperf.errors import CellsFailedError
    from p2mperf.results.claim import is_ours
    from p2mperf.study.knees import measured_knees
    from p2mperf.study.narrow import narrow
    from p2mperf.study.plans import make_plan, wants_knees
    from p2mperf.study.sweep import sweep

    signal.signal(signal.SIGTERM, _interrupt)
    line = show.Line(quiet=arguments.quiet)
    will_write = not arguments.dry_run
    knees = measured_knees(arguments.out, will_write=will_write) if wants_knees(arguments.plan) else None
    plan = make_plan(arguments.plan, knees.sizes_bytes if knees else ())
    plan = narrow(
        plan,
        guests=arguments.guest,
        sizes=arguments.size,
        entry_bits=arguments.entry_bits,
        geometries=arguments.geometry,
        designs=arguments.design,
        streams=arguments.stream,
        operations=arguments.operation,
        backings=arguments.backing,
        n_replicates=arguments.replicates,
        control=arguments.control,
        limit=arguments.limit,
        preambles=arguments.preamble,
    )
    if arguments.dry_run:
        is_ours(Path(arguments.out))
        return _show_plan(plan, arguments)
    try:
        with line:
            path = sweep(plan, arguments.out, arguments.fresh, line.progress, knees, will_export=True)
    except KeyboardInterrupt:
        show.say("interrupted; every finished cell is kept: the same command goes on")
        return 130
    except CellsFailedError as error:
        _report(error.journal, arguments)
        raise
    _report(path, arguments)
    return 0


def _operations() -> str:
    """All operations, by what one of them is."""
    from p2mperf.measure.operations.registry import operations

    groups = []
    for per, what in _ONE_OF_THEM.items():
        *names, last = [name for name, spec in operations().items() if spec.per == per]
        groups.append(f"{', '.join(names)} and {last} ({what})" if names else f"{last} ({what})")
    return f"operations: {', '.join(groups)}."


def command_parser() -> Parser:
    """Make the parser of this command."""
    from p2mperf.designs.backing import NAMES as BACKING_NAMES
    from p2mperf.families import preambles
    from p2mperf.streams import STREAMS
    from p2mperf.study.plans import PLANS

    parser = make_parser(
        "sweep",
        "Measure every design over a grid of guests, streams and operations.",
        _EPILOG.format(
            plans="\n".join(f"  {name:9}{said}" for name, said in PLANS_SAID.items()),
            operations=_operations(),
        ),
    )
    parser.add_argument("--plan", default="default", metavar="NAME", help=", ".join(PLANS))
    add_repeated(parser, "--guest", "only this guest: a preset, or pv-64-8g; may be repeated")
    add_repeated(parser, "--size", "only a guest of this size; may be repeated", metavar="SIZE")
    parser.add_argument("--entry-bits", type=int, choices=(32, 64), help="only guests of this width")
    add_repeated(parser, "--geometry", "only guests of this table format, as hap-pae; may be repeated")
    add_repeated(parser, "--design", "only this design; may be repeated")
    add_repeated(
        parser,
        "--stream",
        f"only this stream: {', '.join(STREAMS)}; uniform:hole=0.5,pattern=runs; may be repeated",
    )
    add_repeated(parser, "--operation", "only this operation, see below; may be repeated")
    add_repeated(
        parser, "--preamble", f"before each entry, only this: {', '.join(preambles())}; may be repeated"
    )
    parser.add_argument(
        "--limit",
        metavar="SIZE",
        help="memory that may be hot-plugged later, as 512G: tables have room for it",
    )
    add_repeated(parser, "--backing", f"page sizes, see below: {', '.join(BACKING_NAMES)}; may be repeated")
    parser.add_argument("--replicates", type=int, metavar="N", help="fresh processes for each point")
    parser.add_argument(
        "--control", action="store_true", default=None, help="time a design against itself as well"
    )
    parser.add_argument("--out", default="results", metavar="DIR", help="results directory (results)")
    parser.add_argument("--fresh", action="store_true", help="begin anew instead of resuming")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show what would be measured, what it needs and how long it takes",
    )
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only the table")
    return parser


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _show_plan(plan: Plan, arguments: Namespace) -> int:
    from p2mperf.study.executors.local import LocalExecutor
    from p2mperf.study.jobs import jobs
    from p2mperf.study.specs import left_out

    for reason in left_out(plan.designs):
        show.say(f"{reason}: left out")
    work, capacity = list(jobs(plan)), LocalExecutor().capacity()
    if arguments.json:
        show.data([_plain(job, plan, capacity) for job in work])
    else:
        _tell_plan(plan, work, capacity)
    return 0


def _plain(job: Job, plan: Plan, capacity: Capacity) -> dict[str, object]:
    """A unit of a plan, as JSON tells it."""
    from p2mperf.study.estimate import estimate
    from p2mperf.study.jobs import fit

    return {
        **job.to_json(),
        "designs": job.unit.designs,
        "cells": [job.cell_json(cell) for cell in job.cells],
        "need_bytes": job.need_bytes,
        "need_maps": job.need_maps,
        "fits": fit(job, capacity) is None,
        "estimated_ns": estimate([job], plan.settings).total_ns,
    }


def _tell_plan(plan: Plan, work: list[Job], capacity: Capacity) -> None:
    """Say in a table what would be measured, what it needs, and how long it would take."""
    from p2mperf.study.jobs import fit

    n_cells = sum(len(job.cells) for job in work)
    show.write(
        f"plan {plan.name}: {n_cells} cells in {len(work)} units, {plan.n_replicates} replicates of each of"
    )
    rows = []
    for job in work:
        if job.unit.replicate == 0:
            misfit = fit(job, capacity)
            fits = f"no: {_lack(misfit)}" if misfit else "yes"
            need = readable_size(job.need_bytes)
            rows.append((job.unit.guest.name, job.unit.backing, len(job.cells), need, fits))
    show.write(show.text_table(("guest", "backing", "cells", "needs", "fits"), rows))
    if told := _duration([job for job in work if not fit(job, capacity)], plan):
        show.write(told)


def _duration(work: list[Job], plan: Plan) -> str:
    """A line on how long all that fits is going to take."""
    from p2mperf.study.estimate import LADDER_NS, estimate

    found, ladder_ns = estimate(work, plan.settings), LADDER_NS if plan.has_ladder else 0
    parts = {
        f"{len(work)} processes": found.process_ns,
        "building": found.build_ns,
        "cells": found.cells_ns,
        "the machine's ladder": ladder_ns,
    }
    told = ", ".join(f"{what} {_time(taken_ns)}" for what, taken_ns in parts.items() if taken_ns)
    return f"about {_time(found.total_ns + ladder_ns)}: {told}" if work else ""


def _time(duration_ns: int) -> str:
    """As people say how long they wait."""
    seconds = duration_ns / 1e9
    for unit, unit_s in (("s", 1), ("min", 60)):
        if seconds < 90 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"


def _lack(misfit: Misfit) -> str:
    have_bytes = misfit.have_bytes
    return misfit.said if have_bytes is None else f"{format_size(have_bytes)} available"


def _report(path: Path, arguments: Namespace) -> None:
    from p2mperf.analysis.samples import unrest_of
    from p2mperf.api import summary
    from p2mperf.results.export import export, load

    frame = load(path)
    table, caveat = summary(frame), show.unrest_line(unrest_of(frame))
    if arguments.json:
        show.frame_as_json(table)
        if caveat and not arguments.quiet:
            show.say(caveat)
    else:
        show.write("\n".join([as_text(table), *([caveat] * bool(caveat))]))
    files = export(path, path.parent)
    if not arguments.quiet:
        names = ", ".join(file.name for file in [path, *files])
        show.say(f"in {path.parent}: {names}")
        show.say("what to do with them:")
        for command, what in next_steps(path.parent).items():
            show.note(f"  {command}\n      {what}")


def as_text(table: pd.DataFrame) -> str:
    """Lay the table of ratios out for a person.

    Parameters
    ----------
    table : pandas.DataFrame
        From `p2mperf.summary`.

    Returns
    -------
    str
        A table for each pair of designs, a row for each cell.
    """
    from p2mperf.analysis.samples import operation_label
    from p2mperf.analysis.summary import intervals_of, pairs_of
    from p2mperf.analysis.verdicts import notes_on, rules_of

    backings, blocks = set(table["backing"]), []
    for (_, design, reference), part in table.groupby(["family", "design", "reference"], sort=False):
        ordered = part.sort_values(["operation", "preamble", "stream_label", "entry_bits", "guest_bytes"])
        cells = ordered[["guest", "backing", "operation", "preamble"]].itertuples(index=False, name=None)
        rows = [
            {
                "guest": guest,
                "backing": backing,
                "stream": pair.stream_label,
                "operation": operation_label(*what),
                str(reference): _whole(format_ns(pair.reference_ns)),
                str(design): _whole(format_ns(pair.cost_ns)),
                "ratio": _ratio(pair),
                "verdict": f"{pair.finding}: {show.reason_in_short(pair.reason)}",
            }
            for (guest, backing, *what), pair in zip(cells, pairs_of(ordered), strict=True)
        ]
        heads = [name for name in rows[0] if name != "backing" or len(backings) > 1]
        text = show.text_table(heads, [[row[name] for name in heads] for row in rows])
        blocks.append(f"{design} / {reference} [{intervals_of(part)}]\n{text}")
    if not blocks:
        return "no cell has two designs to compare"
    notes = [f"all on page backing {backing}" for backing in backings if len(backings) == 1]
    notes.append("ratios are of paired rounds, not quotients of the costs")
    notes += [*rules_of(table["verdict"]), *notes_on(table["verdict"], table["marks"])]
    return "\n\n".join([*blocks, "\n".join(notes)])


def _ratio(pair: Pair) -> str:
    ends = f" [{pair.low:.3f}, {pair.high:.3f}]" if pair.level else ""
    return f"{pair.ratio:.3f} {_whole(ends.strip())}".rstrip()


def _whole(text: str) -> str:
    """What no table breaks."""
    return text.replace(" ", show.NO_BREAK)
