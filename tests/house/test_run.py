"""./run on machines that lack things; Python and apt-get are stand-ins that note how they were called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from p2mperf.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
_BASH = shutil.which("bash") or "bash"
SYSTEM_TOOLS = ("cat", "cksum", "cp", "dirname", "grep", "mkdir", "sh")

# Behaves as a Python whose pip is given by what stands in the environment; "makes" a venv by copying itself.
PYTHON = """\
#!/bin/sh
case "$*" in
    *'import ensurepip'*) [ -e "$STATE/ensurepip" ]; exit ;;
    *version_info*) [ ! -e "$STATE/too-old" ]; exit ;;
    *'import pip, sys'*) exit 1 ;;
    *'import pip') exit ;;
    --version) echo 'Python 3.11.0'; exit ;;
esac
echo "$(basename "$0") $*" >>"$STATE/log"
case "$*" in '-m p2mperf'*) echo "$P2MPERF_CALLED_AS" >"$STATE/called-as" ;; esac
case "$*" in
    '-m venv'*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
    *"-m $(cat "$STATE/complains" 2>/dev/null) "*) exit 1 ;;
    *' -c '*constraints.txt*)
        if [ -e "$STATE/pip-says" ]; then cat "$STATE/pip-says" >&2; exit 1; fi ;;
esac
"""
APT_GET = """\
#!/bin/sh
echo "apt-get $*" >>"$STATE/log"
case "$*" in
    *chromium) cp "$STATE/python" "$BIN/chromium" ;;
    *install*) touch "$STATE/ensurepip"; cp "$STATE/python" "$BIN/python3" ;;
