"""Another package is installed and broken: it stops nobody who does not ask for what it offers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from sweeping import Listener, Units, small_plan

from p2mperf import plugins
from p2mperf.cli import main
from p2mperf.designs import find
from p2mperf.errors import PluginError
from p2mperf.families import find_family
from p2mperf.figures import figure
from p2mperf.figures.spec import FigureSpec
from p2mperf.guests.geometries import find_geometry
from p2mperf.plugins import foreign, installed, load, said_by
from p2mperf.provenance import surroundings_hash
from p2mperf.results.journal import Journal
from p2mperf.study.executors import local
from p2mperf.study.sweep import sweep

CHECKOUT = Path(__file__).resolve().parents[2]
GROUPS = ("designs", "families", "geometries", "operations", "figures", "limits")
# What stands in each module of the package, and what is said of it.
FAULTS = {
    "missing": (
        "from nowhere_at_all import Mine\n",
        "No module named 'nowhere_at_all' (ModuleNotFoundError)",
    ),
    "raising": (
        "raise RuntimeError('the licence\\nhas run out')\n",
        "the licence has run out (RuntimeError)",
    ),
    "ending": ("import sys\nsys.exit(0)\n", "0 (SystemExit)"),
    "leaving": ("class Away(BaseException): pass\nraise Away\n", "which cannot be used: Away"),
    "unreadable": ("def Mine(:\n", "(SyntaxError)"),
    "empty": ("", "has no attribute 'Mine' (AttributeError)"),
    "function": ("def Mine(): pass\n", "which is no "),
    "stranger": ("class Mine: pass\n", "which is no "),
    "hostile": (
        "class Mine:\n    @property\n    def __class__(self): raise OSError('go away')\nMine = Mine()\n",
        "",
    ),
}
DESIGN_FAULTS = {
    "unfinished": ("from p2mperf.designs.base import Design\nclass Mine(Design): family = 'pv'\n", "define"),
    "homeless": (
        "from p2mperf.designs.pv.tree import PvTree\nclass Mine(PvTree): family = ''\n",
        "says no family",
    ),
    "foreigner": (
        "from p2mperf.designs.pv.tree import PvTree\nclass Mine(PvTree): family = 'mars'\n",
        "says a family that there is not",
    ),
    "senseless": (
        "from p2mperf.designs.pv.tree import PvTree\nclass Mine(PvTree): family = ['pv']\n",
        "says a family that there is not",
    ),
    "guessing": (
        "from p2mperf.designs.pv.tree import PvTree\nclass Mine(PvTree):\n"
        "    @classmethod\n    def predict_footprint(cls, guest, **options): raise KeyError('pages')\n",
        "(KeyError)",
    ),
}


def install(site: Path, name: str, modules: dict[str, str], entry_points: str) -> None:
    package, metadata = site / name, site / f"{name}-1.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").touch()
    for module, source in modules.items():
        (package / f"{module}.py").write_text(source)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(entry_points)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a package that offers broken things of every kind."""
    site = tmp_path_factory.mktemp("site")
    everywhere = {module: source for module, (source, _) in FAULTS.items()}
    designs = {module: source for module, (source, _) in DESIGN_FAULTS.items()}
    lines = []
    for group in GROUPS:
        names = {**everywhere, **designs} if group == "designs" else everywhere
        lines += [f"[p2mperf.{group}]", *(f"{name} = broken_things.{name}:Mine" for name in names)]
    lines += [
        "[p2mperf.designs]",
        "nameless =",
        "relative = .here:Mine",
        "odd = 1 2 3",
        "built-in = sys:exit",
    ]
    install(site, "broken_things", {**everywhere, **designs}, "\n".join(lines) + "\n")
    (site / "broken_things" / ".#lock.py").symlink_to("nobody@nowhere")  # as an editor leaves it
    os.mkfifo(site / "broken_things" / "pipe.py")
    return site


@pytest.fixture
def installed_here(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    plugins.offered.cache_clear()
    yield
    plugins.offered.cache_clear()


def in_a_process(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, site)))},
        capture_output=True,
        text=True,
        cwd=site,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("name", [*FAULTS, *DESIGN_FAULTS, "nameless", "relative", "odd", "built-in"])
def test_a_design_asked_for_by_name_is_refused_in_a_sentence(
    installed_here: None, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["sweep", "--size", "16M", "--design", name, "--dry-run"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"design {name} is declared as " in err
    assert {**FAULTS, **DESIGN_FAULTS}.get(name, ("", ""))[1] in err


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("sweep", "--dry-run", "--size", "16M", "--operation"),
        ("plot",),
        ("limits", "--guest-memory", "1G", "--without"),
    ],
    ids=["operation", "figure", "limit"],
)
def test_so_are_operations_figures_and_limits(
    installed_here: None, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], name: str
) -> None:
    assert main([*arguments, name]) == 2
    assert f" {name} is declared as broken_things.{name}:Mine" in capsys.readouterr().err


