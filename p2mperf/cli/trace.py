"""`trace`: say what a recording is, cut a sample of it, or recover what a killed recorder left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import Parser, make_parser, require_source
from p2mperf.cli.waiting import Waiting
from p2mperf.errors import BadInputError, cut, shown
from p2mperf.shipped import RECORDINGS

if TYPE_CHECKING:
    import argparse

    from p2mperf.workload.describing import Description

_EPILOG = """\
info says what FILE is a recording of, and counts it. sample keeps every K-th process, by the number of their
events, with all that happened to it from its beginning to its end, and the counts of the whole; how it
differs from the whole is told, and --strict refuses one that differs by more than 3 % in the share of
anything (or 0.1 points), 10 % in the median gap or 2 points in neighbouring frames. --first best tries each
process to begin with. recover takes the directory of a recorder that was killed: the file is complete up to
where the recorder had come, says so, and has nothing later.

A FILE to read may be shipped-tinyconfig or shipped-defconfig, which come with p2mperf.

examples:
  python -m p2mperf trace info shipped-tinyconfig
  python -m p2mperf trace info recording.parquet --json
  python -m p2mperf trace sample recording.parquet --every 29 --first best --out sample.parquet
  python -m p2mperf trace recover raw-directory --out recovered.parquet
"""
_WRITES = ("sample", "recover")


def main(argv: list[str]) -> int:
    """Print counts on stdout, or write a file."""
    arguments = command_parser().parse_args(argv)
    _check(arguments)
    require_source(arguments.file, RECORDINGS)
    run = {"info": _info, "sample": _sample, "recover": _recover}
    return run[arguments.what](arguments)


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser("trace", "Say what a recording is, cut a sample of it, or recover one.", _EPILOG)
    parser.add_argument("what", choices=("info", *_WRITES), metavar="info|sample|recover", help="as below")
    parser.add_argument("file", metavar="FILE", help="recording; for recover: a directory")
    parser.add_argument("--out", metavar="FILE", help="file to write, of sample and recover")
    parser.add_argument("--force", action="store_true", help="replace the file to write if it is there")
    parser.add_argument("--every", type=int, metavar="K", help="of sample: keep one process of K")
    parser.add_argument(
        "--first", default="0", metavar="N", help="of sample: from 0 to K - 1, or best; default: 0"
    )
    parser.add_argument(
        "--strict", action="store_true", help="of sample: refuse one that is unlike the whole"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that say nothing about what is asked for."""
    if arguments.what in _WRITES and not arguments.out:
        raise BadInputError(f"trace {arguments.what}: name the file to write with --out")
    if arguments.what == "info" and (arguments.out or arguments.force):
        raise BadInputError("trace info writes nothing: it takes no --out and no --force")
    is_about_samples = arguments.every is not None or arguments.first != "0" or arguments.strict
    if arguments.what != "sample" and is_about_samples:
        raise BadInputError("--every, --first and --strict are about `trace sample`")
    if arguments.what == "sample" and arguments.every is None:
        raise BadInputError("trace sample: say with --every K which processes are kept, one of K")


def _info(arguments: argparse.Namespace) -> int:
    from p2mperf.workload.describing import describe
    from p2mperf.workload.recording_file import locate, read_recording

    with Waiting(f"reading {cut(arguments.file)}", arguments.quiet):
        found = describe(read_recording(arguments.file))
    n_bytes = locate(arguments.file).stat().st_size
    if arguments.json:
        counted = {"n_bytes": n_bytes, "n_lost": found.n_lost, "is_complete": found.is_complete}
        show.data({**asdict(found), **counted})
    else:
        show.write(_as_text(found, n_bytes))
    return 0


