"""`replay`: what a recorded build asks of a p2m, replayed through designs, and what one costs more."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

from p2mperf.cli import show
from p2mperf.cli.options import Parser, add_repeated, make_parser, require_source
from p2mperf.progress import Line
from p2mperf.shipped import RECORDINGS
from p2mperf.units import format_size

if TYPE_CHECKING:
    from p2mperf.study.replay_plan import ReplayPlan
    from p2mperf.workload.replays import Replays

_EPILOG = """\
conditions:
  tight    entry after entry into the kernel at once: a lower bound, never what a kernel pays
  flushed  the TLB is flushed before each, as Xen does when a 64-bit PV guest enters its kernel
  cold     flushed, and other work is done for as long as was recorded in between: the estimate

Each process is fresh, with a layout of its own, and replays another part of the recording; designs take turns
of --phase entries, and the m2p stands on 2 MiB pages, as Xen maps it. All designs stand on 4 KiB pages, as
under Xen, unless their names say otherwise; the others are compared with the last one that is named. The
control is the first design, built twice. --interference also times other work that comes after the lookups.

examples:
  python -m p2mperf replay shipped-tinyconfig
  python -m p2mperf replay build.parquet --condition cold --guest-memory 8G --processes 12 --out build.json
  python -m p2mperf replay build.parquet --design pv-tree --design pv-tree-2m --phase 20000
  python -m p2mperf replay build.parquet --one-design-a-process --interference
