"""Hostile use of the public API, fuzzed in children of their own for a while: tests/fuzz/api.py.

In the suite two seeds have half a minute each, so that the number of cases is the machine's; `-m slow` goes
on for P2MPERF_FUZZ_SECONDS, ten minutes unless told, with the seed P2MPERF_FUZZ_SEED, or one that is drawn
and told.
"""

from __future__ import annotations

import os

import pytest
from fuzzing import fuzz

SECONDS = 25  # of cases; what compiles before is beside them


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", [1, 2])
def test_no_public_call_crashes_or_answers_wrongly(seed: int) -> None:
    found = fuzz("api.py", "--seed", str(seed), "--seconds", str(SECONDS))
    assert not found["faults"], "\n".join(found["talk"])
    # Some hundred cases of up to ten statements on an idle processor, a few tens on a busy one.
    assert found["cases"] >= 10


@pytest.mark.slow
def test_no_public_call_crashes_for_long() -> None:
    seconds = float(os.environ.get("P2MPERF_FUZZ_SECONDS", "600"))
    seed = os.environ.get("P2MPERF_FUZZ_SEED")
    found = fuzz(
        "api.py", "--seconds", str(seconds), *(["--seed", seed] if seed else []), patience=2 * seconds + 300
    )
    assert not found["faults"], "\n".join(found["talk"])
    assert found["cases"] >= seconds / 10


def kinds_of(*statements: str) -> list[str]:
    return [fault["kind"] for fault in fuzz("api.py", "--run", "; ".join(statements))["faults"]]


@pytest.mark.parametrize(
    ("statements", "kinds"),
    [
        (["import os, signal", "os.kill(os.getpid(), signal.SIGSEGV)"], ["SIGSEGV"]),
        (["p2mperf.errors.cut(5)"], ["TypeError"]),
        (["race(lambda: p2mperf.errors.cut(5))"], ["TypeError"]),
        (["a = build('pv-tree', Guest.plain('16M'))", "a.store.leaves[1] = 0", "check(a)"], ["wrong"]),
        (["raise p2mperf.errors.BadInputError('two\\nlines')"], ["message"]),
        (["Guest.plain('nope')", "Guest.plain(zzz=1)", "Guest.plain(Evil())", "g.entries([0])"], []),
    ],
    ids=["signal", "exception", "in a thread", "wrong answer", "sentence", "refused as it should be"],
)
def test_the_fuzz_sees_what_it_is_there_to_see(statements: list[str], kinds: list[str]) -> None:
    assert kinds_of(*statements) == kinds


def test_a_case_is_made_from_its_seed_and_number_alone() -> None:
    once, again = (fuzz("api.py", "--seed", "3", "--case", "7")["outcomes"] for _ in range(2))
    assert once == again
