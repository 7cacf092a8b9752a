"""docs/api.md is what the docstrings say today, and they say all that a caller has to know."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, get_overloads

import pytest
from checkout import ROOT, load_tool

import p2mperf
from p2mperf.building import build

# What can be called of the public names: all but the version.
CALLED = [name for name in p2mperf.__all__ if name != "__version__"]
FUNCTIONS = [name for name in CALLED if not isinstance(getattr(p2mperf, name), type)]

SAMPLE = '''"""Two names."""

from __future__ import annotations

class Thing:
    """A thing.

    Attributes
    ----------
    n : int
        How many.
    """

    def __init__(self, n: int = 1) -> None:
        self.n = n

    @property
    def twice(self) -> int:
        """Double of it."""
        return 2 * self.n

    @classmethod
    def of(cls, text: str = "a", *, strict: bool = False) -> Thing:
        """Read one.

        It has two lines.
        """
        return cls(len(text))

    def _hidden(self) -> None: ...


def make(first: int, second: str = "b", **more: object) -> Thing:
    """Make a thing
    of a number.

    It is made at once.

    Parameters
    ----------
    first : int
        One of
        two lines.
    second : str, optional
        Another.
    **more
        What else.

    Returns
    -------
    Thing

    Raises
    ------
    BadInputError
        Never.

    Examples
    --------
    >>> make(1).n
    1
    """
    return Thing(first)


__all__ = ["Thing", "make"]
'''


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("api_page")


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    source = tmp_path / "sample.py"
    source.write_text(SAMPLE, "utf-8")
    spec = importlib.util.spec_from_file_location("p2mperf._sample", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    spec.loader.exec_module(module)
    return module


# ---- the page ----


def test_the_page_is_in_step(tool: ModuleType) -> None:
    assert tool.PAGE.read_text("utf-8") == tool.page(), "a docstring changed: run python tools/api_page.py"


def test_another_process_writes_the_same_bytes_and_check_says_so() -> None:
    command = [sys.executable, "tools/api_page.py", "--check"]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 0


def test_check_sees_a_page_that_is_behind(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    behind = tmp_path / "api.md"
    monkeypatch.setattr(tool, "PAGE", behind)
    monkeypatch.setattr(sys, "argv", ["api_page.py", "--check"])
    assert tool.main() == 1  # there is none
    behind.write_text(tool.page() + "by hand\n", "utf-8")
    assert tool.main() == 1
    behind.write_text(tool.page(), "utf-8")
    assert tool.main() == 0


def test_every_public_name_has_its_part(tool: ModuleType) -> None:
    text = tool.PAGE.read_text("utf-8")
    titles = re.findall(r"^## `(\w+)`$", text, re.M)
    # What is public comes first; then classes that are given back, which are others.
    assert titles[: len(p2mperf.__all__)] == p2mperf.__all__
    assert len(set(titles)) == len(titles)
    assert {"Design", "Recording", "Replays"} <= set(titles)
    assert all(f"(#{name.lower()}) |" in text for name in p2mperf.__all__)


def test_no_place_of_an_object_is_on_the_page(tool: ModuleType) -> None:
    assert not re.search(r" at 0x[0-9a-f]+>", tool.PAGE.read_text("utf-8"))


def test_the_pages_lead_to_it() -> None:
    assert "](docs/api.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "tools/api_page.py" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")


# ---- the docstrings ----


@pytest.mark.parametrize("name", p2mperf.__all__)
def test_it_is_documented(tool: ModuleType, name: str) -> None:
    summary = tool.documentation(name, getattr(p2mperf, name)).summary
    assert summary.endswith("."), f"{name} has no summary: {summary!r}"


@pytest.mark.parametrize("name", CALLED)
def test_all_that_it_takes_is_documented(tool: ModuleType, name: str) -> None:
    thing = getattr(p2mperf, name)
    sections = tool.documentation(name, thing).sections
    said = sections.get("Parameters") or sections.get("Attributes") or ""
    named = [one.lstrip("*") for item in tool.items(said) for one in item.head.split(" : ")[0].split(", ")]
    assert sorted(named) == sorted(each.name for each in tool.parameters(thing))
    assert all(item.text for item in tool.items(said)), f"{name}: a parameter without a word"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_it_gives_is_documented_as_annotated(tool: ModuleType, name: str) -> None:
    thing = getattr(p2mperf, name)
    (gives, *_) = tool.items(tool.documentation(name, thing).sections["Returns"])
    # "pd.DataFrame" is "pandas.DataFrame" in words, and "list[str]" is "list of str".
    annotated = tool.returned(thing).split("[")[0].split(".")[-1]
    assert gives.head.split()[0].split(".")[-1] == annotated


@pytest.mark.parametrize("name", CALLED)
def test_what_takes_anything_says_how_it_refuses(tool: ModuleType, name: str) -> None:
    thing = getattr(p2mperf, name)
    raised = tool.items(tool.documentation(name, thing).sections.get("Raises", ""))
    assert bool(tool.parameters(thing)) <= bool(raised)
    assert all(item.text for item in raised)


def test_errors_that_are_named_are_ours(tool: ModuleType) -> None:
    from p2mperf.errors import P2mperfError

    errors = tool.errors_of([getattr(p2mperf, name) for name in CALLED])
    assert "BadInputError" in [kind.__name__ for kind in errors]
    assert all(issubclass(kind, P2mperfError) for kind in errors)


def test_no_signature_hides_a_type_that_is_known(tool: ModuleType) -> None:
    public = [getattr(p2mperf, name) for name in CALLED]
    for kind in [*public, *tool.given_back(public)]:
        if not isinstance(kind, type):
            assert "Any" not in tool.signature("f", kind)
            continue
        for name, member in tool.members(kind):
            assert "Any" not in tool.signature(name, tool.function_of(member)), f"{kind.__name__}.{name}"


def told(tool: ModuleType, kind: type) -> Iterator[tuple[str, str]]:
    """What a class says itself of the types of its public attributes and methods, and of what makes one."""
    for name, said in inspect.get_annotations(kind).items():
        if not name.startswith("_"):
            yield name, str(said)
    for name, member in vars(kind).items():
        is_method = isinstance(member, FunctionType | property | cached_property | classmethod | staticmethod)
        if is_method and (name in ("__init__", "__new__") or not name.startswith("_")):
            yield name, tool.signature(name, tool.function_of(member))


def hiding(tool: ModuleType, kinds: Sequence[type]) -> set[str]:
    """Where classes say Any, or their bases, or classes that those name, typed dicts of options included."""
    found, seen, ahead = set(), set(), list(kinds)
    while ahead:
        for kind in ahead.pop().__mro__:
            if kind in seen or not kind.__module__.startswith(tool.PACKAGE):
                continue
            seen.add(kind)
            for name, said in told(tool, kind):
                ahead += tool.named(said, kind.__module__)
                if re.search(r"\bAny\b", said):
                    found.add(f"{kind.__name__}.{name}")
    return found


def test_no_design_hides_a_type_that_is_known(tool: ModuleType) -> None:
    said = [each.__annotations__["return"] for each in get_overloads(build)]
    kinds = [kind for each in said for kind in tool.named(each, build.__module__)]
    assert {"PvTree", "ArmVlpt", "HapLinear4k", "Design"} <= {kind.__name__ for kind in kinds}
    assert hiding(tool, kinds) == set()


def test_a_type_is_hidden_however_far_away(tool: ModuleType, sample: ModuleType) -> None:
    assert hiding(tool, [sample.Thing]) == set()
    hidden = """

