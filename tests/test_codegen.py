"""What the compiler makes of the loops: no arithmetic in floats, no vectors, for any design at any width."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import p2mperf
from p2mperf import kernels
from p2mperf.designs import registry
from p2mperf.guests.guest import Guest
from p2mperf.jit import njit
from p2mperf.measure.code_form import describe
from p2mperf.study.plan import FAMILY_GEOMETRIES

ZERO = np.uint64(0)
FLOAT = re.compile(r"\b(fadd|fsub|fmul|fdiv|fcmp|uitofp|sitofp|fptoui|fptosi)\b")
SIGNED_ONE = 1  # of int64, as any plain Python number
KERNELS = ("latency", "throughput", "translate_into", "trace")
CASES = [
    (kernel, name, geometry)
    for name, entry in registry().items()
    for geometry in FAMILY_GEOMETRIES[entry.family]
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


@pytest.fixture(scope="module", params=CASES, ids=["-".join(case) for case in CASES])
def dispatcher(request: pytest.FixtureRequest) -> Any:
    """One kernel, compiled for one design's tables with arguments of the types the package gives it."""
    kernel, name, geometry = request.param
    words = np.zeros(2, np.uint64)
    last = (words, words.copy()) if kernel == "translate_into" else (words, ZERO)
    with p2mperf.build(name, Guest.plain("8M", geometry=geometry)) as design:
        return compiled(getattr(kernels, kernel), design.tables, design.state, *last)


@njit(cache=False)
def throughput_with_a_signed_step(tables, state, stream, zero):  # type: ignore[no-untyped-def]
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


def test_plain_loads_would_be_gathers() -> None:
    def gathers(entries, pfns, total):  # type: ignore[no-untyped-def]
        for i in range(pfns.size):
            total += entries[pfns[i]]
        return total

    words = np.zeros(8, np.uint64)
    form = form_of(compiled(njit(gathers, cache=False), words, words, ZERO))
    if form == "scalar":
        pytest.skip("LLVM chooses no gathers for this processor")
    # The list's sum without READ_ONCE loads, on a processor with fast gathers.
    assert "gather" in form
