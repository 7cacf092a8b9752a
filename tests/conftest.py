"""What every test stands on: a hypothesis profile for the place it runs in, and no display."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
from sweeping import Units
from unskipped import pytest_runtest_makereport as pytest_runtest_makereport

import p2mperf
from p2mperf import plugins
from p2mperf.host import card
from p2mperf.host.watch import Snapshot
from p2mperf.memory.pool import PagePool
from p2mperf.study.executors import local
from p2mperf.units import HUGE_SIZE

# Figures are drawn to files; a child process started by a test inherits this.
os.environ.setdefault("MPLBACKEND", "Agg")
# Nobody reads the numbers of a test's sweeps: they need not wait for a sweep, nor for other tests.
os.environ["P2MPERF_LOCK"] = f"p2mperf.test.{os.getpid()}"
# Tests start hundreds of processes: each would compile the whole package to bytecode, where none may be kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Workers are told that a terminal has 80 columns, which no test has asked for, and there is no terminal.
os.environ.pop("COLUMNS", None)

# The first example of a test may compile a walk, so no example has a deadline.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_sessionstart() -> None:
    """Refuse an environment in which another package adds to p2mperf: tests are of what ships."""
    others = {
        package.name
        for package in distributions()
        if any(point.group.startswith("p2mperf.") for point in package.entry_points)
    }
    if others:
        names = " ".join(sorted(others))
        raise pytest.UsageError(f"tests are of what ships, and {names} adds to it: pip uninstall {names}")


@pytest.fixture
def offer_design(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    """Offers a class as design "mine"."""
    module = ModuleType("another_package")
    monkeypatch.setitem(sys.modules, "another_package", module)
    point = EntryPoint("mine", "another_package:Mine", "p2mperf.designs")
    monkeypatch.setattr(plugins, "offered", lambda group: (point,) if group == point.group else ())
    monkeypatch.setattr("p2mperf.designs.offered", plugins.offered)
    for kept in ("_unimportable", "_passed", "_refused"):
        monkeypatch.setattr(plugins, kept, {})
    return lambda kind: vars(module).update(Mine=kind)


@pytest.fixture
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is written to the checkout, and a sweep's signal handler ends with its test."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    assert not [name for name in os.listdir() if name.startswith(".")]


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Units:
    """Units of a sweep that are played, on a machine that is busy with nothing."""
    found = Units()
    monkeypatch.setattr(local, "child", found)
    monkeypatch.setattr(card, "snapshot", lambda root: Snapshot())
    return found


@pytest.fixture(scope="module")
def built() -> Iterator[Callable[[str, str], Any]]:
    """Builds a design of a preset guest, once a file."""
    kept: dict[tuple[str, str], Any] = {}

    def get(design: str, guest: str) -> Any:
        if (design, guest) not in kept:
            kept[design, guest] = p2mperf.build(design, guest)
        return kept[design, guest]

    yield get
    for p2m in kept.values():
        p2m.close()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Say in the summary of a run what a proof has counted."""
    told = request.node.user_properties  # which a worker's report brings with it
    return lambda counted: told.append(("counted", str(counted)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = terminalreporter.getreports("passed")
    if told := [counted for one in reports for name, counted in one.user_properties if name == "counted"]:
        terminalreporter.section("counted")
        terminalreporter.write_line("\n".join(told))


@pytest.fixture(scope="module")
def collapse() -> None:
    """Skip a test that needs 2 MiB pages where this kernel gives none."""
    with PagePool(1) as pool:
        if pool.direct_page_bytes != HUGE_SIZE:
            pytest.skip("this kernel does not collapse a memfd to 2 MiB pages (MADV_COLLAPSE, Linux 6.1)")
