"""How this program was called: whatever names a command names it so that it can be typed again.

All other rooms, and help texts, write ``python -m p2mperf COMMAND``. What the command line says itself passes
through `as_called`, which puts in its place what was really typed: ``./run``, ``p2mperf``, or Python with its
path.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

USUAL = "python -m p2mperf"
# Set by ./run to its own name, for the process that it becomes.
VARIABLE = "P2MPERF_CALLED_AS"


class _Called:
    """What was typed before the name of the command; the usual until the process has been looked at."""

    program = USUAL
    python = "python"


def look() -> None:
    """Find out how this process was called.

    The variable is taken out of the environment: what this process starts was not started by ./run.
    """
    program = _Called.program = called_as(sys.orig_argv, sys.argv[0], os.environ.pop(VARIABLE, ""))
    interpreter, is_module, _ = program.partition(" -m p2mperf")
    is_typed = is_module and shlex.split(interpreter)[:1] == sys.orig_argv[:1]
    _Called.python = interpreter if is_typed else shlex.quote(sys.executable)


def called_as(original: Sequence[str], script: str, by_run: str = "") -> str:
    """What somebody types to call the program as it was called.

    Parameters
    ----------
    original : sequence of str
        `sys.orig_argv`: the interpreter and all that it was given.
    script : str
        `sys.argv[0]`: a module's file, or a script.
    by_run : str
        Name of the shell script that started it; "" where none did.

    Returns
    -------
    str
        Quoted as a shell takes it.

    Examples
    --------
    >>> called_as([".venv/bin/python", "-m", "p2mperf", "sweep"], "/x/p2mperf/__main__.py")
    '.venv/bin/python -m p2mperf'
    >>> called_as(["python", "-m", "p2mperf", "sweep"], "/x/p2mperf/__main__.py", "../my tree/run")
    "'../my tree/run'"
    """
    if by_run:
        return shlex.quote(by_run)
    words = list(original)
    if "-m" in words and words[words.index("-m") + 1 :][:1] == ["p2mperf"]:
        return shlex.join(words[: words.index("-m") + 2])
    if Path(script).name == "p2mperf":
        found = shutil.which("p2mperf")
        return "p2mperf" if found and Path(found).resolve() == Path(script).resolve() else shlex.quote(script)
    return USUAL


def program() -> str:
    """What is typed before the name of a command."""
    return _Called.program


def is_run() -> bool:
    """Whether ./run of a checkout is what was typed."""
    return Path(shlex.split(program())[0]).name == "run"


def python() -> str:
    """What is typed to call the Python that runs this."""
    return _Called.python


def as_called(text: str) -> str:
    """Name the program in a text as it was called; where it is named so already it stays."""
    # What is named so already is matched first: a path before "python" would stand there twice.
    either = f"{re.escape(program())}|{re.escape(USUAL)}"
    return re.sub(either, lambda found: program(), text)
