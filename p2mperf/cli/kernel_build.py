"""`kernel-build`: whether the p2m explains the seconds of the 2014 commit's kernel build."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import Parser, make_parser, require_source
from p2mperf.errors import BadInputError, shown
from p2mperf.model.published_build import PUBLISHED_TIMES, SYSTEM, as_clock
from p2mperf.shipped import RECORDINGS

if TYPE_CHECKING:
    from p2mperf.analysis.kernel_build.prediction import KernelBuild
    from p2mperf.analysis.kernel_build.real_ab import RealRun, RealTime
    from p2mperf.study.real_ab import Plan

_SHIPPED = ("shipped-defconfig", "shipped-tinyconfig")

_EPILOG = """\
Without FILE both recordings that come with p2mperf are taken. What their entries cost is measured here and
now, which takes about a minute for each, unless replays are named: --replays those of `p2mperf replay --out`,
--shipped those that come with p2mperf. What a page fault costs more with the tree, all entries that come with
it included, is taken by two roads: replayed cold on this host, and by counts times the latencies of the
commit's laptop. Each number says whether it is published, measured, modelled or counted.

With --real-ab a COMMAND is really run, in two environments, each first as often as last: A B, B A, B A, A B.
An environment is what is written before a shell (ssh HOST, chroot DIR, env NAME=VALUE); the shell reads what
to do from its standard input, and tells the command's own CPU time. ssh must need no password. COMMAND is
several words, or one line of shell; --prepare is run before it and not timed. With --out each run is kept,
and the same call goes on. By published noise {n_pairs} pairs show {change_s:.0f} s of system time, and
{n_half} pairs show half of that.

examples:
  python -m p2mperf kernel-build --shipped
  python -m p2mperf kernel-build build.parquet --guest-memory 128G
  python -m p2mperf kernel-build build.parquet --replays replays.json --faults 150000000 --json
  python -m p2mperf kernel-build --real-ab --a 'ssh dom0-tree' --b 'ssh dom0-list' --pairs 9 \\
      --directory linux --prepare 'make clean' --out pairs.jsonl -- make -j4 vmlinux
