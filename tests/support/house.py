"""The rules of the house as functions from text to complaints: so each can be tried on a broken sample."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

NO_DOCSTRING = "no docstring"

# A function with this many parameters has to explain them one by one; below that the summary line does.
N_PARAMETERS_TO_DOCUMENT = 3

# Bases that add no parameters of their own to a class.
PLAIN_BASES = {"Enum", "Generic", "NamedTuple", "Protocol", "object"}

# Written so that this file does not match itself.
MACHINE_PATHS = re.compile(
    r"/wor[k]/|/hom[e]/\w|/roo[t]/|/op[t]/|/tm[p]/venv|fil[e]://|(?:extra-)?inde[x]-url|fin[d]-links|pyp[i]\.org|/simpl[e]/"
)


def calls_to_print(source: str) -> list[str]:
    return [
        f"line {node.lineno}: print("
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


# What a NamedTuple has for everybody, though it begins with an underscore.
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}


def reaches(source: str) -> list[str]:
    """Where a private name of an object is used that is neither this one nor its class."""
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and re.match("_[^_]", node.attr)
        and node.attr not in OF_NAMED_TUPLES
        and ast.unparse(node.value) not in ("self", "cls", "super()")
    ]


def untyped(source: str) -> list[str]:
    """Functions, inner ones too, of which a parameter or the result has no type, or one that is Any."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, FunctionNode):
            continue
        given = node.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        arguments += [each for each in (given.vararg, given.kwarg) if each]
        said = [each.annotation for each in arguments if each.arg not in ("self", "cls")] + [node.returns]
        if any(each is None or re.search(r"\bAny\b", ast.unparse(each)) for each in said):
            found.append(f"line {node.lineno}: {node.name}")
    return found


def non_ascii_names(source: str) -> list[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "arg", "name"):
            name = getattr(node, field, None)
            if isinstance(name, str) and not name.isascii():
                names.add(name)
    return sorted(names)


def machine_paths(text: str) -> list[str]:
    return [
        f"line {number}: {match[0]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for match in [MACHINE_PATHS.search(line)]
        if match
    ]


def docstring_problems(source: str, inherited: Mapping[str, set[str]] | None = None) -> list[str]:
    """Complaints about public functions and classes whose docstring is missing or not about them.

    `inherited` names, for each class, the methods whose docstring comes from a base class.
    """
    return [
        f"{name}: {problem}"
        for name, node, is_method in _public(ast.parse(source).body)
        for problem in _problems_of(node, is_method)
        if not (problem == NO_DOCSTRING and _needs_none(name, node, inherited or {}))
    ]


def inherited_docstrings(sources: Iterable[str]) -> dict[str, set[str]]:
    """For each class, the methods that some base class in `sources` documents."""
    classes = {
        node.name: node
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    }

    def documented(name: str) -> set[str]:
        if name not in classes:
            return set()
        own = {
            item.name
            for item in classes[name].body
            if isinstance(item, FunctionNode) and ast.get_docstring(item)
        }
        return own.union(*(documented(base) for base in _bases(classes[name])))

    return {name: set().union(*(documented(base) for base in _bases(node))) for name, node in classes.items()}


def _bases(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}


def _needs_none(name: str, node: FunctionNode | ast.ClassDef, inherited: Mapping[str, set[str]]) -> bool:
    """A property of one line, said by its name, or a method that a base class documents."""
    if _decorators(node) & {"property", "cached_property"} and len(node.body) == 1:
        return True
    owner, _, method = name.rpartition(".")
    return method in inherited.get(owner, set())


def _public(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, FunctionNode | ast.ClassDef, bool]]:
    for node in body:
        if not isinstance(node, FunctionNode | ast.ClassDef):
            continue
        # of an overload or a setter, another definition of the same name carries the docstring
        if node.name.startswith("_") or _decorators(node) & {"overload", "setter"}:
            continue
        yield owner + node.name, node, bool(owner)
        if isinstance(node, ast.ClassDef):
            yield from _public(node.body, f"{owner}{node.name}.")


def _decorators(node: FunctionNode | ast.ClassDef) -> set[str]:
    return {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}


