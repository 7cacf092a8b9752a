"""The command line: ``python -m p2mperf COMMAND``; one file a command, talk on stderr, data on stdout.

Each file has ``main(argv) -> int``, which takes the words after the command's name and gives the exit code:
0 where its docstring says nothing else; and ``command_parser()``, which makes the parser of these words. What
goes wrong it raises as a `P2mperfError`, which becomes one sentence and an exit code here.
"""

from __future__ import annotations

import shlex
import sys
import warnings
from importlib import import_module
from typing import TextIO

from p2mperf.cli import process
from p2mperf.cli.installing import CHECKOUT, in_checkout
from p2mperf.cli.invocation import as_called, is_run, program
from p2mperf.errors import BadInputError, DamagedResultsWarning, P2mperfError, known
from p2mperf.progress import say

COMMANDS = {
    "sweep": "measure every design over a grid of guests, streams and operations",
    "plot": "draw the figures from results, or from the shipped data",
    "list": "say what there is: guests, designs, streams, operations, plans, figures, limits",
    "compare": "compare two results, and fail on a regression",
    "dump": "write a guest's p2m as runs of one kind",
    "lookup": "translate frames and show the path taken",
    "life": "let a guest be ballooned, saved and restored, or given a device, and audit every step",
    "limits": "say how large the list may be, and which limit binds",
    "populate": "give a HAP guest its memory, and show its leaves, tables and failed extents",
    "migrate": "move an ARM guest: precopy rounds, dirty pages traced through real tables",
    "replay": "replay what a recorded build asks of a p2m through designs, tight, flushed and cold",
    "record": "run a command and record which pages it asks the kernel for",
    "trace": "say what a recording is, cut a sample of it, or recover one",
    "kernel-build": "say whether the p2m explains the seconds of the 2014 commit's kernel build",
    "claims": "say what became of every claim of the source documents",
    "report": "write an HTML report on results",
    "info": "show the machine card",
    "doctor": "check what this machine needs for good measurements",
    "completion": "write what lets a shell complete commands, options and names",
}
# What ./run of a checkout does itself.
OF_RUN = {
    "test": "check code and types, then run all tests",
    "lab": "open the notebooks in JupyterLab",
    "docs": "make the documentation site",
    "browser": "test notebooks, report and site in Chromium",
}

_USAGE = """usage: {program} COMMAND [options]

Xen's guest-frame translation tables, built for real and measured honestly.

commands:
{commands}

examples:
  python -m p2mperf sweep --plan quick
  python -m p2mperf list guests
  python -m p2mperf lookup --design pv-linear --guest dom0-64-e820 263423 263424
  python -m p2mperf limits --guest-memory 400G --entry-bits 64

`python -m p2mperf COMMAND --help` tells a command's options; --version tells which p2mperf this is.
"""


def _usage() -> str:
    from p2mperf.cli.help import columns, filled

    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {what}" for name, what in {**COMMANDS, **_of_run()}.items())
    return filled(_USAGE.format(program=program(), commands=commands), columns()) + "\n"


def main(argv: list[str]) -> int:
    """Run one command.

    Parameters
    ----------
    argv : list of str
        Arguments after the program's name.

    Returns
    -------
    int
        Exit code: 0 ok, 1 failed, 2 usage or bad input, 3 regression found, 4 nothing fits this machine,
        130 interrupted.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        from p2mperf import __version__

        sys.stdout.write(f"p2mperf {__version__}\n")
        return 0
    try:
        command = _known(argv[0])
        process.require_address_space()
        with warnings.catch_warnings():
            warnings.filterwarnings("default", category=DamagedResultsWarning)
            warnings.showwarning = _say_warning
            return int(import_module(f"p2mperf.cli.{command.replace('-', '_')}").main(argv[1:]))
    except P2mperfError as error:
        say(as_called(str(error)))
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\np2mperf: interrupted\n")
        return 130


def _of_run() -> dict[str, str]:
    """What can be typed beside `COMMANDS`, as this process was called."""
    return OF_RUN if is_run() else {}


def _known(command: str) -> str:
    if command in OF_RUN:
        where = shlex.quote(str(CHECKOUT / "run")) if in_checkout() else "./run"
        raise BadInputError(f"{command} is a command of ./run, in a checkout of p2mperf: `{where} {command}`")
    return known("command", command, (*COMMANDS, *_of_run()))


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Tell what is warned of as all else is told: in one line, without the line of code."""
    kind = "" if issubclass(category, DamagedResultsWarning) else f"{category.__name__}: "
    say(as_called(" ".join(f"{kind}{message}".split())))


def entry() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(process.run(main, sys.argv[1:]))
