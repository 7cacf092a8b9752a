"""Guards: what holds for the house as a whole, and that each guard sees the fault it is there for."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import house
import pytest
from checkout import PACKAGE, PYPROJECT, ROOT, SOURCES, python, shown

from p2mperf.designs import find
from p2mperf.designs.base import Design
from p2mperf.families import FAMILIES

CODE = ("p2mperf", "tests", "benchmarks", "tools", "examples")
HEAVY = ("llvmlite", "matplotlib", "numba", "pandas", "scipy")
INHERITED = house.inherited_docstrings(path.read_text() for path in SOURCES)
MAX_LINES = 400
MAX_HELP_SECONDS = 0.3
N_HELP_RUNS = 5
each_source = pytest.mark.parametrize(
    "source", SOURCES, ids=[path.relative_to(ROOT).as_posix() for path in SOURCES]
)

# ---- classes ----


# Those of a package that somebody has installed beside are its own.
OURS = [spec.name for family in FAMILIES.shipped.values() for spec in family.designs]


@pytest.mark.parametrize("name", OURS)
def test_a_design_is_a_design_and_doors(name: str) -> None:
    kind = find(name)
    assert [base for base in kind.__mro__[1:] if issubclass(base, Design)] == [Design]
    for door in (base for base in kind.__bases__ if base is not Design):
        assert door.__bases__ == (object,)
        assert "__init__" not in vars(door)  # it has nothing to keep


# A design is made by `Design` and led through its door by the neighbour that binds it.
MAKERS = {PACKAGE / "designs" / "base.py", PACKAGE / "designs" / "passing.py"}


def test_no_part_of_a_design_reaches_for_what_is_private_to_another() -> None:
    parts = [path for path in SOURCES if path.is_relative_to(PACKAGE / "designs") and path not in MAKERS]
    found = {shown(path): places for path in parts if (places := house.reaches(path.read_text()))}
    assert found == {}, (
        "what begins with _ is its owner's: ask a public method of it, or take the part that knows"
    )


def test_a_reach_is_seen() -> None:
    sample = "class C:\n  def f(self, part):\n    self._a = part._b.c\n    return part._asdict(), self.d._e\n"
    assert house.reaches(sample) == ["line 3: part._b", "line 4: self.d._e"]
    assert house.reaches("def f(self, x):\n  return self._a, super()._b, x.__class__, cls._c") == []


# ---- layers ----


LINT_IMPORTS = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"

# One line for each contract that this line breaks; a lazy import counts as an import.
CONTRACT_BREAKERS = {
    "The house: a file stands only on what is below it": ("units.py", "from p2mperf import guests"),
    "Families of designs stand apart": ("designs/arm/checks.py", "import p2mperf.designs.pv.leaf_plan"),
    "ARM: designs stand on parts": ("designs/arm/window.py", "import p2mperf.designs.arm.vlpt"),
    "HAP: designs stand on parts": ("designs/hap/table.py", "import p2mperf.designs.hap.windows"),
    "PV: designs stand on parts": ("designs/pv/store.py", "import p2mperf.designs.pv.breaking"),
    "Analysis: findings and claims": ("analysis/arm/costs.py", "import p2mperf.analysis.hap.leaves"),
    "Analysis: what is found in a room": ("analysis/hap/leaves.py", "import p2mperf.analysis.hap.windows"),
    "Claims: documents stand apart": ("analysis/claims/vlpt.py", "import p2mperf.analysis.claims.review"),
    "Kernel build: a prediction": (
        "analysis/kernel_build/counts.py",
        "import p2mperf.analysis.kernel_build.parts",
    ),
    "Results are read and written": ("measure/rounds.py", "import p2mperf.results"),
    "numba and llvmlite enter through": ("guests/guest.py", "import numba"),
    "Compiled code stays in its rooms": ("designs/pv/store.py", "import p2mperf.jit"),
    "matplotlib is used by figures only": ("units.py", "import matplotlib"),
    "scipy is used by analysis only": ("measure/rounds.py", "import scipy"),
    "jinja2 is used by the report only": ("units.py", "import jinja2"),
    "argparse is used by the command line only": ("units.py", "import argparse"),
    "pandas is used by": ("measure/rounds.py", "import pandas"),
}


def test_the_layers_are_kept() -> None:
    result = python("-c", LINT_IMPORTS)
    what_to_do = (
        "Hand in what is needed from above, or move it to a room below both; a new room has its floor, and "
        "a new *_kernels.py its name, in pyproject.toml under [tool.importlinter]."
    )
    assert result.returncode == 0, f"{result.stdout}\n{what_to_do}"


def test_every_contract_sees_its_breaker(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "p2mperf", ignore=shutil.ignore_patterns("__pycache__", "_data"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line in CONTRACT_BREAKERS.values():
        with (tmp_path / "p2mperf" / file).open("a") as stream:
            stream.write(f"\n\ndef broken_on_purpose():\n    {line}\n")
    result = python("-c", LINT_IMPORTS, cwd=tmp_path)
    assert result.returncode == 1
    broken = [line for line in result.stdout.splitlines() if line.endswith("BROKEN")]
    assert len(broken) == len(PYPROJECT["tool"]["importlinter"]["contracts"]), result.stdout
    for name in CONTRACT_BREAKERS:
        assert any(line.startswith(name) for line in broken), name


# ---- lightness ----


def heavy_modules_after(statement: str) -> list[str]:
    report = f"import sys, json; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    result = python("-c", f"{statement}\n{report}")
    assert result.returncode == 0, result.stderr
    heavy: list[str] = json.loads(result.stdout)
    return heavy


def test_listing_the_designs_imports_nothing_heavy() -> None:
    assert heavy_modules_after("import p2mperf; assert 'pv-tree' in p2mperf.designs()") == []


def test_listing_the_figures_imports_nothing_heavy() -> None:
    assert heavy_modules_after("from p2mperf.figures import figures; assert 'cost' in figures()") == []


def test_heavy_imports_are_seen() -> None:
    # numba stands on llvmlite and looks for scipy, so all three are there after importing the first
    assert heavy_modules_after("import numba") == ["llvmlite", "numba", "scipy"]


def test_help_answers_at_once() -> None:
    seconds = []
    for _ in range(N_HELP_RUNS):
        start = time.perf_counter()
        result = python("-m", "p2mperf", "--help")
        seconds.append(time.perf_counter() - start)
        assert result.returncode == 0, result.stderr
    assert min(seconds) < MAX_HELP_SECONDS, seconds


# ---- sources ----


@each_source
def test_docstrings_are_about_their_functions(source: Path) -> None:
    problems = house.docstring_problems(source.read_text(), INHERITED)
    assert problems == [], f"{shown(source)}: numpydoc, each parameter under its name"


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        ("def f(): pass", "f: no docstring"),
        ("class C:\n  'About.'\n  def m(self): pass", "C.m: no docstring"),
        ("class C:\n  'About.'\n  @property\n  def p(self):\n    a = 1\n    return a", "C.p: no docstring"),
        (
            "def f(a, b):\n  '''About.\n\n  Parameters\n  ----------\n  a : int\n    One.\n  '''",
            "f: not documented: b",
        ),
        (
            "def f(a):\n  '''About.\n\n  Parameters\n  ----------\n  a, c : int\n    Two.\n  '''",
            "f: documented, but not a parameter: c",
        ),
        ("def f(a, b, *, c):\n  'About.'", "f: 3 parameters, but no Parameters section"),
        (
            "@dataclass\nclass C:\n  '''About.\n\n  Parameters\n  ----------\n  a : int\n  '''\n  b: int",
            "C: not documented: b",
        ),
    ],
)
def test_a_wrong_docstring_is_seen(sample: str, problem: str) -> None:
    assert problem in house.docstring_problems(sample)


def test_right_docstrings_pass() -> None:
    assert house.docstring_problems(SAMPLE_WITH_RIGHT_DOCSTRINGS) == []


def test_a_method_inherits_its_docstring() -> None:
    sample = "class A:\n  'About.'\n  def m(self): 'Here.'\nclass B(room.A[int]): 'Empty.'\n"
    sample += "class C(B):\n  'About.'\n  def m(self): pass\n  def n(self): pass"
    inherited = house.inherited_docstrings([sample])
    assert inherited == {"A": set(), "B": {"m"}, "C": {"m"}}
    assert house.docstring_problems(sample, inherited) == ["C.n: no docstring"]


SAMPLE_WITH_RIGHT_DOCSTRINGS = '''
class Frame(NamedTuple):
    """About.

    Parameters
    ----------
    first_pfn, n_pages : int
        A run.

    Notes
    -----
    origin : not a parameter.
    """

    first_pfn: int
    n_pages: int
    width: ClassVar[int] = 8

    @classmethod
    def of(cls, *parts: int, **options: int) -> Frame:
        """About.

        Parameters
        ----------
        *parts : int
            Some.
        width : int
            One of the options.
        """

    @property
    def end_pfn(self) -> int:
        return self.first_pfn + self.n_pages


def _private(a): ...
'''


def test_only_the_command_line_prints() -> None:
    silent = [path for path in SOURCES if not path.is_relative_to(PACKAGE / "cli")]
    found = {shown(path): calls for path in silent if (calls := house.calls_to_print(path.read_text()))}
    assert found == {}, "only cli/ prints: return what there is to say, or tell p2mperf.progress of long work"


def test_a_print_is_seen() -> None:
    assert house.calls_to_print("'print()'\nif x:\n    print(x)") == ["line 3: print("]


COMPILED = [path for path in SOURCES if "p2mperf.jit" in path.read_text() or path.name == "jit.py"]


def test_no_compiled_function_is_without_types() -> None:
    assert {"kernels.py", "raw.py", "tree_kernels.py", "jit.py"} <= {path.name for path in COMPILED}
    found = {shown(path): places for path in COMPILED if (places := house.untyped(path.read_text()))}
    assert found == {}, (
        "say what a compiled function takes and gives: np.uint64, int for an int64, a design's NamedTuple"
    )


def test_a_function_without_types_is_seen() -> None:
    sample = (
        "def f(a: int, b) -> None:\n  def g(*, c: Any = 1) -> int: ...\n  def h() -> int: ...\ndef k(): ..."
    )
    assert house.untyped(sample) == ["line 1: f", "line 4: k", "line 2: g"]
    assert house.untyped("class C:\n  def f(self, *a: int) -> list[int]: ...") == []


@each_source
def test_names_are_ascii(source: Path) -> None:
    assert house.non_ascii_names(source.read_text()) == []
    assert source.name.isascii()


def test_a_greek_name_is_seen() -> None:
    assert house.non_ascii_names("'λ'\ndef f(μ): return μ.β") == ["β", "μ"]


def test_every_file_can_be_read_in_one_go() -> None:
    code = [path for room in CODE for path in (ROOT / room).rglob("*.py")]
    long = {shown(path): n for path in code if (n := len(path.read_text().splitlines())) > MAX_LINES}
    assert long == {}, f"at most {MAX_LINES} lines: give an idea of it its own file"
