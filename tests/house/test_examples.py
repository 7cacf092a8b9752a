"""What the package in examples/ adds is listed, built, looked up, swept, drawn and compared as ours is.

It is there as an installer leaves it, as files and metadata in a directory on the path; p2mperf runs in
processes of its own, none of which imports a module of our families.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest

import p2mperf

CHECKOUT = Path(p2mperf.__file__).resolve().parents[1]
DESIGNS = ("toy-array", "toy-pages", "toy-hashed")
OTHERS = ("p2mperf.designs.pv.", "p2mperf.designs.arm.")
EXAMPLES = CHECKOUT / "examples"
# What a command has imported when it is done.
RUN = """\
import sys
import textwrap
from p2mperf.cli import main
code = main(sys.argv[1:])
others = [name for name in sys.modules if name.startswith(("p2mperf.designs.pv.", "p2mperf.designs.arm."))]
assert not others, others
sys.exit(code)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installer makes of examples/, without asking a network for what builds it."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text())["project"]
    shutil.copytree(
        EXAMPLES / "toy_family", site / "toy_family", ignore=shutil.ignore_patterns("__pycache__")
    )
    metadata = site / f"toy_family-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return site


@pytest.mark.slow
def test_an_installer_makes_the_same_of_it(site: Path, tmp_path: Path) -> None:
    into = ["--quiet", "--no-deps", "--target", str(tmp_path), str(EXAMPLES)]
    subprocess.run([sys.executable, "-m", "pip", "install", *into], check=True)
    assert files(tmp_path / "toy_family") == files(site / "toy_family")
    installed, ours = (
        {(point.group, point.name, point.value) for point in PathDistribution(found).entry_points}
        for path in (tmp_path, site)
        for found in path.glob("*.dist-info")
    )
    assert installed == ours


def files(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.glob("*.py")}


# Imported by each process whose path begins with the site: a unit tells at its end what it had imported.
NOTE_OF_UNITS = """\
import os, sys

end = os._exit

def note_and_end(code):
    with open(os.environ["TOY_UNITS"], "a") as stream:
        print(*sorted(sys.modules), file=stream)
    end(code)

if "p2mperf.study.fork_server" in sys.orig_argv and "TOY_UNITS" in os.environ:
    os._exit = note_and_end
"""


@pytest.fixture(scope="module")
def units(site: Path) -> Path:
    """Where units of this family's sweep say what they had imported, a line each."""
    (site / "sitecustomize.py").write_text(NOTE_OF_UNITS)
    return site / "units"


