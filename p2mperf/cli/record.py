"""`record`: run a command, and record which pages it asks the kernel for."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.invocation import USUAL
from p2mperf.cli.options import Parser, make_parser
from p2mperf.errors import BadInputError, cut
from p2mperf.units import parse_size, readable_size, whole_number

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from p2mperf.analysis.statistics import Ratio
    from p2mperf.study.recording import Kept, Recorded
    from p2mperf.study.recording_cost import Cost
    from p2mperf.workload.recorder import Look
    from p2mperf.workload.recording import Usage

_MOST_PAIRS = 1000
_TERMINAL_SECONDS, _LOG_SECONDS = 1.0, 10.0
# Seen of a kernel build on all CPUs, which is as much as there is [bytes per second and CPU].
_BUSY_RATE = 7e6

_EPILOG = """\
Page faults, allocations, new processes, exec, exit, switches and calls that map memory are recorded, of the
command and all that it starts, by an instance of tracefs of its own, which is removed in the end, also when
this is killed. That needs root, and Linux 4.7 or later. Where it cannot be, the command is run all the same
and its counts are written as JSON; nothing can be replayed from them.

While it records, events go to FILE.raw, a directory. Where this is killed, that stays, and `trace recover`
makes a file of it, complete up to a point that it tells.

The file has no command lines and no names of files, and pids are numbered anew. A directory kept by
--keep-raw has them.

The command writes to where it would without this; with --json its standard output goes to stderr. Ctrl-C goes
to the command, and what was recorded until then is kept.

--overhead N runs the command N times without and N times with recording, in turns, and shows what recording
costs. It must do the same each time: `sh -c 'make clean; make'`.

exit codes: 0 when the command ended with 0 and no event was lost, 1 otherwise (the file is written), 130
after Ctrl-C.

examples:
  python -m p2mperf record --out build.parquet -- make -j2 vmlinux
  python -m p2mperf record --overhead 6 --out fs.parquet -- sh -c 'make -s clean && make -s -j2 fs/'