class Options(TypedDict, total=False):
    shown: int
    kept: Any


class Base:
    def __init__(self, **options: Unpack[Options]) -> None: ...

    @property
    def rows(self) -> list[Row]: ...


class Row:
    @classmethod
    def of(cls, text: NDArray[Any]) -> Row: ...

    def _own(self, it: Any) -> None: ...

    def company(self) -> Anything: ...


class Made(Base):
    mine: Any
"""
    exec("from typing import Any, TypedDict, Unpack\n" + hidden, vars(sample))
    assert hiding(tool, [sample.Made]) == {"Options.kept", "Row.of", "Made.mine"}


def test_a_type_checker_is_told_where_the_names_are() -> None:
    tree = ast.parse((ROOT / "p2mperf" / "__init__.py").read_text("utf-8"))
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    told = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told.pop("_Room") == "p2mperf.designs"  # `designs` is declared by the class of the package
    assert told == p2mperf._HOMES


# ---- the parts of the tool, on a sample ----


def test_a_docstring_is_split_into_its_parts(tool: ModuleType, sample: ModuleType) -> None:
    parts = tool.described(sample.make.__doc__)
    assert parts.summary == "Make a thing\nof a number."
    assert parts.text == "It is made at once."
    assert list(parts.sections) == ["Parameters", "Returns", "Raises", "Examples"]
    assert tool.items(parts.sections["Parameters"]) == [
        ("first : int", "One of\ntwo lines."),
        ("second : str, optional", "Another."),
        ("**more", "What else."),
    ]
    assert tool.items(parts.sections["Returns"]) == [("Thing", "")]
    assert tool.described(None) == ("", "", {})


def test_a_sample_is_written_out(tool: ModuleType, sample: ModuleType) -> None:
    text = tool.page(sample)
    assert "| [`make`](#make) | Make a thing of a number. |" in text
    assert '```python\nmake(first: int, second: str = "b", **more: object) -> Thing\n```' in text
    assert (
        "- `first` (int): One of two lines.\n- `second` (str, optional): Another.\n- `**more`: What" in text
    )
    assert "**Returns**\n\n- `Thing`\n\n**Raises**\n\n- `BadInputError`: Never." in text
    assert "```pycon\n>>> make(1).n\n1\n```" in text
    assert "```python\nThing(n: int = 1)\n```" in text
    assert (
        '- `twice` -> `int`: Double of it.\n- `of(text="a", *, strict=False)` -> `Thing`: Read one.\n' in text
    )
    assert "_hidden" not in text


def test_a_long_signature_has_a_line_a_parameter(tool: ModuleType) -> None:
    scope: dict[str, Any] = {}
    name = "n" * tool.WIDTH
    exec(f"def f({name}: int, *rest: int, last: str = '') -> None: ...", scope)
    assert tool.signature("f", scope["f"]) == (
        f'f(\n    {name}: int,\n    *rest: int,\n    last: str = "",\n) -> None'
    )
