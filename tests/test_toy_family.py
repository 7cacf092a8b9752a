"""A family that another package adds is listed, built, looked up, swept, drawn and compared as ours are.

The package is installed for real, as files and metadata in a directory on the path; p2mperf runs in processes
of its own, none of which imports a module of our families.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import p2mperf

CHECKOUT = Path(p2mperf.__file__).resolve().parents[1]
OTHERS = ("p2mperf.designs.pv.", "p2mperf.designs.arm.")
ENTRY_POINTS = """\
[p2mperf.geometries]
toy64 = toy_family.declared:GEOMETRY
[p2mperf.families]
toy = toy_family.declared:FAMILY
[p2mperf.operations]
stamp = toy_family.declared:STAMP
[p2mperf.limits]
toy-room = toy_family.declared:ROOM
[p2mperf.figures]
toy-costs = toy_family.figure:FIGURE
"""
# What a command has imported when it is done.
RUN = """\
import sys
from p2mperf.cli import main
code = main(sys.argv[1:])
others = [name for name in sys.modules if name.startswith(("p2mperf.designs.pv.", "p2mperf.designs.arm."))]
assert not others, others
sys.exit(code)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(Path(__file__).with_name("toy_family"), site / "toy_family")
    metadata = site / "toy_family-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-family\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return site


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
    designs = ["--design", "toy-array", "--design", "toy-pages"]
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
    assert shown(site, "print(json.dumps(p2mperf.designs()))")[-2:] == ["toy-pages", "toy-array"]
    assert "toy_family.designs" not in shown(
        site, "import sys; p2mperf.designs(); print(json.dumps(list(sys.modules)))"
    )


def test_it_is_built_and_audited(site: Path) -> None:
    code = """
guest = p2mperf.Guest.plain("2M", geometry="toy64")
with p2mperf.build("toy-pages", guest) as p2m:
    p2m.audit()
    print(json.dumps([guest.name, p2m.lookup([0, 262143, 262144 + 511, 262144 + 512]).tolist()]))
"""
    # RAM is the 512 frames from 1 GiB = frame 262144 on: below and above them nothing is.
    name, (zero, below, last, above) = shown(site, code)
    assert name == "toy-2m"
    assert (zero, below, above) == (0, 0, 0)
    assert last % 2 == 1


def test_a_lookup_shows_its_way(site: Path) -> None:
    found = json.loads(
        command(site, "lookup", "--design", "toy-pages", "--size", "8M", "--json", str(262144 + 513))
    )
    # the second entry of the second page, behind the second of the root
    assert [(step["level"], step["index"]) for step in found[0]["path"]] == [("root", 1), ("leaf", 1)]


def test_it_is_swept(site: Path, results: Path) -> None:
    frame = p2mperf.load(results)
    assert set(frame["design"]) >= {"toy-array", "toy-pages"}
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


def test_a_sweep_of_all_families_measures_it_too(site: Path, tmp_path: Path) -> None:
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
    assert sorted(shown(site, code, P2MPERF_CACHE_DIR=str(tmp_path / "cache"))) == [
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
    assert {("latency", "toy-pages", "toy-array"), ("stamp", "toy-pages", "toy-array")} <= pairs
    # A sweep compared with itself has not become slower.
    assert "toy-pages" in command(site, "compare", str(results), str(results))


def test_its_figure_is_drawn(site: Path, results: Path, tmp_path: Path) -> None:
    command(site, "plot", "toy-costs", "--results", str(results), "--out", str(tmp_path))
    rows = shown(
        site,
        "from p2mperf.figures import table\n"
        f"print(table('toy-costs', p2mperf.load({str(results)!r})).to_json(orient='records'))",
    )
    # two operations of two designs
    assert {(row["operation"], row["design"]) for row in rows} == {
        (operation, design) for operation in ("latency", "stamp") for design in ("toy-array", "toy-pages")
    }
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
