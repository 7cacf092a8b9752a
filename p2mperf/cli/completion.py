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
The script is made by shtab, which the extra completion has: `{install}` installs it. It has all names in it,
also those of other packages that are installed: make it anew when these change. `python -m p2mperf` is not
completed, but its short form p2mperf is, and ./run where this is started by it.

examples:
  eval "$(python -m p2mperf completion bash)"
  python -m p2mperf completion bash > ~/.local/share/bash-completion/completions/p2mperf
  python -m p2mperf completion zsh > ~/.zfunc/_p2mperf
"""
# What an option or argument takes, by what the parser calls its value: a name of one kind, or a path.
_KIND_OF = {
    "guest": "guests",
    "design": "designs",
    "stream": "streams",
    "operation": "operations",
    "plan": "plans",
    "figure": "figures",
    "without": "limits",
}
_FILES, _DIRECTORIES = ("FILE", "RESULT", "PATH"), ("DIR",)


def main(argv: list[str]) -> int:
    """Write the script on stdout."""
    arguments = command_parser().parse_args(argv)
    shell = known("shell", arguments.shell, _SHELLS)
    shtab = require("shtab", "completion")
    show.as_it_is(shtab.complete(_whole_parser(shtab), shell))
    return 0


def command_parser() -> Parser:
    """Make the parser of this command."""
    parser = make_parser(
        "completion",
        "Write a script that lets a shell complete commands, options and names.",
        _EPILOG.format(install=install_line("completion")),
    )
    parser.add_argument("shell", metavar="SHELL", help=", ".join(_SHELLS))
    return parser


def _whole_parser(shtab: ModuleType) -> argparse.ArgumentParser:
    """All commands as one parser, whose values are known."""
    names = {kind: list(each.names()) for kind, each in KINDS.items()}
    whole = argparse.ArgumentParser(prog="run" if is_run() else "p2mperf")
    whole.add_argument("--version", action="store_true", help="which p2mperf this is")
    commands = whole.add_subparsers()
    for command, what in COMMANDS.items():
        own = import_module(f"p2mperf.cli.{command.replace('-', '_')}").command_parser()
        for action in own._actions:
            _know(action, names, shtab)
        commands.add_parser(command, help=what, description=what, parents=[own], add_help=False)
    for command, what in OF_RUN.items() if is_run() else ():
        commands.add_parser(command, help=what)
    return whole


def _know(action: argparse.Action, names: dict[str, list[str]], shtab: ModuleType) -> None:
    """Let an option or argument know what its value may be."""
    if action.nargs == 0 or action.choices is not None:
        return
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if kind := _KIND_OF.get(action.dest):
        action.choices = names[kind]
    elif action.dest == "kind":
        action.choices = list(KINDS)
    elif action.dest == "shell":
        action.choices = _SHELLS
    elif metavar in _FILES:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif metavar in _DIRECTORIES:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
