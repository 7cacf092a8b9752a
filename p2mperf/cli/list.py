"""`list`: what there is to name on a command line, each with one line of what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from inspect import getdoc
from textwrap import fill
from typing import TYPE_CHECKING

from p2mperf.cli import show
from p2mperf.cli.options import Parser, make_parser
from p2mperf.errors import P2mperfError, known
from p2mperf.units import format_size

if TYPE_CHECKING:
    from p2mperf.guests.presets import BuiltPreset, Preset

# One of a kind: its name, its description, and what JSON says besides.
Row = dict[str, object]

_EPILOG = """\
Without a kind the names of all kinds are listed. What other packages add is among them.

examples:
  python -m p2mperf list
  python -m p2mperf list guests
  python -m p2mperf list designs --json
"""
STREAMS_SAID = {
    "sequential": "one frame after the other, from a drawn one on, and around",
    "uniform": "each frame equally likely",
    "zipf": "few frames very often and most of them rarely: the k-th of them has a share of 1 / k",
    "log-uniform": "between zipf and uniform: each octave of popularity is asked for as often as the next",
    "leaf-stride": "one leaf further each time: what remains is the cost of pages",
}
PLANS_SAID = {
    "quick": "a few guests of each family, in the fewest processes that allow a verdict: a first look",
    "default": "guests of all sizes and widths and with holes, over all streams that the verdicts need",
    "full": "all streams and page backings, sizes on both sides of every cache and TLB knee of this machine",
    "life": "what happens to a p2m beside lookups: writes, ballooning, leaves broken, tables, superpages",
    "hap": "walk and windows of a HAP p2m by the size of its leaves, and on a host whose memory is broken",
}


@dataclass(frozen=True)
class Kind:
    """One kind of what there is.

    Attributes
    ----------
    option : str
        Where a command line names one of them.
    names : callable
        Gives all names, and imports nothing that is slow.
    rows : callable
        Gives each with what it is; one of another package that is broken says so.
    """

    option: str
    names: Callable[[], Iterable[str]]
    rows: Callable[[], Iterator[Row]]


def main(argv: list[str]) -> int:
    """Show names, and what each is, on stdout."""
    arguments = command_parser().parse_args(argv)
    if arguments.kind is not None:
        kind = known("kind", arguments.kind, KINDS)
        rows = list(KINDS[kind].rows())
        if arguments.json:
            show.data(rows)
        else:
            show.write(show.text_table((kind, ""), [(row["name"], row["description"]) for row in rows]))
    elif arguments.json:
        show.data({kind: list(each.rows()) for kind, each in KINDS.items()})
    else:
        show.write("\n\n".join(_in_short(kind, each) for kind, each in KINDS.items()))
        show.note(f"\n`{show.called('list KIND')}` says what each of a kind is")
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser("list", "List what can be named, each with a line on what it is.", _EPILOG)
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(KINDS)}; default: all")
    parser.add_argument("--json", action="store_true", help="names, descriptions and more, as JSON")
    return parser


def _in_short(kind: str, each: Kind) -> str:
    names = list(each.names())
    head = f"{kind} ({len(names)}), for {each.option}:"
    indent = "  "
    text = fill(
        ", ".join(names),
        show.line_width(),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return f"{head}\n{text}"


def _guest_names() -> list[str]:
    from p2mperf.guests.names import plain_forms
    from p2mperf.guests.presets import ALL_PRESETS

    return [*ALL_PRESETS, *plain_forms()]


def _guests() -> Iterator[Row]:
    from p2mperf.guests.names import plain_forms
    from p2mperf.guests.presets import BUILT_PRESETS, PRESETS

    for name, preset in PRESETS.items():
        yield {
            "name": name,
            "description": _preset_said(preset),
            "geometry": preset.geometry,
            "memory_bytes": preset.boot,
            "max_bytes": preset.maximum,
        }
    for name, built in BUILT_PRESETS.items():
        yield {
            "name": name,
            "description": _built_said(built),
            "geometry": built.geometry,
            "memory_bytes": built.memory,
            "max_bytes": built.memory,
        }
    for form, geometry in plain_forms().items():
        yield {
            "name": form,
            "description": f"{geometry}: any size with nothing but RAM, as {form.replace('SIZE', '2g')}",
            "geometry": geometry,
            "memory_bytes": None,
            "max_bytes": None,
        }


def _preset_said(preset: Preset) -> str:
    said = f"{preset.geometry}: {format_size(preset.boot)}"
    if preset.maximum > preset.boot:
        said += f" at boot, up to {format_size(preset.maximum)}"
    holes, end = [], 0
    for start, row_end, kind in preset.rows:
        if kind != "ram":
            continue
        if start > end:
            holes.append(f"{format_size(end)} to {format_size(start)}")
        end = row_end
    return f"{said}; no RAM from {', '.join(holes)}" if holes else f"{said}, nothing but RAM"


def _built_said(built: BuiltPreset) -> str:
    host = f"a host with {built.broken_share:.0%} of its 2 MiB blocks broken"
    return (
        f"{built.geometry}: {format_size(built.memory)} as Xen's builder gives it on "
        f"{host if built.broken_share else 'a host whose memory is whole'}"
    )


def _design_names() -> list[str]:
    from p2mperf.designs import registry

    return list(registry())


def _designs() -> Iterator[Row]:
    from p2mperf.designs import find, registry

    classes: dict[str, str] = {}
    for name, spec in registry().items():
        try:
            kind = find(name)
        except P2mperfError as error:
            yield {"name": name, "description": f"broken: {error}"}
            continue
        classes[f"`{kind.__name__}`"] = name
        said = (getdoc(kind) or "").partition("\n")[0].rstrip(".").removesuffix("; parameters as there")
        yield {
            "name": name,
            # One that is another on other pages names that one's class.
            "description": " ".join(classes.get(word, word) for word in said.split()),
            "family": kind.family,
            "follows": kind.follows,
            "headline": spec.headline,
        }


def _stream_names() -> list[str]:
    from p2mperf.streams import STREAMS

    return list(STREAMS)


def _streams() -> Iterator[Row]:
    for name in _stream_names():
        yield {"name": name, "description": STREAMS_SAID[name]}


def _operation_names() -> list[str]:
    from p2mperf.measure.operations.registry import OPERATIONS

    return OPERATIONS.names()


def _operations() -> Iterator[Row]:
    from p2mperf.measure.operations.registry import operations

    for name, spec in operations().items():
        plans = f"; plans: {', '.join(spec.plans)}" if spec.plans else "; in no plan"
        yield {
            "name": name,
            "description": f"{spec.title}, timed per {spec.per}{plans}",
            "per": spec.per,
            "plans": list(spec.plans),
        }


def _plan_names() -> list[str]:
    from p2mperf.study.plans import PLANS

    return list(PLANS)


def _plans() -> Iterator[Row]:
    from p2mperf.study.plans import make_plan

    for name in _plan_names():
        plan = make_plan(name)
        yield {
            "name": name,
            "description": PLANS_SAID[name],
            "guests": [guest.name for guest in plan.guests],
            "operations": list(plan.operations),
            "n_replicates": plan.n_replicates,
        }


def _figure_names() -> list[str]:
    from p2mperf.figures import figures

    return list(figures())


def _figures() -> Iterator[Row]:
    from p2mperf.figures import find

    for name in _figure_names():
        try:
            spec = find(name)
        except P2mperfError as error:
            yield {"name": name, "description": f"broken: {error}"}
            continue
        made_of = "results" if spec.measured else spec.source.kind if spec.source else "arithmetic"
        yield {"name": name, "description": spec.question, "made_of": made_of}


def _limit_names() -> list[str]:
    from p2mperf.sizing import limit_names

    return limit_names()


def _limits() -> Iterator[Row]:
    from p2mperf.sizing.registry import every_limit

    for name, limit in every_limit().items():
        yield {
            "name": name,
            "description": f"{limit.unit} of {', '.join(limit.geometries)}: {limit.remark or limit.source}",
            "unit": limit.unit,
            "geometries": list(limit.geometries),
            "remark": limit.remark,
            "source": limit.source,
            "confidence": limit.confidence,
        }


KINDS = {
    "guests": Kind("--guest", _guest_names, _guests),
    "designs": Kind("--design", _design_names, _designs),
    "streams": Kind("--stream", _stream_names, _streams),
    "operations": Kind("--operation", _operation_names, _operations),
    "plans": Kind("--plan", _plan_names, _plans),
    "figures": Kind("plot", _figure_names, _figures),
    "limits": Kind("limits --without", _limit_names, _limits),
}
