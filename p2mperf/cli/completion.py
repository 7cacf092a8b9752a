"""`completion`: a script that lets a shell complete commands, options and names."""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

from p2mperf.cli import COMMANDS, OF_RUN, show
from p2mperf.cli.installing import install_line, require
from p2mperf.cli.invocation import is_run
from p2mperf.cli.list import KINDS
from p2mperf.cli.options import Parser, make_parser
from p2mperf.errors import known

_SHELLS = ("bash", "zsh", "tcsh")
_EPILOG = """\
The script is made by shtab, which the extra completion has: `{install}` installs it. It has the names in it
that options take, also those of other packages that are installed: make it anew when these change. {what}

examples:
  eval "$(python -m p2mperf completion bash)"
  python -m p2mperf completion bash > ~/.local/share/bash-completion/completions/{name}
  python -m p2mperf completion zsh > ~/.zfunc/_{name}
  python -m p2mperf completion tcsh > ~/.{name}.tcsh
"""
_WHAT = {
    "run": "What is completed is ./run, and what else is called run.",
    "p2mperf": "What is completed is p2mperf, which is short for `python -m p2mperf`: that is too many words "
    "for a shell.",
}
_FILES, _DIRECTORIES = ("FILE", "RESULT", "PATH"), ("DIR",)


def main(argv: list[str]) -> int:
    """Write the script on stdout."""
    arguments = command_parser().parse_args(argv)
    shell = known("shell", arguments.shell, _SHELLS)
    shtab = require("shtab", "completion")
    name = _name()
    script = shtab.complete(_whole_parser(shtab), shell)
    if shell == "tcsh":  # which looks for a command as it was typed, with its path
        script = script.replace(f"complete {name} ", f"complete {{{name},*/{name}}} ", 1)
    show.as_it_is(script)
    return 0


def _name() -> str:
    """The command that is completed, without its path."""
    return "run" if is_run() else "p2mperf"


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser(
        "completion",
        "Write a script that lets a shell complete commands, options and names.",
        _EPILOG.format(install=install_line("completion"), name=_name(), what=_WHAT[_name()]),
    )
    parser.add_argument("shell", metavar="SHELL", help=", ".join(_SHELLS))
    return parser


def _whole_parser(shtab: ModuleType) -> argparse.ArgumentParser:
    """All commands as one parser, whose values are known."""
    values = _values()
    whole = argparse.ArgumentParser(prog=_name())
    whole.add_argument("--version", action="store_true", help="which p2mperf this is")
    commands = whole.add_subparsers()
    for command, what in COMMANDS.items():
        own = import_module(f"p2mperf.cli.{command.replace('-', '_')}").command_parser()
        for action in own._actions:
            _know(action, values, shtab)
        commands.add_parser(command, help=what, description=what, parents=[own], add_help=False)
    for command, what in OF_RUN.items() if is_run() else ():
        commands.add_parser(command, help=what)
    return whole


def _values() -> dict[str, list[str]]:
    """Names that options and arguments take, by what parsers call these; verdicts of claims have blanks."""
    from p2mperf.analysis.claims.decided import CLAIMS, DOCUMENTS
    from p2mperf.cli.migrate import tracers
    from p2mperf.designs.backing import NAMES as BACKING_NAMES
    from p2mperf.designs.pv.scenarios import SCENARIOS
    from p2mperf.families import families, preambles
    from p2mperf.guests.geometries import geometries
    from p2mperf.measure.replay import CONDITIONS
    from p2mperf.migration.precopy import RULES
    from p2mperf.migration.writers import WRITERS
    from p2mperf.populating.policies import POLICIES
    from p2mperf.sizing.questions import QUESTIONS

    listed = ("guest", "design", "stream", "operation", "plan", "figure")
    return {
        **{what: list(KINDS[f"{what}s"].names()) for what in listed},
        "without": list(KINDS["limits"].names()),
        "backing": list(BACKING_NAMES),
        "claim": list(CLAIMS),
        "condition": list(CONDITIONS),
        "document": list(DOCUMENTS),
        "family": list(families()),
        "geometry": list(geometries()),
        "kind": list(KINDS),
        "policy": list(POLICIES),
        "preamble": list(preambles()),
        "question": ["all", *QUESTIONS],
        "rule": list(RULES),
        "scenario": ["all", *SCENARIOS],
        "shell": list(_SHELLS),
        "tracer": list(tracers()),
        "writer": list(WRITERS),
    }


def _know(action: argparse.Action, values: dict[str, list[str]], shtab: ModuleType) -> None:
    """Let an option or argument know what its value may be."""
    if action.nargs == 0 or action.choices is not None:
        return
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if "|" in metavar:
        # zsh reads a script's "|" and ":" itself, the latter in values too.
        action.metavar = None
        action.choices = None if ":" in metavar else metavar.split("|")
    elif action.dest in values:
        action.choices = values[action.dest]
    elif metavar in _FILES:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif metavar in _DIRECTORIES:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