@pytest.mark.parametrize("name", FAULTS)
def test_so_are_families_and_geometries(installed_here: None, name: str) -> None:
    for what, find_one in (("family", find_family), ("geometry", find_geometry)):
        with pytest.raises(PluginError, match=f"^{what} {name} is declared as broken_things.{name}:Mine"):
            find_one(name)


def test_nobody_else_is_stopped(site: Path) -> None:
    done = in_a_process(site, "-m", "p2mperf", "sweep", "--plan", "quick", "--size", "16M", "--dry-run")
    assert "plan quick" in done.stdout
    for name in FAULTS:
        for what in ("design", "family", "geometry", "operation"):
            assert done.stderr.count(f"{what} {name} is declared as ") == 1, (what, name)
    assert done.stderr.count("\n") == done.stderr.count(": left out\n")
    done = in_a_process(site, "-m", "p2mperf", "lookup", "--design", "pv-tree", "--size", "16M", "0")
    assert done.stderr == ""


def test_names_are_listed_without_importing_what_is_offered(site: Path) -> None:
    code = "import sys, p2mperf; print(*p2mperf.designs()); print('broken_things.guessing' in sys.modules)"
    names, imported = in_a_process(site, "-c", code).stdout.splitlines()
    assert {"pv-tree", "missing", "ending"} <= set(names.split())
    assert imported == "False"


def test_the_journal_keeps_what_was_raised(
    installed_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "child", Units())
    listener = Listener()
    path = sweep(small_plan("16M"), tmp_path / "results", progress=listener.progress)
    kept = Journal.read(path).run["left_out"]
    assert [sentence for sentence in listener.said if sentence.endswith(": left out")] == [
        f"{reason}: left out" for reason in kept
    ]
    raised = "design raising is declared as broken_things.raising:Mine, which cannot be used: "
    assert f"{raised}the licence has run out (RuntimeError)" in kept


def test_a_run_without_such_a_package_keeps_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "child", Units())
    assert "left_out" not in Journal.read(sweep(small_plan("16M"), tmp_path / "results")).run


def test_limits_are_left_out_with_a_sentence(
    installed_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["limits", "--guest-memory", "1G"]) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == said.count(": left out\n") == len(FAULTS)


BUILDS_BADLY = """
from p2mperf.designs.pv.tree import PvTree

class Mine(PvTree):
    name = "bad-builder"

    def __init__(self, *arguments, **options):
        raise LookupError("no such table")
"""


def test_what_a_unit_raised_stands_in_the_journal(tmp_path: Path) -> None:
    offers = "[p2mperf.designs]\nbad-builder = bad_builder.one:Mine\n"
    install(tmp_path, "bad_builder", {"one": BUILDS_BADLY}, offers)
    what = "--size 16M --stream uniform --operation latency --replicates 1 --design bad-builder"
    done = subprocess.run(
        [sys.executable, "-m", "p2mperf", "sweep", "--plan", "quick", *what.split(), "-q"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, tmp_path)))},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    (path,) = (tmp_path / "results").glob("*.jsonl")
    errors = {cell["error"] for cell, _ in Journal.read(path).cells_with_units()}
    assert errors == {"no such table (LookupError)"}


# ---- the one door ----


@pytest.mark.parametrize("content", [b"[p2mperf.designs]\nno equals sign\n", b"\xff"], ids=["text", "bytes"])
def test_one_package_without_readable_metadata_hides_no_other(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    install(tmp_path, "unreadable", {}, "")
    (tmp_path / "unreadable-1.dist-info" / "entry_points.txt").write_bytes(content)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path, str(site)])
    assert {"missing", "odd"} <= {point.name for point in installed("p2mperf.designs")}
    assert len(surroundings_hash()) == 8


def test_the_cause_is_carried(installed_here: None) -> None:
    for _ in range(2):  # the second time from what is remembered
        with pytest.raises(PluginError) as caught:
            load("thing", "ending", "broken_things.ending:Mine", lambda thing: "")
        assert isinstance(caught.value.__cause__, SystemExit)
        assert caught.value.exit_code == 2


def test_ctrl_c_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt), foreign("thing", "name", "module:Thing"):
        raise KeyboardInterrupt


def test_what_cannot_say_itself_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert said_by(Mute()) == "Mute"
    assert len(said_by(ValueError("x" * 10**6))) < 300


def test_a_figure_of_another_package_that_raises_is_its_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def data(frame: object) -> pd.DataFrame:
        raise KeyError("cost")

    spec = FigureSpec(name="toy", question="?", data=data, draw=lambda table, ax: None, measured=False)
    monkeypatch.setattr("p2mperf.figures.find", lambda name: spec)
    monkeypatch.setattr("p2mperf.figures.figures", lambda: {"toy": "another_package:FIGURE"})
    with pytest.raises(PluginError, match=r"which cannot be used: 'cost' \(KeyError\)"):
        figure("toy")


def test_a_fault_of_ours_still_surfaces_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "p2mperf.designs.pv.tree", None)
    with pytest.raises(ImportError):
        find("pv-tree")
