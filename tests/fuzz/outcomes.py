"""What became of a hostile call: run in children that may die of it, told apart by where it went wrong.

A *case* is made from a seed and a number alone. A child works through cases and says before each what it is
about to do, so that the parent knows what killed it. Two faults are one when their signatures agree: the kind
of outcome and the innermost line of the package.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = str(ROOT / "p2mperf") + os.sep
LONGEST_SENTENCE = 600
CASES_PER_CHILD = 100
# Private memory that a child may have: what asks for more gets a MemoryError, which must come out as
# DoesNotFitError. Address space that is only reserved, as for windows, does not count.
MEMORY_BYTES = 4 << 30
# Deaths at one line have several causes; the statements say which.
_CAUSES = ("copied", "race", "forked", "like=", "window=w", "w.close", ".close", "cleanup", "Runs", "Machine")
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


class Wrong(Exception):
    """A call answered, and the answer is not so."""


class Own(Exception):
    """Raised by an object of ours inside a call: whoever passes it on does right."""


@dataclass
class Fault:
    """One thing that must not be.

    Attributes
    ----------
    kind : str
        Name of the signal or exception; "wrong", "hang", "message", or what a fuzzer adds.
    where : str
        Innermost line of the package, as "file:line".
    what : str
        Message, or which answer was wrong.
    case : int
        Number of the case.
    text : str
        What was done, in one line.
    """

    kind: str
    where: str
    what: str
    case: int
    text: str

    @property
    def signature(self) -> str:
        """Equal for two ways to one fault; a wrong answer or a sentence is told apart by its words."""
        words = ""
        if self.kind in ("wrong", "message"):
            words = re.sub(r"[0-9]+|'[^']*'", "*", self.what)[:60]
        elif self.kind.startswith("SIG"):
            words = " ".join(cause for cause in _CAUSES if cause in self.text)
        return f"{self.kind} at {self.where} {words}".strip()


@dataclass
class Report:
    """Counts of outcomes, and the faults, one for each signature, with how often each was met."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[str, Fault] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)
    n_cases: int = 0

    def add(self, fault: Fault) -> bool:
        """Take a fault in; True for the first of its signature."""
        self.met[fault.signature] += 1
        self.outcomes[fault.kind] += 1
        return self.faults.setdefault(fault.signature, fault) is fault

    def as_json(self) -> str:
        """All of it in one line."""
        found = [
            {**asdict(fault), "signature": key, "met": self.met[key]} for key, fault in self.faults.items()
        ]
        return json.dumps({"cases": self.n_cases, "outcomes": self.outcomes, "faults": found})


