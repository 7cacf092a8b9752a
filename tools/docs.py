"""Make the documentation site: ``python tools/docs.py``; with ``linkcheck`` ask where outside links lead.

``./run docs`` installs what this needs (the dependency group ``docs``) and runs it. Pages and links inside of
the site are checked while it is made: a warning is an error. ``linkcheck`` alone needs a network.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "docs" / "_build"
BUILDERS = ("html", "linkcheck")
NEEDED = {"furo": "furo", "myst_nb": "myst-nb", "sphinx": "Sphinx"}


def missing() -> list[str]:
    """Name the packages that are needed and not installed."""
    return [name for module, name in NEEDED.items() if find_spec(module) is None]


def arguments(builder: str) -> list[str]:
    """What Sphinx is called with.

    Parameters
    ----------
    builder : str
        One of `BUILDERS`.

    Returns
    -------
    list of str
        Arguments of ``sphinx-build``.
    """
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--jobs", "auto"]
    places = ["-c", str(ROOT / "docs"), "-d", str(BUILT / "doctrees"), str(ROOT), str(BUILT / builder)]
    return ["-b", builder, *options, *places]


def main(argv: Sequence[str]) -> int:
    """Make the site.

    Parameters
    ----------
    argv : sequence of str
        Nothing, or one of `BUILDERS`.

    Returns
    -------
    int
        0, or 1 where something is wrong with a page or a link; 2 of a command that cannot be done.
    """
    builder = argv[0] if argv else "html"
    if len(argv) > 1 or builder not in BUILDERS:
        print(
            f"docs: takes {' or '.join(BUILDERS)}, or nothing, and was given {' '.join(argv)}",
            file=sys.stderr,
        )
        return 2
    if names := missing():
        are = "is" if len(names) == 1 else "are"
        print(f"docs: {', '.join(names)} {are} not installed here; ./run docs installs it", file=sys.stderr)
        return 2
    from sphinx.cmd.build import main as build

    if build(arguments(builder)) != 0:
        print("docs: the lines above say what is wrong", file=sys.stderr)
        return 1
    shown = BUILT / "html" / "index.html" if builder == "html" else BUILT / "linkcheck" / "output.txt"
    print(shown.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
