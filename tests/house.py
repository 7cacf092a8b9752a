"""The rules of the house as functions from text to complaints: so each can be tried on a broken sample."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

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


def docstring_problems(source: str) -> list[str]:
    """Complaints about public functions and classes whose docstring is missing or not about them."""
    return [
        f"{name}: {problem}"
        for name, node, is_method in _public(ast.parse(source).body)
        for problem in _problems_of(node, is_method)
    ]


def _public(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, FunctionNode | ast.ClassDef, bool]]:
    for node in body:
        if (
            not isinstance(node, FunctionNode | ast.ClassDef)
            or node.name.startswith("_")
            or _is_repeated(node)
        ):
            continue
        yield owner + node.name, node, bool(owner)
        if isinstance(node, ast.ClassDef):
            yield from _public(node.body, f"{owner}{node.name}.")


def _is_repeated(node: FunctionNode | ast.ClassDef) -> bool:
    """A typing overload or a setter: the other definition of the name carries the docstring."""
    return any(
        ast.unparse(decorator).endswith(("typing.overload", ".setter", ".deleter"))
        or _name(decorator) == "overload"
        for decorator in node.decorator_list
    )


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _problems_of(node: FunctionNode | ast.ClassDef, is_method: bool) -> Iterator[str]:
    docstring = ast.get_docstring(node)
    if not docstring:
        yield "no docstring"
        return
    documented = documented_parameters(docstring)
    if isinstance(node, ast.ClassDef):
        accepted, complete = _constructor_parameters(node)
    else:
        accepted, complete = _parameters(node, is_method), True
        if documented is None and len(accepted) >= N_PARAMETERS_TO_DOCUMENT:
            yield f"{len(accepted)} parameters, but no Parameters section"
    if documented is None or not accepted:
        return
    if missing := [name for name in accepted if name not in documented]:
        yield f"not documented: {', '.join(missing)}"
    if complete and (invented := [name for name in documented if name not in accepted]):
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


def _parameters(node: FunctionNode, is_method: bool) -> list[str]:
    arguments = node.args
    names = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    is_static = any(_name(decorator) == "staticmethod" for decorator in node.decorator_list)
    if is_method and not is_static:
        names = names[1:]
    names += [argument.arg for argument in arguments.kwonlyargs]
    names += [argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [name for name in names if not name.startswith("_")]


def _constructor_parameters(node: ast.ClassDef) -> tuple[list[str], bool]:
    """What the class is made from, and whether that is all of it (a base class may add more)."""
    for item in node.body:
        if isinstance(item, FunctionNode) and item.name == "__init__":
            return _parameters(item, is_method=True), True
    fields = [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and _is_field(item)
    ]
    bases = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
    return fields, bases <= PLAIN_BASES


def _is_field(item: ast.AnnAssign) -> bool:
    is_public = isinstance(item.target, ast.Name) and not item.target.id.startswith("_")
    is_set_later = item.value is not None and "init=False" in ast.unparse(item.value)
    return is_public and not is_set_later and "ClassVar" not in ast.unparse(item.annotation)


def notebook_problems(notebook: dict[str, Any]) -> list[str]:
    """Complaints about a parsed notebook: its parameters cell and its outputs."""
    cells = notebook.get("cells", [])
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    problems = []
    if len(tagged) != 1:
        problems.append(f"{len(tagged)} cells tagged 'parameters', there must be one")
    if any(cell["cell_type"] != "code" for cell in tagged):
        problems.append("the cell tagged 'parameters' is not code")
    if any(cell.get("outputs") for cell in cells):
        problems.append("outputs are kept")
    return problems


def commands_of_run(script: str) -> set[str]:
    """Commands that the case statement of ./run knows."""
    cases = script.split("case $command in")[1].split("esac")[0]
    return {name for line in re.findall(r"^    ([a-z |-]+)\)$", cases, re.M) for name in line.split(" | ")}


def commands_named(text: str, program: str) -> set[str]:
    """Commands that `text` shows after `program`."""
    return set(re.findall(re.escape(program) + r" +([a-z][a-z-]*)", text))