def where_of(error: BaseException) -> str:
    """Innermost line of the package on an exception's way, or of whatever is innermost."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if frame.filename.startswith(PACKAGE)]
    if inside:
        return f"{inside[-1].filename.removeprefix(PACKAGE)}:{inside[-1].lineno}"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"


def where_in(dump: str) -> str:
    """Innermost line of the package in what faulthandler wrote."""
    for name, line in _FRAME.findall(dump):
        if name.startswith(PACKAGE):
            return f"{name.removeprefix(PACKAGE)}:{line}"
    return "?"


def bad_sentence(message: str) -> str:
    """What is wrong with a message that should be one short sentence; "" if nothing is."""
    if not message.strip():
        return "an empty sentence"
    if "\n" in message:
        return "a sentence of several lines"
    return f"a sentence of {len(message)} characters" if len(message) > LONGEST_SENTENCE else ""


class Work:
    """What a child does with one case.

    Parameters
    ----------
    run : callable
        Takes the number of a case and a `Channel`; tells the channel what it does, and what was found. True
        where the next case must not follow in the same process: this one may have left damage behind.
    seconds : float
        How long one case may take before it counts as hanging [s].
    """

    def __init__(self, run: Callable[[int, Channel], bool | None], seconds: float = 20) -> None:
        self.run, self.seconds = run, seconds


class Channel:
    """From a child to its parent: what it is about to do (shared memory), and what came of it (a pipe)."""

    _ROOM = 1 << 16

    def __init__(self) -> None:
        self._doing = mmap.mmap(-1, self._ROOM)
        self.reader, self.writer = os.pipe()

    def doing(self, case: int, text: str) -> None:
        """Leave word, which outlives the process."""
        word = json.dumps([case, text[:10_000]]).encode()
        self._doing[: len(word) + 1] = word + b"\0"

    def last(self) -> tuple[int, str]:
        """What was being done."""
        word = self._doing[: self._doing.find(b"\0")]
        case, text = json.loads(word)
        return int(case), str(text)

    def count(self, outcome: str) -> None:
        """One more call that came out as it should."""
        self._send({"outcome": outcome})

    def fault(self, fault: Fault) -> None:
        """A fault that did not kill the child."""
        self._send({"fault": asdict(fault)})

    def end_of_case(self) -> None:
        """The case is done."""
        self._send({"end": True})

    def _send(self, message: dict[str, Any]) -> None:
        os.write(self.writer, json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """Both ends, as far as they are open."""
        for descriptor in (self.reader, self.writer):
            try:
                os.close(descriptor)
            except OSError:
                continue


def run_cases(work: Work, first: int, n_cases: int, report: Report, seconds: float = 1e9) -> None:
    """Work through cases in children, one after the other, until cases or time are used up."""
    end, deadline = first + n_cases, time.monotonic() + seconds
    while first < end and time.monotonic() < deadline:
        first += _one_child(work, first, min(end - first, CASES_PER_CHILD), report, deadline)


def _one_child(work: Work, first: int, n_cases: int, report: Report, deadline: float) -> int:
    """Cases that were dealt with: all, or those up to the one that killed the child."""
    channel, dump = Channel(), open(os.memfd_create("dump"), "w+")  # noqa: SIM115
    channel.doing(first, "")
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(channel.reader)
        _work(work, first, n_cases, channel, dump, deadline)
    os.close(channel.writer)
    n_done = 0
    with os.fdopen(channel.reader, closefd=True) as lines:
        for line in lines:
            message = json.loads(line)
            if "outcome" in message:
                report.outcomes[message["outcome"]] += 1
            elif "fault" in message:
                report.add(Fault(**message["fault"]))
            else:
                n_done += 1
    _, status = os.waitpid(child, 0)
    if status:
        dump.seek(0)
        case, text = channel.last()
        report.add(_death(status, dump.read(), case, text))
        n_done = case - first + 1
    report.n_cases += n_done
    dump.close()
    return max(1, n_done)


def _work(work: Work, first: int, n_cases: int, channel: Channel, dump: Any, deadline: float) -> None:
    """The child: never returns."""
    try:
        os.dup2(dump.fileno(), 2)
        faulthandler.enable(dump, all_threads=False)
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for case in range(first, first + n_cases):
            if time.monotonic() > deadline:
                break
            faulthandler.dump_traceback_later(work.seconds, exit=True, file=dump)
            is_last = work.run(case, channel)
            faulthandler.cancel_dump_traceback_later()
            channel.end_of_case()
            if is_last:
                break
    except BaseException:
        traceback.print_exc(file=dump)
        dump.flush()
        os._exit(3)
    os._exit(0)


def _death(status: int, dump: str, case: int, text: str) -> Fault:
    if os.WIFSIGNALED(status):
        kind = signal.Signals(os.WTERMSIG(status)).name
        return Fault(kind, where_in(dump), "the process died", case, text)
    if "Timeout" in dump:
        return Fault("hang", where_in(dump), "no end", case, text)
    return Fault("harness", where_in(dump), dump[-300:], case, text)


def print_report(report: Report, program: str, seed: int) -> None:
    """Say what was found for people, and once more as JSON in the last line."""
    lines = [f"{report.n_cases} cases, seed {seed}: {dict(report.outcomes.most_common())}"]
    for key, fault in sorted(report.faults.items()):
        lines += [f"{report.met[key]:5} x {key}: {fault.what[:150]!r}", f"        {fault.text[:400]}"]
        lines += [f"        {program} --seed {seed} --case {fault.case}"]
    sys.stdout.write("\n".join([*lines, report.as_json()]) + "\n")
