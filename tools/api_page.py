"""Write docs/api.md from signatures and docstrings of what `p2mperf.__all__` names.

``python tools/api_page.py`` writes it; with ``--check`` it only says whether the page is up to date. Nothing
on it is written by hand: what is wrong there is wrong in a docstring.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
PACKAGE = "p2mperf"
HEAD = """# The public API

<!-- Written by tools/api_page.py from docstrings: change those, and run python tools/api_page.py. -->

What `p2mperf.__all__` names; anything else may change from one version to the next. Each name resolves on
first use, so that `import p2mperf` stays light. Classes that are given back, and errors, are at the end.
"""
# Sections whose lines are names with a text each; of the others the text is prose.
OF_ITEMS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns")
WIDTH = 100

Function = Callable[..., object]


class Item(NamedTuple):
    """A line of a section as Parameters, and what is said below it.

    Attributes
    ----------
    head : str
        As ``name : type``, or a type alone.
    text : str
        What it is; may have several lines.
    """

    head: str
    text: str


class Described(NamedTuple):
    """A numpydoc docstring in parts.

    Attributes
    ----------
    summary : str
        Its first paragraph.
    text : str
        What follows up to the first section.
    sections : dict of str to str
        Text of each section by its title, in the order of the docstring.
    """

    summary: str
    text: str
    sections: dict[str, str]


# ---- what docstrings and signatures say ----


def described(docstring: str | None) -> Described:
    """Split a numpydoc docstring."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    titles = [
        at
        for at, (line, below) in enumerate(pairwise(lines))
        if line and re.fullmatch(r"-{3,}", below.strip())
    ]
    head, _, text = "\n".join(lines[: titles[0] if titles else len(lines)]).partition("\n\n")
    ends = [*titles[1:], len(lines)] if titles else []
    sections = {
        lines[at].strip(): "\n".join(lines[at + 2 : end]).strip("\n")
        for at, end in zip(titles, ends, strict=True)
    }
    return Described(head.strip(), text.strip(), sections)


def items(section: str) -> list[Item]:
    """Split a section as Parameters: what is not indented begins an item."""
    found: list[list[str]] = []
    for line in section.splitlines():
        if line and not line[0].isspace():
            found.append([line.strip()])
        elif found:
            found[-1].append(line)
    return [Item(head, inspect.cleandoc("\n" + "\n".join(rest)).strip()) for head, *rest in found]


def called(thing: object) -> object:
    """What is documented of a thing: a package that can be called is its call."""
    return type(thing).__call__ if isinstance(thing, ModuleType) else thing


def parameters(thing: object) -> list[inspect.Parameter]:
    """Parameters that a caller gives."""
    found = inspect.signature(_callable(called(thing))).parameters.values()
    return [each for each in found if each.name not in ("self", "cls")]


def _callable(thing: object) -> Function:
    if not callable(thing):
        raise TypeError(f"{thing!r} cannot be called")
    return thing


def annotation(said: object) -> str:
    """An annotation as it is written, without the quotes that a later Python has no need of."""
    if said is inspect.Parameter.empty:
        return ""
    return said if isinstance(said, str) else getattr(said, "__name__", str(said))


def returned(thing: object) -> str:
    """Annotation of what a function gives back; "" of a class."""
    if isinstance(thing, type):
        return ""
    return annotation(inspect.signature(_callable(called(thing))).return_annotation)


def written(value: object) -> str:
    """A default as this project writes it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def signature(name: str, thing: object, types: bool = True) -> str:
    """Write how a thing is called, on one line or with a line a parameter."""
    parts: list[str] = []
    is_open = True
    for each in parameters(thing):
        if each.kind is each.KEYWORD_ONLY and is_open:
            parts.append("*")
        is_open = is_open and each.kind not in (each.KEYWORD_ONLY, each.VAR_POSITIONAL)
        stars = "*" * ((each.kind is each.VAR_POSITIONAL) + 2 * (each.kind is each.VAR_KEYWORD))
        of_type = annotation(each.annotation) if types else ""
        part = f"{stars}{each.name}{': ' if of_type else ''}{of_type}"
        if each.default is not each.empty:
            part += f"{' = ' if of_type else '='}{written(each.default)}"
        parts.append(part)
    gives = returned(thing) if types else ""
    tail = f") -> {gives}" if gives else ")"
    line = f"{name}({', '.join(parts)}{tail}"
    if len(line) <= WIDTH or not types:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), tail])


def members(kind: type) -> Iterator[tuple[str, object]]:
    """Public methods and properties of a class and of its bases of ours, in the order of the source."""
    found: dict[str, object] = {}
    for base in reversed([base for base in kind.__mro__ if base.__module__.startswith(PACKAGE)]):
        for name, member in vars(base).items():
            known = (FunctionType, property, cached_property, classmethod, staticmethod)
            if name.startswith("_") or not isinstance(member, known):
                continue
            # What overrides stands where it was defined first, and may leave its docstring there.
            if name not in found or function_of(member).__doc__:
                found[name] = member
    yield from found.items()


def function_of(member: object) -> Function:
    """Find the function behind a method or property."""
    inner = (
        getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
    )
    return _callable(inner)


# ---- classes that signatures name ----


@cache
def _imports(module: str) -> dict[str, str]:
    """Where the names of a module are from, those for the type checker alone included."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def named(said: str, module: str) -> Iterator[type]:
    """Find the classes of ours that an annotation names, written in a module."""
    for name in re.findall(r"\b[A-Z]\w+\b", said):
        home = _imports(module).get(name, module)
        found = getattr(importlib.import_module(home), name, None) if home.startswith(PACKAGE) else None
        if isinstance(found, type) and found.__module__.startswith(PACKAGE):
            yield found


