"""Loads and stores at raw addresses, in the form the kernels use them.

A load is READ_ONCE (include/linux/compiler.h): LLVM's monotonic atomic load, which becomes one plain mov
that the vectoriser neither widens, drops nor repeats. With ordinary loads LLVM turned one design into
gathers and the other not, which compared compilers instead of tables.

Beside them what times and disturbs single loads: a time stamp that waits for them, and mprotect; and what
shows a page elsewhere, mmap and madvise.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from p2mperf.jit import types, walk_overload

_WORD = ir.IntType(64)
ZERO, ONE = np.uint64(0), np.uint64(1)


def _element(builder: Any, kind: Any, address: Any, index: Any) -> Any:
    # As an element of an array, not at a sum: LLVM would merge the index's own shift with this one into
    # a shift and a mask, where the processor scales an index for nothing (4 % of a tree walk).
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index], source_etype=kind)


def _make_load(bits: int) -> tuple[Any, Any]:
    kind = ir.IntType(bits)

    def read(builder: Any, address: Any, index: Any) -> Any:
        place = _element(builder, kind, address, index)
        value = builder.load_atomic(place, "monotonic", bits // 8, typ=kind)
        return value if bits == 64 else builder.zext(value, _WORD)

    @intrinsic
    def load_once(typingctx, address):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return read(builder, args[0], _WORD(0))

        return types.uint64(types.uint64), generate

    @intrinsic
    def load_element(typingctx, address, index):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return read(builder, *args)

        return types.uint64(types.uint64, types.uint64), generate

    return load_once, load_element


def _make_store(bits: int) -> tuple[Any, Any]:
    kind = ir.IntType(bits)

    def write(context: Any, builder: Any, address: Any, index: Any, value: Any) -> Any:
        word = value if bits == 64 else builder.trunc(value, kind)
        builder.store_atomic(word, _element(builder, kind, address, index), "monotonic", bits // 8)
        return context.get_dummy_value()

    @intrinsic
    def store_once(typingctx, address, value):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return write(context, builder, args[0], _WORD(0), args[1])

        return types.void(types.uint64, types.uint64), generate

    @intrinsic
    def store_element(typingctx, address, index, value):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return write(context, builder, *args)

        return types.void(types.uint64, types.uint64, types.uint64), generate

    return store_once, store_element


def _make_number(bits: int, is_signed: bool) -> tuple[Any, Any]:
    """A load and a store of plain numbers: the index and what is read are int64, and no atomic access.

    Signed, as a number that numba finds to be uint64 here and int64 there becomes float64. Nothing that reads
    them is timed as a table's lookup: LLVM may join and drop accesses.
    """
    kind = ir.IntType(bits)

    @intrinsic
    def load_number(typingctx, address, index):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            value = builder.load(_element(builder, kind, *args), typ=kind, align=bits // 8)
            widen = builder.sext if is_signed else builder.zext
            return value if bits == 64 else widen(value, _WORD)

        return types.int64(types.uint64, types.int64), generate

    @intrinsic
    def store_number(typingctx, address, index, value):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            word = args[2] if bits == 64 else builder.trunc(args[2], kind)
            builder.store(word, _element(builder, kind, args[0], args[1]), align=bits // 8)
            return context.get_dummy_value()

        return types.void(types.uint64, types.int64, types.int64), generate

    return load_number, store_number


@intrinsic
def unlikely(typingctx, condition):  # type: ignore[no-untyped-def]
    """Tell LLVM which way a branch goes, as the kernel's unlikely() does; compiled code only.

    Without it LLVM laid a tree walk out with two taken branches, where gcc has none (6 % of its rate).
    """

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        bit = ir.IntType(1)
        expect = builder.module.declare_intrinsic("llvm.expect", [bit], ir.FunctionType(bit, [bit, bit]))
        return builder.call(expect, [args[0], bit(0)])

    return types.boolean(types.boolean), generate


@intrinsic
def _processor_ticks(typingctx):  # type: ignore[no-untyped-def]
    """Read x86's counter: rdtscp waits for all that came before, lfence keeps back what comes after."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        def call(name: str, result: Any) -> Any:
            return builder.call(builder.module.declare_intrinsic(name, (), ir.FunctionType(result, [])), [])

        stamp = call("llvm.x86.rdtscp", ir.LiteralStructType([_WORD, ir.IntType(32)]))
        call("llvm.x86.sse2.lfence", ir.VoidType())
        return builder.extract_value(stamp, 0)

    return types.uint64(), generate


