"""What is not installed, and the line that installs it."""

from __future__ import annotations

import re
import shlex
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from p2mperf.cli.invocation import python
from p2mperf.errors import P2mperfError


class MissingPackageError(P2mperfError):
    """What was asked for needs a package that is not installed; the message has the line that installs it."""

    exit_code = 2


CHECKOUT = Path(__file__).resolve().parents[2]


def in_checkout() -> bool:
    """Whether this package runs in its own checkout, which has the notebooks and ./run."""
    return (CHECKOUT / "run").is_file() and (CHECKOUT / "pyproject.toml").is_file()


def install_line(extra: str = "") -> str:
    """Name the command that installs what is missing.

    Parameters
    ----------
    extra : str
        The extra that has it; "" for what p2mperf cannot do without.

    Returns
    -------
    str
        A line for a shell, for the Python that runs this, and right in any directory.
    """
    extras = f"[{extra}]" * bool(extra)
    if not in_checkout():
        return f"{python()} -m pip install {shlex.quote(f'p2mperf{extras}')}"
    where = "." if Path.cwd() == CHECKOUT else str(CHECKOUT)
    return f"{python()} -m pip install --editable {shlex.quote(where + extras)}"


def require(module: str, extra: str) -> ModuleType:
    """Import a module that an extra has.

    Raises
    ------
    MissingPackageError
        When it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackageError(missing(error.name or module, extra)) from error


def missing(module: str, extra: str = "") -> str:
    """Say in one sentence that a module is missing, and what installs it."""
    return f"{module.partition('.')[0]} is not installed: `{install_line(extra)}` installs it"


def missing_dependency(error: ImportError) -> str:
    """Say which package is missing, where an import failed for want of one; "" where it did not."""
    name = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or name in ("", "p2mperf", *sys.stdlib_module_names):
        return ""
    return missing(name, extra_of(name))


def extra_of(package: str) -> str:
    """Name the extra of p2mperf that has a package; "" where none has, or p2mperf itself is not installed.

    Examples
    --------
    >>> extra_of("papermill"), extra_of("numba")
    ('notebook', '')
    """
    from importlib.metadata import PackageNotFoundError, requires  # slow to import, and mostly not needed

    try:
        lines = requires("p2mperf") or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        if extra := re.fullmatch(rf"{re.escape(package)}\b.*;.*extra == ['\"](.+)['\"]", line, re.IGNORECASE):
            return extra[1]
    return ""
