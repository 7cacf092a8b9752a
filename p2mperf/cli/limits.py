"""`limits`: how large the linear list may be, what it gets, and which limit binds."""

from __future__ import annotations

import argparse
from typing import Any

from p2mperf.cli import show
from p2mperf.cli.options import Parser, make_parser
from p2mperf.errors import BadInputError
from p2mperf.sizing import (
    QUESTIONS,
    SETTINGS,
    Answer,
    Reply,
    Setting,
    limit_names,
    limits,
    readable_size,
    reply,
    table,
)
from p2mperf.sizing.proof import Proof, prove
from p2mperf.sizing.questions import asked_about
from p2mperf.sizing.registry import broken
from p2mperf.sizing.shapes import DEFAULT_DESIGN, lists

TABLE_SIZES = [
    "512M",
    "1G",
    "2049M",
    "5000M",
    "8G",
    "16G",
    "32G",
    "43G",
    "64G",
    "128G",
    "400G",
    "500G",
    "512G",
    "1T",
]

_EPILOG = """\
Sizes are written 512M, 43G, 2049M, 1T. Without --guest-memory the largest guest that fits is taken.
Parameters that a width or design does not have are refused; vmalloc= is accepted on 64 bits and ignored, as
the kernel does.

examples:
  python -m p2mperf limits --guest-memory 400G --entry-bits 64 --vmalloc 1M
  python -m p2mperf limits --entry-bits 32 --vmalloc 64M --prove
  python -m p2mperf limits --question all
  python -m p2mperf limits --table 8G 43G 64G --json
  python -m p2mperf limits --design hap-linear --geometry hap-pae
"""


def main(argv: list[str]) -> int:
    """Answer on stdout; 0 also when a guest does not fit, 1 when the kernel contradicts ``--prove``."""
    arguments = command_parser().parse_args(argv)
    _check_modes(arguments)
    for reason in broken():
        show.say(f"{reason}: left out")
    settings = {name: getattr(arguments, name) for name in SETTINGS}
    if arguments.table is not None:
        return _show_table(arguments, settings)
    if arguments.question:
        return _show_replies([reply(name) for name in _question_names(arguments.question)], arguments.json)
    answer = limits(
        arguments.guest_memory,
        entry_bits=arguments.entry_bits,
        geometry=arguments.geometry,
        design=arguments.design,
        without=arguments.without,
        **settings,
    )
    return _show_answer(answer, prove(answer) if arguments.prove else None, arguments)


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser(
        "limits",
        "Say how much virtual area a guest's list needs, what it gets, and which limit binds.",
        _EPILOG,
    )
    parser.add_argument("--guest-memory", metavar="SIZE", help="the guest's maximum memory")
    parser.add_argument(
        "--entry-bits", type=int, metavar="64|32", help="width of an entry: 64 (default) or 32"
    )
    parser.add_argument("--geometry", metavar="NAME", help="or the table's format, as hap-pae")
    parser.add_argument(
        "--design",
        default=DEFAULT_DESIGN,
        help=f"{DEFAULT_DESIGN} (default); arm-vlpt or hap-linear for the windows of ARM and HAP",
    )
    for setting in SETTINGS.values():
        parser.add_argument(
            f"--{setting.name.replace('_', '-')}",
            metavar="|".join(setting.choices) or "SIZE",
            help=f"{setting.meaning} ({_defaults(setting)})",
        )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="LIMIT",
        help=f"leave a limit out, to see what binds after it; one of {', '.join(limit_names())}",
    )
    parser.add_argument(
        "--table", nargs="*", metavar="SIZE", help="a table over these sizes, or a usual range"
    )
    parser.add_argument(
        "--question",
        action="append",
        default=[],
        metavar="NAME",
        help=f"answer what the threads asked: all, or one of {', '.join(QUESTIONS)}",
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="build that list in a child that gets that address space only, and ask for one granule more",
    )
    parser.add_argument("--json", action="store_true", help="print JSON; every size in bytes")
    return parser


def _defaults(setting: Setting) -> str:
    values = {geometry: setting.default(geometry) for geometry in setting.defaults}
    stated = ", ".join(f"{value} on {geometry}" for geometry, value in values.items() if value)
    return f"default: {stated}" if stated else f"for {', '.join(values)}"


def _check_modes(arguments: argparse.Namespace) -> None:
    modes = {
        "--table": arguments.table is not None,
        "--question": bool(arguments.question),
        "--guest-memory": arguments.guest_memory is not None,
    }
    chosen = [name for name, given in modes.items() if given]
    if len(chosen) > 1:
        raise BadInputError(f"{' and '.join(chosen)} contradict each other: ask for one of them at a time")
    if arguments.prove and (chosen and chosen[0] != "--guest-memory"):
        raise BadInputError(f"{chosen[0]} and --prove contradict each other: a proof is about one guest")
    if arguments.table is not None and arguments.geometry:
        raise BadInputError("--table and --geometry contradict each other: ask for one size at a time")
    if arguments.table is not None and arguments.design != DEFAULT_DESIGN:
        others = " or ".join(name for name in lists() if name != DEFAULT_DESIGN)
        raise BadInputError(
            f"--table is about {DEFAULT_DESIGN}: ask {others} about one size at a time (--guest-memory)"
        )
    if arguments.question and (given := _given_parameters(arguments)):
        raise BadInputError(
            f"--question and {given[0]} contradict each other: a question has parameters of its own"
        )