@pytest.fixture(scope="module")
def results(site: Path, units: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny sweep of the plan's own guest of this family."""
    out = tmp_path_factory.mktemp("toys") / "results"
    arguments = ["--operation", "latency", "--operation", "stamp", "--stream", "uniform", "--replicates", "2"]
    designs = [word for name in DESIGNS for word in ("--design", name)]
    sweep = ("sweep", "--plan", "quick", *designs, *arguments, "--out", str(out), "-q", "--json")
    python(site, "-c", RUN, *sweep, TOY_UNITS=str(units))
    return out


# Loading compiled code imports the types that its index names: a cache that a sweep of another family has
# filled brings that family. So there is one of toys alone.
def python(site: Path, *arguments: str, **variables: str) -> str:
    path = os.pathsep.join(map(str, (CHECKOUT, site)))
    environment = {**os.environ, "PYTHONPATH": path, "P2MPERF_CACHE_DIR": str(site / "cache"), **variables}
    result = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=site, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def command(site: Path, *arguments: str) -> str:
    return python(site, "-c", RUN, *arguments)


def shown(site: Path, code: str, **variables: str) -> Any:
    return json.loads(python(site, "-c", f"import json, p2mperf\n{code}", **variables))


def test_it_is_listed(site: Path) -> None:
    # Those of its family's declaration, and one that has an entry point of its own.
    assert shown(site, "print(json.dumps(p2mperf.designs()))")[-3:] == [
        "toy-pages",
        "toy-array",
        "toy-hashed",
    ]
    loaded = shown(site, "import sys; p2mperf.designs(); print(json.dumps(list(sys.modules)))")
    assert not {"toy_family.designs", "toy_family.hashed"} & set(loaded)


def test_they_are_built_and_audited(site: Path) -> None:
    code = f"""
import numpy as np
guest = p2mperf.Guest.plain("2M", geometry="toy64")
told = []
for name in {DESIGNS!r}:
    with p2mperf.build(name, guest) as p2m:
        p2m.audit()
        frames = np.arange(262144, 262144 + 512)
        counted, predicted = p2m.footprint(), p2m.predict_footprint(guest)
        told.append([
            bool((p2m.lookup(frames) == guest.entries(frames.astype(np.uint64))).all()),
            (counted.pages, counted.memory_bytes) == (predicted.pages, predicted.memory_bytes),
            p2m.lookup([0, 262143, 262144 + 512, 2**64 - 1]).tolist(),
        ])
print(json.dumps(told))
"""
    # RAM is the 512 frames from 1 GiB = frame 262144 on: below and above them nothing is.
    assert shown(site, code) == [[True, True, [0, 0, 0, 0]]] * len(DESIGNS)


def test_what_is_wrong_is_seen(site: Path) -> None:
    code = """
from p2mperf.errors import AuditError, BadInputError
guest = p2mperf.Guest.plain("2M", geometry="toy64")
said = []
for name in ("toy-array", "toy-hashed"):
    with p2mperf.build(name, guest) as p2m:
        words = p2m.words if name == "toy-array" else p2m.slots
        words[words > 0] += 2
        try:
            p2m.audit()
        except AuditError as error:
            said.append(str(error))
try:
    p2mperf.build("toy-hashed", p2mperf.Guest.plain("2M"))
except BadInputError as error:
    said.append(str(error))
print(json.dumps(said))
"""
    assert shown(site, code) == [
        "toy-array of toy-2m: an entry is another than the map's",
        "toy-hashed of toy-2m: slots are not those of its frames",
        "toy-hashed is for guests of geometry toy64, not pv64",
    ]


def test_a_lookup_shows_its_way(site: Path) -> None:
    found = json.loads(
        command(site, "lookup", "--design", "toy-pages", "--size", "8M", "--json", str(262144 + 513))
    )
    # the second entry of the second page, behind the second of the root
    assert [(step["level"], step["index"]) for step in found[0]["path"]] == [("root", 1), ("leaf", 1)]


def test_it_is_swept(site: Path, results: Path) -> None:
    frame = p2mperf.load(results)
    assert set(frame["design"]) >= set(DESIGNS)
    assert set(frame["guest"]) == {"toy-8m"}
    assert set(frame["family"]) == {"toy"}
    assert set(frame["operation"]) == {"latency", "stamp"}
    assert set(frame["status"]) == {"done"}
    assert (frame["elapsed_ns"] > 0).all()


def test_its_units_import_nothing_of_other_families(results: Path, units: Path) -> None:
    imported = [line.split() for line in units.read_text().splitlines()]
    assert len(imported) == 2  # replicates
    for names in imported:
        assert "toy_family.designs" in names
        assert not [name for name in names if name.startswith(OTHERS)]


def test_a_sweep_of_all_families_measures_it_too(site: Path, results: Path, tmp_path: Path) -> None:
    assert results.is_dir()  # so that what is compiled of this family is there, and is not compiled again
    cache = shutil.copytree(site / "cache", tmp_path / "cache")
    out = tmp_path / "results"
    code = f"""
from dataclasses import replace
from p2mperf.measure.settings import Settings
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan
from p2mperf.study.specs import GuestSpec
from p2mperf.study.sweep import sweep
plan = narrow(make_plan("quick"), operations=["latency"], streams=["uniform"], n_replicates=1)
small = [guest for guest in plan.guests if guest.n_bytes <= 8 << 20]
small += [GuestSpec.plain("16M", shape) for shape in ("pv64", "pv32", "lpae")]
moment = Settings(2, 1, target_ns=10_000, min_lookups=128, max_lookups=128, control=False, warm_up_ns=0)
path = sweep(replace(plan, guests=tuple(small), settings=moment), {str(out)!r})
frame = p2mperf.load(path)
print(frame[["family", "guest", "status"]].drop_duplicates().to_json(orient="values"))
"""
    assert sorted(shown(site, code, P2MPERF_CACHE_DIR=str(cache))) == [
        ["arm", "arm-16m", "done"],
        ["pv", "pv-32-16m", "done"],
        ["pv", "pv-64-16m", "done"],
        ["toy", "toy-8m", "done"],
    ]


def test_it_is_compared_with_its_reference(results: Path, site: Path) -> None:
    rows = shown(
        site,
        f"frame = p2mperf.summary(p2mperf.load({str(results)!r}))\n"
        "print(frame[['operation', 'design', 'reference']].to_json(orient='records'))",
    )
    pairs = {(row["operation"], row["design"], row["reference"]) for row in rows}
    # The hash cannot be written, so that it is stamped by nobody.
    assert {pair for pair in pairs if pair[1] != pair[2]} == {
        ("latency", "toy-pages", "toy-array"),
        ("latency", "toy-hashed", "toy-array"),
        ("stamp", "toy-pages", "toy-array"),
    }
    # A sweep compared with itself has not become slower.
    assert "toy-pages" in command(site, "compare", str(results), str(results))


def test_its_figure_is_drawn(site: Path, results: Path, tmp_path: Path) -> None:
    command(site, "plot", "toy-costs", "--results", str(results), "--out", str(tmp_path))
    rows = shown(
        site,
        "from p2mperf.figures import table\n"
        f"print(table('toy-costs', p2mperf.load({str(results)!r})).to_json(orient='records'))",
    )
    # two operations of two designs, and one of the one that cannot be written
    expected = {("latency", design) for design in DESIGNS} | {("stamp", design) for design in DESIGNS[:2]}
    assert {(row["operation"], row["design"]) for row in rows} == expected
    assert (tmp_path / "toy-costs.png").stat().st_size > 1000


def test_its_limit_is_asked(site: Path) -> None:
    asked = ["limits", "--design", "toy-array", "--json"]
    answer = json.loads(command(site, *asked, "--guest-memory", "1G"))
    # 1 MiB has room for 131072 entries of 8 bytes, which number 512 MiB.
    assert (answer["binds"], answer["largest_guest_bytes"], answer["fits"]) == (
        ["toy-room"],
        512 << 20,
        False,
    )
    assert answer["parameters"] == {"geometry": "toy64", "ram_base_bytes": 1 << 30, "without": []}
    assert json.loads(command(site, "limits", "--json"))["binds"] == ["max-domain-memory"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--entry-bits", "32"],
            "toy-array with 32-bit entries contradicts itself: TOY64 entries have 64 bits",
        ),
        (["--without", "toy-room"], "no limit is known of lists with entries of toy64"),
        (["--vmalloc", "1M"], "vmalloc contradicts toy64"),
        (
            ["--guest-memory", "512G"],
            "guest memory 512G above 1G is beyond the width: toy64 entries number 512G",
        ),
    ],
)
def test_limits_refuse_what_it_has_not(site: Path, arguments: list[str], message: str) -> None:
    code = f"""
from p2mperf.cli import main
from contextlib import redirect_stderr
from io import StringIO
with redirect_stderr(StringIO()) as said:
    code = main({["limits", "--design", "toy-array", *arguments]!r})
print(json.dumps([code, said.getvalue()]))
"""
    code, said = shown(site, code)
    assert code == 2
    assert message in said


