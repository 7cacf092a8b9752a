"""Directories that must be ours alone, and the compiled code in them, where other users can write too."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2mperf.errors import NotPrivateError
from p2mperf.host.private import fresh_directory, private_directory

CHECKOUT = Path(__file__).resolve().parents[2]
OTHER_USER = 54321
SHOW_CACHE = "from p2mperf.host.cache import cache_directory; print(cache_directory())"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_directory_is_made_for_us_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = private_directory(tmp_path / "one" / "two" / "three")
    finally:
        os.umask(before)
    assert made == tmp_path / "one" / "two" / "three"
    assert [mode_of(made), mode_of(made.parent), mode_of(made.parent.parent)] == [0o700] * 3
    assert private_directory(made) == made


def test_links_above_are_followed_once_and_for_all(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert private_directory(tmp_path / "link" / "mine") == tmp_path / "real" / "mine"


def as_link(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    path.symlink_to("elsewhere")


def as_open_directory(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        path.chmod(mode)

    return make


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (as_link, "is no directory"),
        (Path.touch, "is no directory"),
        (os.mkfifo, "is no directory"),
        (as_open_directory(0o777), "others can write to"),
        (as_open_directory(0o1777), "others can write to"),
        (as_open_directory(0o720), "others can write to"),
    ],
    ids=["link", "file", "pipe", "open", "sticky", "group"],
)
def test_what_is_not_ours_alone_is_refused(
    tmp_path: Path, plant: Callable[[Path], None], reason: str
) -> None:
    plant(tmp_path / "planted")
    with pytest.raises(NotPrivateError, match=reason):
        private_directory(tmp_path / "planted")


def test_what_belongs_to_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = private_directory(tmp_path / "theirs")
    monkeypatch.setattr(os, "geteuid", lambda: OTHER_USER)
    with pytest.raises(NotPrivateError, match=f"{theirs} belongs to another user"):
        private_directory(theirs)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to another user")
def test_root_does_not_believe_what_stands_in_the_home_of_another(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, OTHER_USER, OTHER_USER)
    with pytest.raises(NotPrivateError, match=f"{home} belongs to another user"):
        private_directory(home / "cache")


def test_a_place_that_others_can_rename_is_refused_and_a_sticky_one_is_not(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(NotPrivateError, match=f"others can write to {shared}"):
        private_directory(shared / "deeper" / "mine")
    shared.chmod(0o1777)
    assert private_directory(shared / "deeper" / "mine").is_dir()


def test_what_is_fresh_goes_with_the_process_that_made_it_and_with_no_fork_of_it() -> None:
    code = """
import os
from p2mperf.host.private import fresh_directory
made = fresh_directory()
if os.fork() == 0:
    raise SystemExit
os.wait()
print(made, made.is_dir(), oct(made.stat().st_mode & 0o777))
"""
    path, there, mode = run_python(code).stdout.split()
    assert (there, mode) == ("True", "0o700")
    assert not Path(path).exists()


def test_nothing_is_put_where_others_can_rename_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(NotPrivateError, match=f"others can write to {tmp_path}"):
        fresh_directory()


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("P2MPERF_CACHE_DIR", "HOME")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(Path.home()), **kept, "PYTHONPATH": str(CHECKOUT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def cache_of(**environment: str) -> tuple[Path, str]:
    """Where a fresh process keeps compiled code, and what it says of it."""
    done = run_python(SHOW_CACHE, **environment)
    return Path(done.stdout.strip()), done.stderr


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A user whose home is no place for a cache, and one for temporary files that all can write to."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    temporary.chmod(0o1777)
    (tmp_path / "home").touch()
    return {"TMPDIR": str(temporary), "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": ""}


def test_compiled_code_is_kept_for_its_user_alone(tmp_path: Path) -> None:
    kept, said = cache_of(P2MPERF_CACHE_DIR=str(tmp_path / "asked"))
    assert kept.parent == tmp_path / "asked"
    assert (mode_of(kept), mode_of(kept.parent), said) == (0o700, 0o700, "")


def test_the_place_beside_temporary_files_is_kept_where_it_is_ours(places: dict[str, str]) -> None:
    kept, said = cache_of(**places)
    assert kept.parent == Path(places["TMPDIR"], f"p2mperf-{os.geteuid()}")
    assert (mode_of(kept), mode_of(kept.parent), said) == (0o700, 0o700, "")
    assert cache_of(**places) == (kept, "")


@pytest.mark.parametrize(
    "plant", [as_link, as_open_directory(0o777), Path.touch], ids=["link", "open", "file"]
)
def test_what_was_planted_beside_temporary_files_is_never_loaded(
    places: dict[str, str], plant: Callable[[Path], None]
) -> None:
    planted = Path(places["TMPDIR"], f"p2mperf-{os.geteuid()}")
    plant(planted)
    kept, said = cache_of(**places)
    assert planted.resolve() not in kept.parents
    assert said.count("\n") == 1
    assert f"{planted} " in said or f"to {planted}," in said
    assert not kept.exists()  # it was fresh, and went with its process
    assert list(planted.resolve().glob("*")) == []


def test_a_cache_that_others_can_write_to_is_refused_in_a_sentence(
    tmp_path: Path, places: dict[str, str]
) -> None:
    asked = tmp_path / "asked"
    kept, _ = cache_of(P2MPERF_CACHE_DIR=str(asked))
    kept.chmod(0o777)
    other, said = cache_of(P2MPERF_CACHE_DIR=str(asked), **places)
    assert asked not in other.parents
    assert said.startswith(
        f"p2mperf: others can write to {kept}, so that compiled code from there is not run"
    )
    assert said.count("\n") == 1
    kept.chmod(0o700)
    asked.chmod(0o777)
    other, said = cache_of(P2MPERF_CACHE_DIR=str(asked), **places)
    assert asked not in other.parents
    assert said.startswith(f"p2mperf: others can write to {asked}, ")


def test_users_who_share_a_sticky_place_have_a_directory_each(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    kept, said = cache_of(P2MPERF_CACHE_DIR=str(shared))
    assert kept.parent == shared
    assert kept.name.endswith(f"-{os.geteuid()}")
    assert said == ""


def test_who_has_no_home_keeps_code_beside_temporary_files(places: dict[str, str]) -> None:
    nobody = "import os; os.getuid = lambda: 54321; del os.environ['HOME']; "
    done = run_python(nobody + SHOW_CACHE, **places)
    assert Path(done.stdout.strip()).parent == Path(places["TMPDIR"], f"p2mperf-{os.geteuid()}")


def test_the_units_of_a_sweep_keep_their_code_where_it_does(places: dict[str, str], tmp_path: Path) -> None:
    Path(places["TMPDIR"], f"p2mperf-{os.geteuid()}").touch()
    # In place of the interpreter: says where a unit keeps compiled code, whatever it is told to measure.
    unit = tmp_path / "unit"
    show = "import json, os, p2mperf.jit\nprint(json.dumps(os.environ['NUMBA_CACHE_DIR']))\n"
    unit.write_text(f"#!{sys.executable}\n{show}")
    unit.chmod(0o700)
    code = f"""
import sys
sys.executable = {str(unit)!r}
from p2mperf.study.executors.local import child
print(*child({{}}), *child({{}}))
from p2mperf.host.cache import cache_directory
print(cache_directory())
"""
    done = run_python(code, **places)
    assert len(set(done.stdout.split())) == 1
    assert done.stderr.count("\n") == 1
    assert not Path(done.stdout.split()[0]).exists()
