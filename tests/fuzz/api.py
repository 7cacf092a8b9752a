"""Fuzz of the public API: hostile values, orders of calls, threads, copies and forks, in children.

    python tests/fuzz/api.py [--seed S] [--cases 2000] [--seconds 20] [--case N] [--run 'STATEMENTS']

A case is a line of statements made from the seed and its number alone, and what a fault prints is that line,
shortened as far as the same fault stays. Statements are done one by one; a case ends with its first fault.
Without a seed one is drawn, and told.

What counts as a fault:
- a signal, and no end within 20 s;
- an exception that is not p2mperf's. Two are nobody's fault: the TypeError with which Python itself refuses
  a wrong number of arguments or an unknown keyword, and what a caller's own object raises (`values.Evil`);
- a MemoryError that is not a DoesNotFitError, however large a size was asked for;
- a sentence that is empty, has several lines or more than 600 characters;
- a wrong answer: an audit that does not hold, lookup and lookup_path that differ, entries of another domain,
  a closed design that answers, a fork's child that has written into its parent.
Threads make a case depend on timing as well: all else is the same for the same seed.
"""

from __future__ import annotations

import argparse
import contextlib
import random as randomness
import re
import sys
import warnings
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

import grammar
import judges
import recordings
import rooms
from outcomes import (
    Channel,
    Fault,
    Own,
    Report,
    Work,
    Wrong,
    bad_sentence,
    print_report,
    run_cases,
    where_of,
)
from values import namespace

import p2mperf
from p2mperf.designs import family_of, registry
from p2mperf.errors import AuditError, P2mperfError
from p2mperf.families import find_family

KINDS = {
    rooms.guests: 15,
    rooms.builds: 10,
    rooms.streamed: 8,
    recordings.recordings: 8,
    rooms.samples: 8,
    rooms.questions: 8,
    rooms.gifts: 6,
    rooms.migrations: 6,
    grammar.lively: 40,
    grammar.paired: 15,
}
# After these a process is not trusted with another case.
_DAMAGING = ("copied(", "race(", "forked(", "close(", "__exit__", "del ", "like=", "w.", "replace(")
_BINDING = re.compile(
    r"positional argument|missing \d+ required|unexpected keyword|multiple values for|takes no (keyword )?arg"
)
_DOOR = "designs/passing.py"  # every method of a design is called from there


def statements(seed: int, case: int) -> list[str]:
    """The lines of one case."""
    random = Random(f"{seed}/{case}")
    return random.choices(list(KINDS), list(KINDS.values()))[0](random)


def run(lines: list[str], case: int, channel: Channel, names: dict[str, Any]) -> None:
    """Do the statements of one case up to the first fault."""
    space = dict(names)
    for number, line in enumerate(lines, start=1):
        so_far = "; ".join(lines[:number])
        channel.doing(case, so_far)
        found = _do(line, space)
        if isinstance(found, Fault):
            found.case, found.text = case, so_far
            channel.fault(found)
            return
        channel.count(found)


def _do(line: str, space: dict[str, Any]) -> str | Fault:
    """Name of the outcome, or the fault."""
    try:
        exec(compile(line, "<case>", "exec"), space)
    except Wrong as error:
        return _fault(error, "wrong")
    except AuditError:
        return "AuditError"  # `check` judges it
    except P2mperfError as error:
        bad = bad_sentence(str(error))
        return Fault("message", where_of(error), bad, 0, "") if bad else type(error).__name__
    except Own:
        return "own"
    except BaseException as error:
        return _nobodys_fault(error) or _fault(error)
    return "returned"


def _nobodys_fault(error: BaseException) -> str:
    """What Python itself refused before anything of the package ran; "" for all else."""
    where = where_of(error)
    if isinstance(error, TypeError) and _BINDING.search(str(error)) and where.startswith(("<case>", _DOOR)):
        return "binding"
    if not where.startswith("<case>"):
        return ""
    # An earlier statement was refused, and what it should have made is not there; or this design lacks it.
    return {NameError: "not reached", AttributeError: "no such attribute"}.get(type(error), "")


def _fault(error: BaseException, kind: str = "") -> Fault:
    return Fault(kind or type(error).__name__, where_of(error), str(error)[:300], 0, "")


def shortened(lines: list[str], fault: Fault, names: dict[str, Any]) -> str:
    """The fewest of these statements that still end in the same fault."""

    def is_same(trial: list[str]) -> bool:
        report = Report()
        run_cases(Work(lambda case, channel: run(trial, case, channel, names)), 0, 1, report)
        return fault.signature in report.faults

    for position in range(len(lines) - 1, -1, -1):
        trial = lines[:position] + lines[position + 1 :]
        if trial and is_same(trial):
            lines = trial
    return "; ".join(lines)


def warmed(is_lone: bool) -> dict[str, Any]:
    """Names for the statements; what many cases will run is compiled, so that children need not."""
    warnings.simplefilter("ignore")
    names = namespace() | judges.names() | recordings.names() | {"frame": judges.samples()}
    recordings.warm()
    for design in () if is_lone else registry():
        for geometry in find_family(family_of(design)).geometries:
            with p2mperf.build(design, p2mperf.Guest.plain("16M", geometry=geometry)) as made:
                _warm(design, {**names, "a": made, "g": made.guest})
    return names


def _warm(design: str, space: dict[str, Any]) -> None:
    random, made = Random(design), space["a"]
    space |= {"f": int(made.guest.ram.first_pfn[0]), "end": made.guest.covered_pfn}
    lines = [grammar.call(random, design, n_hostile=0.0) for _ in range(100)]
    for line in (*lines, "check(a)", "tracer(a).write([f])", "a.tools.audit()", "a.restore(a.save())"):
        # Here nothing is judged.
        with contextlib.suppress(Exception):
            if "close" not in line:
                exec(line, {**space, "n": made.guest.machine.n_frames})


def main() -> int:
    """Fuzz, report, and fail when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=randomness.randrange(10**6))
    parser.add_argument("--cases", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--run", help="only these statements")
    parser.add_argument("--long", action="store_true", help="do not shorten what was found")
    arguments = parser.parse_args()
    lone = arguments.run.split("; ") if arguments.run else None
    is_lone = lone is not None or arguments.case is not None
    names, report = warmed(is_lone), Report()

    def one(case: int, channel: Channel) -> bool:
        lines = lone or statements(arguments.seed, case)
        run(lines, case, channel, names)
        return any(word in line for line in lines for word in _DAMAGING)

    run_cases(Work(one), arguments.case or 0, 1 if is_lone else arguments.cases, report, arguments.seconds)
    for fault in report.faults.values():
        if not lone and not arguments.long and fault.kind != "harness":
            fault.text = shortened(fault.text.split("; "), fault, names)
    print_report(report, "python tests/fuzz/api.py", arguments.seed)
    return int(bool(report.faults))


if __name__ == "__main__":
    sys.exit(main())
