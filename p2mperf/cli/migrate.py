"""`migrate`: precopy rounds of an ARM guest, from the recurrence and by tracing a writer for real."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import Parser, make_parser
from p2mperf.cli.waiting import Waiting
from p2mperf.errors import BadInputError, known, shown

if TYPE_CHECKING:
    from p2mperf.migration.precopy import Migration

_DECIMAL = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kKMG]?)")

_TRACER = "a design that can be traced, its family's name left out: vlpt, walk, walk-direct"
_EPILOG = """\
Memory is written 512M, 1G. Bandwidth is in bytes per second with decimal prefixes, as networks count: 125M is
125 000 000 bytes/s, a link of 1 Gbit/s. Times of the migration are computed from page counts and bandwidth;
what finding and changing the entries took is measured on this host and shown apart.

examples:
  python -m p2mperf migrate --memory 1G --dirty-rate 20000 --bandwidth 125M --tracer vlpt
  python -m p2mperf migrate --memory 1G --dirty-rate 20000 --bandwidth 12.5M --tracer walk --json
  python -m p2mperf migrate --memory 4G --dirty-rate 20000 --bandwidth 125M --writer hot --rule later --peek
"""


def main(argv: list[str]) -> int:
    """Migrate a guest and show its rounds on stdout; 0 also when it does not converge: that is its answer."""
    arguments = command_parser().parse_args(argv)
    design = _design(arguments.tracer)
    rates = parse_rate(arguments.dirty_rate), parse_rate(arguments.bandwidth)
    with Waiting(f"migrating by {arguments.tracer}"):
        expected, found = _migrate(arguments, design, *rates)
    if arguments.json:
        show.data({"recurrence": _plain(expected), "traced": _plain(found)})
    else:
        show.write(_as_text(expected, found))
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser("migrate", "Migrate an ARM guest: precopy rounds over real tables.", _EPILOG)
    parser.add_argument("--memory", required=True, metavar="SIZE", help="memory of the guest")
    parser.add_argument("--dirty-rate", required=True, metavar="RATE", help="pages the guest writes a second")
    parser.add_argument("--bandwidth", required=True, metavar="RATE", help="bytes a second, decimal prefixes")
    parser.add_argument("--tracer", default="vlpt", metavar="NAME", help=_TRACER)
    parser.add_argument("--writer", default="sequential", metavar="NAME", help="sequential, uniform or hot")
    parser.add_argument("--working-set", metavar="SIZE", help="what it writes to; default: all memory")
    parser.add_argument("--rule", default="legacy", metavar="NAME", help="legacy, legacy-sent or later")
    parser.add_argument("--peek", action="store_true", help="skip pages that are dirty again")
    parser.add_argument("--ram-base", metavar="SIZE", help="where RAM begins; default: 2G")
    parser.add_argument("--seed", type=int, default=1, help="seed of layout and writer")
    parser.add_argument("--json", action="store_true", help="both courses as JSON")
    return parser


def parse_rate(text: str) -> float:
    """Read a rate with an optional decimal prefix k, M or G.

    Raises
    ------
    BadInputError
        When the text is none.

    Examples
    --------
    >>> parse_rate("12.5M")
    12500000.0
    """
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise BadInputError(
            f"{shown(text)} is not a rate: write a number with k, M or G, as in 125M or 20000"
        )
    return float(match[1]) * _DECIMAL[match[2].replace("K", "k")]


def tracers() -> dict[str, str]:
    """Designs that can be traced, by their names without the family's."""
    from p2mperf.designs import able, family_of

    return {name.removeprefix(f"{family_of(name)}-"): name for name in sorted(able(["Traceable"]))}


def _design(tracer: str) -> str:
    """The design that a tracer is, whose name may go without its family's; who cannot trace is refused."""
    from p2mperf.designs import find, registry
    from p2mperf.designs.capabilities import missing

    names = tracers()
    if tracer in registry() and missing(find(tracer), ["Traceable"]):
        raise BadInputError(f"{tracer} cannot be traced: take one of {', '.join(names)}")
    return names[known("tracer", tracer, names)]


def _migrate(
    arguments: argparse.Namespace, design: str, rate: float, bandwidth: float
) -> tuple[Migration, Migration]:
    from p2mperf.api import build
    from p2mperf.designs import family_of
    from p2mperf.designs.capabilities import Traceable
    from p2mperf.families import find_family
    from p2mperf.guests.guest import Guest
    from p2mperf.migration.precopy import Sender, check_traceable, recurrence, stop_rule
    from p2mperf.migration.tracing import Tracer
    from p2mperf.migration.writers import make_writer
    from p2mperf.units import parse_pages

    rule = stop_rule(arguments.rule)
    geometry = find_family(family_of(design)).geometries[0]
    base = 0 if arguments.ram_base == "0" else arguments.ram_base
    guest = Guest.plain(arguments.memory, geometry=geometry, seed=arguments.seed, base=base)
    check_traceable(rate, bandwidth, guest.max_pages)
    n_pages = parse_pages(arguments.working_set) if arguments.working_set else None
    writers = [make_writer(arguments.writer, guest, n_pages, arguments.seed) for _ in range(2)]
    expected = recurrence(writers[0], rate, bandwidth, rule)
    with build(design, guest) as p2m:
        assert isinstance(p2m, Traceable)
        found = Sender(Tracer(p2m), writers[1], rate, bandwidth, peek=arguments.peek).run(rule)
    return expected, found


def _plain(migration: Migration) -> dict[str, object]:
    outcome = ("n_left", "downtime_seconds", "total_sent_pages", "total_seconds", "diverges")
    return {**asdict(migration), **{name: getattr(migration, name) for name in outcome}}


_HEADS = ("round", "sent", "seconds", "left", "expected", "faults")


def _as_text(expected: Migration, found: Migration) -> str:
    computed = [f"{done.n_left:.1f}" for done in expected.rounds] + [""] * len(found.rounds)
    rows = [
        (done.number, f"{done.n_sent:.0f}", f"{done.seconds:.3f}", f"{done.n_left:.0f}", left, done.n_faults)
        for done, left in zip(found.rounds, computed, strict=False)
    ]
    lines = [_outcome(found), _outcome(expected), _measured(found)]
    return "\n".join([show.text_table(_HEADS, rows), *lines])


def _outcome(migration: Migration) -> str:
    name = f"traced by {migration.source}" if migration.source != "recurrence" else "from the recurrence"
    verdict = "does not converge" if migration.diverges else "stopped"
    return (
        f"{name}: {verdict} after {_rounds(migration)} ({migration.stopped_by}), "
        f"{migration.n_left} pages left; {migration.total_sent_pages} pages sent in "
        f"{migration.total_seconds:.2f} s, of which {migration.downtime_seconds:.4f} s downtime (computed)"
    )


def _rounds(migration: Migration) -> str:
    n_rounds = len(migration.rounds)
    return f"{n_rounds} round{'s' if n_rounds > 1 else ''}"


def _measured(found: Migration) -> str:
    n_writes = sum(done.n_writes for done in found.rounds)
    per_write = sum(done.fault_ns for done in found.rounds) / n_writes if n_writes else 0.0
    per_entry = sum(done.protect_ns for done in found.rounds) / len(found.rounds) / found.n_pages
    return (
        f"measured on this host: {per_write:.2f} ns to find and change an entry for a write, "
        f"{per_entry:.2f} ns an entry to protect all memory (traps and TLB invalidations not included)"
    )