def _sample(arguments: argparse.Namespace) -> int:
    from p2mperf.workload.recording_file import read_recording, refuse_existing, write_recording
    from p2mperf.workload.sampling import best_first, likeness, sample

    refuse_existing(arguments.out, arguments.force)
    with Waiting(f"cutting {cut(arguments.file)}", arguments.quiet):
        recording = read_recording(arguments.file)
        is_best = arguments.first == "best"
        first = best_first(recording, arguments.every) if is_best else _first(arguments.first)
        made = sample(recording, arguments.every, first)
        found = likeness(recording, made)
        if arguments.strict and found.complaints:
            raise BadInputError(
                f"the sample is unlike the whole, and was not written: {found.complaints[0]};"
                " take --first best or another --every"
            )
        write_recording(made, arguments.out, force=arguments.force)
    for complaint in found.complaints:
        show.say(f"unlike the whole: {complaint}")
    if arguments.json:
        show.data({**asdict(found), "first": first, "n_events": made.n_events, "deviation": found.deviation})
    else:
        (whole_gap, gap), (whole_step, step) = found.median_gap_ns, found.next_frame_share
        rows = [(_words(name), f"{whole:.2%}", f"{cut_:.2%}") for name, (whole, cut_) in found.shares.items()]
        rows.append(("median gap", f"{whole_gap:.0f} ns", f"{gap:.0f} ns"))
        rows.append(("next to the frame before", f"{whole_step:.1%}", f"{step:.1%}"))
        show.write(show.text_table(("share", "whole", "sample"), rows))
        show.write(
            f"{made.n_events} of {recording.n_events} events: {cut(arguments.out)}, from process {first}"
        )
    return 0


def _recover(arguments: argparse.Namespace) -> int:
    from p2mperf.workload.decode import decode
    from p2mperf.workload.raw_trace import read_raw_trace
    from p2mperf.workload.recording_file import refuse_existing, write_recording

    refuse_existing(arguments.out, arguments.force)
    with Waiting(f"decoding {cut(arguments.file)}", arguments.quiet):
        made = decode(read_raw_trace(arguments.file))
        write_recording(made, arguments.out, force=arguments.force)
    until_ns = made.about.complete_until_ns
    if arguments.json:
        show.data({"out": arguments.out, "n_events": made.n_events, "complete_until_ns": until_ns})
    else:
        show.write(f"{made.n_events} events, {_completeness(until_ns)}: {cut(arguments.out)}")
    return 0


def _first(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadInputError(f"--first takes the number of a process, or best, not {shown(text)}") from None


def _completeness(until_ns: int) -> str:
    return "complete" if until_ns < 0 else f"complete up to {until_ns / 1e9:.3f} s, and nothing later"


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


def _as_text(found: Description, n_bytes: int) -> str:
    about, usage = found.about, found.about.usage
    rate = found.n_events / found.seconds if found.seconds else 0.0
    cpu = about.machine.get("cpu_model")
    lines = [
        f"{about.tool} on Linux {about.kernel_release}, {about.architecture}"
        + (f", {cut(str(cpu))}" if cpu else ""),
        f"{found.n_events} events of {found.n_threads} threads in {found.seconds:.3f} s, {rate:.0f} a second",
        f"took {usage.elapsed_s:.2f} s: {usage.user_s:.2f} s user, {usage.system_s:.2f} s system;"
        f" {usage.n_minor_faults} minor and {usage.n_major_faults} major faults; exit code {usage.exit_code}"
        if usage.elapsed_s
        else "what it took is not known: its recorder came to no end",
        f"{_completeness(about.complete_until_ns)}; {found.n_lost} events lost",
    ]
    lines.append(f"{n_bytes} bytes, {n_bytes / found.n_events:.2f} an event")
    if about.made:
        lines.append(f"made, not recorded: {about.made}")
    if about.whole is not None:
        whole = about.whole
        lines.append(
            f"a sample: one process of {whole.every} by their events, from number {whole.first}:"
            f" {whole.n_kept_spaces} of {whole.n_spaces} address spaces,"
            f" {found.n_events} of {sum(whole.n_events.values())} events"
        )
    heads = ("", "here") if about.whole is None else ("", "here", "whole")
    wholes = (about.whole.n_events, about.whole.n_faults) if about.whole is not None else ({}, {})
    tables = [
        show.text_table((name, *heads[1:]), _counts(counts, whole, len(heads) - 1))
        for name, counts, whole in zip(
            ("events", "faults"), (found.events, found.faults), wholes, strict=True
        )
        if counts
    ]
    gaps = [(name, f"{n} ns") for name, n in found.gap_quantiles_ns.items()]
    tables.append(show.text_table(("gaps between entries", ""), gaps))
    return "\n\n".join(["\n".join(lines), *tables, f"digest {found.digest}"])


def _counts(counts: Mapping[str, int], whole: Mapping[str, int], n_columns: int) -> list[tuple[object, ...]]:
    return [(_words(name), n, whole.get(name, 0))[: 1 + n_columns] for name, n in counts.items()]