def _given_parameters(arguments: argparse.Namespace) -> list[str]:
    given = [name for name in (*SETTINGS, "entry_bits", "geometry") if getattr(arguments, name) is not None]
    given += ["without"] if arguments.without else []
    given += ["design"] if arguments.design != DEFAULT_DESIGN else []
    return [f"--{name.replace('_', '-')}" for name in given]


def _question_names(asked: list[str]) -> list[str]:
    return list(QUESTIONS) if "all" in asked else list(dict.fromkeys(asked))


def _show_table(arguments: argparse.Namespace, settings: dict[str, str | None]) -> int:
    widths = (64, 32) if arguments.entry_bits is None else (arguments.entry_bits,)
    rows = table(
        arguments.table or TABLE_SIZES, widths, design=DEFAULT_DESIGN, without=arguments.without, **settings
    )
    if arguments.json:
        show.data(rows)
        return 0
    heads = ("guest", "bits", "entries", "padding", "list", "area", "there is", "fits", "binds, or refuses")
    show.write(show.text_table(heads, (_table_row(row) for row in rows)))
    return 0


def _table_row(row: dict[str, Any]) -> tuple[object, ...]:
    sizes = (readable_size(row[name]) for name in ("list_bytes", "area_bytes", "available_bytes"))
    counts = (row["entry_bits"], row["n_pages"], row["n_padding_entries"])
    verdict = "yes" if row["fits"] else "no"
    return (readable_size(row["guest_bytes"]), *counts, *sizes, verdict, ", ".join(row["limits"]))


def _show_replies(replies: list[Reply], as_json: bool) -> int:
    if as_json:
        show.data([found.to_dict() for found in replies])
        return 0
    show.write("\n\n".join(map(_reply_text, replies)))
    return 0


def _reply_text(found: Reply) -> str:
    return f"{found.question.name} ({found.question.asked})\n  {found.question.text}\n  {found.sentence}"


def _show_answer(answer: Answer, proof: Proof | None, arguments: argparse.Namespace) -> int:
    replies = asked_about(answer) if arguments.guest_memory else [reply(name) for name in QUESTIONS]
    if arguments.json:
        plain = answer.to_dict() | {"questions": [_brief(found) for found in replies]}
        show.data(plain | ({"proof": proof.to_dict()} if proof else {}))
    else:
        show.write(_answer_text(answer))
        if arguments.guest_memory is None:
            show.write(f"\nasked in the threads (--question NAME, or all): {', '.join(QUESTIONS)}")
        else:
            for found in replies:
                show.write(f"\n{_reply_text(found)}")
        if proof:
            show.write(f"\nproof {'holds' if proof.holds else 'FAILS'}: {proof.sentence}")
    return 0 if proof is None or proof.holds else 1


def _brief(found: Reply) -> dict[str, object]:
    return {key: value for key, value in found.to_dict().items() if key != "cases"}


def _answer_text(answer: Answer) -> str:
    shape = answer.parameters.shape
    area, available = readable_size(answer.area_bytes), readable_size(answer.available_bytes)
    step, guest_step = readable_size(answer.granule_bytes), readable_size(shape.granule_guest_bytes)
    entries = (
        f"{answer.n_pages} entries of {shape.entry_bytes} bytes and {answer.n_padding_entries} of padding"
    )
    facts = {
        "guest": f"{readable_size(answer.guest_bytes)} = {answer.guest_bytes} bytes ({shape.name})",
        "list": f"{readable_size(answer.list_bytes)}: {entries}",
        "area": f"{area} of {available}, in granules of {step} ({guest_step} of guest)",
        "verdict": answer.verdict,
        "largest": _largest_text(answer),
    }
    if answer.area_bytes > answer.available_bytes and answer.kernel_behaviour:
        facts["kernel"] = answer.kernel_behaviour
    lines = [f"{name:8} {text}" for name, text in facts.items()]
    lines += [f"{'note':8} {note}" for note in answer.notes]
    return "\n".join([*lines, "", _limits_text(answer)])


def _largest_text(answer: Answer) -> str:
    refused = f"{readable_size(answer.next_guest_bytes)} is refused by {', '.join(answer.next_refused_by)}"
    if not answer.largest_guest_bytes:
        return f"no guest fits; {refused}"
    return f"{readable_size(answer.largest_guest_bytes)} = {answer.largest_guest_bytes} bytes; {refused}"


def _limits_text(answer: Answer) -> str:
    heads = ("limit", "needs", "of", "what", "fits", "largest guest", "rests on", "source")
    rows = (
        (
            verdict.limit,
            readable_size(verdict.needed_bytes),
            readable_size(verdict.available_bytes),
            verdict.unit,
            "yes" if verdict.fits else "no",
            readable_size(verdict.largest_guest_bytes),
            verdict.confidence,
            verdict.source,
        )
        for verdict in answer.verdicts
    )
    return show.text_table(heads, rows)