def given_back(things: Sequence[object]) -> list[type]:
    """Find the classes of ours that functions give back, and that are not public themselves."""
    found: dict[type, None] = {}
    for thing in things:
        if isinstance(thing, type) or not callable(thing):
            continue
        module = str(getattr(called(thing), "__module__", PACKAGE))
        found.update(dict.fromkeys(named(returned(thing), module)))
    return [kind for kind in found if kind not in things]


def errors_of(things: Sequence[object]) -> list[type]:
    """Find the errors that docstrings name: where all are, or where the function has them from."""
    found: dict[str, type] = {}
    for thing in filter(callable, things):
        for name, _ in items(described(called(thing).__doc__).sections.get("Raises", "")):
            homes = (f"{PACKAGE}.errors", str(getattr(called(thing), "__module__", PACKAGE)))
            (found[name], *_) = [
                error for home in homes if (error := getattr(importlib.import_module(home), name, None))
            ]
    return [found[name] for name in sorted(found)]


# ---- how it is written ----


def constant_docstring(name: str) -> str:
    """Docstring of a constant of the package: the text below its line."""
    body = ast.parse((ROOT / PACKAGE / "__init__.py").read_text("utf-8")).body
    for node, below in pairwise(body):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            text = below.value if isinstance(below, ast.Expr) else None
            return str(text.value) if isinstance(text, ast.Constant) and isinstance(text.value, str) else ""
    return ""


def documentation(name: str, thing: object) -> Described:
    """What is documented of a public name."""
    return described(called(thing).__doc__ if callable(thing) else constant_docstring(name))


def on_one_line(text: str) -> str:
    """Join lines."""
    return " ".join(text.split())


def sections_of(parts: Described) -> Iterator[str]:
    """Write the sections of a docstring, each a block of Markdown."""
    for title, text in parts.sections.items():
        if title == "Examples":
            yield f"**Examples**\n\n```pycon\n{text}\n```"
        elif title in OF_ITEMS:
            yield f"**{title}**\n\n" + "\n".join(_item(item) for item in items(text))
        else:
            yield f"**{title}**\n\n{text}"


def _item(item: Item) -> str:
    name, _, kind = item.head.partition(" : ")
    head = f"- `{name}`" + (f" ({kind})" if kind else "")
    return f"{head}: {on_one_line(item.text)}" if item.text else head


def _members(kind: type) -> str:
    lines = []
    for name, member in members(kind):
        function = function_of(member)
        is_property = isinstance(member, property | cached_property)
        shown = name if is_property else signature(name, function, types=False)
        gives = annotation(inspect.signature(function).return_annotation)
        says = on_one_line(described(function.__doc__).summary)
        tail = f" -> `{gives}`" if gives and gives != "None" else ""
        lines.append(f"- `{shown}`{tail}" + (f": {says}" if says else ""))
    return "**Methods and properties**\n\n" + "\n".join(lines) if lines else ""


def entry(name: str, thing: object) -> str:
    """Write what the page has of one name."""
    parts = documentation(name, thing)
    how = f"```python\n{signature(name, thing)}\n```" if callable(thing) else ""
    below = _members(thing) if isinstance(thing, type) else ""
    return "\n\n".join(
        filter(None, [f"## `{name}`", how, parts.summary, parts.text, *sections_of(parts), below])
    )


def page(package: ModuleType | None = None) -> str:
    """Write the page of a package.

    Parameters
    ----------
    package : module, optional
        With `__all__`; default: p2mperf.

    Returns
    -------
    str
        Markdown; the same bytes for the same docstrings and signatures.
    """
    package = package or importlib.import_module(PACKAGE)
    public = {name: getattr(package, name) for name in package.__all__}
    things = list(public.values())
    table = ["| name | |", "|---|---|"]
    for name, thing in public.items():
        says = on_one_line(documentation(name, thing).summary).replace("|", "\\|")
        table.append(f"| [`{name}`](#{name.lower()}) | {says} |")
    blocks = [HEAD.strip(), "\n".join(table), *(entry(name, thing) for name, thing in public.items())]
    for kind in given_back(things):
        text = entry(kind.__name__, kind)
        # Nobody makes one by hand: how it is called says nothing.
        how = f"```python\n{signature(kind.__name__, kind)}\n```"
        blocks.append(text.replace(how, f"Of `{kind.__module__}`; given back, not made.", 1))
    errors = [
        f"- `{kind.__module__}.{kind.__name__}`: {on_one_line(described(kind.__doc__).summary)}"
        for kind in errors_of(things)
    ]
    blocks.append("## Errors\n\n" + "\n".join(errors))
    return "\n\n".join(blocks) + "\n"


def main() -> int:
    """Write the page, or with --check tell whether that would change it."""
    sys.path.insert(0, str(ROOT))
    wanted = page()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text("utf-8") != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