"""

_HEADS = (
    "condition",
    "guest",
    "entries",
    "design / reference",
    "ns an entry",
    "ratio",
    "delta an entry [ns]",
    "delta a p2m",
    "control [ns]",
    "verdict",
)
_VICTIM_HEADS = (
    "victim",
    "guest",
    "work",
    "lines read",
    "design / reference",
    "takes [ns]",
    "bound [ns]",
    "longer [ns]",
    "lines",
    "pages",
)


def main(argv: list[str]) -> int:
    """Show on stdout what each design costs more; 4 when no guest fits this machine."""
    arguments = command_parser().parse_args(argv)
    require_source(arguments.file, RECORDINGS)
    from p2mperf.study.replay import recorded, replay_source
    from p2mperf.study.replay_plan import plan_replay

    plan = plan_replay(
        arguments.guest_memory,
        arguments.design,
        arguments.condition,
        n_processes=arguments.processes,
        phase_entries=arguments.phase,
        work=arguments.work or 0,
        thp=arguments.thp,
        alone=arguments.one_design_a_process,
        interference=arguments.interference,
        seed=arguments.seed,
    )
    if arguments.dry_run:
        recorded(arguments.file)
        if arguments.json:
            show.data({**asdict(plan), "guests": [spec.name for spec in plan.guests]})
        else:
            show.write(_plan_text(plan))
        return 0
    with Line(arguments.quiet) as line:
        found = replay_source(arguments.file, plan, line.progress, arguments.out)
    if arguments.json:
        show.data(found.to_json())
    else:
        show.write(as_text(found, arguments.classes))
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser(
        "replay",
        "Replay a recorded build's lookups through PV designs, and say what each costs more, entry by entry.",
        _EPILOG,
    )
    parser.add_argument("file", metavar="FILE", help="a recording, or shipped-tinyconfig, shipped-defconfig")
    add_repeated(parser, "--guest-memory", "memory of the guest; default: 8G and 128G", "SIZE")
    add_repeated(parser, "--condition", "tight, flushed or cold; default: all")
    add_repeated(parser, "--design", "a PV design; default: pv-tree and pv-linear")
    thp = parser.add_mutually_exclusive_group()
    thp.add_argument(
        "--thp", action="store_true", default=True, help="a kernel with huge pages configured (default)"
    )
    thp.add_argument("--no-thp", dest="thp", action="store_false", help="a kernel without")
    parser.add_argument(
        "--processes",
        type=int,
        default=6,
        metavar="N",
        help="replicates of a guest (a fresh process each); default: 6",
    )
    parser.add_argument(
        "--phase", type=int, default=8192, metavar="N", help="entries in a row; default: 8192"
    )
    parser.add_argument(
        "--work", metavar="SIZE", help="memory of other work; default: by this machine's caches"
    )
    parser.add_argument(
        "--one-design-a-process", action="store_true", help="each design has processes to itself"
    )
    parser.add_argument(
        "--interference", action="store_true", help="time other work that comes after lookups too"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the first process; default: 1")
    parser.add_argument("--classes", action="store_true", help="a row for each class of entries as well")
    parser.add_argument("--out", metavar="FILE", help="keep what is whole here, as JSON, process by process")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return parser


def _plan_text(plan: ReplayPlan) -> str:
    guests = ", ".join(spec.name for spec in plan.guests)
    return (
        f"{', '.join(plan.designs)} of {guests}: {', '.join(plan.conditions)}; {plan.n_processes} processes "
        f"a guest{' and design' * plan.alone}, phases of {plan.phase_entries} entries"
        f"{', and interference' * plan.interference}"
    )


def as_text(replays: Replays, classes: bool = False) -> str:
    """Lay out what replays show.

    Parameters
    ----------
    replays : Replays
        What was found.
    classes : bool
        Whether to have a row for each class of entries.

    Returns
    -------
    str
        Tables, and what to know of them.
    """
    from p2mperf.analysis.kernel_build.replays import ALL, deltas, interference
    from p2mperf.analysis.verdicts import notes_on

    table = deltas(replays)
    shown = table if classes else table[table["class"] == ALL]
    heads = [head for head in _HEADS if classes or head != "entries"]
    lines = [show.text_table(heads, map(_row(classes), shown.to_dict("records")))]
    cold = next((one for one in replays.replays if one.condition == "cold"), None)
    if cold is not None:
        lines.append(
            f"cold: other work in {format_size(cold.work_bytes)}, {cold.touches_per_us:.0f} lines for each "
            "microsecond that was recorded between entries; it is the estimate, tight a lower bound"
        )
    processes = [process for one in replays.replays for process in one.processes]
    if n_left_out := sum(process.n_left_out for process in processes):
        n_timed = sum(sum(cost.n_entries) for process in processes for cost in process.classes.values())
        lines.append(f"{n_left_out} of {n_timed + n_left_out} entries were interrupted, and are in no mean")
    lines += notes_on(shown["verdict"], shown["marks"])
    victims = interference(replays)
    if len(victims):
        lines += ["", show.text_table(_VICTIM_HEADS, map(_victim_row, victims.to_dict("records")))]
        lines.append("what other work takes longer after an entry; the bound is the same design, built twice")
    return "\n".join(lines)


def _row(classes: bool) -> Callable[[dict[Hashable, Any]], list[str]]:
    def cells(row: dict[Hashable, Any]) -> list[str]:
        per_p2m = row["middle_ns"] * row["n_entries"] / max(1, row["n_p2m"])
        alone = ", alone" if row["alone"] else ""
        return [
            row["condition"] + alone,
            row["guest"],
            *([row["class"].lower().replace("_", " ")] if classes else []),
            f"{row['design']} / {row['reference']}",
            f"{row['design_ns']:.1f} / {row['reference_ns']:.1f}",
            f"{row['ratio']:.3f}" if isfinite(row["ratio"]) else "-",
            _interval(row, ""),
            f"{per_p2m:.2f}",
            _interval(row, "control_"),
            row["verdict"] + f" ({row['marks']})" * bool(row["marks"]),
        ]

    return cells


def _victim_row(row: dict[Hashable, Any]) -> list[str]:
    return [
        row["victim"],
        row["guest"],
        format_size(row["work_bytes"]),
        str(row["n_touches"]),
        f"{row['design']} / {row['reference']}",
        f"{row['victim_ns']:.0f}",
        _interval(row, "control_"),
        _interval(row, ""),
        f"{row['lines_per_entry']:+.1f}",
        f"{row['pages_per_entry']:+.1f}",
    ]


def _interval(row: dict[Hashable, Any], prefix: str) -> str:
    middle, low, high = (row[f"{prefix}{end}_ns"] for end in ("middle", "low", "high"))
    ends = f" [{low:.1f}, {high:.1f}]" if isfinite(low) else ""
    return f"{middle:.1f}{ends}"