def _problems_of(node: FunctionNode | ast.ClassDef, is_method: bool) -> Iterator[str]:
    docstring = ast.get_docstring(node)
    if not docstring:
        yield NO_DOCSTRING
        return
    documented = documented_parameters(docstring)
    accepted, is_complete = _parameters(node, is_method)
    if documented is None:
        if isinstance(node, FunctionNode) and len(accepted) >= N_PARAMETERS_TO_DOCUMENT:
            yield f"{len(accepted)} parameters, but no Parameters section"
        return
    if missing := [name for name in accepted if name not in documented]:
        yield f"not documented: {', '.join(missing)}"
    if is_complete and (invented := [name for name in documented if name not in accepted]):
        yield f"documented, but not a parameter: {', '.join(invented)}"


def documented_parameters(docstring: str) -> list[str] | None:
    """Names in the numpydoc section Parameters; None when there is no such section."""
    lines = docstring.splitlines()
    try:
        start = lines.index("Parameters") + 2
    except ValueError:
        return None
    names: list[str] = []
    for line, after in zip(lines[start:], [*lines[start + 1 :], ""], strict=True):
        if after.strip().startswith("---"):
            break
        if line and not line[0].isspace():
            names += [name.strip().lstrip("*") for name in line.split(" :")[0].split(",")]
    return names


def _parameters(node: FunctionNode | ast.ClassDef, is_method: bool) -> tuple[list[str], bool]:
    """Names to document, and whether no others may be: **options or a base class can stand for more."""
    if isinstance(node, ast.ClassDef):
        return _constructor_parameters(node)
    arguments = node.args
    names = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    # A function that takes `self` is a method too: of the classes that bind it.
    if names[:1] == ["self"] or (is_method and "staticmethod" not in _decorators(node)):
        names = names[1:]
    names += [argument.arg for argument in arguments.kwonlyargs]
    names += [arguments.vararg.arg] if arguments.vararg else []
    return [name for name in names if not name.startswith("_")], arguments.kwarg is None


def _constructor_parameters(node: ast.ClassDef) -> tuple[list[str], bool]:
    for item in node.body:
        if isinstance(item, FunctionNode) and item.name == "__init__":
            return _parameters(item, is_method=True)
    fields = [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and _is_field(item)
    ]
    return fields, _bases(node) <= PLAIN_BASES


def _is_field(item: ast.AnnAssign) -> bool:
    is_public = isinstance(item.target, ast.Name) and not item.target.id.startswith("_")
    is_set_later = item.value is not None and "init=False" in ast.unparse(item.value)
    return is_public and not is_set_later and "ClassVar" not in ast.unparse(item.annotation)


def notebook_problems(notebook: dict[str, Any]) -> list[str]:
    """Complaints about a parsed notebook: its parameters, and outputs that are not of one whole run."""
    cells = notebook.get("cells", [])
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    problems = []
    if len(tagged) != 1:
        problems.append(f"{len(tagged)} cells tagged 'parameters', there must be one")
    if any(cell["cell_type"] != "code" for cell in tagged):
        problems.append("the cell tagged 'parameters' is not code")
    counts = [cell["execution_count"] for cell in cells if cell.get("execution_count") is not None]
    if counts != list(range(1, len(counts) + 1)):
        problems.append(f"not run once from top to bottom: cells were run as {counts}")
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    if any(output["output_type"] == "error" for output in outputs):
        problems.append("shows an error")
    return problems


def imported_packages(sources: Iterable[str]) -> set[str]:
    """Top-level packages that some source imports, lazily or not."""
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[0] for name in names}


def commands_of_run(script: str) -> set[str]:
    """Commands that the case statement of ./run knows."""
    cases = script.split("case $command in")[1].split("esac")[0]
    return {name for line in re.findall(r"^    ([a-z |-]+)\)$", cases, re.M) for name in line.split(" | ")}


def commands_named(text: str, program: str) -> set[str]:
    """Commands that `text` shows after `program`."""
    return set(re.findall(re.escape(program) + r" +([a-z][a-z-]*)", text))