def test_its_operation_is_done_to_no_other_family(site: Path) -> None:
    code = """
from p2mperf.errors import BadInputError
from p2mperf.study.narrow import narrow
from p2mperf.study.plans import make_plan
try:
    narrow(make_plan("quick"), designs=["pv-tree"], operations=["stamp"], sizes=["16M"])
except BadInputError as error:
    print(json.dumps(str(error)))
"""
    assert shown(site, code).endswith("is one that stamp can be done on")


def test_tests_of_what_ships_are_not_run_beside_it(site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, site)))}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--collect-only",
        "tests/house/test_adr.py",
    ]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    said = "tests are of what ships, and toy-family adds to it: pip uninstall toy-family"
    assert said in result.stdout + result.stderr


# ---- docs/extending.md ----


def blocks(page: str) -> list[tuple[str, str]]:
    """Each block of Python or TOML in a page, with the last file of the examples that is linked before it."""
    found, file = [], ""
    block: list[str] | None = None
    for line in page.splitlines():
        if re.fullmatch(r" *```(python|toml)", line):
            block = []
        elif line.strip() == "```" and block is not None:
            found.append((file, textwrap.dedent("\n".join(block))))
            block = None
        elif block is not None:
            block.append(line)
        elif links := re.findall(r"\(\.\./examples/([\w./]+)\)", line):
            file = links[-1]
    return found


def test_the_page_shows_pieces_of_the_examples() -> None:
    found = blocks((CHECKOUT / "docs" / "extending.md").read_text("utf-8"))
    assert len(found) >= 8
    for file, block in found:
        text = (EXAMPLES / file).read_text("utf-8")
        assert any(textwrap.indent(block, " " * n) in text for n in (0, 4, 8)), (file, block)


def test_the_page_knows_how_long_the_examples_are() -> None:
    page = (CHECKOUT / "docs" / "extending.md").read_text("utf-8")
    rows = [row for row in re.findall(r"^\| .+", page, re.M) if "../examples/toy_family/" in row]
    assert len(rows) == 5
    for row in rows:
        files = re.findall(r"\(\.\./examples/([\w./]+)\)", row)
        lengths = [len((EXAMPLES / file).read_text("utf-8").splitlines()) for file in files]
        assert f"| {' + '.join(map(str, lengths))} |" in row, (row, lengths)
