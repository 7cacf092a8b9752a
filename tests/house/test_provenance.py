"""What decides a number changes the hash of the code; what only shows one does not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import grimp
import pytest

from p2mperf import provenance
from p2mperf.provenance import INTERPRETED, SHOWING, is_matched, source_hash, surroundings_hash, tree_hash

PACKAGE = Path(provenance.__file__).parent


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    copy = tmp_path / "p2mperf"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "_data"))
    return copy


def changed_by(tree: Path, name: str, before: str) -> bool:
    path = tree / name
    path.parent.mkdir(exist_ok=True)
    kept = path.read_bytes() if path.exists() else None
    path.write_bytes((kept or b"") + b"\n# changed\n")
    changed = tree_hash(tree, SHOWING) != before
    path.unlink() if kept is None else path.write_bytes(kept)
    return changed


def names_in(*folders: str) -> list[str]:
    files = [path for folder in folders for path in sorted((PACKAGE / folder).rglob("*.py"))]
    return [path.relative_to(PACKAGE).as_posix() for path in files]


def test_all_that_decides_a_number_is_hashed(tree: Path) -> None:
    # How a design is built, for what limit, stands in study; what a guest is, in guests; and so on.
    deciding = names_in("study", "measure", "guests", "designs", "tables", "memory", "host")
    before = tree_hash(tree, SHOWING)
    for name in [*deciding, "streams.py", "units.py", "kernels.py", "provenance.py"]:
        assert changed_by(tree, name, before), name
    assert tree_hash(tree, SHOWING) == before


def test_what_only_shows_is_not(tree: Path) -> None:
    before = tree_hash(tree, SHOWING)
    for name in [*names_in("cli", "figures", "analysis"), "api.py", "results/export.py", "results/frame.py"]:
        assert not changed_by(tree, name, before), name


def test_a_new_file_is_hashed_by_default(tree: Path) -> None:
    before = tree_hash(tree, SHOWING)
    for name in ("study/new.py", "new.py", "designs/new_family/new.py", "results/new.py"):
        assert changed_by(tree, name, before), name
    assert not changed_by(tree, "figures/new.py", before)


def test_every_pattern_names_something() -> None:
    names = names_in(".")
    for pattern in INTERPRETED:
        assert pattern == "_data/*" or any(is_matched(name, (pattern,)) for name in names), pattern


def test_compiled_code_and_all_it_can_inline_is_in_the_key_of_its_cache() -> None:
    graph = grimp.build_graph("p2mperf", cache_dir=None, exclude_type_checking_imports=True)
    compiled = graph.find_modules_that_directly_import("p2mperf.jit")
    sources = compiled.union(*map(graph.find_upstream_modules, compiled))
    packages = {name for name in sources if graph.find_children(name)}
    files = {name.removeprefix("p2mperf.").replace(".", "/") + ".py" for name in sources - packages}
    assert {"kernels.py", "units.py", "guests/geometry.py", "jit.py"} <= files
    assert [name for name in sorted(files) if is_matched(name, INTERPRETED)] == []


def test_the_hash_of_this_package_is_that_of_its_tree() -> None:
    assert source_hash(SHOWING) == tree_hash(PACKAGE, SHOWING)


@pytest.mark.parametrize("group", ["designs", "operations", "geometries", "families"])
def test_what_another_package_adds_is_hashed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    alone = surroundings_hash()
    package, metadata = tmp_path / "hashed_toy", tmp_path / "hashed_toy-1.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").write_text("raise ImportError('nobody asked for this package yet')")
    (package / "offer.py").write_text("from hashed_toy.helper import PAGES\n")
    (package / "helper.py").write_text("PAGES = 1\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hashed_toy\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[p2mperf.{group}]\nmine = hashed_toy.offer:Mine\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with_toy = surroundings_hash()
    assert with_toy != alone
    # numba folds a helper's constants into the code that it compiles for the offer.
    (package / "helper.py").write_text("PAGES = 2\n")
    assert surroundings_hash() not in (alone, with_toy)


def test_figures_of_others_decide_nothing() -> None:
    assert "p2mperf.figures" not in provenance.PLUGIN_GROUPS
