"""`info`: the machine card, which stands in every result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from p2mperf.cli import show
from p2mperf.cli.options import Parser, make_parser
from p2mperf.host.card import Cache, Card, card_key, caveats, machine_card
from p2mperf.host.watch import running_beside
from p2mperf.units import GIB, format_size

_EPILOG = """\
Results are compared only between machines of the same key: it is made of what timings depend on and stays the
same from day to day, unlike load, steal ticks or the time.

examples:
  python -m p2mperf info
  python -m p2mperf info --json | jq .caches
"""


def main(argv: list[str]) -> int:
    """Show the machine card on stdout.

    Parameters
    ----------
    argv : list of str
        Arguments after the name of the command.

    Returns
    -------
    int
        0.
    """
    arguments = command_parser().parse_args(argv)
    card = machine_card()
    card["n_running"] = running_beside(card)
    if arguments.json:
        show.data({"key": card_key(card), **card, "caveats": caveats(card)})
    else:
        show.write(as_text(card))
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser(
        "info",
        "Show what timings on this machine depend on, and what to keep in mind about them.",
        _EPILOG,
    )
    parser.add_argument("--json", action="store_true", help="the card as JSON, with its key and caveats")
    return parser


def as_text(card: Card) -> str:
    """Lay the card out as a table of two columns, followed by its caveats.

    Parameters
    ----------
    card : dict
        From `machine_card`.

    Returns
    -------
    str
        Lines without a final newline.
    """
    rows = [("key", card_key(card)), *_rows(card)]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:{width}}  {value}" for name, value in rows]
    notes = [f"note: {sentence}" for sentence in caveats(card)]
    return "\n".join(lines + [""] * bool(notes) + notes)


def _rows(card: Card) -> Iterator[tuple[str, str]]:
    for name, value in card.items():
        if name == "caches":
            yield from ((_cache_name(cache), _cache_text(cache)) for cache in value)
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", _text(key, entry)) for key, entry in value.items())
        else:
            yield name.removesuffix("_bytes"), _text(name, value)


def _cache_name(cache: Cache) -> str:
    kind = {"Data": "d", "Instruction": "i"}.get(cache["type"] or "", "")
    return f"cache L{cache['level']}{kind}"


def _cache_text(cache: Cache) -> str:
    return f"{format_size(cache['size_bytes'])}, shared by CPU {cache['shared_cpu_list'] or '?'}"


def _text(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_bytes"):
        return f"{value / GIB:.1f}G" if value >= GIB else format_size(value)
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)