esac
"""


class FakeMachine:
    """A checkout with ./run and nothing else, and a PATH with only what a test puts there."""

    def __init__(self, directory: Path) -> None:
        self.checkout = directory / "checkout"
        self.bin = directory / "bin"
        self.state = directory / "state"
        for made in (self.checkout, self.bin, self.state):
            made.mkdir()
        (self.checkout / ".ci").mkdir()
        for script in ("run", ".ci/run"):
            shutil.copy(ROOT / script, self.checkout / script)
        for name in ("pyproject.toml", "constraints.txt"):
            (self.checkout / name).write_text("one")
        for tool in (*SYSTEM_TOOLS, "basename", "touch", "rm"):
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)
        self._script(self.state / "python", PYTHON)
        self.be_user(1000)

    def _script(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def be_user(self, number: int) -> None:
        self._script(self.bin / "id", f"#!/bin/sh\necho {number}\n")

    def add_apt_get(self) -> None:
        self._script(self.bin / "apt-get", APT_GET)

    def add_python(self, name: str = "python3", *, ensurepip: bool = True) -> None:
        shutil.copy(self.state / "python", self.bin / name)
        if ensurepip:
            (self.state / "ensurepip").touch()

    def run(self, *arguments: str, script: str = "run") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "STATE": str(self.state), "BIN": str(self.bin)}
        return subprocess.run(
            [_BASH if script == ".ci/run" else "sh", str(self.checkout / script), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def log(self) -> list[str]:
        """Calls since the last look."""
        path = self.state / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def test_a_user_without_python_is_told_the_apt_line(machine: FakeMachine) -> None:
    machine.add_apt_get()
    result = machine.run("sweep")
    assert result.returncode == 1
    assert "sudo apt-get update && sudo apt-get install -y python3 python3-venv\n" in result.stderr
    assert machine.log() == []


def test_a_user_without_venv_is_told_the_apt_line(machine: FakeMachine) -> None:
    machine.add_python(ensurepip=False)
    result = machine.run("test")
    assert result.returncode == 1
    assert "apt-get install -y python3-venv\n" in result.stderr


def test_a_user_with_an_old_python_is_told_a_newer_one(machine: FakeMachine) -> None:
    machine.add_python()
    (machine.state / "too-old").touch()
    result = machine.run("sweep")
    assert result.returncode == 1
    assert "apt-get install -y python3.11 python3.11-venv\n" in result.stderr


def test_root_gets_what_is_missing(machine: FakeMachine) -> None:
    machine.be_user(0)
    machine.add_apt_get()
    result = machine.run("sweep", "--plan", "quick")
    assert result.returncode == 0, result.stderr
    calls = machine.log()
    assert calls[:2] == [
        "apt-get -qq -o DPkg::Lock::Timeout=120 update",
        "apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends python3 python3-venv",
    ]
    assert calls[-1] == "python -m p2mperf sweep --plan quick"


def test_the_newest_python_that_can_is_taken(machine: FakeMachine) -> None:
    machine.add_python("python3.11")
    machine.add_python("python3.13")
    assert machine.run("sweep").returncode == 0
    assert machine.log()[0].startswith("python3.13 -m venv")


def test_installing_happens_once_and_again_after_a_change(machine: FakeMachine) -> None:
    machine.add_python()
    assert machine.run("sweep").returncode == 0
    # venv, pip install, the sweep itself
    assert len(machine.log()) == 3
    assert machine.run("sweep").returncode == 0
    assert machine.log() == ["python -m p2mperf sweep"]
    (machine.checkout / "pyproject.toml").write_text("two")
    assert machine.run("sweep").returncode == 0
    assert [" install " in call for call in machine.log()] == [True, False]


def test_a_failed_installation_is_not_taken_for_done(machine: FakeMachine) -> None:
    machine.add_python()
    (machine.state / "pip-says").write_text("ERROR: no space left\n")
    result = machine.run("sweep")
    assert result.returncode == 1
    assert "no space left" in result.stderr
    machine.log()
    (machine.state / "pip-says").unlink()
    assert machine.run("sweep").returncode == 0
    assert any(" install " in call for call in machine.log())


def test_versions_that_do_not_exist_are_let_go_of(machine: FakeMachine) -> None:
    machine.add_python()
    (machine.state / "pip-says").write_text("ERROR: No matching distribution found for numpy==2.4.6\n")
    result = machine.run("sweep")
    assert result.returncode == 0
    assert "does not exist for Python 3.11.0: installing the newest instead" in result.stderr
    with_constraints, without = [call for call in machine.log() if " install " in call]
    assert "constraints.txt" in with_constraints
    assert "constraints.txt" not in without


def test_checks_come_before_the_tests(machine: FakeMachine) -> None:
    machine.add_python()
    assert machine.run("test").returncode == 0
    calls = machine.log()
    assert "--group test --group lint" in calls[1]
    modules = [call.split()[2] for call in calls if " -m " in call]
    # mypy runs beside what follows it, and may be noted at any time.
    assert [name for name in modules if name != "mypy"][-3:] == ["ruff", "ruff", "pytest"]
    assert modules.count("mypy") == 1
    assert any(" -m pytest -q -n 2 --dist loadfile " in call for call in calls)
    machine.run("test", "-k", "one")
    assert machine.log() == ["python -m pytest -k one"]


def test_one_complaint_does_not_hide_the_others(machine: FakeMachine) -> None:
    machine.add_python()
    (machine.state / "complains").write_text("mypy")
    result = machine.run("test")
    assert result.returncode == 1
    assert result.stderr.endswith("run: mypy\nrun: failed: mypy\n")
    assert any(call.startswith("python -m pytest") for call in machine.log())


def test_ci_tests_and_makes_the_site_and_fuzzes_and_then_tries_every_benchmark(machine: FakeMachine) -> None:
    machine.add_python()
    machine.be_user(0)
    machine.add_apt_get()
    result = machine.run(script=".ci/run")
    assert result.returncode == 0
    calls = [call for call in machine.log() if call.startswith("python ") and " install " not in call]
    said = [call.removeprefix("python -m ").removeprefix("python ").split()[0] for call in calls]
    # mypy runs beside pytest, and may begin after it.
    assert [name for name in said if name != "mypy"][-5:] == [
        "pytest",
        "tools/docs.py",
        "pytest",
        "pytest",
        "benchmarks",
    ]
    told = [line for line in result.stderr.splitlines() if line.startswith("ci: ")]
    assert told == [
        "ci: checks and tests",
        "ci: the documentation site",
        "ci: notebooks, report and site in a browser",
        "ci: hostile calls, command lines and files",
        "ci: every benchmark for a few seconds, its figures not judged",
    ]
    (machine.state / "complains").write_text("mypy")
    assert machine.run(script=".ci/run").returncode == 1
    assert "benchmarks" not in machine.log()[-1]


def test_root_may_open_the_lab_and_is_told_what_that_means(machine: FakeMachine) -> None:
    machine.add_python()
    assert "root" not in machine.run("lab").stderr
    machine.be_user(0)
    told = machine.run("lab", "--no-browser").stderr
    assert told.splitlines() == ["run: you are root: what the cells of a notebook do is done as root"]
    notebooks = machine.checkout / "notebooks"
    assert machine.log()[-1] == f"python -m jupyterlab --allow-root --no-browser {notebooks}"


def test_the_site_is_made_of_what_it_needs_alone(machine: FakeMachine) -> None:
    machine.add_python()
    assert machine.run("docs", "linkcheck").returncode == 0
    *_, install, making = machine.log()
    assert install.endswith(" --group docs")
    assert making == "python tools/docs.py linkcheck"


def test_a_user_without_chromium_is_told_the_apt_line(machine: FakeMachine) -> None:
    machine.add_python()
    machine.add_apt_get()
    result = machine.run("browser")
    assert result.returncode == 2
    assert result.stderr.endswith("    sudo apt-get update && sudo apt-get install -y chromium\n")
    assert machine.log() == []


def test_root_gets_chromium_once(machine: FakeMachine) -> None:
    machine.add_python()
    machine.add_apt_get()
    machine.be_user(0)
    assert machine.run("browser", "-k", "lab").returncode == 0
    calls = machine.log()
    assert [call.split()[-1] for call in calls if call.startswith("apt-get")] == ["update", "chromium"]
    assert calls[-1] == "python -m pytest -m browser -k lab"
    assert machine.run("browser").returncode == 0
    assert machine.log() == ["python -m pytest -m browser tests/browser"]


@pytest.mark.parametrize("words", [["plot", "all"], ["claims"], ["swep"], ["--version"]])
def test_whatever_it_does_not_do_itself_is_the_package_s(machine: FakeMachine, words: list[str]) -> None:
    machine.add_python()
    assert machine.run(*words).returncode == 0
    calls = machine.log()
    assert calls[1].endswith("--editable .")
    assert calls[-1] == f"python -m p2mperf {' '.join(words)}"


def test_what_the_package_refuses_is_refused(machine: FakeMachine) -> None:
    machine.add_python()
    (machine.state / "complains").write_text("p2mperf")
    assert machine.run("swep").returncode == 1


def test_the_lab_needs_what_notebooks_need_and_gets_it_once(machine: FakeMachine) -> None:
    machine.add_python()
    assert machine.run("lab").returncode == 0
    _, install, _ = machine.log()
    assert install.endswith("--editable .[notebook]")
    machine.run("lab")
    assert machine.log() == [f"python -m jupyterlab {machine.checkout / 'notebooks'}"]
    # What has the notebooks has the commands.
    machine.run("list")
    assert machine.log() == ["python -m p2mperf list"]


@pytest.mark.parametrize("called", ["./run", "run", "../checkout/run"])
def test_the_program_is_told_what_was_typed(machine: FakeMachine, called: str) -> None:
    machine.add_python()
    environment = {"PATH": str(machine.bin), "STATE": str(machine.state), "BIN": str(machine.bin)}
    subprocess.run(["sh", called, "list"], cwd=machine.checkout, env=environment, check=True)
    # A script that is named without a slash was given to sh, and lies here.
    assert (machine.state / "called-as").read_text() == (called if "/" in called else f"./{called}") + "\n"


def test_help_names_every_command_of_the_package(machine: FakeMachine) -> None:
    said = machine.run("help").stdout
    assert [name for name in COMMANDS if name not in re.findall(r"[a-z-]+", said)] == []
    assert machine.run().stdout == said


def test_the_scripts_can_be_executed() -> None:
    assert os.access(ROOT / "run", os.X_OK)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