"""
# From so many seconds on times are written as the commit has them.
_CLOCK_SECONDS = 60


def main(argv: list[str]) -> int:
    """Show what was predicted, or what was really measured, on stdout."""
    at = argv.index("--") if "--" in argv else len(argv)
    parser = command_parser()
    arguments, command = parser.parse_args(argv[:at]), argv[at + 1 :]
    _refuse_mixture(arguments, at < len(argv))
    for name in arguments.files:
        require_source(name, RECORDINGS)
    if arguments.real_ab:
        return _real_ab(arguments, command)
    if arguments.dry_run:
        return _what_would_be_done(arguments)
    found: list[KernelBuild] = []
    for build in _builds(arguments):
        if not arguments.json:
            show.write(("\n\n" if found else "") + _as_text(build))
        found.append(build)
    if arguments.json:
        from p2mperf.analysis.kernel_build.words import sentence

        show.data({"builds": [{**build.to_dict(), "sentence": sentence(build)} for build in found]})
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser(
        "kernel-build",
        "Predict the kernel build of the 2014 commit, tree -> list, from what a recorded build asks.",
        _EPILOG.format(
            n_pairs=SYSTEM.pairs_for(SYSTEM.change_s),
            change_s=-SYSTEM.change_s,
            n_half=SYSTEM.pairs_for(SYSTEM.change_s / 2),
        ),
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="recordings; default: those that are shipped"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--replays", metavar="FILE", help="of `replay --out`, instead of measuring now")
    source.add_argument("--shipped", action="store_true", help="replays that come with p2mperf")
    parser.add_argument(
        "--guest-memory", metavar="SIZE", help="of the guest that the estimate is of; default: 8G"
    )
    thp = parser.add_mutually_exclusive_group()
    thp.add_argument(
        "--thp", action="store_true", default=None, help="CONFIG_TRANSPARENT_HUGEPAGE=y; the default"
    )
    thp.add_argument("--no-thp", action="store_false", dest="thp", help="a kernel without it")
    parser.add_argument("--faults", metavar="N", help="page faults of the commit's build, if they are known")
    parser.add_argument(
        "--interference", action="store_true", help="measure what entries do to user code too: minutes more"
    )
    parser.add_argument("--json", action="store_true", help="print JSON: all numbers with their origin")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    real = parser.add_argument_group("two real kernels")
    real.add_argument("--real-ab", action="store_true", help="run the command after -- in two environments")
    real.add_argument("--a", metavar="PREFIX", help="before the shell of environment a; default: nothing")
    real.add_argument("--b", metavar="PREFIX", help="and of environment b")
    real.add_argument(
        "--pairs", type=int, metavar="N", help="pairs of runs; default: 6, the fewest for 95 %%"
    )
    real.add_argument("--prepare", metavar="LINE", help="line of shell before each run, not timed")
    real.add_argument("--directory", metavar="DIR", help="where both run it; default: where they begin")
    real.add_argument("--out", metavar="FILE", help="journal of the runs, which a later call goes on with")
    return parser


_OF_REAL = ("a", "b", "pairs", "prepare", "directory", "out")
_OF_PREDICTION = ("files", "replays", "shipped", "guest_memory", "thp", "faults", "interference")


def _refuse_mixture(arguments: Namespace, has_command: bool) -> None:
    """Refuse options of the other kind: nobody should wait for runs that they did not ask for."""
    names = _OF_PREDICTION if arguments.real_ab else _OF_REAL
    given = [name for name in names if getattr(arguments, name) not in (None, False, [])]
    if arguments.thp is False and arguments.real_ab:
        given.append("no-thp")
    if given:
        what = "FILE" if given[0] == "files" else f"--{given[0].replace('_', '-')}"
        with_it = "goes not with --real-ab" if arguments.real_ab else "goes with --real-ab only"
        raise BadInputError(f"kernel-build: {what} {with_it}")
    if has_command and not arguments.real_ab:
        raise BadInputError("kernel-build: a command after -- goes with --real-ab only")


def _builds(arguments: Namespace) -> Iterator[KernelBuild]:
    from p2mperf.study.kernel_builds import SHIPPED_REPLAYS, kernel_build_of, read_given, require_options

    options = require_options(arguments.guest_memory, arguments.thp, _faults(arguments.faults))
    replays = read_given(SHIPPED_REPLAYS if arguments.shipped else arguments.replays)
    for source in arguments.files or _SHIPPED:
        with show.Line(arguments.quiet) as line:  # each tells of its own time
            build = kernel_build_of(
                source, replays, options, line.progress, interference=arguments.interference
            )
        yield build


def _faults(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise BadInputError(f"--faults takes a number, as 182000000, not {shown(text)}") from None


def _what_would_be_done(arguments: Namespace) -> int:
    from p2mperf.study.kernel_builds import require_options

    options = require_options(arguments.guest_memory, arguments.thp, _faults(arguments.faults))
    if arguments.json:
        show.data(
            {
                "recordings": arguments.files or list(_SHIPPED),
                "replays": "shipped" if arguments.shipped else arguments.replays,
                "guest_memory": options.guest_memory,
            }
        )
        return 0
    if arguments.shipped or arguments.replays:
        measured = f"replays: {'as shipped' if arguments.shipped else shown(arguments.replays)}"
    else:
        measured = f"replays: measured now, at {options.guest_memory}, a minute or so for each recording"
    sources = [shown(source) for source in arguments.files] or list(_SHIPPED)
    show.write("\n".join(["recordings: " + ", ".join(sources), measured]))
    return 0


def _as_text(found: KernelBuild) -> str:
    from p2mperf.analysis.kernel_build import words

    counts = found.counts
    thp = "with" if counts.thp else "without"
    bound = found.faults_by_user_time.high / 1e6
    return "\n".join(
        [
            f"{counts.name}: {counts.n_faults} page faults"
            + (" (of which a sample is kept)" if counts.of_whole else "")
            + f", {counts.p2m_per_fault:.1f} lookups of the p2m and {counts.m2p_per_fault:.1f} of the m2p for"
            f" each, {thp} CONFIG_TRANSPARENT_HUGEPAGE ({counts.p2m_per_fault_other_thp:.1f} of the p2m"
            " otherwise)",
            f"the commit's build: {found.faults.middle / 1e6:.0f} million faults ({found.faults.origin}:"
            f" {found.faults.source}); by user time at most {bound:.0f}",
            "",
            show.text_table(words.TABLE_HEADS, words.table_rows(found)),
            "",
            show.text_table(words.DELTA_HEADS, words.delta_rows(found)),
            "",
            show.text_table(words.BUDGET_HEADS, words.budget_rows(found)),
            "",
            show.text_table(words.SWING_HEADS, words.swing_rows(found)),
            "",
            show.text_table(words.NEEDED_HEADS, words.needed_rows(found)),
            "",
            found.verdict.sentence,
            *(f"note: {note}" for note in found.notes),
        ]
    )


def _real_ab(arguments: Namespace, command: Sequence[str]) -> int:
    from p2mperf.analysis.kernel_build.real_ab import compare_runs
    from p2mperf.study.real_ab import make_plan, run_pairs

    plan = make_plan(
        command,
        arguments.a or "",
        arguments.b or "",
        6 if arguments.pairs is None else arguments.pairs,
        arguments.prepare or "",
        arguments.directory or "",
    )
    if arguments.dry_run:
        if arguments.json:
            show.data(asdict(plan))
        else:
            show.write(_as_runs(plan))
        return 0
    with show.Line(arguments.quiet) as line:
        runs = run_pairs(plan, arguments.out, line.progress)
    times = compare_runs(runs)
    if arguments.json:
        show.data(
            {
                "runs": [vars(run) for run in runs],
                "times": [{**vars(time), "change_s": vars(time.change_s)} for time in times],
            }
        )
    else:
        show.write(
            show.text_table(("", "published, one run each", "measured here, a -> b"), _real_rows(times))
        )
    _note_on_kernels(runs)
    return 0


def _as_runs(plan: Plan) -> str:
    from p2mperf.analysis.kernel_build.real_ab import order

    sides = ["".join(order(pair)) for pair in range(min(plan.n_pairs, 6))]
    more = " ..." if plan.n_pairs > len(sides) else ""
    lines = [f"{2 * plan.n_pairs} runs, in pairs: {' '.join(sides)}{more}"]
    lines += [f"{side}: {shown(' '.join((*plan.prefix(side), 'sh', '-s')))}" for side in ("a", "b")]
    return "\n".join([*lines, f"command: {shown(plan.command)}"])


def _real_rows(times: Sequence[RealTime]) -> list[tuple[str, ...]]:
    published = {each.name: each for each in PUBLISHED_TIMES}
    rows: list[tuple[str, ...]] = []
    for time in times:
        said, change = published[time.name], time.change_s
        interval = f"{change.low:+.2f} to {change.high:+.2f}, " if change.n > 1 else ""
        rows.append(
            (
                f"{time.name}:",
                f"{as_clock(said.before_s)} -> {as_clock(said.after_s)} ({said.change_s:+.0f} s)",
                f"{_clock(time.a_s)} -> {_clock(time.b_s)} ({change.estimate:+.2f} s, {interval}{change.n}"
                f" pair{'s' * (change.n > 1)})",
            )
        )
    return rows


def _clock(seconds: float) -> str:
    return as_clock(seconds) if seconds >= _CLOCK_SECONDS else f"{seconds:.2f} s"


def _note_on_kernels(runs: Sequence[RealRun]) -> None:
    kernels = {side: {run.kernel for run in runs if run.side == side} for side in ("a", "b")}
    if kernels["a"] == kernels["b"]:
        show.note(
            f"note: both environments ran kernel {', '.join(sorted(kernels['a']))}: unless they differ in"
            " what uname does not tell, this shows the noise"
        )
    for side, names in kernels.items():
        if len(names) > 1:
            show.note(f"note: environment {side} ran several kernels: {', '.join(sorted(names))}")
