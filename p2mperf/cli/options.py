"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from p2mperf.cli.help import HelpFormatter
from p2mperf.cli.invocation import USUAL, program
from p2mperf.errors import BadInputError, cut, shown
from p2mperf.progress import say

if TYPE_CHECKING:
    from p2mperf.designs.base import Design

_LONGEST_MESSAGE = 300
_LEAST_TOPIC = len("--") + 5  # shorter words stand in many helps, and mean nothing
_NEAR = 0.7  # how much alike two names are, of 1, to be taken for one another


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, as all others are.

    Attributes
    ----------
    command : str
        Name of the command whose arguments it takes.
    """

    command = ""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Take ``--size -1G`` for a size that is none, not for an option without its value.

        Raises
        ------
        BadInputError
            For an option that there is not, with the one that was meant.
        """
        words: list[str] = []
        for word in args or ():
            if "--" not in words and re.fullmatch(r"--[^=]+=--", word):  # argparse would make a list of it
                self.error(f"argument {word[:-3]}: expected one argument")
            if words and words[-1].startswith("--") and re.fullmatch(r"-[0-9.]+[A-Za-z]+", word):
                word = f"{words.pop()}={word}"
            words.append(word)
        known, others = self.parse_known_args(words, namespace)
        if others:
            self.error(f"unrecognized arguments: {' '.join(others)}{self._meant(others[0])}")
        return known

    def _meant(self, word: str) -> str:
        """Name the option that was meant: one that begins so, or the nearest, or the only one about it."""
        if not word.startswith("--"):
            return ""
        asked = cut(word.partition("=")[0])
        said = {  # of each option the first clause of its help
            name: re.split(r"[:;,()]", action.help or "")[0].strip()
            for action in self._actions
            for name in action.option_strings
            if action.dest != "help"
        }
        begin = [name for name in said if name.startswith(asked)]
        if near := begin if len(begin) == 1 else get_close_matches(asked, said, n=1, cutoff=_NEAR):
            return f" (did you mean {near[0]}?)"
        is_topic = re.compile(rf"\b{re.escape(asked[2:])}\b").search
        about = [name for name, clause in said.items() if len(asked) >= _LEAST_TOPIC and is_topic(clause)]
        return f" (did you mean {about[0]}, {said[about[0]]}?)" if len(about) == 1 else ""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Raise instead of printing usage.

        Raises
        ------
        BadInputError
            Always.
        """
        # argparse repeats whole arguments, whatever is in them.
        message = cut(" ".join(map(cut, message.split())), _LONGEST_MESSAGE)
        raise BadInputError(f"{self.command}: {message}; see `{USUAL} {self.command} --help`")


def make_parser(command: str, description: str, epilog: str) -> Parser:
    """Make a command's parser.

    Parameters
    ----------
    command : str
        Its name.
    description : str
        What it does.
    epilog : str
        Paragraphs, lists and examples, as `p2mperf.cli.help.filled` takes them.

    Returns
    -------
    Parser
    """
    parser = Parser(
        prog=f"{program()} {command}",
        description=description,
        epilog=epilog,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.command = command
    return parser


def add_repeated(parser: argparse.ArgumentParser, option: str, text: str, metavar: str = "NAME") -> None:
    """Add an option that may be given several times; without it the list is empty.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Where to.
    option : str
        Its name, dashes included.
    text, metavar : str
        Help, and what stands for the value there.
    """
    parser.add_argument(option, action="append", default=[], metavar=metavar, help=text)


def add_design_and_guest(parser: argparse.ArgumentParser) -> None:
    """Add ``--design``, ``--guest`` and what describes a guest by size."""
    parser.add_argument(
        "--design", required=True, metavar="NAME", help="pv-tree, pv-linear ...; `list designs` has all"
    )
    parser.add_argument(
        "--guest", metavar="NAME", help="as results call it: a preset, dom0-64-e820, or pv-64-8g"
    )
    parser.add_argument("--size", metavar="SIZE", help="instead of a name: a guest with nothing but RAM")
    parser.add_argument("--geometry", metavar="NAME", help="format for --size: hap-pae, pv32, ...; see below")
    parser.add_argument("--entry-bits", type=int, choices=(32, 64), help="or its width: 64, if there is such")
    parser.add_argument("--seed", type=int, default=1, help="seed of the machine's layout")
    parser.add_argument(
        "--above", choices=("identity", "invalid"), default="identity", help="what frames above the map read"
    )


def with_geometries(epilog: str) -> str:
    """Name all geometries where help has a place for them.

    Parameters
    ----------
    epilog : str
        With ``{geometries}`` in it.
    """
    from p2mperf.families import families

    return epilog.format(geometries="; ".join(", ".join(each.geometries) for each in families().values()))


def require_source(name: str, shipped: Collection[str]) -> None:
    """Refuse what is neither a file nor shipped, where it is nearly the name of what is shipped.

    Parameters
    ----------
    name : str
        What somebody named; a file that is not there and has another name is for who reads it to refuse.
    shipped : collection of str
        Names of what comes with p2mperf.

    Raises
    ------
    BadInputError
        With the name that was probably meant.
    """
    names = {**{each.removeprefix("shipped-"): each for each in shipped}, **{each: each for each in shipped}}
    if name in shipped or "\0" in name or os.path.lexists(name):
        return
    if near := get_close_matches(cut(name), names, n=1, cutoff=_NEAR):
        raise BadInputError(
            f"there is no {shown(name)}: did you mean {names[near[0]]}, which comes with p2mperf?"
        )


def build_design(arguments: argparse.Namespace) -> Design:
    """Build what ``--design`` and ``--guest`` name.

    Returns
    -------
    Design
        A context manager.

    Raises
    ------
    BadInputError
        For unknown names, when not exactly one of ``--guest`` and ``--size`` is given, or for a geometry that
        the design's guests do not have.
    """
    from p2mperf.api import build
    from p2mperf.designs import find
    from p2mperf.families import find_family, geometries_of
    from p2mperf.guests.geometries import choose_geometry
    from p2mperf.guests.guest import Guest

    if bool(arguments.guest) == bool(arguments.size):
        raise BadInputError("name one guest: either --guest NAME or --size SIZE")
    if arguments.guest and arguments.geometry:
        raise BadInputError(f"--geometry is about --size: {cut(arguments.guest)} has a geometry of its own")
    family = find_family(find(arguments.design).family)
    if arguments.guest:
        guest = Guest.named(arguments.guest, seed=arguments.seed)
    else:
        if arguments.geometry:
            geometry = choose_geometry(arguments.geometry, family.geometries, arguments.entry_bits)
        else:
            geometry = (*geometries_of(family, arguments.entry_bits), *family.geometries)[0]
        guest = Guest.plain(arguments.size, geometry=geometry, seed=arguments.seed)
    name: str = arguments.design
    if reason := find(name).out_of_reach(guest):
        say(f"{name} {reason}")
    options = {} if arguments.above == "identity" else {"above": arguments.above}
    return build(name, guest, **options)