@intrinsic
def _clock_ticks(typingctx):  # type: ignore[no-untyped-def]
    """Read the clock of the system, between fences: for processors without a counter of ours [ns]."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        number = ir.IntType(32)
        time = builder.alloca(ir.LiteralStructType([_WORD, _WORD]))
        signature = ir.FunctionType(number, [number, time.type])
        # A module may read the clock twice, and declare a function once.
        clock = builder.module.globals.get("clock_gettime") or ir.Function(
            builder.module, signature, "clock_gettime"
        )
        builder.fence("seq_cst")
        builder.call(clock, [number(CLOCK_MONOTONIC), time])
        builder.fence("seq_cst")
        seconds, rest = (builder.load(builder.gep(time, [number(0), number(at)])) for at in (0, 1))
        return builder.add(builder.mul(seconds, _WORD(10**9)), rest)

    return types.uint64(), generate


CLOCK_MONOTONIC = 1
# A time stamp that loads before it are finished for, and loads after it wait for; in a unit of its own, which
# a longer time tells. Compiled code only.
ticks = _processor_ticks if platform.machine() == "x86_64" else _clock_ticks
# Functions of the C library by name: with their addresses, which ctypes gives, numba keeps no code on disk.
# int mprotect(address, bytes, protection), from compiled code: 0 when it was done.
protect = types.ExternalFunction("mprotect", types.intc(types.uint64, types.uint64, types.intc))
# void *mmap(address, bytes, protection, flags, fd, offset): all ones when it was not done.
map_memory = types.ExternalFunction(
    "mmap",
    types.uint64(types.uint64, types.uint64, types.intc, types.intc, types.intc, types.int64),
)
# int madvise(address, bytes, advice), from compiled code: 0 when it was done.
advise_memory = types.ExternalFunction("madvise", types.intc(types.uint64, types.uint64, types.intc))

load_once64, load_element64 = _make_load(64)
_, load_element32 = _make_load(32)
_, load_element8 = _make_load(8)
store_once64, store_element64 = _make_store(64)
_, store_element32 = _make_store(32)
_, store_element8 = _make_store(8)
load_number64, store_number64 = _make_number(64, is_signed=True)
load_number32, store_number32 = _make_number(32, is_signed=True)
load_number8, store_number8 = _make_number(8, is_signed=False)


def load64(probe: Any, address: Any, index: Any = ZERO) -> Any:
    """Read the 8-byte word at `address`, or the one `index` words further; compiled code only.

    Parameters
    ----------
    probe : empty tuple or ndarray of uint64
        ``()`` compiles to the bare load. An array records: element 0 counts the loads, and the following
        elements receive their addresses in order, as far as they fit.
    address : uint64
        Address in this process, a multiple of 8 [bytes].
    index : uint64
        Which word of an array that begins there.

    Returns
    -------
    uint64
        The word.
    """
    raise NotImplementedError("load64 is for compiled code")


def load32(probe: Any, address: Any, index: Any = ZERO) -> Any:
    """Read a 4-byte word as uint64.

    Parameters
    ----------
    probe, address, index
        As `load64`, in words of 4 bytes.

    Returns
    -------
    uint64
        The word.
    """
    raise NotImplementedError("load32 is for compiled code")


def _overload_load(stub: Any, load_element: Any, word_bytes: int) -> None:
    shift = np.uint64(word_bytes.bit_length() - 1)

    @walk_overload(stub)
    def implement(probe, address, index=ZERO):  # type: ignore[no-untyped-def]
        if isinstance(probe, types.BaseTuple) and len(probe) == 0:
            return lambda probe, address, index=ZERO: load_element(address, index)
        if isinstance(probe, types.Array):

            def recorded(probe, address, index=ZERO):  # type: ignore[no-untyped-def]
                probe[0] += ONE
                # Cast: a size is an int64, which numba compares with a uint64 as floats.
                if probe[0] < np.uint64(probe.size):
                    probe[probe[0]] = address + (index << shift)
                return load_element(address, index)

            return recorded
        return None


_overload_load(load64, load_element64, 8)
_overload_load(load32, load_element32, 4)
