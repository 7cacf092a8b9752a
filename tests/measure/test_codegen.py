"""What the compiler makes of the loops: no arithmetic in floats, no vectors, for any design at any width."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import typeof

import p2mperf
from p2mperf import kernels
from p2mperf.designs import family_of, registry
from p2mperf.families import find_family
from p2mperf.guests.geometry import Words
from p2mperf.guests.guest import Guest
from p2mperf.jit import njit
from p2mperf.measure.code_form import describe

ZERO = np.uint64(0)
FLOAT = re.compile(r"\b(fadd|fsub|fmul|fdiv|fcmp|uitofp|sitofp|fptoui|fptosi)\b")
SIGNED_ONE = 1  # of int64, as any plain Python number
KERNELS = ("latency", "throughput", "translate_into", "trace")
CASES = [
    (kernel, name, geometry)
    for name in registry()
    for geometry in find_family(family_of(name)).geometries
    for kernel in KERNELS
]


def compiled(kernel: Any, *arguments: Any) -> Any:
    """Compile anew: numba cannot show what it loaded from its cache."""
    fresh = njit(kernel.py_func, cache=False)
    fresh(*arguments)
    return fresh


def floats_in(dispatcher: Any) -> set[str]:
    (text,) = dispatcher.inspect_llvm().values()
    return set(FLOAT.findall(text))


def form_of(dispatcher: Any) -> str:
    """Form of the function alone: the wrapper behind it moves Python's arguments in vector registers."""
    (text,) = dispatcher.inspect_asm().values()
    return describe(text.partition(".Lfunc_end0")[0])


@pytest.fixture(scope="module")
def dispatchers() -> dict[object, Any]:
    """What was compiled already, by kernel and types: of designs of one type numba makes one machine code."""
    return {}


@pytest.fixture(scope="module", params=CASES, ids=["-".join(case) for case in CASES])
def dispatcher(request: pytest.FixtureRequest, dispatchers: dict[object, Any]) -> Any:
    """One kernel, compiled for one design's tables with arguments of the types the package gives it."""
    kernel, name, geometry = request.param
    words = np.zeros(2, np.uint64)
    last = (words, words.copy()) if kernel == "translate_into" else (words, ZERO)
    with p2mperf.build(name, Guest.plain("8M", geometry=geometry)) as design:
        types = kernel, typeof(design.tables), typeof(design.state)
        if types not in dispatchers:
            dispatchers[types] = compiled(getattr(kernels, kernel), design.tables, design.state, *last)
        return dispatchers[types]


@njit(cache=False)
def throughput_with_a_signed_step(
    tables: tuple[()], state: tuple[()], stream: Words, zero: np.uint64
) -> np.uint64:
    total = ZERO
    for i in range(stream.size):
        total += stream[i] + SIGNED_ONE
    return total + zero


def test_no_kernel_computes_in_floats(dispatcher: Any) -> None:
    # uint64 with int64 is float64 to numba: one signed word would show as one of these instructions.
    assert floats_in(dispatcher) == set()


def test_the_float_guard_sees_one_signed_word() -> None:
    dispatcher = compiled(throughput_with_a_signed_step, (), (), np.zeros(2, np.uint64), ZERO)
    # uint64 + int64: both operands become doubles, and are added as such.
    assert {"uitofp", "fadd"} <= floats_in(dispatcher)


def test_kernels_are_scalar(dispatcher: Any) -> None:
    # READ_ONCE loads keep the vectoriser away: no gather, no vector register, no prefetch, in any design.
    assert form_of(dispatcher) == "scalar"


GATHERS = """
from numba import njit, uint64
from p2mperf.measure.code_form import describe

def gathers(entries, pfns, total):
    for i in range(pfns.size):
        total += entries[pfns[i]]
    return total

loop = njit(gathers)
loop.compile((uint64[::1], uint64[::1], uint64))  # never run: this processor may not know the instructions
(text,) = loop.inspect_asm().values()
print(describe(text.partition(".Lfunc_end0")[0]))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a processor of this architecture is asked for")
def test_plain_loads_would_be_gathers(tmp_path: Path) -> None:
    # The list's sum without READ_ONCE loads, for a processor whose gathers LLVM takes for fast: what it makes
    # for the one that is here differs, down to vectors filled word by word on AMD's.
    environment = {**os.environ, "NUMBA_CPU_NAME": "skylake", "P2MPERF_CACHE_DIR": str(tmp_path)}
    child = [sys.executable, "-c", GATHERS]
    result = subprocess.run(child, env=environment, capture_output=True, text=True, check=True)
    assert "gather" in result.stdout
