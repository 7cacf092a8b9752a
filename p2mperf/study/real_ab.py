"""Run a command in two environments, in turns: for who has two kernels to run it on.

An environment is what stands before a shell: ``ssh dom0-list``, ``chroot /mnt``, ``env X=1``. The shell
reads what to do from its standard input, so nothing is quoted on the way, and tells the CPU time of the
command itself, which this machine could not know of another. Elapsed time is taken here, from the shell's
word that it begins to its word that the command has ended.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from p2mperf.analysis.kernel_build.real_ab import SIDES, RealRun, order, whole_pairs
from p2mperf.errors import BadInputError, P2mperfError, ResultsError, cut, shown
from p2mperf.progress import Progress
from p2mperf.results.files import as_path, open_locked, read_regular, status_of, told
from p2mperf.results.plain import decoded, encoded
from p2mperf.workload.plain import from_plain

FORMAT, VERSION = "p2mperf-real-ab", 1
_MOST_PAIRS = 10_000
_PATIENCE_SECONDS = 5.0
# As POSIX has `times` print: minutes and seconds of user and of system time.
_TIMES = re.compile(rb"(\d+)m([\d.]+)s (\d+)m([\d.]+)s")
_NOT_PREPARED = 125


@dataclass(frozen=True)
class Plan:
    """What is run where.

    Attributes
    ----------
    command : str
        A line of shell.
    a, b : tuple of str
        Words that stand before the shell.
    n_pairs : int
        Pairs of runs.
    prepare : str
        A line of shell that is run before each, and not timed.
    directory : str
        Where both are run in; "" for where the environment begins.
    """

    command: str
    a: tuple[str, ...]
    b: tuple[str, ...]
    n_pairs: int
    prepare: str = ""
    directory: str = ""

    def prefix(self, side: str) -> tuple[str, ...]:
        """Words before the shell of one side."""
        return {"a": self.a, "b": self.b}[side]

    @property
    def script(self) -> str:
        """What the shell is told."""
        lines = ["exec 3>&1 1>/dev/null"]
        if self.directory:
            lines.append(f"cd {shlex.quote(self.directory)} || exit {_NOT_PREPARED}")
        if self.prepare:
            lines += ["(", self.prepare, f") </dev/null || exit {_NOT_PREPARED}"]
        lines += ["{ uname -r; times; echo begin; } >&3", "(", self.command, ") </dev/null"]
        return "\n".join([*lines, "code=$?", '{ echo "end $code"; times; } >&3', "exit $code", ""])


def make_plan(
    command: Sequence[str],
    a: str,
    b: str,
    n_pairs: int,
    prepare: str = "",
    directory: str = "",
) -> Plan:
    """Check what somebody wants to be run.

    Parameters
    ----------
    command : sequence of str
        Program and arguments, or one line of shell.
    a, b : str
        What stands before the shell, as words of a shell.
    n_pairs : int
        Pairs of runs.
    prepare, directory : str
        As `Plan`.

    Raises
    ------
    BadInputError
        For what cannot be run: no command, an environment that is no program here, text with half a quotation
        or with a zero byte in it.
    """
    if not command:
        raise BadInputError(
            "--real-ab lacks the command to run: give it after --, as in `-- make -j4 vmlinux`"
        )
    if not 1 <= n_pairs <= _MOST_PAIRS:
        raise BadInputError(f"pairs of runs are 1 to {_MOST_PAIRS}, not {shown(n_pairs)}")
    if any("\0" in text for text in (*command, a, b, prepare, directory)):
        raise BadInputError("no command line has a zero byte in it")
    whole = command[0] if len(command) == 1 else shlex.join(command)
    if not whole.strip():
        raise BadInputError("the command to run is empty")
    return Plan(whole, _prefix("a", a), _prefix("b", b), n_pairs, prepare, directory)


def _prefix(side: str, text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise BadInputError(f"environment {side} is no line of words: {shown(text)}: {error}") from None
    if words and shutil.which(words[0]) is None:
        raise BadInputError(f"environment {side} begins with {shown(words[0])}, which is no program here")
    return words


def run_pairs(plan: Plan, out: str | Path | None = None, progress: Progress | None = None) -> list[RealRun]:
    """Run all pairs, or those that a journal lacks.

    Parameters
    ----------
    plan : Plan
        What is run.
    out : str or Path, optional
        Journal: each run is a line as soon as it has ended, and a later call with the same plan goes on.
    progress : Progress, optional
        Whom to tell.

    Returns
    -------
    list of RealRun
        Those of the journal too.

    Raises
    ------
    P2mperfError
        When a run fails, with what it said last. The journal has those before it.
    ResultsError
        When the journal cannot be used, or is of another plan.
    """
    progress = progress or Progress()
    journal = _Journal(plan, out)
    try:
        runs = list(journal.runs)
        done = {a.pair for a, _ in whole_pairs(runs)}
        todo = [(pair, side) for pair in range(plan.n_pairs) if pair not in done for side in order(pair)]
        for number, (pair, side) in enumerate(todo):
            n_before = 2 * plan.n_pairs - len(todo) + number
            progress.advance(n_before, 2 * plan.n_pairs, f"pair {pair + 1}, {side}")
            runs.append(_run(plan, pair, side))
            journal.append(runs[-1])
        return [run for run in runs if run.pair < plan.n_pairs]
    finally:
        journal.close()


def _run(plan: Plan, pair: int, side: str) -> RealRun:
    words = [*plan.prefix(side), "sh", "-s"]
    with tempfile.TemporaryFile() as said:
        try:
            # A session of its own, so that all of it can be ended; it has no terminal to ask for passwords.
            child = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True
            )
        except OSError as error:
            raise P2mperfError(f"cannot start {shown(words[0])}: {error.strerror}") from error
        try:
            lines, elapsed_s = _talk(child, plan.script)
            code = child.wait()
        finally:
            _end(child)
        if code or elapsed_s is None:
            raise P2mperfError(
                f"run {side} of pair {pair + 1} failed {_why(code)}: {_last_line(said) or 'it said nothing'}"
            )
    kernel, user_s, system_s = _read(lines, side)
    return RealRun(pair, side, kernel, elapsed_s, user_s, system_s)


def _talk(child: subprocess.Popen[bytes], script: str) -> tuple[list[bytes], float | None]:
    """Tell the shell what to do, and take the time between its two words."""
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.write(script.encode("utf-8", "surrogateescape"))
        child.stdin.close()
    lines, begun, elapsed_s = [], None, None
    for line in child.stdout:
        now = time.monotonic()
        lines.append(line.strip())
        if lines[-1] == b"begin":
            begun = now
        elif lines[-1].startswith(b"end ") and begun is not None:
            elapsed_s = now - begun
    return lines, elapsed_s


def _read(lines: list[bytes], side: str) -> tuple[str, float, float]:
    """Release of the kernel, and user and system time of the command, from what the shell said."""
    times = [match for line in lines if (match := _TIMES.fullmatch(line))]
    if len(times) != 4:
        raise P2mperfError(f"the shell of environment {side} does not tell times as POSIX has it")
    # Of the shell and of what it has started, before and after.
    ends = [(60 * int(t[1]) + float(t[2]), 60 * int(t[3]) + float(t[4])) for t in times]
    user_s, system_s = (
        ends[2][column] + ends[3][column] - ends[0][column] - ends[1][column] for column in (0, 1)
    )
    return cut(lines[0].decode("utf-8", "replace")), user_s, system_s


def _why(code: int) -> str:
    if code == _NOT_PREPARED:
        return "before the command began"
    return f"by signal {-code}" if code < 0 else f"with code {code}"


def _last_line(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - 4096))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return cut(lines[-1]) if lines else ""


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing running: what was interrupted is told to end, and then made to."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_PATIENCE_SECONDS)


class _Journal:
    """A line for the plan, and one for each run; without a path it keeps nothing."""

    def __init__(self, plan: Plan, out: str | Path | None) -> None:
        self.runs: tuple[RealRun, ...] = ()
        self._descriptor = -1
        if out is None:
            return
        path = as_path(out)
        # Lists, as JSON gives them back; how many pairs there are to be may grow.
        kept = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(plan).items()
        }
        head = {"format": FORMAT, "version": VERSION, **kept}
        del head["n_pairs"]
        is_new = (status := status_of(path)) is None or status.st_size == 0
        self._descriptor = open_locked(path, os.O_CREAT)
        try:
            if is_new:
                self._write(head)
            else:
                self.runs = _runs_of(path, head, self._descriptor)
        except BaseException:
            self.close()
            raise

    def append(self, run: RealRun) -> None:
        if self._descriptor >= 0:
            self._write(asdict(run))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, record: dict[str, object]) -> None:
        os.write(self._descriptor, encoded(record) + b"\n")
        os.fsync(self._descriptor)


def _runs_of(path: Path, head: dict[str, object], descriptor: int) -> tuple[RealRun, ...]:
    content = read_regular(path)
    whole = content[: content.rfind(b"\n") + 1]
    try:
        first, *rest = (decoded(line) for line in whole.splitlines())
    except ValueError:
        first, rest = None, []
    if not isinstance(first, dict) or first.get("format") != FORMAT:
        raise ResultsError(f"{told(path)} is no journal of --real-ab: name another file")
    if first != head:
        other = next((name for name in head if first.get(name) != head[name]), "version")
        raise ResultsError(
            f"{told(path)} has runs of another {other}: name another file, or ask for the same"
        )
    runs = tuple(_run_of(record, path) for record in rest)
    os.ftruncate(descriptor, len(whole))  # a line that a crash has torn
    return runs


def _run_of(record: object, path: Path) -> RealRun:
    run = from_plain(RealRun, record, f"a run of {told(path)}")
    if run.side not in SIDES or not 0 <= run.pair < _MOST_PAIRS:
        raise ResultsError(f"{told(path)} has a run of no pair or side: {shown(record)}")
    return run