"""


def main(argv: list[str]) -> int:
    """Run the command; the code says whether it succeeded, and whether all of it was recorded."""
    at = argv.index("--") if "--" in argv else len(argv)
    parser = command_parser()
    _require_dashes(parser, argv[:at])
    arguments, command = parser.parse_args(argv[:at]), argv[at + 1 :]
    if not command:
        parser.error("it lacks the command to run: give it after --, as in `record -- make`")
    from p2mperf.study.recording import place
    from p2mperf.workload.running import require_command
    from p2mperf.workload.trace_instance import NoTracingError

    n_pairs = arguments.overhead
    if n_pairs is not None:
        whole_number(n_pairs, "--overhead", 1, _MOST_PAIRS)
    require_command(command)
    kept = place(arguments.out, parse_size(arguments.buffer), arguments.keep_raw, arguments.force)
    stdout = 2 if arguments.json else 1
    sys.stdout.flush()
    try:
        cost = None if n_pairs is None else _cost(command, n_pairs, kept, arguments.quiet, stdout)
        return _recorded(command, kept, cost, arguments, stdout)
    except NoTracingError as error:
        if n_pairs is not None:
            raise
        return _counted(command, kept, str(error), arguments, stdout)


def _require_dashes(parser: Parser, words: Sequence[str]) -> None:
    """Say where ``--`` belongs, where a command begins without it: its options would be taken for ours.

    Raises
    ------
    BadInputError
        With the line as it was meant.
    """
    _, left = parser.parse_known_args(words)
    if left and not left[0].startswith("-"):
        at = list(words).index(left[0])
        meant = shlex.join([*words[:at], "--", *words[at:]])
        raise BadInputError(f"a command comes after --: write `{USUAL} record {cut(meant)}`")


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser("record", "Run a command and record which pages it asks the kernel for.", _EPILOG)
    parser.usage = "%(prog)s [options] -- COMMAND ..."
    parser.add_argument(
        "--out", default="recording.parquet", metavar="FILE", help="default: recording.parquet"
    )
    parser.add_argument(
        "--buffer", default="16M", metavar="SIZE", help="ring buffer of each CPU; default: 16M"
    )
    parser.add_argument(
        "--overhead", type=int, metavar="N", help="first run it N times without and N times with recording"
    )
    parser.add_argument("--keep-raw", metavar="DIR", help="keep what the kernel wrote, in a new directory")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    parser.add_argument("--json", action="store_true", help="print JSON; the command's output goes to stderr")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return parser


class _Going:
    """Tells every second on a terminal, and now and then in a log, how far a recording is."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._is_terminal = sys.stderr.isatty()
        self._last_s = 0.0
        self._is_open = False

    def tell(self, look: Look) -> None:
        """Tell how far it is."""
        pause = _TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS
        if self._quiet or look.elapsed_s - self._last_s < pause:
            return
        self._last_s = look.elapsed_s
        line = f"{look.elapsed_s:.0f} s: {look.n_events} events, {readable_size(look.n_bytes)}"
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[Kp2mperf: {line}")
            self._is_open = True
        else:
            show.say(line)

    def say(self, sentence: str) -> None:
        """Say what comes next."""
        if self._is_open:
            sys.stderr.write("\n")
            self._is_open = False
        if not self._quiet:
            show.say(sentence)


def _cost(command: Sequence[str], n_pairs: int, kept: Kept, quiet: bool, stdout: int) -> Cost:
    from p2mperf.study.recording_cost import recording_cost

    start = time.monotonic()

    def tell(n_done: int, what: str) -> None:
        if not quiet:
            show.say(f"{n_done} of {2 * n_pairs} runs, {time.monotonic() - start:.0f} s; next: {what}")

    return recording_cost(command, n_pairs, kept.raw, kept.buffer_bytes, tell, stdout)


def _recorded(
    command: Sequence[str], kept: Kept, cost: Cost | None, arguments: argparse.Namespace, stdout: int
) -> int:
    from p2mperf.study.recording import record_to_file
    from p2mperf.workload.raw_trace import ABOUT_FILE

    going = _Going(arguments.quiet)
    free = shutil.disk_usage(kept.raw.parent).free
    minutes = free / (_BUSY_RATE * (os.cpu_count() or 1)) / 60
    going.say(
        f"recording; {readable_size(free)} of disk are enough for {minutes:.0f} minutes of a kernel build"
    )
    try:
        found = record_to_file(command, kept, going.tell, going.say, stdout)
    except BaseException:
        if (kept.raw / ABOUT_FILE).exists():
            raw = cut(str(kept.raw))
            show.say(f"what was recorded is in {raw}: `python -m p2mperf trace recover` decodes it")
        raise
    if arguments.json:
        show.data(_plain(found, cost))
    else:
        show.write(_as_text(found, cost))
    return _code(found)


def _code(found: Recorded) -> int:
    """Say what is wrong with a recording that was kept all the same."""
    code = 0
    exit_code = found.recording.about.usage.exit_code
    if exit_code != 0 and not found.run.is_interrupted:
        ended = f"by signal {-exit_code}" if exit_code < 0 else f"with code {exit_code}"
        show.say(f"the command ended {ended}: {cut(str(found.out))} has what it did until then")
        code = 1
    if found.run.stopped:
        show.say(f"recording ended before the command did: {found.run.stopped}")
    if not found.is_whole:
        seconds = found.recording.about.complete_until_ns / 1e9
        lost = f"{found.run.raw.n_lost} events were lost" if found.run.raw.n_lost else "events are missing"
        show.say(
            f"{lost}: {cut(str(found.out))} is complete up to {seconds:.3f} s and ends there; raise --buffer"
        )
        code = 1
    if found.run.is_interrupted:
        show.say(f"interrupted: {cut(str(found.out))} has what was recorded until then")
        code = 130
    return code


def _counted(command: Sequence[str], kept: Kept, why: str, arguments: argparse.Namespace, stdout: int) -> int:
    """Run the command without recording it; 0 when it ran, for its counts are the answer."""
    from p2mperf.study.recording import write_counts
    from p2mperf.workload.counts import NOTE, count

    show.say(f"{why}; {NOTE}")
    found = count(command, why, stdout)
    path = write_counts(found, kept)
    if arguments.json:
        show.data({"note": NOTE, **asdict(found)})
    else:
        rows = [
            *_usage_rows(found.usage),
            *((f"{name}, whole machine", n) for name, n in found.of_machine.items()),
        ]
        show.write(show.text_table(("counts only", ""), rows))
    if not arguments.quiet:
        show.say(f"counts are in {cut(str(path))}")
    return 130 if found.is_interrupted else 0


def _usage_rows(usage: Usage) -> list[tuple[str, object]]:
    return [
        ("elapsed", f"{usage.elapsed_s:.2f} s"),
        ("user", f"{usage.user_s:.2f} s"),
        ("system", f"{usage.system_s:.2f} s"),
        ("minor faults", usage.n_minor_faults),
        ("major faults", usage.n_major_faults),
        ("exit code", usage.exit_code),
    ]


def _as_text(found: Recorded, cost: Cost | None) -> str:
    from p2mperf.workload.sampling import count_events

    about = found.recording.about
    events = [
        (name.lower().replace("_", " "), n_events) for name, n_events in count_events(found.recording).items()
    ]
    lines = [
        show.text_table(("event", "n"), events),
        "",
        show.text_table(("the command took", ""), _usage_rows(about.usage)),
        "",
        f"{found.recording.n_events} events, {found.run.raw.n_lost} lost; {cut(str(found.out))} has"
        f" {readable_size(found.n_bytes)}, the raw trace had {readable_size(found.n_raw_bytes)}",
    ]
    if found.run.raw.missing:
        lines.append(f"this kernel does not have {', '.join(found.run.raw.missing)}")
    if cost is not None:
        lines += ["", _cost_table(cost)]
    return "\n".join(lines)


def _cost_table(cost: Cost) -> str:
    from p2mperf.study.recording_cost import TIMES

    rows: list[tuple[str, str, str, str]] = []
    for what in TIMES:
        ratio = cost.ratio(what)
        if ratio is None:
            rows.append((what, "too short to tell", "", ""))
        elif len(cost.pairs) == 1:
            rows.append((what, f"{ratio.estimate:.3f}", "", "one pair has no interval"))
        else:
            rows.append(
                (what, f"{ratio.estimate:.3f}", f"[{ratio.low:.3f}, {ratio.high:.3f}]", f"{ratio.level:.1%}")
            )
    table = show.text_table(("recorded / plain", "ratio", "interval", "level"), rows)
    n_lost = sum(pair.n_lost for pair in cost.pairs)
    return (
        f"{table}\n\n{len(cost.pairs)} pairs in ABBA order; an event costs {cost.system_ns_per_event:.0f} ns"
        f" of system time; {n_lost} events lost"
    )


def _ratio(ratio: Ratio | None) -> dict[str, float | int | None] | None:
    if ratio is None:
        return None
    # JSON has no NaN, which the interval of a single pair is.
    return {name: None if value != value else value for name, value in asdict(ratio).items()}


def _plain(found: Recorded, cost: Cost | None) -> dict[str, object]:
    from p2mperf.study.recording_cost import TIMES
    from p2mperf.workload.sampling import count_events

    about = found.recording.about
    plain: dict[str, object] = {
        "out": str(found.out),
        "n_bytes": found.n_bytes,
        "n_raw_bytes": found.n_raw_bytes,
        "n_events": found.recording.n_events,
        "events": count_events(found.recording),
        "cpus": {str(cpu): asdict(counts) for cpu, counts in found.run.raw.cpus.items()},
        "n_lost": found.run.raw.n_lost,
        "missing": list(found.run.raw.missing),
        "complete_until_ns": about.complete_until_ns,
        "usage": asdict(about.usage),
        "interrupted": found.run.is_interrupted,
        "stopped": found.run.stopped,
    }
    if cost is not None:
        ratios = {what: cost.ratio(what) for what in TIMES}
        plain["overhead"] = {
            "pairs": [asdict(pair) for pair in cost.pairs],
            "ratios": {what: _ratio(ratio) for what, ratio in ratios.items()},
            "system_ns_per_event": cost.system_ns_per_event,
        }
    return plain
