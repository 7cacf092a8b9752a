"""Write environment.yml for conda users from pyproject.toml, the one place where requirements stand.

Run it after changing a requirement: ``python tools/environment.py``.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Written by tools/environment.py from pyproject.toml: change that, then run the tool.
name: p2mperf
channels:
  - conda-forge
dependencies:
"""
# pip adds p2mperf itself from the checkout; what it stands on is there by then.
FOOTER = """\
  - pip
  - pip:
      - --editable .
"""
PLAIN_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+(>=[0-9.]+)?")


def requirements(project: dict[str, Any]) -> list[str]:
    """Everything a user of the package and of its notebooks needs, Python first.

    Parameters
    ----------
    project : dict
        The ``[project]`` table of pyproject.toml.

    Returns
    -------
    list of str
        Requirements as ``name>=version``, sorted by name.

    Raises
    ------
    ValueError
        When a requirement has an extra or a marker, which conda does not read.
    """
    names = {*project["dependencies"], *project["optional-dependencies"]["notebook"]}
    for name in names:
        if not PLAIN_REQUIREMENT.fullmatch(name):
            raise ValueError(f"{name!r} in pyproject.toml is more than a name and a lower bound")
    return [f"python{project['requires-python']}", *sorted(names)]


def environment(project: dict[str, Any]) -> str:
    """Text of environment.yml.

    Parameters
    ----------
    project : dict
        The ``[project]`` table of pyproject.toml.

    Returns
    -------
    str
        The whole file.
    """
    return HEADER + "".join(f"  - {requirement}\n" for requirement in requirements(project)) + FOOTER


if __name__ == "__main__":
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (ROOT / "environment.yml").write_text(environment(pyproject["project"]))
